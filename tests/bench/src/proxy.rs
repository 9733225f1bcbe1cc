//! Row 11: calls through the server as a stateful proxy: INVITE, 100, 180, 200, ACK, BYE, 200.

use std::net::UdpSocket;

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::kamailio::DOMAIN;
use wakeline_interop::place::Folder;
use wakeline_sip_message::{Builder, Message, Method, Name};

use crate::datagram::receive;
use crate::load::Load;
use crate::processes;
use crate::row::{Goal, OF_B, Row};
use crate::servers::{self, Make, Server};

/// Calls at once.
const WINDOW: usize = 16;
/// Callees, so that none has more than a few calls.
const USERS: usize = 64;

/// Callers and callees on one port.
struct Ends<'a> {
    server: &'a Server,
    socket: UdpSocket,
    port: u16,
    entropy: Entropy,
    round: usize,
}

impl Ends<'_> {
    fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("a message leaves");
    }

    fn invite(&mut self, number: usize) {
        let (port, branch) = (self.port, self.entropy.token(12));
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";
        let (user, round) = (number % USERS, self.round);
        self.send(
            format!(
                "INVITE sip:u{user}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:caller@{DOMAIN}>;tag=p{number}\r\nTo: <sip:u{user}@{DOMAIN}>\r\n\
                 Call-ID: proxy{round}-{number}@load\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:{port}>\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
    }

    /// ACK or BYE along the route of the 200.
    fn within(&mut self, ok: &Message, method: &str) {
        let mut route: Vec<&str> =
            ok.headers(Name::RecordRoute).flat_map(|line| line.split(',')).map(str::trim).collect();
        route.reverse();
        let route: String = route.iter().map(|uri| format!("Route: {uri}\r\n")).collect();
        let contact = ok.header(Name::Contact).unwrap_or_default();
        let target = contact
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map_or(contact, |(uri, _)| uri);
        let head = |name| ok.header(name).unwrap_or_default();
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bK{};rport\r\n{route}Max-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContent-Length: 0\r\n\r\n",
            self.port,
            self.entropy.token(12),
            head(Name::From),
            head(Name::To),
            ok.call_id(),
            if method == "ACK" { 1 } else { 2 },
        );
        self.send(text.as_bytes());
    }

    fn answer(&self, request: &Message, code: u16, reason: &str) {
        let answer =
            Builder::response(request, code, reason).to_tag("callee").copy(request, Name::RecordRoute);
        let answer = answer.header_text("Contact", format!("<sip:callee@127.0.0.1:{}>", self.port)).build();
        self.send(&answer.expect("a response").to_bytes());
    }

    /// So many calls; the server's processor time for one, in microseconds.
    fn calls(&mut self, count: usize) -> f64 {
        self.round += 1;
        let ids = self.server.ids();
        let (spent, _, ()) = processes::over(&ids, || {
            let (mut next, mut open, mut done) = (0, 0, 0);
            let mut buffer = vec![0; 65_536];
            while done < count {
                while open < WINDOW && next < count {
                    self.invite(next);
                    (next, open) = (next + 1, open + 1);
                }
                let (length, _) = receive(&self.socket, &mut buffer);
                let message = Message::parse(Bytes::copy_from_slice(&buffer[..length])).expect("a message");
                let invite = message.cseq().is_ok_and(|cseq| cseq.number == 1);
                match message.status() {
                    None if message.method() == Method::Invite => {
                        self.answer(&message, 180, "Ringing");
                        self.answer(&message, 200, "OK");
                    }
                    None if message.method() == Method::Bye => self.answer(&message, 200, "OK"),
                    None => {}
                    Some(200) if invite => {
                        self.within(&message, "ACK");
                        self.within(&message, "BYE");
                    }
                    Some(200) => (open, done) = (open - 1, done + 1),
                    Some(code) if code < 200 => {}
                    Some(_) => panic!("a call through the proxy ends in {}", message.start_line()),
                }
            }
        });
        spent * 1e6 / count as f64
    }
}

/// Measures so many calls in so many pairs.
pub fn rows(count: usize, pairs: usize) -> Vec<Row> {
    let (here, there) = (Folder::new("bench-proxy"), Folder::new("bench-proxy-peer"));
    let ours = servers::start(Make::Ours, &here, USERS, None);
    let peer = servers::start(Make::Kamailio, &there, USERS, None);
    let ends = |server| {
        let mut load = Load::new(server, USERS);
        let _ = load.round(true, false);
        // Callees are reached where they registered, and callers call from there.
        let socket = load.socket;
        let port = socket.local_addr().expect("its address").port();
        Ends { server, socket, port, entropy: Entropy::from_number(5), round: 0 }
    };
    let (mut ours, mut peer) = (ends(&ours), ends(&peer));
    let _ = (ours.calls(USERS * 4), peer.calls(USERS * 4));
    let mut found = Vec::new();
    for pair in 0..pairs {
        eprintln!("  {count} calls through the proxy, pair {} of {pairs}", pair + 1);
        found.push((ours.calls(count), peer.calls(count)));
    }
    vec![
        Row::of_pairs(
            "11",
            "a call through the stateful proxy: CPU",
            "us",
            "kamailio",
            Goal::OfPeer(0.25),
            &found,
        )
        .remark(OF_B),
    ]
}
