//! The administrator's view of a gateway at work: what a call left behind, who may see it, and what never shows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;

use std::net::SocketAddr;
use std::sync::Arc;

use phone::{Phone, soon};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn gateway(admin: &str, token: &str) -> Handle {
    let mut config = Config::default().on_any_port();
    for user in ["mia", "ben"] {
        let account = Account { user: user.to_owned(), password: "open sesame".into(), ..Account::default() };
        config.account.push(account);
    }
    config.admin.listen = vec![admin.parse().unwrap()];
    config.admin.token = token.into();
    Gateway::start(config).unwrap()
}

/// One GET; the status and the body.
async fn get(address: SocketAddr, path: &str, lines: &str) -> (u16, String) {
    let mut io = TcpStream::connect(address).await.unwrap();
    exchange(&mut io, address, "GET", path, lines).await
}

async fn exchange(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    address: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
) -> (u16, String) {
    let host = if lines.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon("an answer", io.read_to_string(&mut text)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for wanted in ["content-security-policy: default-src 'none'", "cache-control: no-store"] {
        assert!(head.contains(wanted), "{head}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path, "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// A call from ben to mia, who rings and declines. Gives the wake as the API tells it.
async fn a_declined_call(gateway: &Handle) -> Value {
    let mut mia = Phone::connect(gateway, Transport::Tcp, "mia", "open sesame").await;
    mia.register(600).await;
    let mut ben = Phone::connect(gateway, Transport::Tcp, "ben", "open sesame").await;
    let (invite, _) = ben.invite("mia@localhost").await;
    let incoming = mia.receive().await;
    for code in [180, 486] {
        let answer = mia.answer(&incoming, code);
        mia.send(&answer).await;
    }
    let refused = ben.receive_status(486).await;
    let ack = ben.ack(&invite, &refused);
    ben.send(&ack).await;
    json(gateway.admin()[0], "/api/wakes?most=1").await[0].clone()
}

#[tokio::test]
async fn a_call_can_be_read_leg_by_leg() {
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.admin()[0];
    let wake = a_declined_call(&gateway).await;
    assert_eq!(wake["outcome"], serde_json::json!({ "state": "failed", "code": 486 }), "{wake}");
    assert!(wake["ring_ms"].as_f64().is_some(), "{wake}");
    let legs: Vec<&str> =
        wake["legs"].as_array().unwrap().iter().map(|leg| leg["what"].as_str().unwrap()).collect();
    for wanted in ["request sent to the device", "device rings", "device ended it with this code"] {
        assert!(legs.contains(&wanted), "{wanted}: {legs:?}");
    }
    let id = wake["wake"].as_str().unwrap();
    assert_eq!(json(address, &format!("/api/wakes/{id}")).await, wake);
    assert_eq!(get(address, "/api/wakes/AAAAAAAAAAAAAAAA", "").await.0, 404);
    assert_eq!(get(address, "/api/wakes/%3Cscript%3E", "").await.0, 404);
}

#[tokio::test]
async fn devices_allowances_and_numbers_are_told_and_no_secret_is() {
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.admin()[0];
    let mut mia = Phone::connect(&gateway, Transport::Tcp, "mia", "open sesame").await;
    mia.contact_parameters = ";ob;x-mark=the-secret-token".to_owned();
    mia.register(7200).await;
    let page = json(address, "/api/aors?most=1").await;
    assert_eq!(page["aors"][0]["name"], "mia@localhost");
    assert_eq!(page["aors"][0]["devices"][0]["connected"], true);
    let rest = json(address, &format!("/api/aors?from={}", page["next"])).await;
    assert_eq!((&rest["aors"][0]["name"], rest.get("next")), (&Value::from("ben@localhost"), None));
    let one = json(address, "/api/aors/mia@localhost").await;
    assert_eq!(one["wakes_left"], serde_json::json!({ "minute": 6, "hour": 30 }));
    assert_eq!(one["mail"], 0);
    assert_eq!(get(address, "/api/aors/eve@localhost", "").await.0, 404);
    let (status, numbers) = get(address, "/metrics", "").await;
    assert_eq!(status, 200);
    for line in
        ["wakeline_bindings 1\n", "wakeline_registers_accepted_total 1\n", "wakeline_ring_seconds_count 0\n"]
    {
        assert!(numbers.contains(line), "{line}: {numbers}");
    }
    for path in ["/", "/api/stats", "/api/aors", "/api/wakes", "/metrics"] {
        let (_, body) = get(address, path, "").await;
        assert!(!body.contains("the-secret-token") && !body.contains("open sesame"), "{path}");
    }
}

#[tokio::test]
async fn the_live_log_follows_a_call() {
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.admin()[0];
    let mut io = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /api/log HTTP/1.1\r\nHost: {address}\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = vec![0; 4096];
    // The header comes at once: from here on every leg is told.
    while !text.contains("\r\n\r\n") {
        let count = soon("the header", io.read(&mut buffer)).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    let wake = a_declined_call(&gateway).await;
    while !text.contains("final response to the caller") {
        let count = soon("a leg", io.read(&mut buffer)).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert!(text.contains("text/event-stream") && text.contains(wake["wake"].as_str().unwrap()), "{text}");
}

#[tokio::test]
async fn a_node_is_drained_and_taken_back_and_no_foreign_page_can_do_it() {
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.admin()[0];
    let ask = async |method: &str, lines: &str| {
        let mut io = TcpStream::connect(address).await.unwrap();
        let lines = format!("{lines}Content-Length: 0\r\n");
        exchange(&mut io, address, method, "/api/drain", &lines).await
    };
    let draining = async || json(address, "/api/nodes").await[0]["draining"].clone();
    for lines in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(ask("POST", lines).await.0, 403);
    }
    assert_eq!(ask("GET", "").await.0, 405);
    assert_eq!(draining().await, false);
    let (status, body) = ask("POST", "").await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &told["draining"], &told["own"], &told["contexts"]),
        (200, &true.into(), &true.into(), &0.into())
    );
    assert_eq!(draining().await, true);
    assert_eq!(ask("DELETE", "").await.0, 200);
    assert_eq!(draining().await, false);
    assert_eq!(json(address, "/api/nodes").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn s21_a_foreign_page_is_refused_before_anything_is_told() {
    let gateway = gateway("127.0.0.1:0", "");
    let address = gateway.admin()[0];
    for lines in
        ["Host: gateway.example\r\n", "Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        for path in ["/api/stats", "/api/wakes", "/api/aors", "/api/log", "/metrics"] {
            let (status, body) = get(address, path, lines).await;
            assert_eq!(status, 403, "{path} with {lines}");
            assert!(!body.contains('{'), "{body}");
        }
    }
}

#[tokio::test]
async fn away_from_loopback_it_is_tls_and_only_the_token_opens() {
    // Every address of the machine, of which loopback is one.
    let gateway = gateway("0.0.0.0:0", TOKEN);
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.admin()[0].port()));
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&phone::tls(&gateway)));
    for (path, lines, wanted) in [
        ("/", "", 200),
        ("/api/stats", "", 401),
        ("/api/stats", "Authorization: Bearer 0123456789abcdef\r\n", 401),
        ("/api/stats", &format!("Authorization: Bearer {TOKEN}\r\n"), 200),
    ] {
        let io = TcpStream::connect(address).await.unwrap();
        let mut io = connector.connect("localhost".try_into().unwrap(), io).await.unwrap();
        let (status, body) = exchange(&mut io, address, "GET", path, lines).await;
        assert_eq!(status, wanted, "{path} with {lines}: {body}");
    }
}
