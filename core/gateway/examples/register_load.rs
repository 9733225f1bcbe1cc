//! REGISTER with digest over UDP against a gateway in this process; prints the processor time of its thread.
//!
//! `cargo run --release -p wakeline-gateway --example register_load -- [phones] [rounds]`: every phone registers with a
//! challenge first, then refreshes with the nonce that the last answer handed out.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a measuring program")]

use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::system;
use wakeline_entropy::Entropy;
use wakeline_flow::Transport;
use wakeline_gateway::Gateway;
use wakeline_gateway::config::{Account, Config};
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Message, Method};

/// Requests on their way at once.
const WINDOW: usize = 64;

struct Phone {
    user: String,
    session: Session,
    credentials: Credentials,
    request: Option<Message>,
    cseq: u32,
}

impl Phone {
    fn request(&mut self, entropy: &mut Entropy, port: u16) -> Bytes {
        self.cseq += 1;
        let (user, cseq) = (&self.user, self.cseq);
        let lines =
            self.session.authorize(&Method::Register, "sip:localhost", b"", &self.credentials, entropy);
        let lines: String =
            lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
        let branch = entropy.token(12);
        let text = format!(
            "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@localhost>;tag=a{user}\r\nTo: <sip:{user}@localhost>\r\n\
             Call-ID: {user}@load\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{user}@127.0.0.1:{port};pn-provider=load;pn-param=acme-voice-prod;pn-prid=dK2_example{user}:APA91bExample>\r\n\
             Expires: 3600\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        let bytes = Bytes::from(text);
        self.request = Some(Message::parse(bytes.clone()).unwrap());
        bytes
    }
}

/// Processor time of the threads with this name, in seconds.
fn processor(name: &str) -> f64 {
    let mut ticks = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let text = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((head, tail)) = text.rsplit_once(") ") else { continue };
        if head.ends_with(&format!("({name}")) {
            let fields: Vec<&str> = tail.split(' ').collect();
            ticks += fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        }
    }
    ticks / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (phones, rounds) = (arguments.next().unwrap_or(5000), arguments.next().unwrap_or(10));
    let mut config = Config::default().on_any_port();
    // Everybody here comes from one address and is challenged once.
    config.limits.refusals = 0;
    // Nobody is called, so nobody listens there.
    config.push.hook.url = "https://127.0.0.1:9/".into();
    config.push.hook.secret = wakeline_secret::Secret::from("a secret of the load, long enough");
    config.push.hook.providers = vec!["load".into()];
    for number in 0..phones {
        let user = format!("u{number}");
        config.account.push(Account { user, password: "secret".into(), ..Account::default() });
    }
    let handle = Gateway::start(config).unwrap();
    let server = handle.address(Transport::Udp).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut entropy = Entropy::from_number(1);
    let mut all: Vec<Phone> = (0..phones)
        .map(|number| Phone {
            user: format!("u{number}"),
            session: Session::new(),
            credentials: Credentials::password(format!("u{number}"), "secret"),
            request: None,
            cseq: 0,
        })
        .collect();
    let mut buffer = vec![0; 65_536];
    for round in 0..=rounds {
        let (cpu, wall) = (processor("gateway"), system::now());
        let (mut next, mut open, mut done, mut sent) = (0, 0, 0, 0_usize);
        while done < phones {
            while open < WINDOW && next < phones {
                let request = all[next].request(&mut entropy, port);
                socket.send(&request).unwrap();
                (next, open, sent) = (next + 1, open + 1, sent + 1);
            }
            let Ok(length) = socket.recv(&mut buffer) else { panic!("{open} requests were lost") };
            let response = Message::parse(Bytes::copy_from_slice(&buffer[..length])).unwrap();
            let number: usize = response.call_id()[1..].split('@').next().unwrap().parse().unwrap();
            let phone = &mut all[number];
            let request = phone.request.clone().unwrap();
            match response.status() {
                Some(401) => {
                    let credentials = phone.credentials.clone();
                    phone.session.on_challenge(&request, &response, &credentials, Asker::Configured).unwrap();
                    let request = phone.request(&mut entropy, port);
                    socket.send(&request).unwrap();
                    sent += 1;
                }
                Some(200) => {
                    let credentials = phone.credentials.clone();
                    phone.session.on_success(&request, &response, &credentials).unwrap();
                    (open, done) = (open - 1, done + 1);
                }
                _ => panic!("{}", response.start_line()),
            }
        }
        let (cpu, wall) = (processor("gateway") - cpu, system::now().since(wall).as_secs_f64());
        let kind = if round == 0 { "challenged" } else { "refresh" };
        println!(
            "{kind:<10} {done} cycles, {sent} requests: {wall:.2} s, gateway {cpu:.2} CPU s = {:.0} cycles and {:.0} requests per core",
            done as f64 / cpu.max(0.01),
            sent as f64 / cpu.max(0.01)
        );
    }
    handle.shutdown();
}
