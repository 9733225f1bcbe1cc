//! The table of a call: every state against every input, and the phase that follows.

use wakeline_sip_message::{Builder, Method, Name};
use wakeline_sip_transaction::ServerKey;

use super::script::{Script, contact, flow, invite};
use crate::*;

const STATES: [&str; 17] = [
    "describing",
    "calling",
    "alerting",
    "challenged",
    "hop failed",
    "cancelling",
    "announced",
    "announced, accepted",
    "announced, declined",
    "ringing",
    "answering",
    "unacked",
    "talking",
    "holding",
    "owing ack",
    "leaving",
    "over",
];

const INPUTS: [&str; 17] = [
    "answer",
    "decline",
    "hang up",
    "hold",
    "moved",
    "described",
    "refused",
    "invite",
    "cancel",
    "ack",
    "bye",
    "reinvite",
    "180",
    "200",
    "486",
    "timed out",
    "30 min",
];

/// What is not obvious in it: a wish to end an announced call waits for its INVITE; a fork that says BYE leaves us
/// dialling; a time-out of our INVITE asks for the next hop; "holding" and "owing ack" wait for transactions and media,
/// which have limits of their own.
///
/// One letter a phase: d(ialling) a(lerting) n (announced) r(inging) w (answering) e(stablished) g (ending) x (ended);
/// `.` for no change. One row a state, one column an input, in the orders above.
const TABLE: [&str; 17] = [
    "..x...x.........x", // describing
    "..g.........aex.x", // calling
    "..g.......d..exdx", // alerting
    "..x..........ex.x", // challenged
    "..x..........ex.x", // hop failed
    "..............xxx", // cancelling
    ".......r........x", // announced
    ".......w........x", // announced, accepted
    ".......x........x", // announced, declined
    "wxx.....x.x.....x", // ringing
    ".xx...x.x.x.....x", // answering
    "..g......ex.....x", // unacked
    "..g.......x......", // talking
    "..g.......x....x.", // holding
    "..g...g...x......", // owing ack
    "..........x....xx", // leaving
    ".................", // over
];

fn manual(mut script: Script) -> Script {
    script.media = false;
    script
}

fn announced() -> Script {
    let call = Call::announced(
        wakeline_clock::Time::from_millis(1),
        Config::default(),
        contact(),
        wakeline_clock::Time::from_millis(20_000),
        Announcement::default(),
        wakeline_entropy::Entropy::from_number(1),
    );
    manual(Script::around(call))
}

fn ringing() -> Script {
    manual(Script::incoming(Config::default(), &invite(1, "1", &[], Some("o"))))
}

fn at(state: &str) -> Script {
    let calling = || manual(Script::dial(Config::default(), Opening::Offer));
    match state {
        "describing" => manual(Script::dial_undescribed()),
        "calling" => calling(),
        "alerting" => {
            let mut script = calling();
            script.answer(180, "b1", None);
            script
        }
        "challenged" => {
            let mut script = calling();
            script.answer(401, "p", None);
            script
        }
        "hop failed" => {
            let mut script = calling();
            script.answer(503, "p", None);
            script
        }
        "cancelling" => {
            let mut script = calling();
            script.answer(180, "b1", None);
            script.call.hang_up(script.now);
            script.drain();
            script
        }
        "announced" => announced(),
        "announced, accepted" => {
            let mut script = announced();
            script.call.answer(script.now);
            script
        }
        "announced, declined" => {
            let mut script = announced();
            script.call.decline(script.now, Refusal::Everywhere);
            script
        }
        "ringing" => ringing(),
        "answering" => {
            let mut script = announced();
            script.call.answer(script.now);
            script.call.handle_request(script.now, ServerKey(1), flow(1), &invite(1, "1", &[], Some("o")));
            script.drain();
            script
        }
        "unacked" => {
            let mut script = ringing();
            script.call.answer(script.now);
            script.drain();
            script
        }
        "talking" => manual(Script::talking()),
        "holding" => {
            let mut script = Script::talking();
            script.call.hold(script.now, true);
            script.drain();
            manual(script)
        }
        "owing ack" => {
            let mut script = manual(Script::dial(Config::default(), Opening::Offerless));
            script.answer(200, "b1", Some("their offer"));
            script
        }
        "leaving" => {
            let mut script = manual(Script::talking());
            script.call.hang_up(script.now);
            script.drain();
            script
        }
        "over" => {
            let mut script = manual(Script::talking());
            script.request("BYE", None, &[]);
            script
        }
        _ => unreachable!("{state}"),
    }
}

fn in_dialog(script: &mut Script, method: &str) {
    // Where there is no dialog yet, the request is of none: it is answered, and changes nothing.
    let id = script.call.dialog_id().cloned().unwrap_or(DialogId {
        call_id: SipCallId("our-call".into()),
        local_tag: script
            .call
            .own_invite()
            .and_then(|own| own.from_tag().map(str::to_owned))
            .unwrap_or("none".into()),
        remote_tag: "b1".into(),
    });
    let body = (method == "INVITE").then_some(("application/sdp", "v=0 theirs"));
    script.request_unchecked(&id, method, body, &[]);
}

fn feed(script: &mut Script, input: &str) {
    let now = script.now;
    let own = script.call.own_invite();
    match input {
        "answer" => script.call.answer(now),
        "decline" => script.call.decline(now, Refusal::Busy),
        "hang up" => script.call.hang_up(now),
        "hold" => script.call.hold(now, true),
        "moved" => script.call.moved(now, contact()),
        "described" => script.call.handle_described(now, Described::Description(super::script::sdp("ours"))),
        "refused" => script.call.handle_described(now, Described::Refused { code: 488, why: "no".into() }),
        "invite" => script.call.handle_request(now, ServerKey(50), flow(1), &invite(1, "50", &[], Some("o"))),
        "cancel" => {
            let cancel = Builder::request(Method::Cancel, "sip:us@192.0.2.1")
                .header(Name::From, "<sip:bob@example.org>;tag=theirs")
                .header(Name::To, "<sip:us@example.org>")
                .header(Name::CallId, "their-call")
                .header(Name::CSeq, "1 CANCEL");
            script.call.handle_cancelled(now, ServerKey(1), &cancel.build().unwrap());
        }
        "ack" => {
            let ack = Builder::request(Method::Ack, "sip:us@192.0.2.1")
                .header(Name::From, "<sip:bob@example.org>;tag=theirs")
                .header(Name::To, "<sip:us@example.org>;tag=x")
                .header(Name::CallId, "their-call")
                .header(Name::CSeq, "1 ACK");
            script.call.handle_ack(now, &ack.build().unwrap());
        }
        "bye" => in_dialog(script, "BYE"),
        "reinvite" => in_dialog(script, "INVITE"),
        "180" | "200" | "486" => {
            if let Some(own) = own {
                let code = input.parse().unwrap();
                let body = (code == 200).then_some("answer");
                let response = super::script::respond(&own, code, "b1", body, &[]);
                script.call.handle_response(now, RequestId(1), &response);
            }
        }
        "timed out" => {
            for id in 1..5 {
                script.call.handle_timed_out(now, RequestId(id));
            }
        }
        "30 min" => script.wait(1800),
        _ => unreachable!("{input}"),
    }
    script.drain();
}

fn letter(phase: Phase) -> char {
    match phase {
        Phase::Dialling => 'd',
        Phase::Alerting => 'a',
        Phase::Announced => 'n',
        Phase::Ringing => 'r',
        Phase::Answering => 'w',
        Phase::Established => 'e',
        Phase::Ending => 'g',
        Phase::Ended => 'x',
    }
}

#[test]
fn every_state_meets_every_input() {
    let mut rows = Vec::new();
    for state in STATES {
        let mut row = String::new();
        for input in INPUTS {
            let mut script = at(state);
            let before = script.call.phase();
            feed(&mut script, input);
            let after = script.call.phase();
            row.push(if before == after { '.' } else { letter(after) });
            assert!(script.records().len() <= 1, "{state} x {input}");
            assert_eq!(script.records().len() == 1, after == Phase::Ended, "{state} x {input}");
        }
        rows.push(row);
    }
    let shown: Vec<String> = STATES.iter().zip(&rows).map(|(state, row)| format!("{row}  {state}")).collect();
    assert_eq!(rows, TABLE, "\n{}", shown.join("\n"));
}

#[test]
fn every_state_ends_after_a_hang_up_with_one_record_and_nothing_left() {
    for state in STATES {
        let mut script = at(state);
        script.media = true;
        script.call.hang_up(script.now);
        script.drain();
        // Nobody answers anything any more: only time passes.
        for _ in 0..3 {
            script.wait(40);
            for id in 1..8 {
                script.call.handle_timed_out(script.now, RequestId(id));
            }
            script.drain();
        }
        script.wait(300);
        assert_eq!(script.call.phase(), Phase::Ended, "{state}");
        assert!(script.call.is_finished(), "{state}");
        assert_eq!(script.records().len(), 1, "{state}");
    }
}
