//! What rsip and rsipstack read from a valid message, we read from it too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_sip_message::{Builder, Message, Method, Name, OwnedNameAddr, OwnedUri, Scheme};

#[derive(PartialEq, Eq, Debug)]
struct Read {
    method: String,
    uri: String,
    call_id: String,
    cseq: (u32, String),
    from_tag: Option<String>,
    to_tag: Option<String>,
    branch: Option<String>,
    body: Vec<u8>,
}

fn ours(bytes: &[u8]) -> Read {
    let message = Message::parse(Bytes::copy_from_slice(bytes)).unwrap();
    assert_eq!(message.check(), Ok(()));
    let cseq = message.cseq().unwrap();
    Read {
        method: message.method().to_string(),
        // The others write a transport in capitals; no letter of these URIs depends on case.
        uri: message.request_uri().unwrap().to_string().to_lowercase(),
        call_id: message.call_id().into(),
        cseq: (cseq.number, cseq.method.to_string()),
        from_tag: message.from_tag().map(Into::into),
        to_tag: message.to_tag().map(Into::into),
        branch: message.via().unwrap().branch().map(Into::into),
        body: message.body().to_vec(),
    }
}

fn rsip(bytes: &[u8]) -> Read {
    use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let request = rsip::Request::try_from(bytes).unwrap();
    let cseq = request.cseq_header().unwrap().typed().unwrap();
    Read {
        method: request.method.to_string(),
        uri: request.uri.to_string().to_lowercase(),
        call_id: request.call_id_header().unwrap().value().into(),
        cseq: (cseq.seq, cseq.method.to_string()),
        from_tag: request.from_header().unwrap().typed().unwrap().tag().map(|tag| tag.value().into()),
        to_tag: request.to_header().unwrap().typed().unwrap().tag().map(|tag| tag.value().into()),
        branch: request.via_header().unwrap().typed().unwrap().branch().map(|branch| branch.value().into()),
        body: request.body,
    }
}

fn rsipstack(bytes: &[u8]) -> Read {
    use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
    let request = rsipstack::sip::Request::try_from(bytes).unwrap();
    let cseq = request.cseq_header().unwrap().typed().unwrap();
    Read {
        method: request.method.to_string(),
        uri: request.uri.to_string().to_lowercase(),
        call_id: request.call_id_header().unwrap().value().into(),
        cseq: (cseq.seq, cseq.method.to_string()),
        from_tag: request.from_header().unwrap().typed().unwrap().tag().map(|tag| tag.value().into()),
        to_tag: request.to_header().unwrap().typed().unwrap().tag().map(|tag| tag.value().into()),
        branch: request.via_header().unwrap().typed().unwrap().branch().map(|branch| branch.value().into()),
        body: request.body,
    }
}

/// A valid request of random shape, within what all three readers know.
fn request(entropy: &mut Entropy) -> Message {
    let methods = [
        Method::Invite,
        Method::Bye,
        Method::Register,
        Method::Options,
        Method::Message,
        Method::Refer,
        Method::Notify,
        Method::Subscribe,
    ];
    let method = methods[entropy.below(8) as usize].clone();
    let host = ["example.net", "192.0.2.7", "sip.example.org"][entropy.below(3) as usize];
    let port = (entropy.below(2) == 0).then(|| 1024 + entropy.below(60_000) as u16);
    let length = 1 + entropy.below(12) as usize;
    let user = entropy.token(length);
    let uri = OwnedUri::sip(Scheme::Sip, Some(&user), host, port).unwrap();
    let uri = if entropy.below(2) == 0 { uri.with_param("transport", Some("tcp")).unwrap() } else { uri };
    let names = [None, Some("Bob"), Some("Alice Liddell"), Some("O'Neil, (sales)")];
    let address = |entropy: &mut Entropy| {
        let user = entropy.token(6);
        let addr = OwnedNameAddr::new(OwnedUri::sip(Scheme::Sip, Some(&user), "example.org", None).unwrap());
        match names[entropy.below(4) as usize] {
            Some(name) => addr.with_display_name(name).unwrap(),
            None => addr,
        }
    };
    let from = address(entropy);
    let from = from.with_tag(&entropy.token(10)).unwrap();
    let to = address(entropy);
    let to = if entropy.below(2) == 0 { to.with_tag(&entropy.token(10)).unwrap() } else { to };
    let number = entropy.u32() >> 1;
    let mut builder = Builder::request(method.clone(), &uri)
        .header(Name::Via, format!("SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK{};rport", entropy.token(12)))
        .header(Name::From, from)
        .header(Name::To, to)
        .header(Name::CallId, format!("{}@192.0.2.1", entropy.token(20)))
        .header(Name::CSeq, format!("{number} {method}"))
        .header(Name::Contact, "<sip:alice@192.0.2.1:5060>");
    for _ in 0..entropy.below(3) {
        builder = builder.header_text("X-Extra", entropy.token(30));
    }
    if entropy.below(2) == 0 {
        let length = 1 + entropy.below(200) as usize;
        builder = builder.body("text/plain", entropy.token(length));
    }
    builder.build().unwrap()
}

#[test]
fn valid_requests_read_alike() {
    let mut entropy = Entropy::from_number(3261);
    for round in 0..2_000 {
        let message = request(&mut entropy);
        let bytes = message.to_bytes();
        let mine = ours(&bytes);
        assert_eq!(rsip(&bytes), mine, "round {round}: {message:?}");
        assert_eq!(rsipstack(&bytes), mine, "round {round}: {message:?}");
    }
}
