//! One binding's life against a registrar that answers anything.

use core::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_push::{Provider, PushParameters};
use wakeline_registration::{
    AccountConfig, Edge, OtherHops, Output, Phase, Registration, Remembered, Reregister,
};
use wakeline_sip_auth::Credentials;
use wakeline_sip_message::{Message, Method, Name, OwnedUri};

use crate::bend::response;
use crate::script::{Bound, Script};

const PASSWORD: &str = "a canary of a password";
const TOKEN: &str = "aCanaryOfAToken";

fn config() -> AccountConfig {
    let uri = |text| OwnedUri::parse(text).expect("a good URI");
    AccountConfig {
        // The most stubborn one: the limits must hold for it too.
        reregister: Reregister::Always,
        ..AccountConfig::new(
            uri("sip:example.org"),
            uri("sip:mia@example.org"),
            // Without a realm of one's own, any realm of the account's own registrar is answered.
            Credentials { realm: Some("example.org".into()), ..Credentials::password("mia", PASSWORD) },
        )
    }
}

struct Bench {
    machine: Registration,
    now: Time,
    flows: u64,
    opening: u32,
    asked: Option<(Message, FlowInfo)>,
    remembered: Option<Remembered>,
    sent: u32,
}

impl Bench {
    fn drain(&mut self) {
        let mut bound = Bound::new(60, "what a registration wants");
        while let Some(output) = self.machine.poll_output() {
            bound.count();
            match output {
                Output::OpenFlow { .. } => {
                    self.opening += 1;
                    // One; while a push waits and none opens, two more beside it.
                    assert!(self.opening <= 3, "four flows asked for at once");
                }
                Output::CloseFlow { flow } => {
                    assert!(flow.0 <= self.flows, "a flow that never was");
                }
                Output::Send { request, flow } => {
                    assert_eq!(request.method(), Method::Register);
                    let read = Message::parse(request.to_bytes()).expect("a good REGISTER");
                    assert!(!format!("{read:?}").contains(TOKEN), "S23");
                    assert!(!read.to_bytes().windows(PASSWORD.len()).any(|text| text == PASSWORD.as_bytes()));
                    let credentials = read.header(Name::Authorization).unwrap_or("");
                    assert!(!credentials.contains("elsewhere.example"), "S1: {credentials}");
                    self.asked = Some((request, flow));
                    self.sent += 1;
                }
                Output::Remember(memory) => {
                    let kept = serde_json::to_string(&memory).expect("it can be kept");
                    let back: Remembered = serde_json::from_str(&kept).expect("and read back");
                    assert_eq!(serde_json::to_string(&back).ok().as_ref(), Some(&kept));
                    self.remembered = Some(*memory);
                }
            }
        }
        while let Some(event) = self.machine.poll_event() {
            bound.count();
            assert!(!format!("{event:?}").contains(TOKEN), "S23");
        }
    }
}

pub(crate) fn registration(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    if script.says(&[PASSWORD, TOKEN]) {
        return;
    }
    let mut bench = Bench {
        machine: Registration::new(config(), None, Entropy::from_number(42)),
        now: Time::from_millis(1_000_000),
        flows: 0,
        opening: 0,
        asked: None,
        remembered: None,
        sent: 0,
    };
    let wall = WallTime(1_789_000_000_000);
    script.play(|script| {
        let now = bench.now;
        match script.below(21) {
            0 | 1 => bench.machine.start(now),
            2..=4 => {
                if bench.opening > 0 {
                    bench.opening -= 1;
                    bench.flows += 1;
                    let flow = FlowInfo {
                        id: FlowId(bench.flows),
                        transport: Transport::ALL[script.below(5)],
                        local: "10.20.0.5:40001".parse().unwrap(),
                        remote: "192.0.2.1:5061".parse().unwrap(),
                    };
                    let others = if script.byte() < 64 { OtherHops::Left } else { OtherHops::None };
                    bench.machine.flow_opened(now, flow, others);
                }
            }
            5 => {
                if bench.opening > 0 {
                    bench.opening -= 1;
                    bench.machine.flow_not_opened(now);
                }
            }
            6 => bench.machine.flow_lost(now, FlowId(u64::from(script.byte() % 4))),
            7..=10 => {
                let asked = if script.flag() { bench.asked.take() } else { bench.asked.clone() };
                if let Some((request, _)) = asked
                    && let Some(answer) = response(script, &request)
                {
                    bench.machine.responded(now, wall, &answer);
                }
            }
            11 => bench.machine.timed_out(now),
            12 => bench.machine.transport_failed(now),
            13 => bench.machine.suspend(now),
            14 => bench.machine.resume(now),
            15 => bench.machine.wake(now, "Zk3vQm1xT0aB9wLr".parse().ok().filter(|_| script.flag())),
            16 => {
                let token =
                    PushParameters::new(Provider::Fcm, "acme", format!("{TOKEN}{}", script.byte()).into());
                bench.machine.set_push(now, token.ok().filter(|_| script.byte() > 20));
            }
            17 => bench.machine.network_changed(now),
            19 => {
                let mut other = config();
                other.expires += u32::from(script.byte() % 3);
                if script.byte() < 64 {
                    other.contact_user = "max".into();
                }
                let edge = if script.flag() { Edge::Same } else { Edge::Changed };
                if edge == Edge::Changed || !bench.machine.is_same_account(&other) {
                    bench.opening = 0;
                }
                bench.machine.reconfigure(now, other, edge);
            }
            18 => {
                if script.flag() {
                    bench.machine.unregister(now);
                } else if let Some(memory) = bench.remembered.clone() {
                    // Killed, and started again with what it kept.
                    bench.machine = Registration::new(config(), Some(memory), Entropy::from_number(43));
                    bench.opening = 0;
                    bench.asked = None;
                }
            }
            _ => {
                bench.now += script.span();
                bench.machine.handle_timeout(bench.now);
            }
        }
        bench.drain();
        let due = bench.machine.poll_timeout();
        if due.is_some_and(|due| due <= bench.now) {
            bench.machine.handle_timeout(bench.now);
            bench.drain();
            assert!(bench.machine.poll_timeout().is_none_or(|due| due > bench.now), "a timer always due");
        }
    });
    // A server that never answers again costs a bounded number of tries in an hour (F14).
    bench.sent = 0;
    let end = bench.now + Duration::from_secs(3600);
    let mut bound = Bound::new(2_000, "a registration without a server");
    loop {
        bound.count();
        if bench.opening > 0 {
            bench.opening -= 1;
            bench.machine.flow_not_opened(bench.now);
        } else if bench.asked.take().is_some() {
            bench.now += Duration::from_secs(32);
            bench.machine.timed_out(bench.now);
        } else if let Some(due) = bench.machine.poll_timeout().filter(|due| *due <= end) {
            bench.now = bench.now.max(due);
            bench.machine.handle_timeout(bench.now);
        } else {
            break;
        }
        bench.drain();
    }
    assert!(bench.sent <= 120, "{} tries in an hour", bench.sent);
    // And asleep it does nothing at all.
    bench.machine.suspend(bench.now);
    bench.drain();
    if bench.machine.phase() == Phase::Suspended {
        assert_eq!(bench.machine.poll_timeout(), None, "a timer ticks in a sleeping phone");
    }
}
