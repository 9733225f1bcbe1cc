//! Reads one message again and again, for measuring: `read_again ours|rsip FILE TURNS`, prints nanoseconds for one time.
//!
//! The message is cut into its lines and Via, From, To, CSeq, Contact, Call-ID and Content-Length are read as values.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a program that takes the time and prints it, and asks another library for one header of many"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use wakeline_sip_message::Message;

fn ours(bytes: &Bytes) -> bool {
    let Ok(message) = Message::parse(bytes.clone()) else { return false };
    let via = black_box(message.via()).is_ok();
    let from = black_box(message.from()).is_ok();
    let to = black_box(message.to()).is_ok();
    let cseq = black_box(message.cseq()).is_ok();
    let contact = black_box(message.contact()).is_ok();
    let call_id = !black_box(message.call_id()).is_empty();
    let length = black_box(message.content_length()).is_ok();
    via && from && to && cseq && contact && call_id && length
}

fn rsip(bytes: &Bytes) -> bool {
    use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader};
    let Ok(message) = rsip::SipMessage::try_from(&bytes[..]) else { return false };
    let via = message.via_header().is_ok_and(|header| black_box(header.typed()).is_ok());
    let from = message.from_header().is_ok_and(|header| black_box(header.typed()).is_ok());
    let to = message.to_header().is_ok_and(|header| black_box(header.typed()).is_ok());
    let cseq = message.cseq_header().is_ok_and(|header| black_box(header.typed()).is_ok());
    let contact = message.contact_header().is_ok_and(|header| black_box(header.typed()).is_ok());
    let length = message.headers().iter().find_map(|header| match header {
        rsip::Header::ContentLength(length) => Some(length.length().is_ok()),
        _ => None,
    });
    via && from
        && to
        && cseq
        && contact
        && message.call_id_header().is_ok()
        && black_box(length) == Some(true)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, library, file, turns] = &words[..] else { return Err("read_again ours|rsip FILE TURNS".into()) };
    let (bytes, turns) = (Bytes::from(std::fs::read(file)?), turns.parse::<u32>()?);
    let read = match library.as_str() {
        "ours" => ours,
        "rsip" => rsip,
        other => return Err(format!("'{other}' is none of ours, rsip").into()),
    };
    let start = Instant::now();
    for _ in 0..turns {
        if !read(black_box(&bytes)) {
            return Err("the message was not understood".into());
        }
    }
    println!("{}", start.elapsed().as_nanos() as f64 / f64::from(turns.max(1)));
    Ok(())
}
