//! `wakeline demo`: a phone that is not running is woken by a push and takes a real call, on this machine.
//!
//! The gateway and a stand-in for the push service run here; the two phones are processes of their own. What is printed
//! was seen: the gateway's traces and the phones' events bear the time of one clock that all processes share.

mod audio_check;
mod chart;
mod child;
mod report;
mod round;
mod sound;
mod stage;

use std::path::Path;

use tokio::io::AsyncBufReadExt;

use self::audio_check::AudioCheck;
use self::report::Report;
use self::stage::Stage;
use crate::arguments::DemoFlags;
use crate::exit::{Exit, Failure};

/// How much longer than the talk the speech is, so that it does not end first.
const REST: f64 = 3.0;
/// What is left out of the original's beginning: a phone that opens its sound device later hears none of it.
const LATE_MS: u32 = 1000;
/// The longest delay that is looked for.
const LONGEST_MS: u32 = 2000;
/// Columns of the chart's bars.
const WIDTH: usize = 56;

/// Plays rounds until the person has seen enough.
pub(crate) fn run(flags: &DemoFlags) -> Result<Exit, Failure> {
    if !(2.0..=600.0).contains(&flags.seconds) {
        return Err(Failure::new(Exit::Usage, "--seconds is a number from 2 to 600"));
    }
    crate::log::start(None, std::io::stderr());
    crate::block_on(rounds(flags))?
}

async fn rounds(flags: &DemoFlags) -> Result<Exit, Failure> {
    let stage = Stage::build(flags.seconds + REST, flags.keep).await?;
    println!("Gateway and push service are up; the callee registers over TLS with its push token.");
    if stage.voice == sound::Voice::Synthesised {
        println!(
            "espeak-ng is not here (apt install espeak-ng): the phones say something like speech instead."
        );
    }
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    loop {
        println!("The callee's process is ended. The caller calls, and talks for {} s …", flags.seconds);
        let seen = tokio::select! {
            seen = round::play(&stage, flags.seconds) => seen?,
            () = crate::gateway::signal() => return Ok(Exit::Failed),
        };
        let to_callee = check(&stage.path("caller-says.wav"), &stage.path("callee-heard.wav"))?;
        let to_caller = check(&stage.path("callee-says.wav"), &stage.path("caller-heard.wav"))?;
        let report = Report::of(&seen, to_callee, to_caller);
        let well = show(&report, flags.json)?;
        if flags.once || !well {
            return Ok(if well { Exit::Well } else { Exit::Failed });
        }
        println!("\nEnter: once more.  Ctrl-C: the end.");
        tokio::select! {
            line = lines.next_line() => if !matches!(line, Ok(Some(_))) {
                return Ok(Exit::Well);
            },
            () = crate::gateway::signal() => return Ok(Exit::Well),
        }
    }
}

/// Prints what there is to see; whether all of it is as it should be.
fn show(report: &Report, json: bool) -> Result<bool, Failure> {
    println!("\nThe wake, in milliseconds since the INVITE came to the gateway:\n");
    print!("{}", chart::draw(report.legs(), WIDTH));
    println!("\n  call   {}\n  audio  {}", report.call_line(), report.audio_line());
    let faults = report.faults();
    for fault in &faults {
        println!("  wrong  {fault}");
    }
    if json {
        let line =
            serde_json::to_string(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        println!("{line}");
    }
    Ok(faults.is_empty())
}

/// Compares what one phone said with what the other has heard.
fn check(said: &Path, heard: &Path) -> Result<Option<AudioCheck>, Failure> {
    let said = sound::read(said)?;
    // A phone that was never answered has recorded nothing.
    let Ok(heard) = sound::read(heard) else { return Ok(None) };
    let skipped = (LATE_MS * sound::RATE / 1000) as usize;
    let check = audio_check::compare(
        said.get(skipped..).unwrap_or(&[]),
        &heard,
        sound::RATE,
        0,
        LATE_MS + LONGEST_MS,
    );
    Ok(check.map(|check| AudioCheck { delay_ms: check.delay_ms - f64::from(LATE_MS), ..check }))
}
