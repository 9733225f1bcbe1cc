//! Rows 1, 2, 3 and 7: from exec to registered, memory and wake-ups.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::kamailio::{DOMAIN, Kamailio, PASSWORD};
use wakeline_interop::phone::{Phone, program};
use wakeline_interop::place::{Folder, Process, free_port, wait_until};
use wakeline_interop::sound;
use wakeline_sip_message::{Builder, Message, Method, Name};

use crate::processes;
use crate::relay::Relay;
use crate::row::Row;

const ROUND_TRIP: Duration = Duration::from_millis(100);

fn account(port: u16, transport: &str) -> Vec<(&'static str, String)> {
    vec![
        ("serveraddress", DOMAIN.to_owned()),
        ("proxyaddress", format!("127.0.0.1:{port}")),
        ("username", "mia".to_owned()),
        ("password", PASSWORD.to_owned()),
        ("transport", transport.to_owned()),
        ("localip", "127.0.0.1".to_owned()),
    ]
}

fn baresip(folder: &Folder, port: u16, transport: &str, says: &Path) -> Baresip {
    Baresip::start(
        folder,
        &Wishes { user: "mia", registrar: port, transport, codecs: "pcmu", more: "", answer: "auto", says },
    )
}

fn tone(folder: &Folder) -> std::path::PathBuf {
    let path = folder.path("tone.wav");
    sound::write_tone(&path, 440.0, 8000, 2);
    path
}

/// Row 1: round trips from connecting to the answer that says registered, over TLS with digest.
pub fn round_trips(pairs: usize) -> Vec<Row> {
    let folder = Folder::new("bench-trips");
    let says = tone(&folder);
    let kamailio = Kamailio::start(&folder);
    let roots = kamailio.authority.display().to_string();
    let slow = Relay::start(kamailio.tls_port, ROUND_TRIP);
    let gateway_port = free_port();
    let state = folder.path("state").display().to_string();
    let configuration = folder.write(
        "gateway.toml",
        &format!(
            "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\n[listen]\nudp = []\ntcp = []\nws = []\nwss = []\n\
             tls = [\"127.0.0.1:{gateway_port}\"]\n[tls]\ncertificate = \"{roots}\"\nkey = \"{}\"\n\
             [[account]]\nuser = \"mia\"\npassword = \"{PASSWORD}\"\n",
            folder.path("kamailio.key").display()
        ),
    );
    let mut command = Command::new(program());
    command.args(["gateway", "--config"]).arg(configuration);
    let _gateway = Process::start(&command, &folder, "gateway.log");
    wait_until("our gateway listens", || std::net::TcpStream::connect(("127.0.0.1", gateway_port)).is_ok());
    let ours_slow = Relay::start(gateway_port, ROUND_TRIP);
    let trips = |relay: &Relay| {
        let seen = relay.last();
        seen.answered.duration_since(seen.connected).as_secs_f64() / ROUND_TRIP.as_secs_f64()
    };
    let ours = |relay: &Relay, remembers: bool| {
        let mut flags = vec!["--no-audio", "--tls-roots", &roots];
        if remembers {
            flags.extend(["--state", state.as_str()]);
        }
        let started = Instant::now();
        let mut phone = Phone::start(&folder, "phone.log", &account(relay.port, "2"), &flags);
        phone.wait_registration("registered");
        let figures = (trips(relay), started.elapsed().as_secs_f64() * 1000.0);
        // What comes back after the registration, a ticket or a keep-alive, is written down before the end.
        thread::sleep(Duration::from_millis(150));
        phone.quit();
        figures
    };
    // The first start has nothing to remember; the later ones have a nonce and a ticket.
    let _ = ours(&ours_slow, true);
    let (mut cold, mut warm, mut time) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (first, _) = ours(&slow, false);
        let started = Instant::now();
        let other = baresip(&folder, slow.port, "tls", &says);
        let seen = slow.last();
        let peer = trips(&slow);
        let peer_time = seen.answered.duration_since(started).as_secs_f64() * 1000.0;
        drop(other);
        let (remembered, took) = ours(&ours_slow, true);
        cold.push((first, peer));
        warm.push((remembered, peer));
        time.push((took, peer_time));
    }
    vec![
        Row::of_pairs(
            "1",
            "TLS round trips to registered, nothing remembered",
            "trips",
            "baresip",
            1.0,
            &cold,
        ),
        Row::of_pairs("1", "TLS round trips, nonce and ticket, own gateway", "trips", "baresip", 0.5, &warm),
        Row::of_pairs("1", "exec to registered, the same, 100 ms RTT", "ms", "baresip", 0.55, &time),
    ]
}

/// A registrar that asks for no password; it tells when each REGISTER came.
fn sink() -> (u16, std::sync::mpsc::Receiver<Instant>) {
    let port = free_port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a port");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut piece = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut piece) {
            let now = Instant::now();
            let Ok(request) = Message::parse(Bytes::copy_from_slice(&piece[..length])) else { continue };
            if !request.is_request() || request.method() == Method::Ack {
                continue;
            }
            if request.method() == Method::Register && sender.send(now).is_err() {
                return;
            }
            let answer = Builder::response(&request, 200, "OK")
                .to_tag("sink")
                .copy(&request, Name::Contact)
                .header(Name::Expires, 3600)
                .build();
            if let Ok(answer) = answer {
                let _ = socket.send_to(&answer.to_bytes(), from);
            }
        }
    });
    (port, receiver)
}

/// Rows 2, 3 and 7: exec to the first REGISTER, memory, and wake-ups while idle.
pub fn start_and_rest(pairs: usize) -> Vec<Row> {
    let folder = Folder::new("bench-start");
    let says = tone(&folder);
    let (mut starts, mut sizes, mut cost, mut woken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (port, registers) = sink();
        let began = Instant::now();
        let mut phone = Phone::start(&folder, "phone.log", &account(port, "0"), &["--no-audio"]);
        let ours = registers.recv_timeout(Duration::from_secs(10)).expect("a REGISTER of ours") - began;
        phone.wait_registration("registered");
        thread::sleep(Duration::from_millis(1500));
        let id = processes::named("wakeline");
        let (our_size, our_cost) = (processes::memory(&id, "Rss"), processes::processor(&id));
        let before = processes::wakeups(&id);
        thread::sleep(Duration::from_secs(2));
        woken.push(processes::wakeups(&id) - before);
        phone.quit();
        let (port, registers) = sink();
        let began = Instant::now();
        let other = baresip(&folder, port, "udp", &says);
        let peer = registers.recv_timeout(Duration::from_secs(10)).expect("a REGISTER of baresip") - began;
        thread::sleep(Duration::from_millis(1500));
        let id = processes::named("baresip");
        sizes.push((our_size, processes::memory(&id, "Rss")));
        cost.push((our_cost * 1000.0, processes::processor(&id) * 1000.0));
        drop(other);
        starts.push((ours.as_secs_f64() * 1000.0, peer.as_secs_f64() * 1000.0));
    }
    vec![
        Row::of_pairs("2", "exec to REGISTER on the wire", "ms", "baresip", 0.8, &starts),
        Row::of_pairs("2", "CPU from exec to registered and 1.5 s of rest", "ms", "baresip", 0.8, &cost),
        Row::of_pairs("3", "RSS idle and registered", "KiB", "baresip", 0.8, &sizes),
        Row::alone("7", "wake-ups in 2 s, registered over UDP, not suspended", "", 1.0, woken),
    ]
}
