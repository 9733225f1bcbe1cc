//! The edge under bad manners: broken frames, idle strangers, silent handshakes; and TLS as a wake needs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;

use std::sync::Arc;
use std::time::Duration;

use phone::{Phone, soon};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle, StartError};
use wakeline_sip_message::Method;

fn config() -> Config {
    let mut config = Config::default().on_any_port();
    config.account.push(Account { user: "mia".into(), password: "open sesame".into(), ..Account::default() });
    config
}

fn gateway() -> Handle {
    Gateway::start(config()).unwrap()
}

async fn stream(handle: &Handle) -> TcpStream {
    TcpStream::connect(handle.address(Transport::Tcp).unwrap()).await.unwrap()
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon("the end of the connection", stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn keep_alives_are_answered_on_streams() {
    let handle = gateway();
    let mut stream = stream(&handle).await;
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    soon("a pong", stream.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn s9_bad_content_length_is_answered_400_and_the_connection_closed() {
    let handle = gateway();
    for length in ["-1", "4294967306", "+5", "0x10", "1\r\nContent-Length: 2"] {
        let mut stream = stream(&handle).await;
        let text = format!(
            "OPTIONS sip:localhost SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5999;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
             From: <sip:a@localhost>;tag=1\r\nTo: <sip:localhost>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\nContent-Length: {length}\r\n\r\nhello"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("SIP/2.0 400 "), "{length}: {answer}");
    }
}

#[tokio::test]
async fn s10_bytes_that_are_no_sip_close_the_connection() {
    let handle = gateway();
    for junk in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\x00\x00\x00\x00"] {
        let mut stream = stream(&handle).await;
        stream.write_all(junk).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
    // A flood of keep-alives is no conversation.
    let mut stream = stream(&handle).await;
    let _ = stream.write_all(&b"\r\n\r\n".repeat(500)).await;
    rest(&mut stream).await;
}

#[tokio::test]
async fn s15_idle_strangers_make_room_and_go_while_others_register() {
    let mut config = config();
    config.limits.unregistered_per_source = 50;
    config.limits.unregistered_seconds = 2;
    let handle = Gateway::start(config).unwrap();
    let mut known = Phone::connect(&handle, Transport::Tcp, "mia", "open sesame").await;
    known.register(3600).await;
    let mut idle = Vec::new();
    for number in 0..120 {
        let transport = if number % 2 == 0 { Transport::Tcp } else { Transport::Tls };
        let mut stream = TcpStream::connect(handle.address(transport).unwrap()).await.unwrap();
        // The first byte of a REGISTER, or of a TLS hello, and then silence.
        let _ = stream.write_all(if number % 2 == 0 { b"R" } else { b"\x16" }).await;
        idle.push(stream);
    }
    let mut late = Phone::connect(&handle, Transport::Tls, "mia", "open sesame").await;
    late.register(3600).await;
    for stream in &mut idle {
        rest(stream).await;
    }
    let stats = handle.stats().await.unwrap();
    assert!(stats.counters.evicted >= 70, "{stats:?}");
    assert_eq!((stats.streams, stats.unregistered_streams), (2, 0), "only the two that registered are left");
    known.register(3600).await;
}

/// One connection of a slow-loris attack, from an address of its own.
async fn loris(server: std::net::SocketAddr, source: u8) -> Option<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().ok()?;
    socket.bind((std::net::Ipv4Addr::new(127, 0, 0, source), 0).into()).ok()?;
    socket.connect(server).await.ok()
}

#[tokio::test]
async fn s15_new_clients_are_served_within_a_second_during_a_slow_loris_attack() {
    let mut config = config();
    config.limits.unregistered_per_source = 40;
    config.limits.unregistered = 200;
    let handle = Gateway::start(config).unwrap();
    let servers = [Transport::Tcp, Transport::Tls].map(|transport| handle.address(transport).unwrap());
    let mut attackers = Vec::new();
    for number in 0..300_usize {
        let source = u8::try_from(2 + number % 8).unwrap();
        attackers.push((number, loris(servers[number % 2], source).await.unwrap()));
    }
    // A connection is open before the gateway has taken it: the attack stands once somebody had to make room.
    soon("a full table", async {
        while handle.stats().await.unwrap().counters.evicted == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A REGISTER and a TLS hello, a byte at a time; who is hung up on comes again.
    let attack = tokio::spawn(async move {
        let request = b"REGISTER sip:voice.example.org SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2;branch=z9hG4bK";
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        for at in 0_usize.. {
            let mut again = 0;
            for (number, stream) in &mut attackers {
                let bytes: &[u8] = if *number % 2 == 0 { request } else { &hello };
                let gone = match bytes.get(at % 70) {
                    Some(byte) => stream.write_all(&[*byte]).await.is_err(),
                    None => false,
                };
                if gone && again < 5 {
                    again += 1;
                    let source = u8::try_from(2 + *number % 8).unwrap();
                    if let Some(fresh) = loris(servers[*number % 2], source).await {
                        *stream = fresh;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for number in 0..10 {
        let transport = if number % 2 == 0 { Transport::Tcp } else { Transport::Tls };
        let served = tokio::time::timeout(Duration::from_secs(1), async {
            let mut phone = Phone::connect(&handle, transport, "mia", "open sesame").await;
            phone.register(3600).await
        });
        let (answer, _) = served.await.expect("served within a second");
        assert_eq!(answer.status(), Some(200), "{number}");
    }
    assert!(!attack.is_finished(), "the attack went on all the while");
    attack.abort();
}

#[tokio::test]
async fn tls_resumes_with_early_data_and_each_ticket_once() {
    let handle = gateway();
    let tls = phone::tls(&handle);
    let mut first =
        Phone::connect_with(&handle, Transport::Tls, Some(Arc::clone(&tls)), "mia", "open sesame").await;
    first.register(3600).await;
    let request = first.register_request(3600);
    drop(first);

    let server = handle.address(Transport::Tls).unwrap();
    let io = TcpStream::connect(server).await.unwrap();
    let connector = TlsConnector::from(Arc::clone(&tls)).early_data(true);
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = soon("a handshake", connector.connect(name, io)).await.unwrap();
    // The handshake's first flight carries the request.
    soon("the request", stream.write_all(&request.to_bytes())).await.unwrap();
    soon("the request", stream.flush()).await.unwrap();
    let mut buffer = vec![0; 8192];
    let count = soon("an answer", stream.read(&mut buffer)).await.unwrap();
    assert!(buffer[..count].starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(&buffer[..count]));
    let (_, session) = stream.get_ref();
    assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert!(session.is_early_data_accepted());
}

#[tokio::test]
async fn f13_a_new_certificate_is_shown_to_new_connections_only() {
    let folder = std::env::temp_dir().join(format!("wakeline-edge-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("a.pem"), folder.join("a.key"));
    let write = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        // The file's time must differ whatever the file system's resolution is.
        let later = std::fs::File::open(&key).unwrap();
        later
            .set_modified(std::fs::metadata(&key).unwrap().modified().unwrap() + Duration::from_secs(5))
            .unwrap();
    };
    let (old, new) = (make(), make());
    write(&old);
    let mut config = config();
    config.tls.certificate.clone_from(&certificate);
    config.tls.key.clone_from(&key);
    let handle = Gateway::start(config).unwrap();
    assert!(handle.certificate_pem().is_none());
    let trusting = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pair.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    };
    let mut before =
        Phone::connect_with(&handle, Transport::Tls, Some(trusting(&old)), "mia", "open sesame").await;
    before.register(3600).await;
    std::fs::write(&certificate, "no certificate").unwrap();
    handle.reload_certificate();
    Phone::connect_with(&handle, Transport::Tls, Some(trusting(&old)), "mia", "open sesame").await;
    write(&new);
    handle.reload_certificate();
    handle.stats().await.unwrap();
    Phone::connect_with(&handle, Transport::Tls, Some(trusting(&new)), "mia", "open sesame").await;
    before.register(3600).await;
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn f15_on_ipv6_alone_phones_register_and_call_over_every_transport() {
    let mut config = config();
    let here = vec!["[::1]:0".parse().unwrap()];
    let listen = &mut config.listen;
    for addresses in [&mut listen.udp, &mut listen.tcp, &mut listen.tls, &mut listen.ws, &mut listen.wss] {
        addresses.clone_from(&here);
    }
    let ben = Account { user: "ben".into(), password: "open sesame".into(), ..Account::default() };
    config.account.push(ben);
    let handle = Gateway::start(config).unwrap();
    assert!(handle.bound().iter().all(|(_, address)| address.is_ipv6()));
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let mut mia = Phone::connect(&handle, transport, "mia", "open sesame").await;
        let (answer, _) = mia.register(3600).await;
        assert_eq!(answer.status(), Some(200), "{transport}");
        let mut ben = Phone::connect(&handle, transport, "ben", "open sesame").await;
        let (invite, _) = ben.invite("mia@localhost").await;
        let incoming = mia.receive().await;
        assert_eq!(incoming.call_id(), invite.call_id(), "{transport}");
        let busy = mia.answer(&incoming, 486);
        mia.send(&busy).await;
        let refused = ben.receive_status(486).await;
        let ack = ben.ack(&invite, &refused);
        ben.send(&ack).await;
        assert_eq!(mia.receive().await.method(), Method::Ack, "{transport}");
        // The next transport's phone is another one.
        mia.register(0).await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_and_nothing_is_left_running() {
    let handle = gateway();
    let mut second = config();
    second.listen.tls = vec![handle.address(Transport::Tls).unwrap()];
    let error = Gateway::start(second).unwrap_err();
    assert!(matches!(error, StartError::Bind { transport: Transport::Tls, .. }));
    let text = error.to_string();
    assert!(text.starts_with("listen.tls: cannot listen on 127.0.0.1:"), "{text}");
}

#[tokio::test]
async fn drained_and_shut_down_the_phones_are_told_goodbye() {
    let handle = gateway();
    let mut mia = Phone::connect(&handle, Transport::Tcp, "mia", "open sesame").await;
    mia.register(3600).await;
    assert!(handle.drain(Duration::from_secs(5)).await);
    handle.shutdown();
    assert!(soon("the end", mia.next()).await.is_none());
}
