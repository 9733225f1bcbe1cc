//! Row 14 and a part of 13: TLS connections of phones, as they wake and as they idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::tungstenite::{self, WebSocket};
use wakeline_entropy::Entropy;
use wakeline_interop::kamailio::DOMAIN;
use wakeline_interop::place::Folder;
use wakeline_sip_message::Message;

use crate::processes;
use crate::row::{Goal, OF_B, Row};
use crate::servers::{self, Make, Server};
use crate::user::{Outcome, User};

/// How many users take turns in waking.
const USERS: usize = 100;

/// Every wake of a user binds the same address: it is the same phone.
const CONTACT: u16 = 5061;

type Stream = StreamOwned<ClientConnection, TcpStream>;
type Web = WebSocket<Stream>;

/// The phones of one server.
struct Phones<'a> {
    server: &'a Server,
    full: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
    entropy: Entropy,
    users: Vec<User>,
}

fn trusting(server: &Server, resumption: Resumption) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(&server.certificate).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config)
}

impl Phones<'_> {
    fn of(server: &Server, users: usize) -> Phones<'_> {
        Phones {
            server,
            full: trusting(server, Resumption::disabled()),
            resuming: trusting(server, Resumption::in_memory_sessions(64)),
            entropy: Entropy::from_number(3),
            users: (0..users).map(User::new).collect(),
        }
    }

    /// Connects to a port, ready for TLS.
    fn connect(&self, port: u16, resume: bool) -> Stream {
        let config = if resume { &self.resuming } else { &self.full };
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        socket.set_nodelay(true).expect("no delay");
        StreamOwned::new(connection, socket)
    }

    /// Registers by such exchanges of a request for an answer.
    fn register(&mut self, number: usize, transport: &str, mut exchange: impl FnMut(Bytes) -> Message) {
        loop {
            let request = self.users[number].register(&mut self.entropy, transport, CONTACT, false);
            match self.users[number].on_answer(&exchange(request)) {
                Outcome::Challenged => {}
                Outcome::Registered => return,
            }
        }
    }

    /// Connects and registers; the connection, and whether its session was resumed.
    fn wake(&mut self, number: usize, resume: bool) -> (Stream, bool) {
        let mut stream = self.connect(self.server.tls_port, resume);
        self.register(number, "TLS", |request| {
            stream.write_all(&request).expect("a REGISTER leaves");
            read(&mut stream)
        });
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        (stream, resumed)
    }

    /// The same as a page in a browser (RFC 7118).
    fn wake_page(&mut self, number: usize) -> Web {
        let stream = self.connect(self.server.wss_port, false);
        let mut request = format!("wss://{DOMAIN}/").into_client_request().expect("an address");
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        let (mut web, _) = tungstenite::client(request, stream).expect("an upgrade");
        self.register(number, "WSS", |request| {
            let text = String::from_utf8(request.to_vec()).expect("text");
            web.send(WsMessage::text(text)).expect("a REGISTER leaves");
            let answer = web.read().expect("an answer");
            Message::parse(answer.into_data()).expect("an answer")
        });
        web
    }

    /// Wakes so many times; the server's milliseconds for one, and the share of sessions that were resumed.
    fn wakes(&mut self, count: usize, resume: bool) -> (f64, f64) {
        let ids = self.server.ids();
        let mut resumed = 0;
        let (spent, _, ()) = processes::over(&ids, || {
            for turn in 0..count {
                let (mut stream, again) = self.wake(turn % USERS, resume);
                resumed += usize::from(again);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            // The server notices the last ends before the clock is read.
            std::thread::sleep(Duration::from_millis(50));
        });
        (spent * 1000.0 / count as f64, resumed as f64 / count as f64)
    }
}

/// One answer without a body.
fn read(stream: &mut Stream) -> Message {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut piece).expect("an answer");
        assert!(length > 0, "the server closes the connection");
        text.extend_from_slice(&piece[..length]);
    }
    Message::parse(Bytes::from(text)).expect("an answer")
}

/// Wakes this often in each of so many pairs.
pub fn wakes(count: usize, pairs: usize) -> Vec<Row> {
    let (here, there) = (Folder::new("bench-wake"), Folder::new("bench-wake-peer"));
    let (ours, peer) =
        (servers::start(Make::Ours, &here, USERS, None), servers::start(Make::Kamailio, &there, USERS, None));
    let (mut ours, mut peer) = (Phones::of(&ours, USERS), Phones::of(&peer, USERS));
    let (mut full, mut resumed, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    // Everybody gets a nonce, and one ticket is there to begin with.
    for phones in [&mut ours, &mut peer] {
        let _ = (phones.wakes(USERS, false), phones.wakes(4, true));
    }
    for pair in 0..pairs {
        eprintln!("  {count} TLS wakes, pair {} of {pairs}", pair + 1);
        full.push((ours.wakes(count, false).0, peer.wakes(count, false).0));
        let (mine, theirs) = (ours.wakes(count, true), peer.wakes(count, true));
        resumed.push((mine.0, theirs.0));
        shares.push((100.0 * mine.1, 100.0 * theirs.1));
    }
    vec![
        Row::of_pairs(
            "14",
            "TLS 1.3 wake (handshake, REGISTER, close), full: CPU",
            "ms",
            "kamailio",
            Goal::OfPeer(0.35),
            &full,
        )
        .remark(OF_B),
        Row::of_pairs("14", "the same, resumed", "ms", "kamailio", Goal::OfPeer(0.2), &resumed).remark(OF_B),
        Row::of_pairs(
            "14",
            "share of wakes that were resumed",
            "%",
            "kamailio",
            Goal::AtLeast(100.0),
            &shares,
        )
        .remark(OF_B),
    ]
}

/// Memory of so many connections that are registered and say nothing.
pub fn idle(count: usize) -> Vec<Row> {
    let each = |make| {
        let folder = Folder::new("bench-connections");
        let server = servers::start(make, &folder, count, None);
        let mut phones = Phones::of(&server, count);
        let empty = server.memory();
        let streams: Vec<_> = (0..count).map(|number| phones.wake(number, false)).collect();
        // What is given back when a connection is idle is given back.
        std::thread::sleep(Duration::from_secs(3));
        let grown = server.memory() - empty;
        drop(streams);
        grown / count as f64
    };
    eprintln!("  {count} idle TLS connections at each server");
    let pair = (each(Make::Ours), each(Make::Kamailio));
    vec![
        Row::of_pairs(
            "13",
            format!("memory per idle registered TLS connection, {count}"),
            "B",
            "kamailio",
            Goal::OfPeer(0.25),
            &[pair],
        )
        .remark(OF_B),
    ]
}

/// File descriptors that a server or the bench needs beside its connections.
const OTHER_FILES: usize = 120;

/// How many files a process here may open; the server is started with the same limit.
fn files() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(usize::MAX)
}

/// So many registered connections at once, half of them WebSockets, as far as the system lets a process have them; each
/// answers a keep-alive when the last is there.
pub fn crowd(wanted: usize) -> Vec<Row> {
    let count = wanted.min(files().saturating_sub(OTHER_FILES));
    let folder = Folder::new("bench-crowd");
    let server = servers::start(Make::Ours, &folder, count, None);
    let mut phones = Phones::of(&server, count);
    // What is given back when a connection is idle is given back.
    let settled = || {
        std::thread::sleep(Duration::from_secs(3));
        server.memory()
    };
    let empty = server.memory();
    eprintln!("  {count} connections register and stay (a process may have {} files here)", files());
    let mut streams: Vec<_> = (0..count / 2).map(|number| phones.wake(number, false).0).collect();
    let with_streams = settled();
    let mut pages: Vec<_> = (count / 2..count).map(|number| phones.wake_page(number)).collect();
    let with_all = settled();
    let mut alive = 0;
    for stream in &mut streams {
        let mut pong = [0; 2];
        let answered = stream.write_all(b"\r\n\r\n").is_ok() && stream.read_exact(&mut pong).is_ok();
        alive += usize::from(answered && pong == *b"\r\n");
    }
    for page in &mut pages {
        let answer = page.send(WsMessage::text("\r\n\r\n")).ok().and_then(|()| page.read().ok());
        alive += usize::from(answer.is_some_and(|answer| answer.into_data() == "\r\n"));
    }
    let metric = format!("registered TLS and WebSocket connections held at once, of {wanted}");
    let goal = Goal::AtLeast(wanted as f64);
    let mut held = Row::alone("13", metric, "", goal, vec![alive as f64]).remark(OF_B);
    if count < wanted {
        held = held.remark("(goal of B; a process may open no more files here)");
    }
    let each = |metric, grown: f64, of: usize| {
        Row::alone("13", metric, "B", Goal::Told, vec![grown / of.max(1) as f64])
    };
    vec![
        held,
        each("memory of each TLS connection of these", with_streams - empty, streams.len()),
        each("memory of each WebSocket of these", with_all - with_streams, pages.len()),
    ]
}
