//! Rows 12 and 15: calls that are held for sleeping phones, and how soon their pushes leave.
//!
//! Our gateway holds an INVITE as it does in earnest: the callee is bound with a push token and not connected, a push goes
//! to a push service on loopback that checks its signature as the vendor's does. Kamailio suspends its transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::kamailio::DOMAIN;
use wakeline_interop::place::Folder;
use wakeline_push_services::Step;
use wakeline_sip_message::Message;

use crate::row::{Goal, OF_B, Row};
use crate::servers::{self, Make, Push, Server, token};
use crate::user::{Outcome, User};

/// One token of so many is one that the service knows no more, and says so late.
const BAD: usize = 100;

/// Whether a call goes to the phone of such a token.
fn is_bad(call_id: &str) -> bool {
    let number = call_id.strip_prefix("held").and_then(|rest| rest.split('@').next()?.parse::<usize>().ok());
    number.is_some_and(|number| number % BAD == 0)
}

/// What the calls are.
struct Calls<'a> {
    server: &'a Server,
    users: usize,
    /// Between two of them.
    pause: Duration,
}

impl Calls<'_> {
    /// An INVITE of 564 bytes.
    fn invite(&self, number: usize, port: u16) -> String {
        let user = number % self.users;
        let head = format!(
            "INVITE sip:u{user}@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKheld{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:c{number}@{DOMAIN}>;tag=h{number}\r\nTo: <sip:u{user}@{DOMAIN}>\r\n\
             Call-ID: held{number}@load\r\nCSeq: 1 INVITE\r\nContact: <sip:c@127.0.0.1:{port}>\r\nSubject: hold\r\n\
             Content-Type: application/sdp\r\n"
        );
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";
        let fill =
            564_usize.saturating_sub(head.len() + body.len() + "Content-Length: 000\r\n\r\na=\r\n".len());
        let body = format!("{body}a={}\r\n", "x".repeat(fill));
        format!("{head}Content-Length: {:03}\r\n\r\n{body}", body.len())
    }

    /// Sends `count` of them at their pace and waits until each was answered provisionally; when each was sent.
    fn send(&self, count: usize) -> Vec<Instant> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(("127.0.0.1", self.server.port)).expect("a way to the server");
        let port = socket.local_addr().expect("its address").port();
        let listener = socket.try_clone().expect("a handle");
        listener.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let answered = Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            let taken_in = scope.spawn(|| {
                let mut buffer = vec![0; 65_536];
                while answered.lock().expect("the answers").len() < count {
                    let Ok(length) = listener.recv(&mut buffer) else { break };
                    let answer =
                        Message::parse(Bytes::copy_from_slice(&buffer[..length])).expect("an answer");
                    let line = answer.start_line();
                    // Once the service has said that a token is dead, its caller need not wait.
                    let dead = line.starts_with("SIP/2.0 480") && is_bad(answer.call_id());
                    assert!(dead || line.starts_with("SIP/2.0 1"), "a call to be held is answered: {line}");
                    answered.lock().expect("the answers").insert(answer.call_id().to_owned());
                }
            });
            let start = Instant::now();
            let mut sent = Vec::with_capacity(count);
            for number in 0..count {
                let due = start + self.pause * u32::try_from(number).unwrap_or(u32::MAX);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let invite = self.invite(number, port);
                sent.push(Instant::now());
                socket.send(invite.as_bytes()).expect("an INVITE leaves");
            }
            // As a caller's timer A would have it (RFC 3261 §17.1.1.2): a datagram may be lost on a busy machine.
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(500));
                let missing: Vec<usize> = {
                    let answered = answered.lock().expect("the answers");
                    (0..count).filter(|number| !answered.contains(&format!("held{number}@load"))).collect()
                };
                for number in missing {
                    socket.send(self.invite(number, port).as_bytes()).expect("an INVITE leaves");
                    std::thread::sleep(self.pause);
                }
            }
            taken_in.join().expect("the answers");
            let taken_in = answered.lock().expect("the answers").len();
            assert!(taken_in * 100 >= count * 99, "{taken_in} of {count} calls were taken in");
            sent
        })
    }
}

/// A phone registers over TCP, with a push token, and goes: its connection ends as a sleeping phone's does.
fn fall_asleep(server: &Server, number: usize) {
    let mut entropy = Entropy::from_number(number as u64);
    let mut user = User::new(number);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    loop {
        stream.write_all(&user.register(&mut entropy, "TCP", 5060, true)).expect("a REGISTER leaves");
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while !text.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut piece).expect("an answer");
            assert!(length > 0, "the server closes the connection");
            text.extend_from_slice(&piece[..length]);
        }
        match user.on_answer(&Message::parse(Bytes::from(text)).expect("an answer")) {
            Outcome::Challenged => {}
            Outcome::Registered => return,
        }
    }
}

/// Holds this many calls, at a thousand a second.
pub fn rows(count: usize) -> Vec<Row> {
    let (here, there) = (Folder::new("bench-held"), Folder::new("bench-held-peer"));
    let push = Push::start();
    let users = count;
    let ours = servers::start(Make::Ours, &here, users, Some(&push));
    for number in (0..users).step_by(BAD) {
        let gone = Step::refuse(404, "UNREGISTERED").slow(Duration::from_millis(500));
        push.service.always_for(&token(&format!("u{number}")), gone);
    }
    eprintln!("  {users} phones register and fall asleep");
    (0..users).for_each(|number| fall_asleep(&ours, number));
    // The last ends are noticed.
    std::thread::sleep(Duration::from_secs(1));
    let mut delivered = push.service.subscribe();
    let arrivals = push.runtime.spawn(async move {
        let mut arrivals = BTreeMap::new();
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(20), delivered.recv()).await {
            arrivals.entry(message.device).or_insert_with(Instant::now);
        }
        arrivals
    });
    let empty = ours.memory();
    eprintln!("  {count} calls to them, 1000 a second");
    let sent = Calls { server: &ours, users, pause: Duration::from_millis(1) }.send(count);
    let arrivals = push.runtime.block_on(arrivals).expect("the pushes");
    let our_bytes = (ours.memory() - empty) / count as f64;
    let mut waits: Vec<f64> = sent
        .iter()
        .enumerate()
        .filter_map(|(number, sent)| Some((number, sent, arrivals.get(&token(&format!("u{number}")))?)))
        .map(|(_, sent, arrived)| arrived.saturating_duration_since(*sent).as_secs_f64() * 1000.0)
        .collect();
    let expected = count - count.div_ceil(BAD);
    assert!(waits.len() * 1000 >= expected * 999, "{} of {expected} pushes came", waits.len());
    waits.sort_by(f64::total_cmp);
    let rank = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    drop(ours);
    let peer = servers::start(Make::Kamailio, &there, 0, None);
    let empty = peer.memory();
    let _ = Calls { server: &peer, users, pause: Duration::from_micros(200) }.send(count);
    std::thread::sleep(Duration::from_secs(1));
    let their_bytes = (peer.memory() - empty) / count as f64;
    let gib = |bytes: f64| (1 << 30) as f64 / bytes / 1000.0;
    vec![
        Row::of_pairs(
            "12",
            format!("memory per held INVITE of 564 bytes, {count} (PSS)"),
            "B",
            "t_suspend",
            Goal::OfPeer(1.0 / 6.0),
            &[(our_bytes, their_bytes)],
        )
        .remark("(6x per GiB)"),
        Row::of_pairs(
            "12",
            "the same: thousands of held INVITEs per GiB",
            "k",
            "t_suspend",
            Goal::AtLeast(480.0),
            &[(gib(our_bytes), gib(their_bytes))],
        ),
        Row::alone(
            "15",
            "INVITE in to push at the service, 1000/s: p99",
            "ms",
            Goal::AtMost(20.0),
            vec![rank(0.99)],
        )
        .remark(OF_B),
        Row::alone(
            "15",
            "the same: median; 1 token of 100 refused late",
            "ms",
            Goal::AtMost(20.0),
            vec![rank(0.5)],
        )
        .remark("*"),
    ]
}
