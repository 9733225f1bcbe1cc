//! Random interleavings (class S27): whatever two persons, two media and a bad network do, every run ends in one
//! terminal state on both sides, with one record each and nothing left in any table.

use std::time::Duration;

use wakeline_entropy::Entropy;

use super::wire::{A, Act, B, Wire};
use crate::*;

/// Seeds per run of the tests.
const RUNS: u64 = 10_000;

fn random_act(chance: &mut Entropy) -> Act {
    match chance.below(14) {
        0..=2 => Act::Answer,
        3 => Act::Decline(Refusal::Everywhere),
        4 => Act::Decline(Refusal::Busy),
        5 | 6 => Act::HangUp,
        7 | 8 => Act::Hold(true),
        9 => Act::Hold(false),
        10 => Act::Digits("1#"),
        11 | 12 => Act::Moved,
        _ => Act::Transfer(200),
    }
}

/// Breaks flows as well, and then a call may end for that alone.
fn run_broken(seed: u64) {
    let mut chance = Entropy::from_number(seed ^ 0xb0);
    let mut wire = Wire::new(seed);
    if chance.below(2) == 0 {
        wire.transport = wakeline_flow::Transport::Tcp;
    }
    wire.delay = Duration::from_millis(u64::from(chance.below(120)));
    for phone in &mut wire.phones {
        phone.media.delay = Duration::from_millis([0, 30][chance.below(2) as usize]);
        phone.config.reliable = [Reliable::Supported, Reliable::Required][chance.below(2) as usize];
    }
    for _ in 0..1 + chance.below(3) {
        let phone = chance.below(2) as usize;
        wire.plan(Duration::from_millis(u64::from(chance.below(3_000))), phone, Act::Break);
    }
    for _ in 0..chance.below(5) {
        let phone = chance.below(2) as usize;
        let act = random_act(&mut chance);
        wire.plan(Duration::from_millis(u64::from(chance.below(3_000))), phone, act);
    }
    wire.plan(Duration::from_millis(u64::from(chance.below(1_500))), B, Act::Answer);
    wire.dial(Opening::Offer);
    wire.run(Duration::from_secs(100));
    wire.act(A, Act::HangUp);
    wire.act(B, Act::HangUp);
    wire.finish();
}

#[test]
fn s27_transport_closed_before_the_final_response_leaves_nothing_behind() {
    for seed in 0..3_000 {
        if std::panic::catch_unwind(|| run_broken(seed)).is_err() {
            panic!("seed {seed} fails");
        }
    }
}

fn run(seed: u64) -> (Option<EndReason>, Option<EndReason>) {
    let mut chance = Entropy::from_number(seed ^ 0x5eed);
    let mut wire = Wire::new(seed);
    if chance.below(4) == 0 {
        wire.transport = wakeline_flow::Transport::Tls;
    }
    wire.delay = Duration::from_millis(u64::from(chance.below(120)));
    wire.jitter = Duration::from_millis(u64::from(chance.below(400)));
    wire.loss = [0, 0, 5, 20, 40][chance.below(5) as usize];
    wire.duplicates = [0, 0, 10, 30][chance.below(4) as usize];
    for phone in &mut wire.phones {
        let policies = [Reliable::Off, Reliable::Supported, Reliable::Preferred, Reliable::Required];
        phone.config.reliable = policies[chance.below(4) as usize];
        phone.config.early_media = chance.below(3) == 0;
        phone.config.session_timer = (chance.below(3) > 0).then(SessionTimers::default);
        phone.config.transfer = TransferPolicy::Accept;
        phone.media.delay = Duration::from_millis([0, 0, 30, 900][chance.below(4) as usize]);
        phone.media.refuse = (chance.below(12) == 0).then(|| chance.below(6) as usize);
    }
    if chance.below(4) == 0 {
        wire.announce(Duration::from_secs(u64::from(1 + chance.below(20))));
    }
    for _ in 0..chance.below(8) {
        let after = Duration::from_millis(u64::from(chance.below(6_000)));
        let phone = if chance.below(2) == 0 { A } else { B };
        let act = random_act(&mut chance);
        wire.plan(after, phone, act);
    }
    wire.plan(Duration::from_millis(u64::from(chance.below(2_500))), B, Act::Answer);
    wire.dial(if chance.below(4) == 0 { Opening::Offerless } else { Opening::Offer });
    wire.run(Duration::from_secs(100));
    wire.act(A, Act::HangUp);
    wire.act(B, Act::HangUp);
    wire.finish();
    (wire.phones[A].reason().cloned(), wire.phones[B].reason().cloned())
}

#[test]
fn s27_ten_thousand_interleavings_end_once_on_both_sides() {
    let mut talked = 0;
    for seed in 0..RUNS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        match outcome {
            Ok((here, there)) => {
                assert!(here.is_some(), "seed {seed}: the caller has no record");
                talked +=
                    u64::from(here == Some(EndReason::LocalHangup) || there == Some(EndReason::LocalHangup));
            }
            Err(_) => panic!("seed {seed} fails"),
        }
    }
    // The runs are no empty show: a good part of them gets as far as a talk.
    assert!(talked > RUNS / 4, "{talked}");
}

#[test]
fn s27_the_same_seed_runs_the_same() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}

/// What a bad set of forks does to a caller: any order of provisional and final responses from any of them, while the
/// person may give up. Every dialog that a 2xx made is acknowledged, and all but one are ended.
fn run_forks(seed: u64) {
    use std::collections::BTreeSet;

    use super::script::{Script, respond};

    let mut chance = Entropy::from_number(seed ^ 0xf02c);
    let opening = if chance.below(3) == 0 { Opening::Offerless } else { Opening::Offer };
    let mut script = Script::dial(Config::default(), opening);
    let invite = script.call.own_invite().unwrap();
    let mut confirmed = BTreeSet::new();
    let mut failed = false;
    for step in 0..chance.below(30) {
        let tag = ["b1", "b2", "b3", "b4"][chance.below(4) as usize];
        let body = (chance.below(2) == 0).then_some(["one", "two"][chance.below(2) as usize]);
        let rseq = format!("{}", 1 + chance.below(4));
        let reliable = [
            (wakeline_sip_message::Name::Require, "100rel"),
            (wakeline_sip_message::Name::RSeq, rseq.as_str()),
        ];
        let response = match chance.below(12) {
            0..=3 => respond(&invite, 180, tag, body, &[]),
            4..=5 => respond(&invite, 183, tag, body, &reliable),
            6..=8 => {
                confirmed.insert(tag);
                respond(&invite, 200, tag, Some("answer"), &[])
            }
            9 if confirmed.is_empty() => {
                failed = true;
                respond(&invite, 486, tag, None, &[])
            }
            10 => {
                script.call.hang_up(script.now);
                script.drain();
                continue;
            }
            _ => {
                script.wait(u64::from(chance.below(3)));
                continue;
            }
        };
        // The transaction passes nothing on but 2xx after a final response.
        if failed && response.status() != Some(200) && response.status() != Some(486) {
            continue;
        }
        script.call.handle_response(script.now, RequestId(1), &response);
        script.drain();
        assert!(script.records().len() <= 1, "seed {seed} step {step}");
    }
    script.call.hang_up(script.now);
    script.drain();
    for (id, request) in script.sent() {
        if request.method().as_str() != "INVITE" {
            script.call.handle_response(script.now, id, &respond(&request, 200, "", None, &[]));
        } else if confirmed.is_empty() {
            script.call.handle_response(script.now, id, &respond(&request, 487, "b1", None, &[]));
        }
        script.drain();
    }
    script.wait(200);
    let tags = |list: Vec<wakeline_sip_message::Message>| -> Vec<String> {
        list.iter().filter_map(|message| message.to_tag().map(str::to_owned)).collect()
    };
    let acked: BTreeSet<String> = tags(script.acks()).into_iter().collect();
    let byes = script.sent().into_iter().filter(|(_, request)| request.method().as_str() == "BYE");
    let ended = tags(byes.map(|(_, bye)| bye).collect());
    let wanted: BTreeSet<String> = confirmed.iter().map(|tag| (*tag).to_owned()).collect();
    assert_eq!(acked, wanted, "seed {seed}");
    assert_eq!(ended.iter().cloned().collect::<BTreeSet<_>>(), wanted, "seed {seed}");
    assert_eq!(ended.len(), wanted.len(), "seed {seed}: one BYE for each");
    assert_eq!(script.records().len(), 1, "seed {seed}");
    assert!(script.call.is_finished(), "seed {seed}");
}

#[test]
fn s27_forks_in_any_order_leave_nothing_behind() {
    for seed in 0..5_000 {
        run_forks(seed);
    }
}
