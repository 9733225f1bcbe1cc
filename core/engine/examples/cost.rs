//! What a phone costs: memory idle and in a call, processor time per minute of a call (Linux).
//!
//! `cost [SECONDS] [CODEC...]` lets two phones in this process call each other over loopback, tones as microphones, and
//! prints half of the process's processor time, which is one phone's share.

#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::time::Duration;

use wakeline_engine::{AudioChoice, Options, Phone, TimedEvent};
use wakeline_settings::{Settings, Source};
use wakeline_user_agent::{CallId, CallPhase, Command, Event};

fn processor_seconds() -> f64 {
    // Of every thread, those that have ended included: user and system ticks of 10 ms.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn phone(port: u16, codec: &str, hertz: f32) -> Result<Phone, Box<dyn std::error::Error>> {
    let mut settings = Settings::new();
    for (name, value) in [
        ("username", "phone"),
        ("register", "0"),
        ("localip", "127.0.0.1"),
        ("transport", "0"),
        ("signalingport", &port.to_string()),
        ("codec", codec),
        ("alwaysallowlowcodec", "0"),
        ("autoaccept", "true"),
    ] {
        settings.set(name, value, Source::Assigned);
    }
    let audio = AudioChoice::Tone { hertz, record: None };
    Ok(Phone::start(Options { accounts: vec![settings], audio, ..Options::default() })?)
}

async fn until(phone: &mut Phone, found: impl Fn(&Event) -> bool) -> Option<TimedEvent> {
    loop {
        let timed = tokio::time::timeout(Duration::from_secs(5), phone.event()).await.ok()??;
        if let Event::Problem(problem) = &timed.event {
            println!("problem: {} ({})", problem.cause, problem.cure);
        }
        if std::env::var_os("SHOW_EVENTS").is_some() {
            println!("{:?}", timed.event);
        }
        if found(&timed.event) {
            return Some(timed);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let seconds: u64 = words.next().map_or(Ok(10), |text| text.parse())?;
    let mut codecs: Vec<String> = words.collect();
    if codecs.is_empty() {
        codecs = ["PCMU", "opus"].map(str::to_owned).to_vec();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for (turn, codec) in (0_u16..).zip(&codecs) {
            let (here, there) = (5700 + 20 * turn, 5710 + 20 * turn);
            let (mut caller, callee) = (phone(here, codec, 440.0)?, phone(there, codec, 1000.0)?);
            caller.command(Command::Start);
            callee.command(Command::Start);
            let idle = caller.stats().await.and_then(|stats| stats.rss_kib).unwrap_or(0);
            let to = format!("sip:phone@127.0.0.1:{there}");
            caller.command(Command::Dial { account: Default::default(), to: to.clone() });
            let established =
                |event: &Event| matches!(event, Event::CallChanged(call) if call.phase == CallPhase::Established);
            let flows = |event: &Event| matches!(event, Event::CallChanged(call) if call.media_flows);
            let Some(answered) = until(&mut caller, established).await else {
                println!("{codec}: {to} did not answer");
                continue;
            };
            let heard = until(&mut caller, flows).await;
            let before = processor_seconds();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let spent = (processor_seconds() - before) / 2.0 * 60.0 / seconds as f64;
            let stats = caller.stats().await.unwrap_or_default();
            let first = heard.map_or(0, |heard| heard.at_us.saturating_sub(answered.at_us));
            println!(
                "{codec}: {spent:.3} processor seconds per minute; RSS of two phones {idle} KiB idle, {} KiB in call; \
                 answer to first sound {:.1} ms; {} sockets, {} tasks; {:?}",
                stats.rss_kib.unwrap_or(0),
                first as f64 / 1000.0,
                stats.sockets,
                stats.tasks,
                stats.quality.first(),
            );
            caller.command(Command::Hangup { call: CallId(1) });
            until(&mut caller, |event| matches!(event, Event::CallEnded(_))).await;
            caller.stop();
            callee.stop();
        }
        Ok(())
    })
}
