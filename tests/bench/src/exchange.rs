//! A stand-in for a telephone exchange: it registers whoever comes, without a password, and calls them.
//!
//! The same caller calls our phone and the peer's, so that both meet the same packets at the same moments.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::place::free_port;
use wakeline_sip_message::{Builder, Message, Method, Name};

use crate::datagram::receive;
use crate::speech::Codec;

/// How long a phone may take to register or to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The exchange.
pub struct Exchange {
    /// Its UDP port.
    pub port: u16,
    socket: UdpSocket,
    entropy: Entropy,
}

/// A phone that has registered.
#[derive(Clone)]
pub struct Callee {
    uri: String,
    address: SocketAddr,
    /// When its first REGISTER came.
    pub at: Instant,
}

/// A packet and when it came.
pub type Heard = (Instant, Vec<u8>);

/// A call that was answered.
pub struct Call {
    /// When the INVITE left.
    pub invited: Instant,
    /// When the 200 came; the ACK left at once.
    pub answered: Instant,
    /// Where the phone wants its packets.
    pub remote: SocketAddr,
    /// Our socket for packets.
    pub packets: UdpSocket,
    heard: Arc<Mutex<Vec<Heard>>>,
    dialog: (String, String, String),
}

impl Exchange {
    /// Opens it.
    pub fn start() -> Exchange {
        let port = free_port();
        let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Exchange { port, socket, entropy: Entropy::from_number(u64::from(port)) }
    }

    fn receive(&self) -> (Message, SocketAddr, Instant) {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) = receive(&self.socket, &mut buffer);
            let now = Instant::now();
            if let Ok(message) = Message::parse(Bytes::copy_from_slice(&buffer[..length])) {
                return (message, from, now);
            }
        }
    }

    fn answer(&self, request: &Message, to: SocketAddr) {
        if request.method() == Method::Ack {
            return;
        }
        let answer = Builder::response(request, 200, "OK")
            .to_tag("exchange")
            .copy(request, Name::Contact)
            .header(Name::Expires, 3600)
            .build();
        self.socket.send_to(&answer.expect("a response").to_bytes(), to).expect("a response leaves");
    }

    /// How many datagrams wait unread.
    pub fn waiting(&self) -> usize {
        self.socket.set_nonblocking(true).expect("a socket");
        let count = std::iter::from_fn(|| self.socket.recv(&mut [0; 2048]).ok()).count();
        self.socket.set_nonblocking(false).expect("a socket");
        count
    }

    /// Waits for a phone to register.
    pub fn registered(&self) -> Callee {
        loop {
            let (request, from, at) = self.receive();
            if !request.is_request() {
                continue;
            }
            self.answer(&request, from);
            if request.method() == Method::Register {
                let contact = request.header(Name::Contact).expect("a Contact");
                let uri = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                let uri = uri.map_or(contact, |(uri, _)| uri).to_owned();
                return Callee { uri, address: from, at };
            }
        }
    }

    /// Calls a phone and waits until it answers.
    pub fn call(&mut self, callee: &Callee, codec: Codec) -> Call {
        let packets = UdpSocket::bind(("127.0.0.1", free_port())).expect("a port");
        let heard = Arc::new(Mutex::new(Vec::new()));
        listen(packets.try_clone().expect("a handle"), Arc::clone(&heard));
        let call_id = self.entropy.token(16);
        let from = format!("<sip:exchange@127.0.0.1:{}>;tag={}", self.port, self.entropy.token(8));
        let to = format!("<{}>", callee.uri);
        let local = packets.local_addr().expect("its address").port();
        let media = codec.media(local);
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}a=ptime:20\r\na=sendrecv\r\n"
        );
        let head = |method: &str, cseq: u32, uri: &str, to: &str, branch: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bK{branch};rport\r\n\
                 Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                 Contact: <sip:exchange@127.0.0.1:{}>\r\n",
                self.port, self.port
            )
        };
        let invite = format!(
            "{}Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            head("INVITE", 1, &callee.uri, &to, &self.entropy.token(10)),
            body.len()
        );
        let invited = Instant::now();
        self.socket.send_to(invite.as_bytes(), callee.address).expect("an INVITE leaves");
        let (answer, answered) = loop {
            let (message, from, at) = self.receive();
            match message.status() {
                None => self.answer(&message, from),
                Some(code) if code < 200 || message.call_id() != call_id => {}
                Some(200) => break (message, at),
                Some(_) => panic!("the phone refuses the call: {}", message.start_line()),
            }
        };
        let contact = answer.header(Name::Contact).unwrap_or_default();
        let target = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let target = target.map_or(callee.uri.as_str(), |(uri, _)| uri).to_owned();
        let to = answer.header(Name::To).expect("a To").to_owned();
        let ack =
            format!("{}Content-Length: 0\r\n\r\n", head("ACK", 1, &target, &to, &self.entropy.token(10)));
        self.socket.send_to(ack.as_bytes(), callee.address).expect("an ACK leaves");
        let bye =
            format!("{}Content-Length: 0\r\n\r\n", head("BYE", 2, &target, &to, &self.entropy.token(10)));
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        let line = body.lines().find(|line| line.starts_with("m=audio ")).expect("audio in the answer");
        let port: u16 = line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a port");
        assert!(port != 0, "the phone refuses {codec:?}");
        let remote = SocketAddr::from(([127, 0, 0, 1], port));
        Call { invited, answered, remote, packets, heard, dialog: (bye, call_id, callee.address.to_string()) }
    }

    /// Ends a call.
    pub fn hang_up(&self, call: &Call) {
        let (bye, call_id, address) = &call.dialog;
        self.socket.send_to(bye.as_bytes(), address).expect("a BYE leaves");
        loop {
            let (message, from, _) = self.receive();
            match message.status() {
                None => self.answer(&message, from),
                Some(200) if message.call_id() == call_id && message.cseq().is_ok_and(|c| c.number == 2) => {
                    return;
                }
                Some(_) => {}
            }
        }
    }
}

fn listen(socket: UdpSocket, heard: Arc<Mutex<Vec<Heard>>>) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let now = Instant::now();
            // Version 2 and no RTCP (RFC 5761 §4).
            if length > 12 && buffer[0] >> 6 == 2 && !(64..96).contains(&(buffer[1] & 0x7f)) {
                heard.lock().expect("what was heard").push((now, buffer[..length].to_vec()));
            }
        }
    });
}

impl Call {
    /// What came so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("what was heard").clone()
    }

    /// Waits for the first packet; when it came.
    pub fn first_packet(&self) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((at, _)) = self.heard.lock().expect("what was heard").first() {
                return *at;
            }
            assert!(Instant::now() < deadline, "the phone sends no packets");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends these payloads, one a frame of 20 ms; each at its own moment after `start`, and in the order of those
    /// moments. A payload without a moment is lost on its way.
    pub fn send(&self, codec: Codec, payloads: &[Vec<u8>], moments: &[Option<Duration>], start: Instant) {
        let mut order: Vec<(Duration, usize)> = moments
            .iter()
            .take(payloads.len())
            .enumerate()
            .filter_map(|(number, at)| at.map(|at| (at, number)))
            .collect();
        order.sort();
        for (at, number) in order {
            thread::sleep((start + at).saturating_duration_since(Instant::now()));
            let mut packet = vec![0x80, codec.payload_type()];
            packet.extend((number as u16).to_be_bytes());
            packet.extend((number as u32 * codec.frame_clock()).to_be_bytes());
            packet.extend(0x5eed_u32.to_be_bytes());
            packet.extend(&payloads[number]);
            self.packets.send_to(&packet, self.remote).expect("a packet leaves");
        }
    }
}
