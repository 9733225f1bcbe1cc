//! A shipped gateway on loopback under the tools that scan the Internet, and under slow connections in real numbers.
//!
//! Attackers and phones have loopback addresses of their own, since everything is counted by address. Limits are those
//! that are shipped.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test panics where it fails, and times real programs by the wall clock"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

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
