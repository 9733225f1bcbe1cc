//! Every vector gets its grade, the same on every transport, and what is accepted reads as the RFC says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use wakeline_sip_message::{Frame, Framer, Message, Name, Uri};
use wakeline_vectors::{ENDPOINT, Grade, PROXY, Vector, all};

/// What came in, however well it could be read.
fn read(bytes: Bytes) -> Option<Message> {
    Message::parse(bytes).map_or_else(|error| error.remains().cloned(), Some)
}

fn grades(message: Option<&Message>) -> (Grade, Grade, Grade) {
    let Some(message) = message else { return (Grade::Drop, Grade::Drop, Grade::Drop) };
    (
        Grade::of(&message.check()),
        Grade::of(&message.check_against(&ENDPOINT)),
        Grade::of(&message.check_against(&PROXY)),
    )
}

fn datagram(vector: &Vector) -> (Grade, Grade, Grade) {
    grades(read(Bytes::from_static(vector.bytes)).as_ref())
}

/// The first message of a stream that brings the vector's bytes in pieces of this size and then ends.
fn stream(vector: &Vector, piece: usize) -> (Grade, Grade, Grade) {
    let mut framer = Framer::default();
    for piece in vector.bytes.chunks(piece) {
        framer.push(piece);
        match framer.next() {
            Ok(Some(Frame::Message(bytes))) => return grades(read(bytes).as_ref()),
            Ok(_) => {}
            Err(error) => {
                let grade = error.refusal().map_or(Grade::Drop, |refusal| Grade::of(&Err(refusal)));
                return (grade, grade, grade);
            }
        }
    }
    grades(framer.end().and_then(read).as_ref())
}

#[test]
fn there_are_49_and_12() {
    assert_eq!(wakeline_vectors::rfc4475::VECTORS.len(), 49);
    assert_eq!(wakeline_vectors::rfc5118::VECTORS.len(), 12);
}

#[test]
fn every_vector_gets_its_grade_in_a_datagram_and_a_websocket_frame() {
    for vector in all() {
        assert_eq!(
            datagram(vector),
            (vector.any, vector.endpoint, vector.proxy),
            "{} {}",
            vector.name,
            vector.section
        );
    }
}

/// TLS differs from TCP only in how the bytes are cut into pieces: records of up to 16 kB.
#[test]
fn every_vector_gets_the_same_grade_from_a_stream() {
    for vector in all() {
        for piece in [1, 2, 7, 64, 536, 1460, 16_384] {
            let got = stream(vector, piece);
            // RFC 3261 §20.14: without Content-Length a stream cannot be framed, and the peer is told so.
            let due = match vector.name {
                "inv2543" => (Grade::Refuse(400), Grade::Refuse(400), Grade::Refuse(400)),
                _ => (vector.any, vector.endpoint, vector.proxy),
            };
            assert_eq!(got, due, "{} {} in pieces of {piece}", vector.name, vector.section);
        }
    }
}

/// Method or status, request URI, Call-ID, CSeq number, From URI, From tag, To URI, topmost branch.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u32,
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

#[rustfmt::skip]
const VALUES: [Row; 22] = [
    ("wsinv", "INVITE", "sip:vivekg@chair-dnrc.example.com;unknownparam", "wsinv.ndaksdj@192.0.2.1", 9, "sip:jdrosen@example.com", Some("98asjd8"), "sip:vivekg@chair-dnrc.example.com", Some("390skdjuw")),
    ("esc01", "INVITE", "sip:sips%3Auser%40example.com@example.net", "esc01.239409asdfakjkn23onasd0-3234", 234_234, "sip:I%20have%20spaces@example.net", Some("938"), "sip:%75se%72@example.com", Some("z9hG4bKkdjuw")),
    ("escnull", "REGISTER", "sip:example.com", "escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd", 14_398_234, "sip:null-%00-null@example.com", Some("839923423"), "sip:null-%00-null@example.com", Some("z9hG4bKkdjuw")),
    ("esc02", "RE%47IST%45R", "sip:registrar.example.com", "esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf", 29_344, "sip:resource@example.com", Some("f232jadfj23"), "sip:resource@example.com", Some("z9hG4bK209%fzsnel234")),
    ("lwsdisp", "OPTIONS", "sip:user@example.com", "lwsdisp.1234abcd@funky.example.com", 60, "sip:caller@example.com", Some("323"), "sip:user@example.com", Some("z9hG4bKkdjuw")),
    ("dblreq", "REGISTER", "sip:example.com", "dblreq.0ha0isndaksdj99sdfafnl3lk233412", 8, "sip:j.user@example.com", Some("43251j3j324"), "sip:j.user@example.com", Some("z9hG4bKkdjuw23492")),
    ("semiuri", "OPTIONS", "sip:user;par=u%40example.net@example.com", "semiuri.0ha0isndaksdj", 8, "sip:caller@example.org", Some("33242"), "sip:j_user@example.com", Some("z9hG4bKkdjuw")),
    ("transports", "OPTIONS", "sip:user@example.com", "transports.kijh4akdnaqjkwendsasfdj", 60, "sip:caller@example.com", Some("323"), "sip:user@example.com", Some("z9hG4bKkdjuw")),
    ("mpart01", "MESSAGE", "sip:kumiko@example.org", "3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..", 1, "sip:fluffy@example.com", Some("2fb0dcc9"), "sip:kumiko@example.org", Some("z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-")),
    ("noreason", "100", "", "noreason.asndj203insdf99223ndf", 35, "sip:user@example.com", Some("39ansfi3"), "sip:user@example.edu", Some("z9hG4bK2398ndaoe")),
    ("unreason", "200", "", "unreason.1234ksdfak3j2erwedfsASdf", 35, "sip:user@example.com", Some("11141343"), "sip:user@example.edu", Some("z9hG4bK1324923")),
    ("baddn", "OPTIONS", "sip:t.watson@example.org", "baddn.31415@c.example.com", 3_923_239, "sip:a.g.bell@example.com", Some("43"), "sip:t.watson@example.org", Some("z9hG4bKkdjuw")),
    ("badbranch", "OPTIONS", "sip:user@example.com", "badbranch.sadonfo23i420jv0as0derf3j3n", 8, "sip:caller@example.org", Some("33242"), "sip:user@example.com", Some("z9hG4bK")),
    ("unksm2", "REGISTER", "sip:example.com", "unksm2.daksdj@hyphenated-host.example.com", 234_902, "http://www.example.com", Some("3234233"), "isbn:2983792873", Some("z9hG4bKkdjuw")),
    ("cparam01", "REGISTER", "sip:example.com", "cparam01.70710@saturn.example.com", 2, "sip:watson@example.com", Some("DkfVgjkrtMwaerKKpe"), "sip:watson@example.com", Some("z9hG4bKkdjuw")),
    ("inv2543", "INVITE", "sip:UserB@example.com", "inv2543.1717@ift.client.example.com", 56, "sip:+13035551111@ift.client.example.net;user=phone", None, "sip:+16505552222@ss1.example.net", None),
    ("ipv6-good", "REGISTER", "sip:[2001:db8::10]", "SSG9559905523997077@hlau_4100", 98_176, "sip:user@example.com", Some("81x2"), "sip:user@example.com", Some("z9hG4bKas3-111")),
    ("port-ambiguous", "REGISTER", "sip:[2001:db8::10:5070]", "SSG9559905523997077@hlau_4100", 98_176, "sip:user@example.com", Some("81x2"), "sip:user@example.com", Some("z9hG4bKas3-111")),
    ("port-unambiguous", "REGISTER", "sip:[2001:db8::10]:5070", "SSG9559905523997077@hlau_4100", 98_176, "sip:user@example.com", Some("81x2"), "sip:user@example.com", Some("z9hG4bKas3-111")),
    ("mult-ip-in-header", "BYE", "sip:user@host.example.net", "997077@lau_4100", 89_187, "sip:user@example.com", Some("81x2"), "sip:user@example.net", Some("z9hG4bKas3-111")),
    ("ipv4-mapped-ipv6", "INVITE", "sip:user@example.com", "SSG9559905523997077@hlau_4100", 612, "sip:user@east.example.com", Some("81x2"), "sip:user@example.com", Some("z9hG4bKbh19")),
    ("ipv6-bug-abnf-3-colons", "OPTIONS", "sip:user@[2001:db8:::192.0.2.1]", "G9559905523997077@hlau_4100", 689, "sip:user@example.com", Some("810x2"), "sip:user@[2001:db8:::192.0.2.1]", Some("z9hG4bKas3-111")),
];

#[test]
fn what_is_accepted_reads_as_the_rfc_says() {
    for (name, start, uri, call_id, cseq, from, from_tag, to, branch) in VALUES {
        let message = message(name);
        let method = message.method();
        match message.status() {
            Some(status) => assert_eq!(status.to_string(), start, "{name}"),
            None => assert_eq!(method.as_str(), start, "{name}"),
        }
        assert_eq!(message.request_uri_text(), uri, "{name}");
        assert_eq!(message.call_id(), call_id, "{name}");
        assert_eq!(message.cseq().map(|cseq| cseq.number), Ok(cseq), "{name}");
        assert_eq!(message.from().map(|from| from.uri().as_str()), Ok(from), "{name}");
        assert_eq!(message.from_tag(), from_tag, "{name}");
        assert_eq!(message.to().map(|to| to.uri().as_str()), Ok(to), "{name}");
        assert_eq!(message.via().map(|via| via.branch()), Ok(branch), "{name}");
    }
}

fn message(name: &str) -> Message {
    let vector = all().find(|vector| vector.name == name).expect("a vector of this name");
    Message::parse(Bytes::from_static(vector.bytes)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn wsinv_folds_spaces_and_compact_forms() {
    let message = message("wsinv");
    assert_eq!(message.vias().filter_map(Result::ok).count(), 3);
    let via = message.vias().nth(2).unwrap().unwrap();
    assert_eq!((via.sent_by(), via.branch()), ("192.168.255.111", Some("z9hG4bK30239")));
    assert_eq!(message.to_tag(), Some("1918181833n"));
    assert_eq!(message.from().unwrap().display_name().as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.content_length(), Ok(Some(150)));
    assert_eq!(message.body().len(), 150);
    assert_eq!(message.subject(), Some(""));
    assert!(message.header_by_name("newfangledheader").unwrap().ends_with("continued newfangled value"));
    assert_eq!(message.header_by_name("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let route = message.routes().next().unwrap().unwrap();
    assert!(route.uri().is_loose());
    assert_eq!(route.uri().param("unknownwith"), Some("value"));
    let contact = message.contact().unwrap().unwrap();
    assert_eq!(contact.display_name().as_deref(), Some("Quoted string \"\""));
    assert_eq!(
        (contact.q(), contact.param("newparam"), contact.param("secondparam")),
        (Some(330), Some("newvalue"), Some(""))
    );
}

#[test]
fn intmeth_uses_every_character_it_may() {
    let message = message("intmeth");
    assert_eq!(message.method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let uri = message.request_uri().unwrap();
    assert_eq!(uri.user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(uri.host_text(), "example.com");
    let to = message.to().unwrap();
    assert_eq!(to.display_name().as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    let from = message.from().unwrap();
    assert_eq!(from.display_name().as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(from.params().get_unquoted("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(message.header_by_name("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));
}

#[test]
fn escapes_stay_what_they_are() {
    let message = message("esc01");
    assert_eq!(message.request_uri().unwrap().user_unescaped().as_deref(), Some("sips:user@example.com"));
    let contact = message.contact().unwrap().unwrap();
    assert_eq!(contact.uri().user_unescaped().as_deref(), Some("caller"));
    assert!(contact.uri().is_loose(), "an escaped lr is lr");
    assert_eq!(contact.uri().param("name"), Some("v%61lue%25%34%31"));
    let to = message.to().unwrap();
    assert!(to.uri().equivalent(&Uri::parse("sip:user@example.com").unwrap()));

    let register = self::message("esc02");
    assert_ne!(
        register.method(),
        wakeline_sip_message::Method::Register,
        "a method's % is a character of its own"
    );
    assert_eq!(register.contacts().unwrap().list().len(), 2, "so is a header name's");
    assert_eq!(register.from().unwrap().display_name().as_deref(), Some("%Z%45"));

    let nulls = self::message("escnull");
    let users: Vec<_> = nulls
        .contacts()
        .unwrap()
        .list()
        .iter()
        .map(|one| one.uri().user_unescaped().unwrap().into_owned())
        .collect();
    assert_eq!(users, ["\0", "\0\0"]);
}

#[test]
fn longreq_has_34_vias_and_long_everything() {
    let message = message("longreq");
    assert_eq!(message.vias().filter_map(Result::ok).count(), 34);
    assert_eq!(message.via().unwrap().sent_by(), "sip33.example.com");
    assert!(message.call_id().ends_with("longcallid") && message.call_id().len() > 100);
    assert!(message.from().unwrap().uri().user().unwrap().len() > 100);
    assert_eq!(message.body().len(), 150);
}

#[test]
fn dblreq_is_one_request_in_a_datagram_and_two_in_a_stream() {
    let vector = all().find(|vector| vector.name == "dblreq").unwrap();
    let mut framer = Framer::default();
    framer.push(vector.bytes);
    let mut methods = Vec::new();
    // The RFC's archive has a few bytes more than the second Content-Length says; they start no message.
    while let Ok(Some(frame)) = framer.next() {
        if let Frame::Message(bytes) = frame {
            methods.push(Message::parse(bytes).unwrap().method().as_str().to_owned());
        }
    }
    assert_eq!(methods, ["REGISTER", "INVITE"]);
    assert!(message("dblreq").body().is_empty());
}

#[test]
fn mpart01_has_two_parts_byte_for_byte() {
    let message = message("mpart01");
    let parts = message.parts().unwrap();
    assert_eq!(parts.len(), 2);
    assert_eq!(&parts[0].body()[..], b"Hello");
    assert!(parts[1].content_type().unwrap().is("application", "octet-stream"));
    assert_eq!((parts[1].body()[0], parts[1].body()[1]), (0x30, 0x82));
    assert!(message.part("application", "octet-stream").unwrap().is_some());
    assert!(message.sdp().is_none());
    assert_eq!(message.date(), Ok(Some(1_129_351_496)));
}

#[test]
fn transports_keeps_vias_that_nobody_knows() {
    let message = message("transports");
    let known: Vec<_> =
        message.vias().map(|via| via.unwrap().transport().map(|one| one.via_token())).collect();
    assert_eq!(known, [Some("UDP"), None, Some("TLS"), None, Some("TCP")]);
}

#[test]
fn contact_parameters_belong_to_header_or_uri() {
    let bare = message("cparam01");
    let contact = bare.contact().unwrap().unwrap();
    assert!(contact.params().has("unknownparam") && !contact.uri().params().has("unknownparam"));
    let inside = message("cparam02");
    let contact = inside.contact().unwrap().unwrap();
    assert!(!contact.params().has("unknownparam") && contact.uri().params().has("unknownparam"));
    let escaped = message("regescrt");
    let contact = escaped.contact().unwrap().unwrap();
    assert_eq!(contact.uri().header("route").as_deref(), Some("<sip:sip.example.com>"));
}

#[test]
fn responses_keep_their_reason_or_none() {
    assert_eq!(message("noreason").reason(), "");
    assert_eq!(message("unreason").reason(), "= 2**3 * 5**2 но сто девяносто девять - простое");
}

#[test]
fn refusals_say_what_the_rfc_asks_for() {
    let refusal = message("bext01").check_against(&ENDPOINT).unwrap_err();
    let answer = refusal.answer(&message("bext01"), "tag").unwrap().unwrap();
    let unsupported: Vec<_> = answer.unsupported().collect();
    assert_eq!(
        (answer.status(), unsupported),
        (Some(420), vec!["nothingSupportsThis", "nothingSupportsThisEither"])
    );
    let refusal = message("bext01").check_against(&PROXY).unwrap_err();
    let answer = refusal.answer(&message("bext01"), "tag").unwrap().unwrap();
    assert_eq!(answer.unsupported().count(), 2);
    let refusal = message("invut").check_against(&ENDPOINT).unwrap_err();
    let answer = refusal.answer(&message("invut"), "tag").unwrap().unwrap();
    assert!(answer.accept().any(|media| media.unwrap().is("application", "sdp")));
    let refusal = message("intmeth").check_against(&ENDPOINT).unwrap_err();
    assert!(
        refusal.answer(&message("intmeth"), "tag").unwrap().unwrap().allow().any(|method| method == "INVITE")
    );
    assert_eq!(
        message("baddate").date().map_err(|error| error.place),
        Err(wakeline_sip_message::Place::Header(Name::Date))
    );
    assert_eq!(message("regaut01").authorization().next().unwrap().unwrap().scheme(), "NoOneKnowsThisScheme");
}

#[test]
fn every_answer_that_is_due_can_be_written() {
    for vector in all() {
        let Some(message) = read(Bytes::from_static(vector.bytes)) else { continue };
        if let Err(refusal) = message.check()
            && let Some(answer) = refusal.answer(&message, "t1")
        {
            let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", vector.name));
            assert_eq!(answer.status(), refusal.code(), "{}", vector.name);
            assert_eq!(
                answer.via().map(|via| via.as_str()),
                message.via().map(|via| via.as_str()),
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn addresses_of_version_six() {
    for (name, received) in
        [("via-received-param-with-delim", true), ("via-received-param-no-delim", true), ("ipv6-good", false)]
    {
        let message = message(name);
        let due = received.then(|| "2001:db8::9:255".parse().unwrap());
        assert_eq!(message.via().unwrap().received(), due, "{name}");
    }
    let mixed = message("mult-ip-in-header");
    let received: Vec<_> =
        mixed.vias().map(|via| via.unwrap().received().map(|one| one.to_string())).collect();
    assert_eq!(received, [None, None, Some("192.0.2.200".to_owned())]);
    assert_eq!(mixed.via().unwrap().port(), Some(6050));
    assert_eq!(message("port-ambiguous").request_uri().unwrap().port(), None);
    assert_eq!(message("port-unambiguous").request_uri().unwrap().port(), Some(5070));
    let (two, three) = (message("ipv6-correct-abnf-2-colons"), message("ipv6-bug-abnf-3-colons"));
    assert_eq!(two.request_uri().unwrap().host(), three.request_uri().unwrap().host());
    for name in ["ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"] {
        let message = message(name);
        assert_eq!(message.sdp().as_deref(), Some(message.body()), "{name}");
        assert!(
            message.contact().unwrap().unwrap().uri().host().address().is_some_and(|host| host.is_ipv6()),
            "{name}"
        );
    }
}
