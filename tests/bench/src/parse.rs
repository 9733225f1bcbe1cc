//! Row 16: reading a 1 kB INVITE, seven header fields typed.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use wakeline_sip_message::Message;

use crate::row::Row;

fn invite() -> Bytes {
    let body = "v=0\r\no=- 3890211512 3890211512 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
                m=audio 40008 RTP/AVP 96 9 8 0 101\r\na=rtcp:40009\r\na=rtpmap:96 opus/48000/2\r\n\
                a=fmtp:96 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
                a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ssrc:1920303 cname:5a7c2e9161b0\r\na=sendrecv\r\n";
    Bytes::from(format!(
        "INVITE sip:bob@example.net;transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.0.2.17:50614;branch=z9hG4bKPj5f1e3c7e-0d4b-4b7b-9b4c;rport;alias\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice Liddell\" <sip:alice@example.org>;tag=0b7c1e4fd2a34d5b\r\n\
         To: <sip:bob@example.net>\r\nContact: <sip:alice@192.0.2.17:50614;transport=tls;ob>;expires=600\r\n\
         Call-ID: 5a7c2e91-61b0-4f0c-a3a1-2f3c1f5d7b9e\r\nCSeq: 21053 INVITE\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, NOTIFY, OPTIONS\r\n\
         Supported: replaces, 100rel, timer, norefersub, outbound\r\nSession-Expires: 1800\r\nMin-SE: 90\r\n\
         User-Agent: phone/1.0\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn ours(bytes: &Bytes) {
    let message = Message::parse(bytes.clone()).expect("a message");
    black_box((&message.via(), &message.from(), &message.to(), &message.cseq(), &message.contact()));
    black_box(message.call_id());
    drop(black_box(message.content_length()));
}

fn rsip(bytes: &Bytes) {
    use rsip::prelude::{HeadersExt, ToTypedHeader};
    let message = rsip::SipMessage::try_from(&bytes[..]).expect("a message");
    black_box(message.via_header().expect("Via").typed().is_ok());
    black_box(message.from_header().expect("From").typed().is_ok());
    black_box(message.to_header().expect("To").typed().is_ok());
    black_box(message.cseq_header().expect("CSeq").typed().is_ok());
    black_box(message.contact_header().expect("Contact").typed().is_ok());
    black_box(message.call_id_header().is_ok());
}

/// Nanoseconds of one reading, on average over `repeats`.
fn time(bytes: &Bytes, repeats: u32, read: fn(&Bytes)) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        read(black_box(bytes));
    }
    start.elapsed().as_nanos() as f64 / f64::from(repeats)
}

/// Measures in this many turns.
pub fn rows(turns: usize) -> Vec<Row> {
    let bytes = invite();
    let pairs: Vec<(f64, f64)> =
        (0..turns).map(|_| (time(&bytes, 4000, ours), time(&bytes, 1000, rsip))).collect();
    vec![
        Row::of_pairs("16", "parse of a 1 kB INVITE, seven typed", "ns", "rsip", 0.35, &pairs),
        Row::alone("16", "the same, on its own", "ns", 900.0, pairs.iter().map(|pair| pair.0).collect()),
    ]
}
