//! A shipped gateway on loopback under the tools that scan the Internet, and under slow connections in real numbers.
//!
//! Attackers and phones have loopback addresses of their own, since everything is counted by address. Limits are those
//! that are shipped.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test panics where it fails, and times real programs by the wall clock"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use wakeline_interop::gateway::Gateway;
use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_interop::phone::Phone;
use wakeline_interop::place::Folder;
use wakeline_interop::sipvicious;

/// Where the attackers are.
const ATTACKER: &str = "127.0.0.66";

/// A phone of an account, at home on another loopback address than the attackers.
fn honest(folder: &Folder, gateway: &Gateway, user: &str, address: &str) -> Phone {
    let mut account = gateway.account(user, "0");
    account.retain(|(name, _)| *name != "localip");
    account.push(("localip", address.to_owned()));
    Phone::start(folder, &format!("phone-{user}.log"), &account, &[])
}

#[test]
fn s16_svmap_learns_no_version() {
    let folder = Folder::new("svmap");
    let gateway = Gateway::start(&folder, &["110"]);
    let found = sipvicious::run(&folder, "svmap", ATTACKER, gateway.port, &[], Duration::from_secs(30));
    assert!(found.ended, "{}", found.text);
    // That something answers is no secret; what it is stays one.
    let shown = found.beside(&format!("127.0.0.1:{}", gateway.port));
    assert_eq!(shown.as_deref(), Some("unknown"), "{}", found.text);
}

#[test]
fn s16_svwar_tells_no_extension_from_a_missing_one() {
    let folder = Folder::new("svwar");
    let gateway = Gateway::start(&folder, &["110", "115"]);
    for (method, from) in [("REGISTER", "127.0.0.66"), ("INVITE", "127.0.0.67"), ("OPTIONS", "127.0.0.68")] {
        let arguments = ["--force", "-m", method, "-e", "100-130"];
        let found =
            sipvicious::run(&folder, "svwar", from, gateway.port, &arguments, Duration::from_secs(40));
        assert_eq!(found.rows(), 0, "{method}: {}", found.text);
        assert!(!found.text.contains("| 110"), "{method}: {}", found.text);
    }
    // The same asked in our own words: the answers to a user that is there and to one that is not differ in nothing.
    let answer = |user: &str, method: &str| {
        let socket = UdpSocket::bind("127.0.0.69:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let from = socket.local_addr().expect("an address");
        let request = format!(
            "{method} sip:{user}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{user}-{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{DOMAIN}>;tag=1\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: {user}-{method}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:{user}@{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(request.as_bytes(), ("127.0.0.1", gateway.port)).expect("it leaves");
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer).expect("an answer");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        // What differs by chance: nonce and tag, and what we sent ourselves.
        let kept =
            |line: &&str| !["Via:", "From:", "To:", "Call-ID:"].iter().any(|name| line.starts_with(name));
        let lines =
            text.lines().filter(kept).map(|line| line.split("nonce=").next().unwrap_or(line).to_owned());
        lines.collect::<Vec<String>>()
    };
    for method in ["REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE"] {
        assert_eq!(answer("110", method), answer("120", method), "{method}");
    }
}

#[test]
fn s16_svcrack_does_not_find_a_password_that_is_in_its_list_and_the_owner_registers_meanwhile() {
    let folder = Folder::new("svcrack");
    let gateway = Gateway::start(&folder, &["110", "115"]);
    let list = |name: &str, before: usize| {
        let mut words: Vec<String> = (0..before).map(|number| format!("guess-{number}")).collect();
        words.push(PASSWORD.to_owned());
        folder.write(name, &(words.join("\n") + "\n")).display().to_string()
    };
    // That the tool works: with nothing wrong before it, it finds the password.
    let short = list("short.txt", 0);
    let arguments = ["-u", "115", "--domain", DOMAIN, "-d", &short];
    let found =
        sipvicious::run(&folder, "svcrack", "127.0.0.67", gateway.port, &arguments, Duration::from_secs(30));
    assert_eq!(found.beside("115").as_deref(), Some(PASSWORD), "{}", found.text);
    // Two hundred wrong ones before the right one: at full speed that is less than a second.
    let long = list("long.txt", 200);
    let attack = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let arguments = ["-u", "110", "--domain", DOMAIN, "-d", &long];
            sipvicious::run(&folder, "svcrack", ATTACKER, gateway.port, &arguments, Duration::from_secs(45))
        });
        std::thread::sleep(Duration::from_secs(3));
        let mut owner = honest(&folder, &gateway, "110", "127.0.0.9");
        owner.wait_registration("registered");
        owner.quit();
        attack.join().expect("the attack")
    });
    assert_eq!(attack.beside("110"), None, "{}", attack.text);
    assert!(!attack.text.contains("The password for 110"), "{}", attack.text);
}

/// Connects from one loopback address.
fn connect(from: &str, port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from: SocketAddr = format!("{from}:0").parse().expect("an address");
    socket.bind(&from.into())?;
    let server: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&server.into())?;
    Ok(socket.into())
}

#[test]
fn s15_two_thousand_idle_and_a_thousand_slow_connections_keep_nobody_waiting_with_the_shipped_limits() {
    let folder = Folder::new("slow-loris");
    let gateway = Gateway::start_with_tls(&folder, &["110", "111", "112", "113", "114", "115"]);
    let (tls_port, _) = gateway.tls.as_ref().expect("it has TLS");
    let mut idle = Vec::new();
    for number in 0..2000 {
        idle.push(connect(&format!("127.0.1.{}", 1 + number % 8), gateway.port).expect("a connection"));
    }
    // Five hundred send one byte every five seconds, five hundred stop within their TLS hello.
    let request = b"REGISTER sip:sip.test SIP/2.0\r\nVia: SIP/2.0/TCP ";
    let mut slow: Vec<TcpStream> = (0..500)
        .map(|number| connect(&format!("127.0.2.{}", 1 + number % 4), gateway.port).expect("a connection"))
        .collect();
    let mut hello = Vec::new();
    for number in 0..500 {
        let mut stream = connect(&format!("127.0.3.{}", 1 + number % 4), *tls_port).expect("a connection");
        let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
        hello.push(stream);
    }
    let began = Instant::now();
    let mut byte = request.iter().cycle();
    for (number, transport) in [(110, "0"), (111, "1"), (112, "2"), (113, "1"), (114, "2"), (115, "0")] {
        let next = byte.next().copied().unwrap_or(b'R');
        for stream in &mut slow {
            let _ = stream.write_all(&[next]);
        }
        let mut account = gateway.account(&number.to_string(), transport);
        account.retain(|(name, _)| *name != "localip");
        account.push(("localip", "127.0.0.9".to_owned()));
        let mut phone = Phone::start(&folder, &format!("phone-{number}.log"), &account, &[]);
        let started = Instant::now();
        phone.wait_registration("registered");
        // The phone's own start counts in; the gateway has a second.
        assert!(started.elapsed() < Duration::from_secs(3), "{number}: {:?}", started.elapsed());
        phone.quit();
        std::thread::sleep(Duration::from_secs(5));
    }
    // Whoever said nothing for its time is closed (30 s as shipped; the pass line is 60 s).
    std::thread::sleep(Duration::from_secs(35).saturating_sub(began.elapsed()));
    for stream in idle.iter_mut().chain(&mut hello).chain(&mut slow) {
        stream.set_read_timeout(Some(Duration::from_secs(25))).expect("a time");
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            let closed = error.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(closed, "still open after a minute: {error}");
        }
    }
}

/// A request of a stranger over UDP.
fn request(method: &str, user: &str, from: SocketAddr, number: usize, more: &str) -> String {
    format!(
        "{method} sip:{user}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{number}-{method}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{DOMAIN}>;tag=t{number}\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: c{number}-{from}\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:{user}@{from}>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// How long the refusal of a wrong password takes, from an address that has not guessed before.
fn refusal_time(user: &str, port: u16, number: usize) -> Duration {
    let socket =
        UdpSocket::bind(format!("127.{}.{}.1:0", 1 + number / 250, 1 + number % 250)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let from = socket.local_addr().expect("an address");
    let mut buffer = [0; 4096];
    let mut ask = |number: usize, more: &str| {
        let text = request("REGISTER", user, from, number, more);
        let started = Instant::now();
        socket.send_to(text.as_bytes(), ("127.0.0.1", port)).expect("it leaves");
        let count = socket.recv(&mut buffer).expect("an answer");
        (String::from_utf8_lossy(&buffer[..count]).into_owned(), started.elapsed())
    };
    let (challenge, _) = ask(number * 2 + 1, "");
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
    let wrong = format!(
        "Authorization: Digest username=\"{user}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"sip:{user}@{DOMAIN}\", \
         response=\"{number:032x}\", algorithm=MD5, cnonce=\"c\", nc=00000001, qop=auth\r\n"
    );
    let (refused, took) = ask(number * 2 + 2, &wrong);
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    took
}

/// Welch's t of two samples without the slowest fifth of each, which the machine is to blame for.
fn t_of(samples: [&mut Vec<Duration>; 2]) -> f64 {
    let moments = samples.map(|sample| {
        sample.sort();
        sample.truncate(sample.len() * 4 / 5);
        let seconds: Vec<f64> = sample.iter().map(Duration::as_secs_f64).collect();
        let count = f64::from(u32::try_from(seconds.len()).expect("a small number"));
        let mean = seconds.iter().sum::<f64>() / count;
        let variance = seconds.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    let [(one, of_one), (two, of_two)] = moments;
    (one - two) / (of_one + of_two).sqrt()
}

#[test]
fn s16_a_name_that_is_there_takes_no_longer_to_refuse_than_one_that_is_not() {
    let folder = Folder::new("timing");
    let gateway = Gateway::start(&folder, &["110", "115"]);
    let mut found = Vec::new();
    // Chance alone gives an abs(t) of 3 once in 370 runs, and the machine is shared: an oracle shows every time.
    for round in 0..4 {
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for number in 0..2000 {
            let (user, sample) =
                if (number / 2 + number) % 2 == 0 { ("110", &mut there) } else { ("120", &mut missing) };
            sample.push(refusal_time(user, gateway.port, round * 2000 + number));
        }
        let t = t_of([&mut there, &mut missing]);
        if t.abs() < 3.0 {
            return;
        }
        found.push(t);
    }
    panic!("t of four rounds: {found:?}");
}

#[test]
fn s26_a_gateway_that_was_frozen_serves_at_once_when_it_goes_on() {
    let folder = Folder::new("frozen");
    let gateway = Gateway::start(&folder, &["110", "111", "112"]);
    let mut callee = Phone::start(&folder, "callee.log", &gateway.account("110", "1"), &[]);
    let mut caller = Phone::start(&folder, "caller.log", &gateway.account("111", "0"), &[]);
    callee.wait_registration("registered");
    caller.wait_registration("registered");
    gateway.freeze(true);
    std::thread::sleep(Duration::from_secs(6));
    callee.forget();
    gateway.freeze(false);
    let started = Instant::now();
    caller.command(&json!({ "command": "dial", "to": format!("sip:110@{DOMAIN}") }));
    let call = callee.wait_call("ringing");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    callee.command(&json!({ "command": "answer", "call": call }));
    let call = caller.wait_call("established");
    caller.command(&json!({ "command": "hangup", "call": call }));
    caller.wait_end();
    // Nobody who was there has to come anew more than once, and who is new is served too.
    let again =
        callee.count(|event| event["event"] == "registration-changed" && event["phase"] == "registering");
    assert!(again <= 1, "{again}");
    let mut late = Phone::start(&folder, "late.log", &gateway.account("112", "0"), &[]);
    late.wait_registration("registered");
    for phone in [callee, caller, late] {
        phone.quit();
    }
}

#[test]
fn s14_two_thousand_calls_a_second_of_strangers_take_no_call_and_no_memory_from_phones() {
    let folder = Folder::new("flood");
    let gateway = Gateway::start(&folder, &["110", "111", "112"]);
    let honest = |user: &str, address: &str| {
        let mut phone = honest(&folder, &gateway, user, address);
        phone.wait_registration("registered");
        phone
    };
    let (mut callee, mut caller) = (honest("110", "127.0.0.9"), honest("111", "127.0.0.10"));
    let before = gateway.resident();
    let port = gateway.port;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // From two hundred addresses, each slow enough not to be turned away; nobody ever sends an ACK or a CANCEL.
    let flood = std::thread::spawn(move || {
        let sockets: Vec<UdpSocket> = (0..200)
            .map(|number| UdpSocket::bind(format!("127.9.{}.{}:0", number / 100, 1 + number % 100)))
            .map(|socket| socket.expect("a socket"))
            .collect();
        let began = Instant::now();
        let mut sent = 0_usize;
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            let due = usize::try_from(began.elapsed().as_millis()).unwrap_or(usize::MAX) * 2;
            while sent < due {
                let socket = &sockets[sent % sockets.len()];
                let from = socket.local_addr().expect("an address");
                let user = ["110", "111", "120", "x"][sent % 4];
                let _ =
                    socket.send_to(request("INVITE", user, from, sent, "").as_bytes(), ("127.0.0.1", port));
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        (sent, began.elapsed())
    });
    let mut made = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(12) {
        caller.forget();
        callee.forget();
        let started = Instant::now();
        caller.command(&json!({ "command": "dial", "to": format!("sip:110@{DOMAIN}") }));
        let call = callee.wait_call("ringing");
        assert!(started.elapsed() < Duration::from_secs(2), "{made}: {:?}", started.elapsed());
        callee.command(&json!({ "command": "answer", "call": call }));
        let call = caller.wait_call("established");
        caller.command(&json!({ "command": "hangup", "call": call }));
        caller.wait_end();
        callee.wait_end();
        made += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    let during = gateway.resident();
    let late = honest("112", "127.0.0.11");
    drop(stop);
    let (sent, took) = flood.join().expect("the flood");
    assert!(sent > 1500 * usize::try_from(took.as_secs()).unwrap_or(0), "only {sent} in {took:?}");
    assert!(made >= 5, "{made} calls");
    // Timer H of the refused INVITEs, and a little.
    std::thread::sleep(Duration::from_secs(35));
    let after = gateway.resident();
    println!("{made} calls beside {sent} of strangers; {before} MiB before, {during} during, {after} after");
    assert!(after <= before + 16, "{before} MiB before, {during} during, {after} after");
    for phone in [callee, caller, late] {
        phone.quit();
    }
}
