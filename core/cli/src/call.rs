//! `wakeline call`: one call for a script. Progress goes to standard output, the outcome is the exit code.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use wakeline_engine::{Phone, Quality};
use wakeline_user_agent::{
    AccountId, CallId, CallPhase, CallSnapshot, Command, Direction, EndedCall, Event, RegistrationPhase,
};

use crate::arguments::CallFlags;
use crate::exit::{Exit, Failure};
use crate::{accounts, gateway, log};

/// How long the registration may take, several tries included.
const REGISTRATION: Duration = Duration::from_secs(32);
/// How often the quality is looked at, so that the last look is not old when the call ends.
const LOOK: Duration = Duration::from_millis(500);
/// How long a call may take to end once that was asked for: the life of a transaction (RFC 3261 §17.1.1.2).
const FAREWELL: Duration = Duration::from_secs(32);

/// Makes the call.
pub(crate) fn run(flags: &CallFlags, parameters: &[(String, String)]) -> Result<Exit, Failure> {
    if flags.seconds.is_some_and(|seconds| !(0.0..=86_400.0 * 7.0).contains(&seconds)) {
        return Err(Failure::new(Exit::Usage, "--seconds is a number from 0 to a week's seconds"));
    }
    let audio = accounts::audio(&flags.audio);
    let options = accounts::options(&flags.accounts, audio, parameters)?;
    let first = options.accounts.first().cloned();
    log::start(first.as_ref(), std::io::stderr());
    let registers = first.as_ref().is_some_and(|settings| settings.account().is_to_register());
    let phone = Phone::start(options).map_err(|error| Failure::of_start(&error))?;
    let mut caller = Caller { phone, flags, quality: None };
    let exit = crate::block_on(async {
        if registers && !caller.register().await {
            return Exit::NotRegistered;
        }
        caller.call().await
    })?;
    caller.phone.stop();
    Ok(exit)
}

struct Caller<'a> {
    phone: Phone,
    flags: &'a CallFlags,
    quality: Option<Quality>,
}

impl Caller<'_> {
    /// Registers; false when that cannot be.
    async fn register(&mut self) -> bool {
        let until = Instant::now() + REGISTRATION;
        self.phone.command(Command::Start);
        loop {
            let event = match timeout_at(until, self.phone.event()).await {
                Ok(Some(event)) => event.event,
                Ok(None) => return false,
                Err(_) => {
                    eprintln!("wakeline: no answer to the registration; is serveraddress right?");
                    return false;
                }
            };
            match event {
                Event::RegistrationChanged(now) => match now.phase {
                    RegistrationPhase::Registered => {
                        println!("registered as {}", now.address);
                        return true;
                    }
                    RegistrationPhase::Failed => {
                        let code = now.code.map(|code| format!(" ({code})")).unwrap_or_default();
                        eprintln!("wakeline: not registered{code}: {}", now.text.unwrap_or_default());
                        return false;
                    }
                    RegistrationPhase::Unregistered
                    | RegistrationPhase::Registering
                    | RegistrationPhase::Suspended => {}
                },
                other @ (Event::Rings(_)
                | Event::CallChanged(_)
                | Event::CallEnded(_)
                | Event::DtmfReceived { .. }
                | Event::Woken { .. }
                | Event::OptionsAnswered { .. }
                | Event::Provisioning { .. }
                | Event::Problem(_)) => self.tell(&other),
            }
        }
    }

    async fn call(&mut self) -> Exit {
        self.phone.command(Command::Dial { account: AccountId(0), to: self.flags.to.clone() });
        let mut progress = Progress::default();
        let never = Instant::now() + Duration::from_secs(86_400 * 30);
        let (mut hang_up_at, mut give_up_at) = (never, never);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = self.phone.event() => {
                    let Some(event) = event else { return Exit::Failed };
                    match progress.of(&event.event) {
                        Step::Line(line) => println!("{line}"),
                        Step::Answered(line) => {
                            println!("{line}");
                            if let Some(seconds) = self.flags.seconds {
                                hang_up_at = Instant::now() + Duration::from_secs_f64(seconds);
                            }
                            if let (Some(digits), Some(call)) = (&self.flags.dtmf, progress.call) {
                                self.phone.command(Command::Dtmf { call, digits: digits.clone() });
                            }
                        }
                        Step::Ended(ended) => return self.ended(&ended),
                        Step::Refused(cause) => {
                            eprintln!("wakeline: {cause}");
                            return Exit::Failed;
                        }
                        Step::Nothing => self.tell(&event.event),
                    }
                }
                _ = look.tick() => self.look().await,
                () = sleep_until(hang_up_at) => {
                    hang_up_at = never;
                    self.hang_up(progress.call);
                    give_up_at = Instant::now() + FAREWELL;
                }
                () = gateway::signal() => {
                    self.hang_up(progress.call);
                    give_up_at = Instant::now() + FAREWELL;
                }
                () = sleep_until(give_up_at) => {
                    eprintln!("wakeline: the far end does not confirm the end of the call");
                    return Exit::Failed;
                }
            }
        }
    }

    fn hang_up(&self, call: Option<CallId>) {
        if let Some(call) = call {
            self.phone.command(Command::Hangup { call });
        }
    }

    async fn look(&mut self) {
        if let Some(now) = self.phone.stats().await.and_then(|stats| stats.quality.into_iter().next()) {
            self.quality = Some(now);
        }
    }

    fn ended(&self, ended: &EndedCall) -> Exit {
        if let Some(quality) = &self.quality {
            println!("{}", quality_line(quality));
        }
        println!("{}", end_line(ended));
        Exit::of(ended)
    }

    fn tell(&self, event: &Event) {
        if let Event::Problem(problem) = event {
            eprintln!("wakeline: {}", problem_line(&problem.cause, &problem.cure));
        }
    }
}

/// What a call's events mean to the one who waits for it.
#[derive(Default, Debug)]
struct Progress {
    call: Option<CallId>,
    phase: Option<CallPhase>,
    media: Option<String>,
}

#[derive(Debug)]
enum Step {
    Nothing,
    Line(String),
    Answered(String),
    Ended(Box<EndedCall>),
    /// The call never came to be.
    Refused(String),
}

impl Progress {
    fn of(&mut self, event: &Event) -> Step {
        match event {
            Event::CallChanged(now) if now.direction == Direction::Outgoing => self.changed(now),
            Event::CallEnded(ended) if Some(ended.last.call) == self.call || self.call.is_none() => {
                Step::Ended(Box::new(ended.clone()))
            }
            Event::Problem(problem) if self.call.is_none() => {
                Step::Refused(problem_line(&problem.cause, &problem.cure))
            }
            Event::DtmfReceived { digit, .. } => Step::Line(format!("key {digit}")),
            Event::RegistrationChanged(_)
            | Event::Rings(_)
            | Event::CallChanged(_)
            | Event::CallEnded(_)
            | Event::Woken { .. }
            | Event::OptionsAnswered { .. }
            | Event::Provisioning { .. }
            | Event::Problem(_) => Step::Nothing,
        }
    }

    fn changed(&mut self, now: &CallSnapshot) -> Step {
        self.call = Some(now.call);
        let media_is_new = self.media != media(now);
        self.media = media(now);
        if self.phase == Some(now.phase) {
            return match media(now) {
                Some(media) if media_is_new && now.phase == CallPhase::Established => {
                    Step::Line(format!("media: {media}"))
                }
                Some(_) | None => Step::Nothing,
            };
        }
        self.phase = Some(now.phase);
        match now.phase {
            CallPhase::Dialling => Step::Line(format!("calling {}", one_line(&now.peer))),
            CallPhase::Alerting => Step::Line("ringing".to_owned()),
            CallPhase::Established => {
                // What the media agreed on may come a moment later.
                Step::Answered(
                    media(now).map_or("answered".to_owned(), |media| format!("answered ({media})")),
                )
            }
            CallPhase::Announced | CallPhase::Ringing | CallPhase::Answering | CallPhase::Ending => {
                Step::Nothing
            }
        }
    }
}

/// What the media agreed on: codec and protection.
fn media(call: &CallSnapshot) -> Option<String> {
    let codec = call.codec.as_deref()?;
    Some(format!("{}, {:?}", one_line(codec), call.encryption).to_lowercase())
}

/// How it sounded, in one line.
pub(crate) fn quality_line(quality: &Quality) -> String {
    let round_trip = quality.round_trip_ms.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    format!(
        "quality: MOS {:.1}, loss {:.1} %, jitter {:.1} ms, delay {:.0} ms, round trip {round_trip}, concealed {:.1} %, \
         packets {} out {} in",
        quality.mos,
        quality.loss_percent,
        quality.jitter_ms,
        quality.delay_ms,
        quality.concealed_percent,
        quality.packets.0,
        quality.packets.1,
    )
}

fn end_line(ended: &EndedCall) -> String {
    let code = ended.code.map(|code| format!(" ({code})")).unwrap_or_default();
    let seconds = ended.talk_ms as f64 / 1000.0;
    let cure = match ended.reason.as_str() {
        "unreachable" => "; it cannot be reached, or no more: check the address, the port and the network",
        _ => "",
    };
    format!("ended: {}{code} after {seconds:.1} s of talk{cure}", one_line(&ended.reason))
}

/// A problem and its cure, in one line.
pub(crate) fn problem_line(cause: &str, cure: &str) -> String {
    // A phone without a sound device is all right for a program; the engine does not know our flags.
    let cure = if cause.starts_with("no audio device") {
        "or do without one: --no-audio, --tone HZ, --play FILE, --record FILE"
    } else {
        cure
    };
    if cure.is_empty() { one_line(cause) } else { format!("{}; {}", one_line(cause), one_line(cure)) }
}

/// A text of foreign origin as it may stand on a terminal (S7).
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(phase: &str) -> Event {
        serde_json::from_value(serde_json::json!({
            "event": "call-changed",
            "call": 3, "account": 0, "external_id": "2ed6657d-e927-568b-95e1-2665a8aea6a2", "wake_id": null,
            "direction": "outgoing", "phase": phase, "peer": "sip:bob@example.org\u{1b}[2J", "peer_name": null,
            "on_hold": false, "held_by_peer": false, "microphone_muted": false, "speaker_muted": false,
            "encryption": "srtp", "codec": "opus", "media_flows": false
        }))
        .unwrap()
    }

    #[test]
    fn progress_is_told_once_a_phase() {
        let mut progress = Progress::default();
        assert!(matches!(progress.of(&call("dialling")), Step::Line(line) if !line.contains('\u{1b}')));
        assert!(matches!(progress.of(&call("dialling")), Step::Nothing));
        assert!(matches!(progress.of(&call("alerting")), Step::Line(line) if line == "ringing"));
        assert!(
            matches!(progress.of(&call("established")), Step::Answered(line) if line == "answered (opus, srtp)")
        );
        assert!(matches!(progress.of(&call("established")), Step::Nothing));
        assert_eq!(progress.call, Some(CallId(3)));
    }

    #[test]
    fn media_that_is_agreed_after_the_answer_is_told_then() {
        let mut progress = Progress::default();
        let mut answered = call("established");
        let Event::CallChanged(now) = &mut answered else { panic!() };
        now.codec = None;
        assert!(matches!(progress.of(&answered), Step::Answered(line) if line == "answered"));
        let agreed = call("established");
        assert!(matches!(progress.of(&agreed), Step::Line(line) if line == "media: opus, srtp"));
        assert!(matches!(progress.of(&agreed), Step::Nothing));
    }

    #[test]
    fn a_machine_without_sound_is_told_the_flags_that_do_without() {
        let cause = wakeline_engine::AudioError::Device("none here".to_owned()).to_string();
        assert!(
            problem_line(&cause, "check it").ends_with("--no-audio, --tone HZ, --play FILE, --record FILE")
        );
        assert_eq!(problem_line("x", "y"), "x; y");
    }

    #[test]
    fn a_problem_before_the_call_is_its_end() {
        let problem = serde_json::json!({
            "event": "problem", "account": 0, "call": null, "cause": "no such account", "cure": "configure one"
        });
        let problem: Event = serde_json::from_value(problem).unwrap();
        let mut progress = Progress::default();
        assert!(
            matches!(progress.of(&problem), Step::Refused(text) if text == "no such account; configure one")
        );
        progress.of(&call("dialling"));
        assert!(matches!(progress.of(&problem), Step::Nothing));
    }
}
