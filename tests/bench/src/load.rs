//! Row 10 and a part of 13: REGISTER with digest over UDP, our gateway against Kamailio, under the same load.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::kamailio::{DOMAIN, Kamailio, PASSWORD};
use wakeline_interop::phone::program;
use wakeline_interop::place::{Folder, Process, free_port, wait_until};
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Message, Method};

use crate::processes;
use crate::row::Row;

/// Requests on their way at once.
const WINDOW: usize = 16;

/// One user of the load.
struct User {
    name: String,
    session: Session,
    credentials: Credentials,
    request: Option<Message>,
    cseq: u32,
}

impl User {
    fn request(&mut self, entropy: &mut Entropy, port: u16) -> Bytes {
        self.cseq += 1;
        let (user, cseq) = (&self.name, self.cseq);
        let uri = format!("sip:{DOMAIN}");
        let lines = self.session.authorize(&Method::Register, &uri, b"", &self.credentials, entropy);
        let lines: String =
            lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
        let branch = entropy.token(12);
        let bytes = Bytes::from(format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=a{user}\r\nTo: <sip:{user}@{DOMAIN}>\r\n\
             Call-ID: {user}@load\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{user}@127.0.0.1:{port};x-provider=fcm;x-param=acme-voice-prod;x-prid0=dK2_example{user}:APA91bExample>\r\n\
             Expires: 3600\r\n{lines}Content-Length: 0\r\n\r\n"
        ));
        self.request = Message::parse(bytes.clone()).ok();
        bytes
    }
}

/// A server under load.
struct Load {
    socket: UdpSocket,
    port: u16,
    program: &'static str,
    entropy: Entropy,
    users: Vec<User>,
}

impl Load {
    fn new(server: u16, program: &'static str, users: usize) -> Load {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(("127.0.0.1", server)).expect("a way to the server");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
        let port = socket.local_addr().expect("its address").port();
        let user = |number| User {
            name: format!("u{number}"),
            session: Session::new(),
            credentials: Credentials::password(format!("u{number}"), PASSWORD),
            request: None,
            cseq: 0,
        };
        let users = (0..users).map(user).collect();
        Load { socket, port, program, entropy: Entropy::from_number(1), users }
    }

    /// Has every user register once; the server's processor time for one of them, in microseconds. `forget` takes
    /// the stored nonces away first, so that every user is challenged.
    fn round(&mut self, forget: bool) -> f64 {
        let before = processes::processor(&processes::named(self.program));
        let (mut next, mut open, mut done) = (0, 0, 0);
        let mut buffer = vec![0; 65_536];
        while done < self.users.len() {
            while open < WINDOW && next < self.users.len() {
                let user = &mut self.users[next];
                if forget {
                    user.session = Session::new();
                }
                let request = user.request(&mut self.entropy, self.port);
                self.socket.send(&request).expect("a request leaves");
                (next, open) = (next + 1, open + 1);
            }
            let length = self.socket.recv(&mut buffer).expect("an answer within two seconds");
            let answer = Message::parse(Bytes::copy_from_slice(&buffer[..length])).expect("an answer");
            let number = answer.call_id().trim_start_matches('u').split('@').next();
            let number: usize = number.and_then(|text| text.parse().ok()).expect("a user of ours");
            let user = &mut self.users[number];
            let request = user.request.clone().expect("what was asked");
            let credentials = user.credentials.clone();
            match answer.status() {
                Some(401) => {
                    let outcome =
                        user.session.on_challenge(&request, &answer, &credentials, Asker::Configured);
                    assert!(outcome.is_ok(), "a challenge that cannot be answered");
                    let request = user.request(&mut self.entropy, self.port);
                    self.socket.send(&request).expect("a request leaves");
                }
                Some(200) => {
                    let _ = user.session.on_success(&request, &answer, &credentials);
                    (open, done) = (open - 1, done + 1);
                }
                _ => panic!("{}", answer.start_line()),
            }
        }
        let spent = processes::processor(&processes::named(self.program)) - before;
        spent * 1e6 / self.users.len() as f64
    }
}

/// Measures with this many users and pairs of rounds.
pub fn registers(users: usize, pairs: usize) -> Vec<Row> {
    let folder = Folder::new("bench-load");
    let kamailio = Kamailio::start(&folder);
    let port = free_port();
    let mut text = format!(
        "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\n[listen]\nudp = [\"127.0.0.1:{port}\"]\ntcp = [\"127.0.0.1:{port}\"]\n\
         tls = []\nws = []\nwss = []\n"
    );
    for number in 0..users {
        text.push_str(&format!("[[account]]\nuser = \"u{number}\"\npassword = \"{PASSWORD}\"\n"));
    }
    let configuration = folder.write("load.toml", &text);
    let mut command = Command::new(program());
    command.args(["gateway", "--config"]).arg(configuration);
    let _gateway = Process::start(&command, &folder, "load.log");
    wait_until("our gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut ours = Load::new(port, "wakeline", users);
    let mut peer = Load::new(kamailio.port, "kamailio", users);
    let pss = |program| processes::memory(&processes::named(program), "Pss") * 1024.0 / users as f64;
    let empty = (pss("wakeline"), pss("kamailio"));
    let (mut cycles, mut refreshes) = (Vec::new(), Vec::new());
    // The first round makes the bindings; it pays for growing tables and is not counted.
    let _ = (ours.round(true), peer.round(true));
    let bytes = (pss("wakeline") - empty.0, pss("kamailio") - empty.1);
    for _ in 0..pairs {
        cycles.push((ours.round(true), peer.round(true)));
        refreshes.push((ours.round(false), peer.round(false)));
    }
    vec![
        Row::of_pairs("10", "REGISTER, 401 and 200: CPU a cycle", "us", "kamailio", 1.0, &cycles),
        Row::of_pairs("10", "REGISTER refresh with what is stored", "us", "kamailio", 1.0, &refreshes),
        Row::of_pairs("13", "memory per binding without push (PSS grown)", "B", "kamailio", 0.5, &[bytes]),
    ]
}
