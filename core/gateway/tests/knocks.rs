//! Whoever is refused again and again is not looked at any more; whoever is known, or elsewhere, does not notice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use phone::{Phone, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};

/// How many refusals the gateway of these tests takes at once.
const AT_ONCE: u32 = 20;

fn gateway() -> Handle {
    let mut config = Config::default().on_any_port();
    config.limits.refusals = AT_ONCE;
    config.limits.refusals_per_second = 1;
    for user in ["mia", "ben"] {
        let account = Account { user: user.into(), password: "open sesame".into(), ..Account::default() };
        config.account.push(account);
    }
    Gateway::start(config).unwrap()
}

fn register(number: u32, from: SocketAddr, transport: &str) -> String {
    format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{number}@localhost>;tag=1\r\nTo: <sip:{number}@localhost>\r\nCall-ID: scan-{number}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{number}@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

#[tokio::test]
async fn s16_a_scanner_over_udp_gets_no_more_answers_and_phones_go_on() {
    let handle = gateway();
    // From the scanner's own address, before it begins.
    let mut known = Phone::connect(&handle, Transport::Udp, "mia", "open sesame").await;
    known.register(600).await;
    let scanner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (server, from) = (handle.address(Transport::Udp).unwrap(), scanner.local_addr().unwrap());
    let mut answers = 0;
    let mut buffer = [0; 4096];
    for number in 0..AT_ONCE * 3 {
        scanner.send_to(register(number, from, "UDP").as_bytes(), server).await.unwrap();
        // Its silence is what is tested, so there is nothing else to wait for.
        let answer = tokio::time::timeout(Duration::from_millis(100), scanner.recv_from(&mut buffer));
        answers += u32::from(answer.await.is_ok());
    }
    // A few run off meanwhile, one a second.
    assert!((AT_ONCE..AT_ONCE + 10).contains(&answers), "{answers}");
    assert!(handle.stats().await.unwrap().counters.turned_away > 20);
    known.register(600).await;
    let request = register(1, from, "UDP").replace("REGISTER", "INVITE");
    scanner.send_to(request.as_bytes(), server).await.unwrap();
    assert_eq!(handle.stats().await.unwrap().gauges.server_transactions, 0, "nothing is begun for it");
}

#[tokio::test]
async fn s16_a_scanner_over_tcp_is_told_when_to_come_again_and_a_phone_elsewhere_registers() {
    let handle = gateway();
    let server = handle.address(Transport::Tcp).unwrap();
    let connect = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, 66), 0).into()).unwrap();
        socket.connect(server).await.unwrap()
    };
    let mut refusals = 0;
    let mut told = String::new();
    let mut stream = connect().await;
    for number in 0..AT_ONCE * 2 {
        let from = stream.local_addr().unwrap();
        stream.write_all(register(number, from, "TCP").as_bytes()).await.unwrap();
        let mut buffer = [0; 4096];
        let count = soon("an answer", stream.read(&mut buffer)).await.unwrap();
        told = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if !told.starts_with("SIP/2.0 401 ") {
            break;
        }
        refusals += 1;
    }
    assert!((AT_ONCE..AT_ONCE + 10).contains(&refusals), "{refusals}");
    assert!(told.starts_with("SIP/2.0 503 ") && told.contains("\r\nRetry-After: "), "{told}");
    let mut rest = Vec::new();
    let _ = soon("the end of the connection", stream.read_to_end(&mut rest)).await;
    let mut phone = Phone::connect(&handle, Transport::Tcp, "ben", "open sesame").await;
    phone.register(600).await;
}
