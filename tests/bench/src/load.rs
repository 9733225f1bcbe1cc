//! Row 10 and a part of 13: REGISTER with digest over UDP, our gateway against Kamailio, under the same load.

use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::place::Folder;
use wakeline_sip_message::Message;

use crate::datagram::receive;
use crate::processes;
use crate::row::{Goal, OF_B, Row};
use crate::servers::{self, Make, Push, Server};
use crate::user::{Outcome, User};

/// Requests on their way at once.
const WINDOW: usize = 16;

/// A server under load.
pub struct Load<'a> {
    server: &'a Server,
    /// Where the users' requests come from.
    pub socket: UdpSocket,
    port: u16,
    entropy: Entropy,
    users: Vec<User>,
}

impl Load<'_> {
    /// Users of this server, none of them registered yet.
    pub fn new(server: &Server, users: usize) -> Load<'_> {
        Load::of((0..users).map(User::new).collect(), server)
    }

    /// The same with users who may know the server already.
    pub fn of(users: Vec<User>, server: &Server) -> Load<'_> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(("127.0.0.1", server.port)).expect("a way to the server");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let port = socket.local_addr().expect("its address").port();
        Load { server, socket, port, entropy: Entropy::from_number(1), users }
    }

    /// Its users, with what they were handed out.
    pub fn into_users(self) -> Vec<User> {
        self.users
    }

    /// Has every user register once; the server's processor time for one of them, in microseconds. `forget` takes
    /// the stored nonces away first, so that every user is challenged.
    pub fn round(&mut self, forget: bool, push: bool) -> f64 {
        let ids = self.server.ids();
        let count = self.users.len();
        let (spent, _, ()) = processes::over(&ids, || self.register_all(forget, push));
        spent * 1e6 / count as f64
    }

    fn register_all(&mut self, forget: bool, push: bool) {
        let (mut next, mut open, mut done) = (0, 0, 0);
        let mut buffer = vec![0; 65_536];
        while done < self.users.len() {
            while open < WINDOW && next < self.users.len() {
                let user = &mut self.users[next];
                if forget {
                    user.forget();
                }
                let request = user.register(&mut self.entropy, "UDP", self.port, push);
                self.socket.send(&request).expect("a request leaves");
                (next, open) = (next + 1, open + 1);
            }
            let (length, _) = receive(&self.socket, &mut buffer);
            let answer = Message::parse(Bytes::copy_from_slice(&buffer[..length])).expect("an answer");
            let Some(number) = User::number_in(answer.call_id()) else { continue };
            let user = &mut self.users[number];
            match user.on_answer(&answer) {
                Outcome::Challenged => {
                    let request = user.register(&mut self.entropy, "UDP", self.port, push);
                    self.socket.send(&request).expect("a request leaves");
                }
                Outcome::Registered => (open, done) = (open - 1, done + 1),
            }
        }
    }
}

/// Measures with this many users and pairs of rounds.
pub fn rows(users: usize, pairs: usize) -> Vec<Row> {
    let (here, there) = (Folder::new("bench-load"), Folder::new("bench-load-peer"));
    let push = Push::start();
    let our_server = servers::start(Make::Ours, &here, users, Some(&push));
    let their_server = servers::start(Make::Kamailio, &there, users, None);
    let (mut ours, mut peer) = (Load::new(&our_server, users), Load::new(&their_server, users));
    let empty = (our_server.memory(), their_server.memory());
    let (mut cycles, mut refreshes) = (Vec::new(), Vec::new());
    // The first round makes the bindings; it pays for growing tables and is not counted.
    let _ = (ours.round(true, true), peer.round(true, true));
    let each = |grown: f64| grown / users as f64;
    let bytes = (each(our_server.memory() - empty.0), each(their_server.memory() - empty.1));
    for pair in 0..pairs {
        eprintln!("  REGISTER of {users} users, pair {} of {pairs}", pair + 1);
        cycles.push((ours.round(true, true), peer.round(true, true)));
        refreshes.push((ours.round(false, true), peer.round(false, true)));
    }
    let row = |number, metric: &str, unit, goal, pairs: &[(f64, f64)]| {
        Row::of_pairs(number, metric, unit, "kamailio", goal, pairs)
    };
    let bytes_each = format!("memory per binding with a push token, {users} (PSS)");
    vec![
        row("10", "REGISTER, 401 and 200: CPU a cycle", "us", Goal::OfPeer(1.0), &cycles),
        row("10", "the same", "us", Goal::OfPeer(0.33), &cycles).remark(OF_B),
        row("10", "REGISTER refresh with what is stored: CPU", "us", Goal::OfPeer(1.0), &refreshes),
        row("10", "the same", "us", Goal::OfPeer(0.2), &refreshes).remark(OF_B),
        row("13", &bytes_each, "B", Goal::OfPeer(0.5), &[bytes]).remark(OF_B),
    ]
}
