//! A TCP relay that makes loopback as slow as a mobile network.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// When the last connection began, and when something last arrived on its way back.
#[derive(Clone, Copy)]
pub struct Seen {
    /// The client connected.
    pub connected: Instant,
    /// The last bytes for the client were delivered.
    pub answered: Instant,
}

/// A running relay; it ends with the program.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<Option<Seen>>>,
    pieces: Arc<Mutex<Vec<Instant>>>,
}

impl Relay {
    /// Relays connections to a local port with this round trip time. The TCP handshake with the relay takes no time
    /// here, so a connection's first bytes are held for one round trip more, as if it had.
    pub fn start(target: u16, round_trip: Duration) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let seen = Arc::new(Mutex::new(None));
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let (noted, counted) = (seen.clone(), pieces.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let connected = Instant::now();
                *noted.lock().expect("the note") = Some(Seen { connected, answered: connected });
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let earliest = connected + round_trip + round_trip / 2;
                let (one, two) =
                    (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let counted = counted.clone();
                pass(one, server, round_trip / 2, earliest, move || {
                    counted.lock().expect("the note").push(Instant::now());
                });
                let noted = noted.clone();
                pass(two, client, round_trip / 2, connected, move || {
                    if let Some(seen) =
                        noted.lock().expect("the note").as_mut().filter(|s| s.connected == connected)
                    {
                        seen.answered = Instant::now();
                    }
                });
            }
        });
        Relay { port, seen, pieces }
    }

    /// When something came from a client, in all connections so far.
    pub fn from_clients(&self) -> Vec<Instant> {
        self.pieces.lock().expect("the note").clone()
    }

    /// What was seen of the last connection.
    pub fn last(&self) -> Seen {
        self.seen.lock().expect("the note").expect("a connection")
    }
}

/// Passes bytes on, each piece a fixed time after it came and none before `earliest`.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    earliest: Instant,
    mut delivered: impl FnMut() + Send + 'static,
) {
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    to.set_nodelay(true).expect("no delay of its own");
    thread::spawn(move || {
        let mut piece = [0; 16_384];
        while let Ok(length) = from.read(&mut piece) {
            let due = (Instant::now() + delay).max(earliest);
            if length == 0 || sender.send((due, piece[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            delivered();
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
