//! Dialogs of both sides made from bent messages: what they send can be read, and goes where the route set says.

use wakeline_sip_dialog::{Dialog, Forks, effect_of};
use wakeline_sip_message::{Message, Method, Uri};

use crate::bend::{METHODS, Request, request, response, straight};
use crate::script::Script;

fn names<'a>(method: Method, to: &'a str, cseq: u32) -> Request<'a> {
    Request {
        method,
        uri: "sip:us@10.0.0.1",
        call_id: "c1",
        from: "\"Far\" <sip:far@192.0.2.9>;tag=t1",
        to,
        cseq,
        branch: "z9hG4bKa",
        via: "SIP/2.0/UDP 192.0.2.9:5070",
    }
}

/// What a dialog writes is a message that reads back with its own names.
fn check(dialog: &mut Dialog, method: &Method) {
    let before = dialog.local_cseq();
    let built = match method {
        Method::Ack => dialog.ack(before),
        _ => dialog.request(method.clone()),
    };
    if *method != Method::Ack && before < u32::MAX {
        assert!(dialog.local_cseq() > before, "RFC 3261 §12.2.1.1");
    }
    let via = "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKz";
    let built = built.header(wakeline_sip_message::Name::Via, via).build();
    let next = dialog.next_hop();
    let Ok(written) = built else { return };
    let message = Message::parse(written.to_bytes()).expect("what a dialog writes can be read");
    assert_eq!(message.call_id(), dialog.id().call_id.0);
    assert_eq!(message.from_tag(), Some(dialog.id().local_tag.as_str()));
    assert_eq!(message.to_tag().unwrap_or(""), dialog.id().remote_tag);
    let lines = message.lines().count();
    assert!(lines <= 10 + message.routes().count(), "a forged line (S8)");
    let _ = Uri::parse(&next);
}

pub(crate) fn dialog(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut dialogs: Vec<Dialog> = Vec::new();
    let invite = straight(true, &names(Method::Invite, "<sip:us@10.0.0.1>", 1)).expect("a good INVITE");
    let mut forks: Forks<u32> = Forks::default();
    script.play(|script| match script.below(9) {
        0 | 1 => {
            // Ours: the request is straight, the answer is not.
            if let Some(answer) = response(script, &invite) {
                let _ = forks.hear(&invite, &answer).map(|leg| {
                    if let (Some(leg), Ok(Some(rseq))) = (leg, answer.rseq()) {
                        let _ = leg.provisionals.hear(rseq);
                    }
                });
                assert!(forks.len() <= 64, "forks without end (S14)");
                dialogs.extend(Dialog::from_uac(&invite, &answer));
            }
        }
        2 => {
            // Theirs: the request is bent.
            if let Some(asked) = request(script, &names(Method::Invite, "<sip:us@10.0.0.1>", 7))
                && let Ok(answer) =
                    wakeline_sip_message::Builder::response(&asked, 200, "").to_tag("u1").build()
            {
                dialogs.extend(Dialog::from_uas(&asked, &answer));
            }
        }
        3 | 4 => {
            let method = METHODS[script.below(METHODS.len())].clone();
            let to = ["<sip:us@10.0.0.1>;tag=u1", "<sip:us@10.0.0.1>;tag=t1"][script.below(2)];
            let cseq = [1, 2, 8, u32::MAX][script.below(4)];
            if let Some(asked) = request(script, &names(method, to, cseq)) {
                let _ = forks.of_request(&asked).is_some();
                for dialog in &mut dialogs {
                    if dialog.accept(&asked).is_ok() {
                        assert!(dialog.owns_request(&asked));
                        dialog.refresh_target(&asked);
                    }
                }
            }
        }
        5 => {
            if let Some(answer) = response(script, &invite) {
                let _ = effect_of(answer.status());
                for dialog in &mut dialogs {
                    let _ = (dialog.owns_response(&answer), dialog.confirm(&answer));
                }
            }
        }
        6 => {
            for dialog in &mut dialogs {
                dialog.confirm_as_callee();
            }
        }
        7 => {
            let method = METHODS[script.below(METHODS.len())].clone();
            for dialog in &mut dialogs {
                check(dialog, &method);
            }
            for leg in forks.iter_mut() {
                check(&mut leg.dialog, &Method::Prack);
            }
        }
        _ => dialogs.truncate(8),
    });
}
