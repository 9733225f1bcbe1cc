//! Rows 1, 2 and 3: from exec to registered, and memory at rest.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::kamailio::{DOMAIN, Kamailio, PASSWORD};
use wakeline_interop::phone::{Phone, program};
use wakeline_interop::place::{Folder, Process, free_port, wait_until};
use wakeline_interop::sound;

use crate::exchange::Exchange;
use crate::phones::{self, Make, Sound};
use crate::processes;
use crate::relay::Relay;
use crate::row::{Goal, Row};
use crate::speech::Codec;

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
    // A process that lives on, as a suspended app does, has the ticket of its last connection in memory.
    let awake = |relay: &Relay| {
        let flags = ["--no-audio", "--tls-roots", &roots];
        let mut phone = Phone::start(&folder, "phone.log", &account(relay.port, "2"), &flags);
        phone.wait_registration("registered");
        // The ticket comes behind the answer.
        thread::sleep(ROUND_TRIP * 3);
        phone.forget();
        phone.command(&json!({ "command": "network-changed" }));
        phone.wait_registration("registered");
        let figure = trips(relay);
        phone.quit();
        figure
    };
    // The first start has nothing to remember; the later ones have a nonce and a ticket.
    let _ = ours(&ours_slow, true);
    let (mut cold, mut warm, mut kept, mut time) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        eprintln!("  round trips, pair {} of {pairs}", pair + 1);
        let (first, _) = ours(&slow, false);
        let started = Instant::now();
        let other = baresip(&folder, slow.port, "tls", &says);
        let seen = slow.last();
        let peer = trips(&slow);
        let peer_time = seen.answered.duration_since(started).as_secs_f64() * 1000.0;
        drop(other);
        let (remembered, took) = ours(&ours_slow, true);
        kept.push((awake(&ours_slow), peer));
        cold.push((first, peer));
        warm.push((remembered, peer));
        time.push((took, peer_time));
    }
    let row =
        |metric, unit, goal, pairs: &[(f64, f64)]| Row::of_pairs("1", metric, unit, "baresip", goal, pairs);
    vec![
        row("TLS round trips to registered, nothing remembered", "trips", Goal::OfPeer(1.0), &cold)
            .remark("*"),
        row("the same with the nonce of the last start, own gateway", "trips", Goal::OfPeer(0.75), &warm),
        row("the same with a ticket, process started anew", "trips", Goal::OfPeer(0.5), &warm),
        row("the same with a ticket, process still there", "trips", Goal::OfPeer(0.52), &kept),
        row("exec to registered, nonce (and ticket), 100 ms RTT", "ms", Goal::OfPeer(0.55), &time),
    ]
}

/// Rows 2 and 3: exec to the first REGISTER, and what a phone at rest takes.
pub fn start_and_rest(pairs: usize) -> Vec<Row> {
    let (mut starts, mut sizes, mut cost) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        eprintln!("  start and rest, pair {} of {pairs}", pair + 1);
        let one = |make| {
            let folder = Folder::new("bench-start");
            let exchange = Exchange::start();
            let phone = phones::start(make, &folder, &exchange, Codec::Pcmu, Sound::None);
            let start = phone.callee.at.duration_since(phone.started).as_secs_f64() * 1000.0;
            thread::sleep(Duration::from_millis(1500));
            let ids = phone.ids();
            (start, processes::memory(&ids, "Rss") / 1024.0, processes::processor(&ids) * 1000.0)
        };
        let (ours, peer) = (one(Make::Ours), one(Make::Baresip));
        starts.push((ours.0, peer.0));
        sizes.push((ours.1, peer.1));
        cost.push((ours.2, peer.2));
    }
    vec![
        Row::of_pairs("2", "exec to REGISTER on the wire", "ms", "baresip", Goal::OfPeer(0.8), &starts),
        Row::of_pairs(
            "2",
            "CPU from exec to registered and 1.5 s of rest",
            "ms",
            "baresip",
            Goal::OfPeer(0.8),
            &cost,
        )
        .remark("*"),
        Row::of_pairs("3", "RSS idle and registered over UDP", "MiB", "baresip", Goal::OfPeer(0.8), &sizes),
    ]
}
