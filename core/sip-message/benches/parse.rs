//! Reading a 1 kB INVITE with a session description, its Via, From, To, Call-ID, CSeq, Contact and Content-Length typed:
//! ours against rsip and rsipstack in one run.
//!
//! `cargo bench -p wakeline-sip-message --bench parse` prints nanoseconds (the median of 31 rounds, taken in turns) and
//! ratios.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench reads the clock and prints"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use wakeline_sip_message::Message;

const INVITE: &str = "INVITE sip:bob@example.net;transport=tls SIP/2.0\r\n\
Via: SIP/2.0/TLS 192.0.2.17:50614;branch=z9hG4bKPj5f1e3c7e-0d4b-4b7b-9b4c;rport;alias\r\n\
Max-Forwards: 70\r\n\
From: \"Alice Liddell\" <sip:alice@example.org>;tag=0b7c1e4fd2a34d5b\r\n\
To: <sip:bob@example.net>\r\n\
Contact: <sip:alice@192.0.2.17:50614;transport=tls;ob>;expires=600\r\n\
Call-ID: 5a7c2e91-61b0-4f0c-a3a1-2f3c1f5d7b9e\r\n\
CSeq: 21053 INVITE\r\n\
Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, NOTIFY, OPTIONS\r\n\
Supported: replaces, 100rel, timer, norefersub, outbound\r\n\
Session-Expires: 1800\r\n\
Min-SE: 90\r\n\
User-Agent: phone/1.0\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 271\r\n\
\r\n\
v=0\r\n\
o=- 3890211512 3890211512 IN IP4 192.0.2.17\r\n\
s=-\r\n\
c=IN IP4 192.0.2.17\r\n\
t=0 0\r\n\
m=audio 40008 RTP/AVP 96 9 8 0 101\r\n\
a=rtcp:40009\r\n\
a=rtpmap:96 opus/48000/2\r\n\
a=fmtp:96 useinbandfec=1\r\n\
a=rtpmap:9 G722/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=sendrecv\r\n";

fn ours(bytes: &Bytes) -> usize {
    let message = Message::parse(bytes.clone()).unwrap();
    let via = message.via().unwrap();
    let from = message.from().unwrap();
    let to = message.to().unwrap();
    let cseq = message.cseq().unwrap();
    let contact = message.contact().unwrap().unwrap();
    black_box((&via, &from, &to, &cseq, &contact));
    via.branch().unwrap().len()
        + from.tag().unwrap().len()
        + message.call_id().len()
        + contact.uri().host_text().len()
        + message.content_length().unwrap().unwrap()
}

fn rsip(bytes: &Bytes) -> usize {
    use rsip::prelude::{HeadersExt, ToTypedHeader};
    let message = rsip::SipMessage::try_from(&bytes[..]).unwrap();
    let via = message.via_header().unwrap().typed().unwrap();
    let from = message.from_header().unwrap().typed().unwrap();
    let to = message.to_header().unwrap().typed().unwrap();
    let cseq = message.cseq_header().unwrap().typed().unwrap();
    let contact = message.contact_header().unwrap().typed().unwrap();
    let call_id = message.call_id_header().unwrap();
    black_box((&via, &from, &to, &cseq, &contact, call_id));
    via.branch().unwrap().value().len() + from.tag().unwrap().value().len()
}

fn rsipstack(bytes: &Bytes) -> usize {
    use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
    let message = rsipstack::sip::SipMessage::try_from(&bytes[..]).unwrap();
    let via = message.via_header().unwrap().typed().unwrap();
    let from = message.from_header().unwrap().typed().unwrap();
    let to = message.to_header().unwrap().typed().unwrap();
    let cseq = message.cseq_header().unwrap().typed().unwrap();
    let contact = message.contact_header().unwrap().typed().unwrap();
    let call_id = message.call_id_header().unwrap();
    black_box((&via, &from, &to, &cseq, &contact, call_id));
    via.branch().unwrap().value().len() + from.tag().unwrap().value().len()
}

fn parse_only(bytes: &Bytes) -> usize {
    black_box(Message::parse(bytes.clone()).unwrap()).len()
}

type Contestant = (&'static str, fn(&Bytes) -> usize);

fn main() {
    // What `cargo test --benches` runs is one round, so that the bench is known to work.
    let short = !std::env::args().any(|arg| arg == "--bench");
    let (rounds, repeats) = if short { (1, 1) } else { (31, 4_000) };
    let bytes = Bytes::from(INVITE.as_bytes().to_vec());
    let _shared = bytes.clone();
    let contestants: [Contestant; 4] = [
        ("wakeline, seven typed", ours),
        ("wakeline, index only", parse_only),
        ("rsip", rsip),
        ("rsipstack", rsipstack),
    ];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        for ((_, read), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..repeats {
                black_box(read(black_box(&bytes)));
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(repeats));
        }
    }
    println!("INVITE of {} bytes", INVITE.len());
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    for ((name, _), median) in contestants.iter().zip(medians) {
        println!("{name:24} {median:9.0} ns   wakeline/this {:6.3}", medians[0] / median);
    }
}
