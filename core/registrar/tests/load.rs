//! Figures, not judgements: CPU per REGISTER, memory per binding and per held INVITE. Run with
//! `cargo test --release -p wakeline-registrar --test load -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test stops where it fails"
)]
#![expect(unsafe_code, reason = "an allocator that counts")]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_registrar::{Loaded, Output, Registrar};
use wakeline_sip_message::Message;
use world::{DOMAIN, account, config};

struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only sums are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as handed in.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as handed in.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// MD5 of `a:b:c`, by way of HA1.
fn md5_of(a: &str, b: &str, c: &str) -> String {
    wakeline_sip_auth::Ha1::of(wakeline_sip_auth::Algorithm::Md5, a, b, &c.into()).digits.expose().to_owned()
}

fn register(number: usize, cseq: u32, flow: &FlowInfo, answer: &str) -> Bytes {
    let user = format!("u{number}");
    let uuid = format!("0f3b7c52-6a1e-4d0a-9c55-{number:012}");
    let token = format!("dK2_exampleToken{number:08}:APA91b{}", "x".repeat(140));
    Bytes::from(format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bK-{number}-{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{DOMAIN}>;tag=6c1d\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: 5d0c8b1e-{number}@dev7\r\n\
         CSeq: {cseq} REGISTER\r\nSupported: path, outbound, gruu\r\n{answer}\
         Contact: <sip:{user}@{};transport=tls;ob;pn-provider=fcm;pn-param=acme-voice-prod;pn-prid={token}>;reg-id=1;+sip.pnsreg;+sip.instance=\"<urn:uuid:{uuid}>\"\r\n\
         Expires: 604800\r\nContent-Length: 0\r\n\r\n",
        flow.transport, flow.remote, flow.remote
    ))
}

fn drain(gateway: &mut Registrar) -> Vec<Message> {
    let mut sent = Vec::new();
    while let Some(output) = gateway.poll_output() {
        if let Output::Transmit(transmit) = output {
            sent.push(Message::parse(transmit.bytes).unwrap());
        }
    }
    sent
}

#[test]
#[ignore = "a measurement"]
fn figures() {
    let count: usize =
        std::env::var("WAKELINE_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let mut config = config();
    config.limits.answers = 1000;
    let mut loaded = Loaded::default();
    for number in 0..count {
        let mut one = account(&format!("u{number}"));
        one.credential = wakeline_registrar::Credential::Ha1 {
            md5: Some(md5_of(&format!("u{number}"), DOMAIN, "secret").into()),
            sha256: None,
            sha512_256: None,
        };
        loaded.accounts.push(one);
    }
    let (now, wall) = (wakeline_clock::Time::from_millis(1000), wakeline_clock::WallTime(1_789_000_000_000));
    let mut gateway = Registrar::new(config, loaded, [1; 32], now, wall);
    let flow = |number: usize| FlowInfo {
        id: FlowId(number as u64 + 1),
        transport: Transport::Udp,
        local: "203.0.113.1:5060".parse().unwrap(),
        remote: format!("10.{}.{}.{}:5060", number >> 16, number >> 8 & 255, number & 255).parse().unwrap(),
    };
    let ha2 = digest(&format!("REGISTER:sip:{DOMAIN}"));
    let authorization = |number: usize, nonce: &str, nc: u32| {
        let ha1 = md5_of(&format!("u{number}"), DOMAIN, "secret");
        let plain = digest(&format!("{ha1}:{nonce}:{nc:08x}:0a4f113b:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"u{number}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"sip:{DOMAIN}\", response=\"{plain}\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc={nc:08x}\r\n"
        )
    };
    let receive = |gateway: &mut Registrar, number: usize, bytes: Bytes| {
        gateway.handle_received(now, wall, Received { flow: flow(number), bytes });
    };
    let before = USED.load(Ordering::Relaxed);
    let mut nonces = Vec::with_capacity(count);
    for number in 0..count {
        receive(&mut gateway, number, register(number, 1, &flow(number), ""));
        let sent = drain(&mut gateway);
        let nonce = sent[0].www_authenticate().flatten().next().unwrap().nonce().unwrap().into_owned();
        nonces.push(nonce);
    }
    let flows_used =
        USED.load(Ordering::Relaxed) - before - nonces.iter().map(|n| n.capacity() + 24).sum::<usize>();
    let before = USED.load(Ordering::Relaxed);
    let mut statuses = 0;
    for (number, nonce) in nonces.iter().enumerate() {
        let answer = authorization(number, nonce, 1);
        receive(&mut gateway, number, register(number, 2, &flow(number), &answer));
        statuses += drain(&mut gateway).iter().filter(|message| message.status() == Some(200)).count();
    }
    let bindings_used = USED.load(Ordering::Relaxed) - before;
    println!("200s: {statuses}; gauges {:?}", gateway.gauges());
    println!("bytes per flow {}, per binding with nonce count {}", flows_used / count, bindings_used / count);
    let requests: Vec<Bytes> = (0..count)
        .map(|number| register(number, 3, &flow(number), &authorization(number, &nonces[number], 2)))
        .collect();
    let challenges: Vec<Bytes> = (0..count).map(|number| register(number, 4, &flow(number), "")).collect();
    for (name, list) in
        [("REGISTER refresh, stored nonce", requests), ("REGISTER without credentials", challenges)]
    {
        let start = cpu();
        for (number, bytes) in list.into_iter().enumerate() {
            receive(&mut gateway, number, bytes);
            while gateway.poll_output().is_some() {}
        }
        println!("{name}: {:.2} us CPU each", (cpu() - start) / count as f64 * 1e6);
    }
    let trunk =
        FlowInfo { transport: Transport::Tcp, remote: "198.51.100.7:5060".parse().unwrap(), ..flow(count) };
    for number in 0..count {
        gateway.handle_flow_closed(now, wall, flow(number).id);
    }
    let invites: Vec<Bytes> = (0..count / 5)
        .map(|number| {
            let body = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n";
            Bytes::from(format!(
                "INVITE sip:u{number}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7:5060;branch=z9hG4bK-c{number}\r\nMax-Forwards: 70\r\n\
                 From: \"Uncle Bob\" <sip:+1555{number}@198.51.100.7>;tag=t{number}\r\nTo: <sip:u{number}@{DOMAIN}>\r\nCall-ID: c{number}@198.51.100.7\r\n\
                 CSeq: 1 INVITE\r\nContact: <sip:bob@198.51.100.7:5060;transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
        })
        .collect();
    println!("INVITE of {} bytes", invites[0].len());
    let before = USED.load(Ordering::Relaxed);
    let start = cpu();
    for bytes in &invites {
        // A copy, as a socket would give.
        let bytes = Bytes::copy_from_slice(bytes);
        gateway.handle_received(now, wall, Received { flow: trunk, bytes });
        while gateway.poll_output().is_some() {}
    }
    println!(
        "held INVITE: {:.2} us CPU, {} bytes each; held {}",
        (cpu() - start) / invites.len() as f64 * 1e6,
        (USED.load(Ordering::Relaxed) - before) / invites.len(),
        gateway.gauges().held
    );
}

fn digest(text: &str) -> String {
    // `a:b:c` is any text with two colons at which it may be cut.
    let mut parts = text.splitn(3, ':');
    let (a, b, c) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    md5_of(a, b, c)
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
