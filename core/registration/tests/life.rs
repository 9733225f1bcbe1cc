//! One binding's life against a scripted registrar, on virtual time. Tests are named by the order of events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

use std::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_push::{Provider, PushMode, PushParameters, WakeId, WakeState};
use wakeline_registration::*;
use wakeline_sip_auth::{AuthError, Credentials};
use wakeline_sip_message::{Builder, Message, Name, OwnedUri};

const INSTANCE: &str = "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77";
const CHALLENGE: &str = "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";

fn config() -> AccountConfig {
    let uri = |text| OwnedUri::parse(text).unwrap();
    let mut config = AccountConfig::new(
        uri("sip:example.org"),
        uri("sip:mia@example.org"),
        Credentials::password("mia", "secret"),
    );
    config.instance = Instance::parse(INSTANCE);
    config
}

fn token(prid: &str) -> PushParameters {
    PushParameters::new(Provider::Fcm, "acme-voice", prid.into()).unwrap()
}

struct Bench {
    machine: Registration,
    now: Time,
    wall: WallTime,
    flows: u64,
    sent: Vec<(Message, FlowInfo)>,
    closed: Vec<FlowId>,
    opening: usize,
    hops: Vec<HopChoice>,
    remembered: Option<Remembered>,
    events: Vec<Event>,
}

impl Bench {
    fn new(config: AccountConfig, memory: Option<Remembered>) -> Bench {
        Bench {
            machine: Registration::new(config, memory, Entropy::from_number(42)),
            now: Time::from_millis(1_000_000),
            wall: WallTime(1_789_000_000_000),
            flows: 0,
            sent: Vec::new(),
            closed: Vec::new(),
            opening: 0,
            hops: Vec::new(),
            remembered: None,
            events: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::OpenFlow { hop } => {
                    self.opening += 1;
                    self.hops.push(hop);
                }
                Output::CloseFlow { flow } => self.closed.push(flow),
                Output::Send { request, flow } => self.sent.push((request, flow)),
                Output::Remember(memory) => self.remembered = Some(*memory),
            }
        }
        while let Some(event) = self.machine.poll_event() {
            self.events.push(event);
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Registration, Time)) {
        act(&mut self.machine, self.now);
        self.drain();
    }

    fn open(&mut self) -> FlowInfo {
        assert_eq!(self.opening, 1, "flows asked for");
        self.open_one()
    }

    fn open_one(&mut self) -> FlowInfo {
        self.open_with(OtherHops::None)
    }

    fn open_with(&mut self, others: OtherHops) -> FlowInfo {
        self.opening -= 1;
        self.flows += 1;
        let flow = FlowInfo {
            id: FlowId(self.flows),
            transport: Transport::Tls,
            local: format!("10.20.0.5:{}", 40_000 + self.flows).parse().unwrap(),
            remote: "192.0.2.1:5061".parse().unwrap(),
        };
        self.act(|machine, now| machine.flow_opened(now, flow, others));
        flow
    }

    fn last(&self) -> &Message {
        &self.sent.last().expect("a request").0
    }

    fn contact(&self) -> String {
        self.last().header(Name::Contact).unwrap().to_owned()
    }

    fn answer(&mut self, code: u16, fields: &[(Name, &str)]) {
        let fields = fields.iter().map(|(name, value)| (name.clone(), *value));
        let response = Builder::response(self.last(), code, "").headers(fields).build().unwrap();
        let wall = self.wall;
        self.act(|machine, now| machine.responded(now, wall, &response));
    }

    /// 200 as an outbound and push server gives it.
    fn accept(&mut self) {
        self.accept_with(604_800, "fcm");
    }

    fn accept_with(&mut self, expires: u32, pns: &str) {
        let contact = format!("{};expires={expires}", self.contact());
        let caps = format!("*;+sip.pns=\"{pns}\";+sip.pnspurr=\"p1\"");
        self.answer(
            200,
            &[(Name::Contact, &contact), (Name::Require, "outbound"), (Name::FeatureCaps, &caps)],
        );
    }

    fn registered(config: AccountConfig, push: Option<PushParameters>) -> Bench {
        let mut bench = Bench::new(config, None);
        bench.act(|machine, now| machine.set_push(now, push));
        bench.act(|machine, now| machine.start(now));
        bench.open();
        bench.accept();
        assert_eq!(bench.machine.phase(), Phase::Registered);
        bench.events.clear();
        bench.sent.clear();
        bench
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
    }

    /// Lets time pass to the machine's next deadline.
    fn next(&mut self) -> Duration {
        let due = self.machine.poll_timeout().expect("a deadline");
        let span = due - self.now;
        self.now = self.now.max(due);
        self.act(|machine, now| machine.handle_timeout(now));
        span
    }
}

fn wid(text: &str) -> WakeId {
    text.parse().unwrap()
}

#[test]
fn start_flow_register_200_registered() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("dK2:APA91b"))));
    bench.act(|machine, now| machine.start(now));
    let flow = bench.open();
    let request = bench.last().clone();
    assert_eq!(request.request_uri_text(), "sip:example.org");
    assert_eq!(
        bench.contact(),
        format!(
            "<sip:mia@10.20.0.5:40001;transport=tls;ob;pn-provider=fcm;pn-param=acme-voice;pn-prid=dK2:APA91b>\
             ;reg-id=1;+sip.instance=\"<{INSTANCE}>\""
        )
    );
    assert_eq!(request.header(Name::Supported), Some("path, outbound, gruu"));
    assert_eq!((request.expires(), request.to_tag()), (Ok(Some(3600)), None));
    bench.accept();
    let registered =
        Registered { expires: 604_800, push: PushStatus::Confirmed, round_trips: 1, flow, flow_timer: None };
    assert_eq!(bench.events, [Event::Registered(registered)]);
    assert_eq!(bench.machine.offer().purr.as_deref(), Some("p1"));
    assert_eq!(bench.machine.flow(), Some(flow));
    assert!(!format!("{:?}", bench.machine.contact()).contains("APA91b"), "a log shows no token");
}

#[test]
fn register_401_register_200_then_a_refresh_of_one_round_trip() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    assert_eq!(bench.sent.len(), 2);
    let numbers: Vec<u32> = bench.sent.iter().map(|(sent, _)| sent.cseq().unwrap().number).collect();
    assert_eq!(numbers[1], numbers[0] + 1);
    assert_eq!(bench.sent[0].0.call_id(), bench.sent[1].0.call_id());
    bench.accept_with(3600, "fcm");
    assert_eq!(bench.machine.round_trips(), Some(2));
    assert_eq!(bench.next(), Duration::from_secs(3000));
    assert!(bench.last().header(Name::Authorization).unwrap().contains("nc=00000002"));
    bench.accept_with(3600, "fcm");
    assert_eq!((bench.machine.round_trips(), bench.sent.len()), (Some(1), 3));
}

#[test]
fn cold_start_after_a_kill_costs_one_register_and_goes_on_counting() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    bench.accept();
    let before = bench.last().clone();
    let memory = serde_json::to_string(&bench.remembered.clone().unwrap()).unwrap();

    let mut woken = Bench::new(config(), Some(serde_json::from_str(&memory).unwrap()));
    woken.act(|machine, now| machine.wake(now, Some(wid("Zk3vQm1xT0aB9wLr"))));
    woken.open();
    let request = woken.last();
    assert_eq!(request.call_id(), before.call_id());
    assert_eq!(request.cseq().unwrap().number, before.cseq().unwrap().number + 1);
    assert!(request.header(Name::Authorization).unwrap().contains("nc=00000002"));
    assert_eq!(request.header_by_name("X-Wake-Id"), Some("Zk3vQm1xT0aB9wLr"));
    assert!(woken.contact().contains("pn-prid=t1"), "the token is kept without being told again");
    woken.accept();
    assert_eq!(woken.machine.round_trips(), Some(1));
}

#[test]
fn the_count_is_remembered_before_the_request_leaves() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t"))));
    let memory = bench.remembered.clone().unwrap();
    assert_eq!(memory.cseq, bench.last().cseq().unwrap().number);
}

#[test]
fn every_register_of_a_binding_carries_the_same_push_parameters() {
    let mut bench = Bench::registered(config(), Some(token("dK2_ex:APA91b")));
    let push = |contact: &str| {
        let from = contact.find(";pn-provider").expect("push parameters");
        contact[from..contact.find('>').unwrap()].to_owned()
    };
    let mut seen = Vec::new();
    bench.next();
    seen.push(push(&bench.contact()));
    bench.accept();
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(7200));
    bench.act(|machine, now| machine.wake(now, None));
    bench.open();
    seen.push(push(&bench.contact()));
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn register_200_without_feature_caps_is_not_offered_but_taken_for_granted_in_other_modes() {
    for (mode, status) in [
        (PushMode::Rfc8599, PushStatus::NotOffered),
        (PushMode::Linphone, PushStatus::Confirmed),
        (PushMode::Xmpush, PushStatus::Confirmed),
        (PushMode::None, PushStatus::NotAsked),
    ] {
        let mut account = config();
        account.push_mode = mode;
        let mut bench = Bench::new(account, None);
        bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
        bench.act(|machine, now| machine.start(now));
        bench.open();
        bench.accept_with(3600, "apns");
        assert_eq!(bench.machine.push_status(), status, "{mode:?}");
        let contact = bench.contact();
        assert_eq!(contact.contains("pn-prid"), matches!(mode, PushMode::Rfc8599 | PushMode::Linphone));
        let header = bench.last().header_by_name("X-MPUSH");
        assert_eq!(header, (mode == PushMode::Xmpush).then_some("a:acme-voice:t1"));
    }
}

#[test]
fn register_555_register_plainly_200_refused() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(555, &[]);
    assert!(!bench.contact().contains("pn-"));
    bench.accept();
    assert_eq!(
        (bench.machine.push_status(), bench.machine.phase()),
        (PushStatus::Refused, Phase::Registered)
    );
    bench.next();
    assert!(!bench.contact().contains("pn-"), "and stays so");
}

#[test]
fn register_423_register_with_min_expires_200() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(423, &[(Name::MinExpires, "7200")]);
    assert_eq!(bench.last().expires(), Ok(Some(7200)));
    bench.accept_with(7200, "x");
    assert_eq!(bench.machine.phase(), Phase::Registered);
    assert_eq!(bench.remembered.as_ref().unwrap().min_expires, 7200);
}

#[test]
fn f14_423_with_a_lower_minimum_is_no_loop() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(423, &[(Name::MinExpires, "60")]);
    assert_eq!((bench.sent.len(), bench.machine.phase()), (1, Phase::Failed));
}

#[test]
fn register_439_register_without_outbound_200() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(439, &[]);
    assert!(!bench.contact().contains("reg-id") && !bench.contact().contains(";ob"));
    assert_eq!(bench.last().header(Name::Supported), Some("path, gruu"));
    bench.answer(200, &[]);
    assert_eq!(bench.machine.outbound_support(), OutboundSupport::Refused);
    bench.next();
    assert!(!bench.contact().contains("reg-id"), "and is not offered again");
}

#[test]
fn token_rotated_with_outbound_replaces_in_one_register() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert!(bench.contact().contains("pn-prid=t2") && bench.contact().contains("reg-id=1"));
    bench.accept();
    assert_eq!(bench.sent.len(), 1);
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.sent.len(), 1, "the same token again changes nothing");
}

#[test]
fn token_rotated_without_outbound_removes_the_old_contact_first() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    let old = bench.contact();
    bench.answer(200, &[(Name::FeatureCaps, "+sip.pns=\"fcm\"")]);
    assert_eq!(bench.machine.outbound_support(), OutboundSupport::Lacking);
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.contact(), format!("{old};expires=0"));
    bench.answer(200, &[]);
    assert!(bench.contact().contains("pn-prid=t2") && !bench.contact().contains("expires=0"));
    bench.answer(200, &[(Name::FeatureCaps, "+sip.pns=\"fcm\"")]);
    assert_eq!(bench.sent.len(), 3);
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn token_rotated_between_two_launches_is_found_at_the_second() {
    let bench = Bench::registered(config(), Some(token("t1")));
    let mut second = Bench::new(config(), bench.remembered.clone());
    second.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    second.act(|machine, now| machine.start(now));
    second.open();
    assert!(second.contact().contains("pn-prid=t2"));
}

#[test]
fn token_lost_registers_plainly() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.set_push(now, None));
    assert!(!bench.contact().contains("pn-"));
    bench.accept();
    assert_eq!(bench.machine.push_status(), PushStatus::NotAsked);
}

#[test]
fn f8_token_rotated_while_the_register_is_out_follows_it() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!(bench.sent.len(), 2);
    assert!(bench.contact().contains("pn-prid=t2"));
}

#[test]
fn unregister_removes_the_contact_without_its_token() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.unregister(now));
    assert!(bench.contact().ends_with(";expires=0") && !bench.contact().contains("pn-"));
    bench.answer(200, &[]);
    assert_eq!(bench.events, [Event::Unregistered]);
    assert_eq!((bench.machine.phase(), bench.machine.poll_timeout()), (Phase::Idle, None));
    assert_eq!(bench.closed, [FlowId(1)]);
}

#[test]
fn unregister_all_is_a_star() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.unregister_all(now));
    assert_eq!((bench.contact().as_str(), bench.last().expires()), ("*", Ok(Some(0))));
    bench.answer(200, &[]);
    assert_eq!(bench.events, [Event::Unregistered]);
}

#[test]
fn unregister_that_nobody_answers_ends_all_the_same() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.unregister(now));
    bench.act(|machine, now| machine.timed_out(now));
    assert_eq!((bench.events.last(), bench.machine.phase()), (Some(&Event::Unregistered), Phase::Idle));
}

#[test]
fn unregister_while_registering_waits_for_the_200_and_start_during_it_binds_again() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.unregister(now));
    bench.accept();
    assert!(bench.contact().ends_with(";expires=0"));
    bench.act(|machine, now| machine.start(now));
    bench.answer(200, &[]);
    assert!(!bench.contact().ends_with(";expires=0"));
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn suspend_closes_the_flow_keeps_the_binding_and_nothing_ticks() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    assert_eq!((bench.closed.as_slice(), bench.sent.len()), (&[FlowId(1)][..], 0));
    assert_eq!((bench.machine.phase(), bench.machine.poll_timeout()), (Phase::Suspended, None));
    bench.pass(Duration::from_secs(3600));
    bench.act(|machine, now| machine.handle_timeout(now));
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0));
}

#[test]
fn suspend_while_registering_waits_for_the_answer() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.suspend(now));
    assert!(bench.closed.is_empty());
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.closed.as_slice()), (Phase::Suspended, &[FlowId(1)][..]));
}

#[test]
fn suspend_then_resume_and_push_at_once_is_one_flow_and_one_register() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(7200));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.act(|machine, now| machine.resume(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    bench.act(|machine, now| machine.resume(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    assert_eq!((bench.sent.len(), bench.opening), (1, 0));
}

#[test]
fn two_pushes_for_two_calls_each_ask_for_their_state() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    bench.act(|machine, now| machine.wake(now, Some(wid("BBBBBBBBBBBBBBBB"))));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
    let states = [(Name::parse("X-Wake-State").unwrap(), "AAAAAAAAAAAAAAAA=cancelled")];
    bench.answer(200, &states);
    let told = Event::WakeStates(vec![(wid("AAAAAAAAAAAAAAAA"), WakeState::Cancelled)]);
    assert!(bench.events.contains(&told));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("BBBBBBBBBBBBBBBB"));
    bench.answer(200, &[]);
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn push_while_the_old_flow_seems_alive_registers_on_a_fresh_one() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.pass(Duration::from_secs(60));
    bench.act(|machine, now| machine.wake(now, None));
    let fresh = bench.open();
    assert!(bench.closed.is_empty(), "an INVITE may still come on the old one");
    bench.accept();
    assert_eq!((bench.closed.as_slice(), bench.machine.flow()), (&[FlowId(1)][..], Some(fresh)));
}

#[test]
fn push_within_a_refresh_on_a_dead_flow_starts_over() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.next();
    assert_eq!((bench.sent.len(), bench.opening), (1, 0));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    assert_eq!((bench.sent.len(), bench.closed.as_slice()), (2, &[FlowId(1)][..]));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
}

#[test]
fn s26_a_refresh_slept_through_is_one_register_on_a_fresh_flow_at_once() {
    for slept in [60, 600, 7200, 30 * 86_400] {
        let mut bench = Bench::registered(config(), None);
        let due = bench.machine.poll_timeout().unwrap();
        bench.now = due + Duration::from_secs(slept);
        for _ in 0..3 {
            bench.act(|machine, now| machine.handle_timeout(now));
        }
        bench.open();
        bench.act(|machine, now| machine.handle_timeout(now));
        assert_eq!(bench.sent.len(), 1);
        bench.accept();
        assert_eq!(bench.machine.phase(), Phase::Registered);
    }
}

#[test]
fn s26_a_wall_clock_that_jumps_moves_no_timer() {
    let mut bench = Bench::registered(config(), None);
    let due = bench.machine.poll_timeout();
    bench.wall = WallTime(0);
    bench.act(|machine, now| machine.handle_timeout(now));
    assert_eq!((bench.machine.poll_timeout(), bench.sent.len()), (due, 0));
}

#[test]
fn f6_flow_lost_reopens_within_ten_seconds_spread_over_them() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut bench = Bench::registered(config(), None);
        bench.machine = Registration::new(config(), None, Entropy::from_number(seed));
        bench.act(|machine, now| machine.start(now));
        let flow = bench.open();
        bench.accept();
        bench.act(|machine, now| machine.flow_lost(now, flow.id));
        assert_eq!(bench.machine.phase(), Phase::Registering);
        waits.push(bench.next());
        bench.open();
        bench.accept();
    }
    waits.sort();
    assert!(waits[199] <= Duration::from_secs(10));
    assert!(waits[199] - waits[0] > Duration::from_secs(6), "no herd: {:?}..{:?}", waits[0], waits[199]);
}

#[test]
fn f14_a_wrong_password_is_told_and_not_tried_again() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    bench.answer(401, &[(Name::WwwAuthenticate, &CHALLENGE.replace("n1", "n2"))]);
    let told =
        Event::Failed { cause: Cause::Auth { error: AuthError::Rejected, code: Some(401) }, retry_at: None };
    assert_eq!(bench.events, [told]);
    assert_eq!((bench.sent.len(), bench.machine.poll_timeout()), (2, None));
    assert_eq!(bench.closed, [FlowId(1)]);
    let right = AccountConfig { credentials: Credentials::password("mia", "right"), ..config() };
    bench.act(|machine, now| machine.reconfigure(now, right, Edge::Same));
    bench.open();
    assert_eq!(bench.sent.len(), 3);
}

#[test]
fn f14_at_most_ten_requests_in_a_minute_whatever_the_registrar_says() {
    for code in [401u16, 408, 423, 430, 439, 480, 500, 503, 555, 600] {
        let untiring = AccountConfig { reregister: Reregister::Always, ..config() };
        let mut bench = Bench::new(untiring, None);
        bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
        bench.act(|machine, now| machine.start(now));
        let mut times: Vec<Time> = Vec::new();
        for nonce in 0..2000u32 {
            if bench.opening > 0 {
                bench.open();
            }
            while times.len() < bench.sent.len() {
                times.push(bench.now);
            }
            if bench.machine.phase() == Phase::Registering && bench.opening == 0 {
                let stale = format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true");
                let least = (3600 + nonce).to_string();
                bench.answer(code, &[(Name::WwwAuthenticate, &stale), (Name::MinExpires, &least)]);
            } else if bench.machine.poll_timeout().is_some() {
                bench.next();
            }
        }
        for window in times.windows(11) {
            assert!(window[10] - window[0] >= Duration::from_secs(60), "{code}: {window:?}");
        }
        assert!(times.len() < 2000);
    }
}

#[test]
fn f14_503_with_retry_after_is_honoured() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.answer(503, &[(Name::RetryAfter, "300")]);
    let wait = bench.next();
    assert!(wait >= Duration::from_secs(300) && wait < Duration::from_secs(301), "{wait:?}");
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn no_answer_backs_off_by_doubling_and_a_wake_cuts_it_short() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.open();
        bench.act(|machine, now| machine.timed_out(now));
        assert!(matches!(bench.events.pop(), Some(Event::Failed { cause: Cause::TimedOut, .. })));
        waits.push(bench.next());
    }
    assert!(waits[5] > waits[0] * 8, "{waits:?}");
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
}

#[test]
fn a_wake_that_finds_no_network_tries_again_within_two_seconds() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    assert!(bench.next() <= Duration::from_secs(2));
    bench.open();
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
}

#[test]
fn a_wake_whose_handshake_hangs_asks_for_another_flow_after_two_seconds() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 2));
    assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 3));
    assert_eq!(bench.machine.poll_timeout(), None, "three at once are enough");
    let first = bench.open_one();
    assert_eq!((bench.sent.len(), bench.sent[0].1), (1, first));
    // Whatever else opens now is closed, and whatever does not is no failure.
    let second = bench.open_one();
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    assert_eq!((bench.sent.len(), bench.closed.last()), (1, Some(&second.id)));
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn without_a_push_one_flow_is_waited_for() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!((bench.machine.poll_timeout(), bench.opening), (None, 1));
}

#[test]
fn a_refused_handshake_beside_a_hanging_one_is_not_repeated_at_once() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    for _ in 0..20 {
        assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 2));
        bench.opening -= 1;
        bench.act(|machine, now| machine.flow_not_opened(now));
        assert_eq!(bench.events, [], "the other one may still open");
    }
}

#[test]
fn a_wake_that_nobody_answers_gives_up_its_flow_after_four_seconds_and_then_eight() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    for (nth, seconds) in [4, 8, 16, 32].into_iter().enumerate() {
        let flow = bench.open();
        assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
        assert_eq!((bench.next(), bench.sent.len()), (Duration::from_secs(seconds), nth + 1));
        assert_eq!(bench.closed.last(), Some(&flow.id));
    }
    bench.open();
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 5));
}

#[test]
fn a_refresh_that_no_push_waits_for_is_left_to_its_transaction() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn a_wake_that_joins_a_register_is_answered_by_it_or_by_the_next_one() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.pass(Duration::from_secs(2));
    bench.act(|machine, now| machine.wake(now, None));
    assert_eq!(bench.next(), Duration::from_secs(2), "four seconds after it left");
    bench.open();
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn suspend_before_the_pushs_register_left_waits_for_it_and_rests_then() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(60));
    bench.act(|machine, now| machine.wake(now, None));
    bench.act(|machine, now| machine.suspend(now));
    assert!(bench.machine.awaits_flow());
    let flow = bench.open();
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.closed.last()), (Phase::Suspended, Some(&flow.id)));
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn suspend_while_a_push_waits_then_resume_stays_awake() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.resume(now));
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn suspend_without_a_push_gives_up_the_flow_that_is_being_opened() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.act(|machine, now| machine.suspend(now));
    assert_eq!((bench.machine.phase(), bench.machine.awaits_flow()), (Phase::Suspended, false));
    let late = bench.open();
    assert_eq!((bench.sent.len(), bench.closed.as_slice()), (0, &[late.id][..]));
}

#[test]
fn refresh_push_without_a_call_registers_too() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(3600));
    bench.act(|machine, now| machine.wake(now, None));
    bench.open();
    assert_eq!((bench.sent.len(), bench.last().header_by_name("X-Wake-Id")), (1, None));
}

#[test]
fn refresh_push_joins_the_register_that_is_out_unless_that_is_unanswered_for_three_seconds() {
    for (waited, sent) in [(2900, 1), (3100, 2)] {
        let mut bench = Bench::new(config(), None);
        bench.act(|machine, now| machine.start(now));
        let first = bench.open();
        bench.pass(Duration::from_millis(waited));
        bench.act(|machine, now| machine.wake(now, None));
        if sent == 2 {
            assert_eq!(bench.closed, [first.id], "the flow is taken for dead");
            bench.open();
        }
        assert_eq!((bench.sent.len(), bench.opening), (sent, 0), "after {waited} ms");
    }
}

#[test]
fn f1_network_changed_gives_up_even_a_flow_that_was_proven_a_moment_ago() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.resume(now));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0), "a return finds a proven flow");
    bench.act(|machine, now| machine.network_changed(now));
    let fresh = bench.open();
    assert_eq!((bench.sent.len(), bench.sent[0].1), (1, fresh));
}

#[test]
fn f1_network_changed_moves_the_binding_to_a_fresh_flow() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!(bench.closed, [FlowId(2), FlowId(1)]);
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.flow().map(|flow| flow.id), Some(FlowId(3)));
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    let late = Builder::response(bench.last(), 200, "").build().unwrap();
    bench.act(|machine, now| machine.timed_out(now));
    bench.next();
    bench.open();
    let wall = bench.wall;
    bench.act(|machine, now| machine.responded(now, wall, &late));
    assert_eq!(bench.machine.phase(), Phase::Registering);
}

#[test]
fn the_200_grants_what_its_own_contact_says() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    let ours = format!(
        "{};expires=1800;pub-gruu=\"sip:mia@example.org;gr={INSTANCE}\";temp-gruu=\"sip:tg.9f@example.org;gr\"",
        bench.contact()
    );
    let other = "<sip:mia@192.0.2.77>;expires=60;+sip.instance=\"<urn:uuid:other>\"";
    bench.answer(
        200,
        &[
            (Name::Contact, other),
            (Name::Contact, &ours),
            (Name::Expires, "3600"),
            (Name::ServiceRoute, "<sip:edge.example.org;lr>, <sip:core.example.org;lr>"),
            (Name::FlowTimer, "120"),
            (Name::Require, "outbound"),
        ],
    );
    assert_eq!(bench.machine.expires_in(bench.now), Some(Duration::from_secs(1800)));
    assert_eq!(bench.machine.service_route(), ["<sip:edge.example.org;lr>", "<sip:core.example.org;lr>"]);
    assert_eq!(bench.machine.flow_timer(), Some(120));
    let gruus = bench.machine.gruus();
    assert_eq!(gruus.public.as_deref(), Some(format!("sip:mia@example.org;gr={INSTANCE}").as_str()));
    assert_eq!(gruus.temporary.as_deref(), Some("sip:tg.9f@example.org;gr"));
}

#[test]
fn s23_no_token_or_password_in_any_debug_text() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("canary-token"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    let shown = format!("{:?} {:?} {:?}", bench.sent, bench.remembered, config());
    for canary in ["canary-token", "secret\"", "n1\""] {
        assert!(!shown.contains(canary), "{canary}");
    }
}

#[test]
fn s8_settings_that_would_forge_a_header_line_make_no_register() {
    for (name, value) in [("x", "a\r\nRoute: <sip:evil>"), ("x\r\ny", "a"), ("x", "a;pn-prid=t\0")] {
        let mut account = config();
        account.contact_parameters = vec![(name.into(), Some(value.into()))];
        let mut bench = Bench::new(account, None);
        bench.act(|machine, now| machine.start(now));
        bench.open();
        assert!(bench.sent.is_empty());
        assert!(matches!(bench.events[..], [Event::Failed { cause: Cause::Settings(_), retry_at: None }]));
    }
}

/// 10,000 random orders of events: the machine never has two requests out, never asks for a second flow while one is
/// being opened (three, while a push waits), closes every flow in the end, and ends idle.
#[test]
fn s27_random_orders_of_events_end_idle_with_every_flow_closed() {
    for seed in 0..10_000u64 {
        let mut random = Entropy::from_number(seed);
        let mut bench = Bench::new(config(), None);
        let mut open: Vec<FlowInfo> = Vec::new();
        for step in 0..40 {
            match random.below(14) {
                0 => bench.act(|machine, now| machine.start(now)),
                1 => bench.act(|machine, now| machine.suspend(now)),
                2 => bench.act(|machine, now| machine.resume(now)),
                3 => bench.act(|machine, now| machine.network_changed(now)),
                4 => bench.act(|machine, now| machine.wake(now, Some(WakeId::of("c", &step.to_string())))),
                5 => bench.act(|machine, now| machine.set_push(now, Some(token(&step.to_string())))),
                6 => bench.act(|machine, now| machine.timed_out(now)),
                7 => {
                    if let Some(flow) = open.pop() {
                        bench.act(|machine, now| machine.flow_lost(now, flow.id));
                    }
                }
                8 if bench.opening > 0 => {
                    bench.opening -= 1;
                    bench.act(|machine, now| machine.flow_not_opened(now));
                }
                9 if bench.opening > 0 => {
                    open.push(bench.open_one());
                }
                10 if !bench.sent.is_empty() => bench.accept(),
                11 if !bench.sent.is_empty() => {
                    let code = [401, 403, 423, 430, 439, 503, 555][random.below(7) as usize];
                    bench.answer(code, &[(Name::WwwAuthenticate, CHALLENGE), (Name::MinExpires, "9000")]);
                }
                12 => bench.act(|machine, now| machine.unregister(now)),
                _ => {
                    let span = Duration::from_secs(u64::from(random.below(4000)));
                    bench.pass(span);
                    bench.act(|machine, now| machine.handle_timeout(now));
                }
            }
            assert!(bench.opening <= 3, "seed {seed}: flows asked for");
            open.retain(|flow| !bench.closed.contains(&flow.id));
        }
        bench.act(|machine, now| machine.unregister(now));
        for _ in 0..20 {
            if bench.machine.phase() == Phase::Idle && bench.opening == 0 {
                break;
            }
            if bench.opening > 0 {
                open.push(bench.open_one());
            } else {
                bench.act(|machine, now| machine.timed_out(now));
            }
        }
        open.retain(|flow| !bench.closed.contains(&flow.id));
        assert_eq!(bench.machine.phase(), Phase::Idle, "seed {seed}");
        assert_eq!(bench.machine.poll_timeout(), None, "seed {seed}");
        assert!(open.is_empty(), "seed {seed}: {open:?} stay open");
    }
}

#[test]
fn f5_a_hop_that_does_not_answer_is_left_for_the_next_within_four_seconds() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    let began = bench.now;
    bench.open_with(OtherHops::Left);
    bench.next();
    assert!(bench.now - began < Duration::from_secs(4), "{:?}", bench.now - began);
    assert_eq!(
        (bench.closed.as_slice(), bench.hops.as_slice()),
        (&[FlowId(1)][..], &[HopChoice::Best, HopChoice::Next][..])
    );
    assert_eq!((bench.machine.phase(), bench.events.len()), (Phase::Registering, 0));
    bench.open();
    assert_eq!(bench.sent.len(), 2);
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
    // A refresh on the hop that works leaves it alone.
    bench.next();
    assert_eq!((bench.sent.len(), bench.machine.poll_timeout()), (3, None));
}

#[test]
fn f5_a_hop_that_breaks_or_says_503_is_left_for_the_next_at_once_and_the_last_one_fails() {
    type Fault = fn(&mut Bench);
    let faults: [Fault; 3] = [
        |bench| bench.act(|machine, now| machine.transport_failed(now)),
        |bench| bench.act(|machine, now| machine.flow_lost(now, FlowId(1))),
        |bench| bench.answer(503, &[]),
    ];
    for fault in faults {
        let mut bench = Bench::new(config(), None);
        bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
        bench.open_with(OtherHops::Left);
        fault(&mut bench);
        assert_eq!(bench.hops, [HopChoice::Best, HopChoice::Next]);
        bench.open();
        // The next hop is told of the wake as well.
        assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
        bench.answer(503, &[]);
        assert_eq!(bench.machine.phase(), Phase::Failed);
        assert_eq!(bench.hops.len(), 2);
    }
}

#[test]
fn f14_going_from_hop_to_hop_keeps_to_ten_requests_a_minute() {
    let untiring = AccountConfig { reregister: Reregister::Always, ..config() };
    let mut bench = Bench::new(untiring, None);
    bench.act(|machine, now| machine.start(now));
    let mut times = Vec::new();
    for _ in 0..60 {
        if bench.opening > 0 {
            bench.open_with(OtherHops::Left);
            times.push(bench.now);
            bench.answer(503, &[]);
        } else {
            bench.next();
        }
    }
    assert!(times.len() > 10);
    for window in times.windows(11) {
        assert!(window[10] - window[0] >= Duration::from_secs(60), "{window:?}");
    }
}

#[test]
fn s26_a_day_slept_through_while_the_register_was_out_is_one_register_at_once() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.sent.clear();
    bench.pass(Duration::from_secs(86_400));
    bench.act(|machine, now| machine.timed_out(now));
    bench.act(|machine, now| machine.handle_timeout(now));
    bench.open();
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 1));
}

#[test]
fn changed_settings_are_told_to_the_registrar_at_once_on_the_same_flow() {
    type Change = fn(&mut AccountConfig);
    let changes: [(Change, &str); 5] = [
        (|config| config.expires = 77, "Expires: 77\r\n"),
        (|config| config.display_name = Some("Mia B".into()), "From: \"Mia B\" <sip:mia@example.org>"),
        (|config| config.contact_parameters = vec![("+sip.x".into(), None)], ";+sip.x\r\n"),
        (|config| config.contact_uri_parameters = vec![("y".into(), Some("1".into()))], ";y=1;ob"),
        (|config| config.headers = vec![(Name::parse("X-A").unwrap(), "b".into())], "X-A: b\r\n"),
    ];
    for (change, seen) in changes {
        let mut bench = Bench::registered(config(), None);
        let mut changed = config();
        change(&mut changed);
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!((bench.sent.len(), bench.opening), (1, 0), "{seen}");
        let wire = String::from_utf8(bench.last().to_bytes().to_vec()).unwrap();
        assert!(wire.contains(seen), "{seen}: {wire}");
        // While one is out, the change follows it.
        let mut bench = Bench::registered(config(), None);
        bench.act(|machine, now| machine.start(now));
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!(bench.sent.len(), 1);
        bench.accept();
        assert_eq!(bench.sent.len(), 2);
        bench.accept();
        // The same once more changes nothing.
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!(bench.sent.len(), 2);
        assert_eq!(bench.machine.phase(), Phase::Registered);
    }
}

#[test]
fn a_changed_way_is_gone_on_a_fresh_flow_and_the_old_one_ends_after_the_200() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.reconfigure(now, config(), Edge::Changed));
    assert!(bench.closed.is_empty());
    bench.open();
    bench.accept();
    assert_eq!((bench.closed.as_slice(), bench.sent.len()), (&[FlowId(1)][..], 1));
}

#[test]
fn another_address_of_record_removes_the_old_binding_and_begins_anew() {
    let uri = |text| OwnedUri::parse(text).unwrap();
    let mut other = config();
    other.address = uri("sip:max@example.org");
    other.contact_user = "max".into();
    let mut bench = Bench::registered(config(), Some(token("t1")));
    let old = bench.machine.remembered().call_id;
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Changed));
    assert!(
        bench.contact().contains("sip:mia@") && bench.contact().ends_with(";expires=0"),
        "{}",
        bench.contact()
    );
    // A further change before the answer: only the last one counts.
    other.display_name = Some("Max".into());
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Same));
    bench.answer(200, &[]);
    assert_eq!(bench.events.pop(), Some(Event::Unregistered));
    bench.open();
    let register = bench.last().clone();
    assert_eq!(register.header(Name::To), Some("<sip:max@example.org>"));
    assert!(register.header(Name::From).unwrap().starts_with("\"Max\""), "{register:?}");
    assert_ne!(register.call_id(), old);
    assert!(bench.contact().contains("pn-prid=t1") && bench.contact().contains(INSTANCE));
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 2));

    // Told to unregister meanwhile, the new account stays away until it is started.
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Same));
    bench.act(|machine, now| machine.unregister(now));
    bench.answer(200, &[]);
    if bench.machine.phase() == Phase::Registering {
        bench.answer(200, &[]);
    }
    assert_eq!((bench.machine.phase(), bench.opening), (Phase::Idle, 0));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    assert_eq!(bench.last().header(Name::To), Some("<sip:max@example.org>"));
}

#[test]
fn a_registration_that_rests_takes_its_new_settings_along() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.suspend(now));
    let changed = AccountConfig { expires: 77, ..config() };
    bench.act(|machine, now| machine.reconfigure(now, changed, Edge::Changed));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0));
    bench.act(|machine, now| machine.resume(now));
    bench.open();
    assert_eq!(bench.last().header(Name::Expires), Some("77"));
}
