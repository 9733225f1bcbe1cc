//! One round: a phone whose process has ended is woken by a push and takes a call.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{Instant, sleep_until, timeout};
use wakeline_clock::system;
use wakeline_gateway::Trace;
use wakeline_user_agent::{
    AccountId, CallId, CallPhase, CallSnapshot, Command, EndedCall, Event, PushStatus, RegistrationPhase,
    WakeLeg,
};

use super::child::{Line, PhoneChild};
use super::stage::{CALLEE, CALLER, Stage};
use crate::exit::{Exit, Failure};

/// How long a phone may take to register.
const REGISTRATION: Duration = Duration::from_secs(15);
/// How long a round may take besides the talk.
const PATIENCE: Duration = Duration::from_secs(40);

/// What was seen of a round; nothing of it is assumed.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// The gateway's traces.
    pub(crate) traces: Vec<Trace>,
    /// When the woken process began, in microseconds.
    pub(crate) process_up: Option<u64>,
    /// The woken phone's steps, in microseconds; the first of each kind.
    pub(crate) legs: BTreeMap<WakeLeg, u64>,
    /// Pushes that the service delivered to the callee's token.
    pub(crate) pushes: usize,
    /// When the first one came, in microseconds.
    pub(crate) delivered: Option<u64>,
    /// How often the callee rang.
    pub(crate) rings: usize,
    /// REGISTER requests that the woken phone's registration took.
    pub(crate) round_trips: Option<u32>,
    /// The callee's call while it was talking.
    pub(crate) talking: Option<CallSnapshot>,
    /// The caller's record of the call.
    pub(crate) caller_ended: Option<EndedCall>,
    /// The callee's.
    pub(crate) callee_ended: Option<EndedCall>,
}

/// Plays a round with `seconds` of talk.
pub(crate) async fn play(stage: &Stage, seconds: f64) -> Result<Seen, Failure> {
    put_to_sleep(stage).await?;
    let mut caller = PhoneChild::start("caller", stage.folder(), stage.flags(CALLER, "caller"))?;
    registered(&mut caller, false).await?;
    let mut traces = stage.gateway.traces();
    let mut deliveries = stage.push.subscribe();
    let mut seen = Seen::default();
    let mut callee: Option<PhoneChild> = None;
    caller.command(&Command::Dial { account: AccountId(0), to: stage.callee() }).await?;

    let give_up = Instant::now() + PATIENCE + Duration::from_secs_f64(seconds);
    let mut hang_up = HangUp::WhenAnswered;
    while seen.caller_ended.is_none() || (callee.is_some() && seen.callee_ended.is_none()) {
        let hang_up_at = match hang_up {
            HangUp::At(instant, _) => instant,
            HangUp::WhenAnswered | HangUp::Asked => give_up,
        };
        tokio::select! {
            delivered = deliveries.recv() => {
                let Some(message) = delivered.filter(|message| message.device == stage.token) else { continue };
                seen.pushes += 1;
                seen.delivered.get_or_insert(micros());
                let payload = serde_json::to_string(&message.data)
                    .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
                match &mut callee {
                    // The push starts the program, as a system does for an app.
                    None => callee = Some(start_callee(stage, &["--push", &payload])?),
                    Some(callee) => callee.command(&Command::PushReceived { payload }).await?,
                }
            }
            line = next(&mut callee) => {
                let wish = seen.by_callee(line?);
                if let (Some(callee), Some(wish)) = (&mut callee, wish) {
                    callee.command(&wish).await?;
                }
            }
            line = caller.line() => {
                if let Some(call) = seen.by_caller(line?) && matches!(hang_up, HangUp::WhenAnswered) {
                    hang_up = HangUp::At(Instant::now() + Duration::from_secs_f64(seconds), call);
                }
            }
            () = sleep_until(hang_up_at) => {
                let HangUp::At(_, call) = hang_up else { break };
                caller.command(&Command::Hangup { call }).await?;
                hang_up = HangUp::Asked;
            }
            () = sleep_until(give_up) => break,
        }
    }
    // In good order, so that the recordings are whole.
    caller.quit().await;
    if let Some(callee) = callee {
        callee.quit().await;
    }
    loop {
        match traces.try_recv() {
            Ok(trace) => seen.traces.push(trace),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Ok(seen)
}

/// When the caller ends the call.
#[derive(Clone, Copy)]
enum HangUp {
    WhenAnswered,
    At(Instant, CallId),
    Asked,
}

/// The callee registers with its push token; then its process ends as a system ends it, without a word to anybody.
async fn put_to_sleep(stage: &Stage) -> Result<(), Failure> {
    let mut callee = start_callee(stage, &[])?;
    registered(&mut callee, true).await?;
    callee.kill().await;
    stage.callee_is_gone().await
}

fn start_callee(stage: &Stage, further: &[&str]) -> Result<PhoneChild, Failure> {
    let mut flags = stage.flags(CALLEE, "callee");
    flags.extend(["--push-token".into(), format!("fcm:{}:{}", stage.project(), stage.token).into()]);
    flags.extend(further.iter().map(OsString::from));
    PhoneChild::start("callee", stage.folder(), flags)
}

/// Waits until a phone is registered; with push confirmed, if that is asked for.
async fn registered(phone: &mut PhoneChild, with_push: bool) -> Result<(), Failure> {
    let registered = async {
        loop {
            let Line::Event(event) = phone.line().await? else { continue };
            let Event::RegistrationChanged(now) = event.event else { continue };
            match now.phase {
                RegistrationPhase::Registered if with_push && now.push != PushStatus::Confirmed => {
                    let cause = format!("the gateway does not offer push: {:?}", now.push);
                    return Err(Failure::new(Exit::Failed, cause));
                }
                RegistrationPhase::Registered => return Ok(()),
                RegistrationPhase::Failed => {
                    let cause =
                        format!("{} is not registered: {}", now.address, now.text.unwrap_or_default());
                    return Err(Failure::new(Exit::Failed, cause));
                }
                RegistrationPhase::Unregistered
                | RegistrationPhase::Registering
                | RegistrationPhase::Suspended => {}
            }
        }
    };
    timeout(REGISTRATION, registered)
        .await
        .unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "a phone did not register in time")))
}

/// The next line of a phone, once there is one.
async fn next(phone: &mut Option<PhoneChild>) -> Result<Line, Failure> {
    match phone {
        Some(phone) => phone.line().await,
        None => std::future::pending().await,
    }
}

fn micros() -> u64 {
    system::now().as_nanos() / 1000
}

impl Seen {
    /// Takes a line of the woken phone in; what it is to be told then, as its person would.
    fn by_callee(&mut self, line: Line) -> Option<Command> {
        let event = match line {
            Line::Ready { at_us, .. } => {
                self.process_up.get_or_insert(at_us);
                return None;
            }
            Line::Event(event) => event,
            Line::Other(_) => return None,
        };
        match event.event {
            Event::Rings(call) => {
                self.rings += 1;
                return (self.rings == 1).then_some(Command::Answer { call: call.call });
            }
            Event::Woken { leg, .. } => {
                self.legs.entry(leg).or_insert(event.at_us);
            }
            Event::RegistrationChanged(now) => {
                if now.phase == RegistrationPhase::Registered && self.round_trips.is_none() {
                    self.round_trips = now.round_trips;
                }
            }
            Event::CallChanged(call) => {
                if call.phase == CallPhase::Established && call.codec.is_some() {
                    self.talking = Some(call);
                }
            }
            Event::CallEnded(ended) => self.callee_ended = Some(ended),
            Event::Problem(problem) => tracing::warn!(cause = problem.cause, "the callee has a problem"),
            Event::DtmfReceived { .. } | Event::OptionsAnswered { .. } | Event::Provisioning { .. } => {}
        }
        None
    }

    /// Takes a line of the caller in; its call, when that is answered.
    fn by_caller(&mut self, line: Line) -> Option<CallId> {
        let Line::Event(event) = line else { return None };
        match event.event {
            Event::CallChanged(call) if call.phase == CallPhase::Established => return Some(call.call),
            Event::CallEnded(ended) => self.caller_ended = Some(ended),
            Event::Problem(problem) => tracing::warn!(cause = problem.cause, "the caller has a problem"),
            Event::CallChanged(_)
            | Event::RegistrationChanged(_)
            | Event::Rings(_)
            | Event::Woken { .. }
            | Event::DtmfReceived { .. }
            | Event::OptionsAnswered { .. }
            | Event::Provisioning { .. } => {}
        }
        None
    }
}
