//! The next hop (RFC 3263): a DNS that answers anything, in any order, late or never.

use core::net::IpAddr;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::Transport;
use wakeline_sip_message::Uri;
use wakeline_sip_resolve::{Answer, Kind, LookupFailure, Question, Record, Resolver, Target};

use crate::script::{Bound, Script};

const URIS: [&str; 10] = [
    "sip:example.org",
    "sips:example.org",
    "sip:example.org;transport=tcp",
    "sips:example.org;transport=ws",
    "sip:example.org:5070",
    "sip:192.0.2.1",
    "sips:[2001:db8::1]:5061",
    "sip:example.org;maddr=loop.example.org",
    "sip:other.example.;transport=udp",
    "sip:x@a..b",
];

const NAMES: [&str; 6] = [
    "example.org",
    "_sip._udp.example.org",
    "_sips._tcp.example.org",
    "a.example.org",
    "loop.example.org",
    "",
];

fn record(script: &mut Script<'_>) -> Record {
    match script.below(4) {
        0 => Record::Naptr {
            order: script.u16(),
            preference: script.u16(),
            flags: ["S", "s", "A", "U", ""][script.below(5)].into(),
            service: ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIP+D2W", "SIPS+D2W", "E2U+sip"][script.below(6)]
                .into(),
            replacement: NAMES[script.below(6)].into(),
        },
        1 => Record::Srv {
            priority: script.u16(),
            weight: script.u16(),
            port: script.u16(),
            target: NAMES[script.below(6)].into(),
        },
        2 => Record::Address(IpAddr::from([192, 0, 2, script.byte()])),
        _ => Record::Address(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, script.u16()])),
    }
}

fn answer(script: &mut Script<'_>, question: Question) -> Answer {
    let outcome = match script.below(8) {
        0 => Err(LookupFailure::NotFound),
        1 => Err(LookupFailure::Unavailable),
        _ => Ok((0..script.below(5)).map(|_| record(script)).collect()),
    };
    Answer { question, outcome }
}

/// Everything asked for is resolved or refused in the end, and sips never becomes clear (class S18).
pub(crate) fn resolve(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut resolver = Resolver::default();
    let mut entropy = Entropy::from_number(1);
    let mut now = Time::from_millis(1);
    let mut questions = Vec::new();
    let mut secure = std::collections::BTreeMap::new();
    let (mut asked, mut told) = (0, 0);
    let mut take = |resolver: &mut Resolver,
                    questions: &mut Vec<Question>,
                    secure: &std::collections::BTreeMap<_, bool>| {
        let mut bound = Bound::new(400, "questions to the DNS");
        while let Some(question) = resolver.poll_question() {
            bound.count();
            questions.push(question);
        }
        while let Some((id, outcome)) = resolver.poll_resolved() {
            told += 1;
            let Ok(hops) = outcome else { continue };
            assert!(!hops.is_empty(), "resolved to nothing");
            if secure.get(&id).copied().unwrap_or(false) {
                assert!(hops.iter().all(|hop| hop.transport.is_secure()), "sips over a clear transport");
                assert!(hops.iter().all(|hop| hop.server_name.is_some()), "a certificate of no name");
            }
        }
        told
    };
    script.play(|script| {
        match script.below(6) {
            0 | 1 => {
                let uri = Uri::parse(URIS[script.below(URIS.len())]).ok();
                if let Some(target) = uri.and_then(|uri| Target::of(&uri)) {
                    let mask = script.byte() | 1;
                    let allowed: Vec<Transport> =
                        (0..5).filter(|bit| mask >> bit & 1 == 1).map(|bit| Transport::ALL[bit]).collect();
                    // A bare address has no name that a certificate could carry.
                    let is_secure = target.secure && target.address().is_none();
                    secure.insert(resolver.resolve(target, &allowed, now), is_secure);
                    asked += 1;
                }
            }
            2 | 3 => {
                if !questions.is_empty() {
                    let place = script.below(questions.len());
                    let question = questions.remove(place);
                    resolver.handle_answer(&answer(script, question), &mut entropy, now);
                }
            }
            4 => {
                // An answer that nobody asked for.
                let kind = [Kind::Naptr, Kind::Srv, Kind::A, Kind::Aaaa][script.below(4)];
                let question = Question { name: NAMES[script.below(6)].into(), kind };
                resolver.handle_answer(&answer(script, question), &mut entropy, now);
            }
            _ => {
                now += script.span();
                resolver.handle_timeout(&mut entropy, now);
            }
        }
        take(&mut resolver, &mut questions, &secure);
    });
    let mut bound = Bound::new(2_000, "resolutions");
    while let Some(due) = resolver.poll_timeout() {
        bound.count();
        now = now.max(due);
        resolver.handle_timeout(&mut entropy, now);
        take(&mut resolver, &mut questions, &secure);
    }
    let told = take(&mut resolver, &mut questions, &secure);
    assert_eq!((resolver.running(), told), (0, asked), "a resolution without an end");
    let kept = resolver.export();
    let mut later = Resolver::default();
    later.import(&kept, now);
    assert_eq!(later.export(), kept, "what was good does not survive");
    later.import(&String::from_utf8_lossy(bytes), now);
}
