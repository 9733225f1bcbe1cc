//! One call of either side: the script plays the far end, the media, the transactions below and the person above.

use core::time::Duration;

use bytes::Bytes;
use wakeline_call::*;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_sip_message::{Builder, Message, Method, Name, OwnedUri};

use crate::bend::{METHODS, Request, SDP, request, response};
use crate::script::{Bound, Script};
use crate::transactions::flow;

struct Bench {
    call: Call,
    now: Time,
    asked: Vec<(RequestId, Message)>,
    pending: Vec<RequestId>,
    questions: Vec<Describe>,
    hops: Vec<RequestId>,
    challenges: Vec<RequestId>,
    answered: Option<Message>,
    records: u32,
    keys: u64,
}

impl Bench {
    fn drain(&mut self) {
        let mut bound = Bound::new(300, "what a call wants");
        while let Some(output) = self.call.poll_output() {
            bound.count();
            match output {
                Output::Send { id, request, .. } => {
                    Message::parse(request.to_bytes()).expect("a good request");
                    self.pending.push(id);
                    self.asked.push((id, request));
                }
                Output::Ack { request, .. } => {
                    assert_eq!(request.method(), Method::Ack);
                }
                Output::Respond { response, .. } => {
                    Message::parse(response.to_bytes()).expect("a good response");
                    if response.status() == Some(200) && response.method() == Method::Invite {
                        self.answered = Some(response);
                    }
                }
                Output::Authorize { id, .. } => self.challenges.push(id),
                Output::TryNextHop { id, .. } => self.hops.push(id),
                Output::Describe(question) => self.questions.push(question),
                Output::Event(Event::Ended(_)) => self.records += 1,
                Output::Cancel { .. } | Output::Rollback | Output::Event(_) => {}
            }
        }
        assert!(self.records <= 1, "a call ended twice");
    }

    /// The media's answer to the oldest question.
    fn describe(&mut self, kind: usize) {
        if self.questions.is_empty() {
            return;
        }
        let answer = match (self.questions.remove(0), kind) {
            (_, 0) => Described::Refused { code: 488, why: "no codec".into() },
            (Describe::Conclude { .. }, _) => Described::Accepted,
            (Describe::Offer { .. } | Describe::Answer { .. }, _) => {
                Described::Description(Bytes::from_static(SDP.as_bytes()))
            }
        };
        self.call.handle_described(self.now, answer);
    }
}

fn names<'a>(method: Method, to: &'a str, call_id: &'a str, cseq: u32, branch: &'a str) -> Request<'a> {
    Request {
        method,
        uri: "sip:us@10.0.0.1",
        call_id,
        from: "\"Far\" <sip:far@192.0.2.9>;tag=t1",
        to,
        cseq,
        branch,
        via: "SIP/2.0/UDP 192.0.2.9:5070",
    }
}

fn born(script: &mut Script<'_>, now: Time) -> Option<Call> {
    let mut config = Config { early_media: script.flag(), ..Config::default() };
    config.reliable =
        [Reliable::Supported, Reliable::Off, Reliable::Preferred, Reliable::Required][script.below(4)];
    config.transfer = [TransferPolicy::Decline, TransferPolicy::Accept][script.below(2)];
    config.auto_answer = [None, Some(Duration::from_secs(2))][script.below(2)];
    let contact = DialogContact::new(&OwnedUri::parse("sip:us@10.0.0.1").ok()?).ok()?;
    let entropy = Entropy::from_number(1);
    match script.below(3) {
        0 => {
            let dial = Dial {
                target: "sip:far@192.0.2.9".into(),
                to: "<sip:far@192.0.2.9>".into(),
                from: "<sip:us@10.0.0.1>".into(),
                call_id: SipCallId("ours".into()),
                contact,
                routes: Vec::new(),
                headers: Vec::new(),
                opening: [Opening::Offer, Opening::Offerless][script.below(2)],
            };
            Some(Call::dial(now, config, dial, entropy))
        }
        1 => {
            let deadline = now + Duration::from_secs(30);
            Some(Call::announced(now, config, contact, deadline, Announcement::default(), entropy))
        }
        _ => {
            let invite =
                request(script, &names(Method::Invite, "<sip:us@10.0.0.1>", "theirs", 1, "z9hG4bK1"))?;
            if invite.check().is_err() || invite.method() != Method::Invite || !invite.is_request() {
                return None;
            }
            Some(Call::incoming(now, config, contact, ServerKey(1), flow(1), &invite, entropy))
        }
    }
}

/// Whatever happens: one record, one end, and nothing left that waits.
pub(crate) fn call(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let now = Time::from_millis(1);
    let Some(call) = born(&mut script, now) else { return };
    let mut bench = Bench {
        call,
        now,
        asked: Vec::new(),
        pending: Vec::new(),
        questions: Vec::new(),
        hops: Vec::new(),
        challenges: Vec::new(),
        answered: None,
        records: 0,
        keys: 1,
    };
    bench.drain();
    let mut cseq = 1;
    script.play(|script| {
        let now = bench.now;
        match script.below(20) {
            0..=3 => far_end(&mut bench, script),
            4..=6 => far_request(&mut bench, script, &mut cseq),
            7 => {
                if let Some(response) = &bench.answered {
                    let ack = Builder::request(Method::Ack, "sip:us@10.0.0.1")
                        .header(Name::Via, "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKack")
                        .copy(response, Name::From)
                        .copy(response, Name::To)
                        .copy(response, Name::CallId)
                        .header(Name::CSeq, format!("{} ACK", response.cseq().map_or(1, |one| one.number)));
                    if let Some(ack) = ack.build().ok().and_then(|ack| crate::bend::bent(script, &ack)) {
                        bench.call.handle_ack(now, &ack);
                    }
                }
            }
            8 | 9 => {
                let kind = script.below(4);
                bench.describe(kind);
            }
            10 => bench.call.answer(now),
            11 => bench.call.decline(now, Refusal::Busy),
            12 if script.below(4) == 0 => bench.call.hang_up(now),
            12 | 13 => bench.call.hold(now, script.flag()),
            14 => bench.call.send_digits(&script.text(6)),
            15 => {
                if let Ok(uri) = OwnedUri::parse("sip:us@10.0.0.2") {
                    DialogContact::new(&uri).map(|contact| bench.call.moved(now, contact)).ok();
                }
            }
            16 => {
                if let Some(id) = bench.challenges.pop() {
                    let headers =
                        script.flag().then(|| vec![(Name::Authorization, "Digest x=\"y\"".to_owned())]);
                    bench.call.authorize(now, id, headers);
                }
                if let Some(id) = bench.hops.pop() {
                    bench.call.next_hop(now, id, script.flag());
                }
            }
            17 => {
                if let Some(id) = script.pick(&bench.pending) {
                    bench.pending.retain(|other| *other != id);
                    if script.flag() {
                        bench.call.handle_timed_out(now, id);
                    } else {
                        bench.call.handle_transport_failed(now, id);
                    }
                }
            }
            18 => bench.call.handle_flow_lost(flow(1 + script.below(2) as u64).id),
            _ => {
                bench.now += script.span();
                let mut bound = Bound::new(3, "a timer that is always due");
                bench.call.handle_timeout(bench.now);
                while bench.call.poll_timeout().is_some_and(|due| due <= bench.now) {
                    bound.count();
                    bench.call.handle_timeout(bench.now);
                }
            }
        }
        bench.drain();
        let _ = (bench.call.phase(), bench.call.incoming_state(), bench.call.dialogs(), bench.call.is_held());
    });
    // The person hangs up, the far end is silent.
    bench.call.hang_up(bench.now);
    bench.drain();
    let mut bound = Bound::new(3_000, "the end of a call");
    loop {
        bound.count();
        if !bench.questions.is_empty() {
            bench.describe(0);
        } else if let Some(id) = bench.challenges.pop() {
            bench.call.authorize(bench.now, id, None);
        } else if let Some(id) = bench.hops.pop() {
            bench.call.next_hop(bench.now, id, false);
        } else if let Some(id) = bench.pending.pop() {
            bench.now += Duration::from_secs(32);
            bench.call.handle_timed_out(bench.now, id);
        } else if let Some(due) = bench.call.poll_timeout() {
            bench.now = bench.now.max(due);
            bench.call.handle_timeout(bench.now);
        } else {
            break;
        }
        bench.drain();
    }
    assert!(bench.call.is_finished(), "a call without an end: {:?}", bench.call.phase());
    assert_eq!(bench.records, 1, "no record of a call");
}

fn far_end(bench: &mut Bench, script: &mut Script<'_>) {
    let Some((id, asked)) = script.pick(&bench.asked) else { return };
    let Some(answer) = response(script, &asked) else { return };
    // The transactions below match the CSeq before the call hears of anything.
    if answer.is_request() || answer.cseq().ok() != asked.cseq().ok() {
        return;
    }
    // A request that was sent again has a new transaction; the old one had its final response and keeps later ones.
    let is_latest = bench
        .asked
        .iter()
        .rfind(|(other, _)| *other == id)
        .is_some_and(|(_, last)| last.cseq().ok() == asked.cseq().ok());
    if is_latest && bench.pending.contains(&id) {
        if answer.status().is_some_and(|code| code >= 200) {
            bench.pending.retain(|other| *other != id);
        }
        bench.call.handle_response(bench.now, id, &answer);
    } else {
        bench.call.handle_stray_response(bench.now, &answer);
    }
}

fn far_request(bench: &mut Bench, script: &mut Script<'_>, cseq: &mut u32) {
    let id = bench.call.dialog_id().cloned();
    let to = id
        .as_ref()
        .map_or("<sip:us@10.0.0.1>".to_owned(), |id| format!("<sip:us@10.0.0.1>;tag={}", id.local_tag));
    let call_id = id.as_ref().map_or("theirs".to_owned(), |id| id.call_id.0.clone());
    bench.keys += 1;
    *cseq += u32::from(script.byte() & 1);
    let method = METHODS[script.below(METHODS.len())].clone();
    let method = if method == Method::Ack || method == Method::Cancel { Method::Bye } else { method };
    let branch = format!("z9hG4bK{}", bench.keys);
    let Some(asked) = request(script, &names(method, &to, &call_id, *cseq, &branch)) else { return };
    if !asked.is_request() || asked.check().is_err() {
        return;
    }
    let key = ServerKey(bench.keys);
    match asked.method() {
        Method::Ack => bench.call.handle_ack(bench.now, &asked),
        Method::Cancel => bench.call.handle_cancelled(bench.now, ServerKey(1), &asked),
        _ => bench.call.handle_request(bench.now, key, flow(1), &asked),
    }
    if script.below(8) == 0 {
        bench.call.handle_cancelled(bench.now, key, &asked);
    }
}
