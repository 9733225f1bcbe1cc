//! Row 7: an hour at rest, scaled from a shorter span: suspended with push, in the foreground over TLS, and over UDP
//! beside baresip. All four phones rest during the same span.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_interop::phone::Phone;
use wakeline_interop::place::Folder;

use crate::exchange::Exchange;
use crate::phones::{self, Make, Sound};
use crate::processes;
use crate::relay::Relay;
use crate::row::{Goal, Row};
use crate::servers::{self, PROJECT, Push, token};
use crate::speech::Codec;

/// Rests for so long.
pub fn rows(span: Duration) -> Vec<Row> {
    let folder = Folder::new("bench-idle");
    let push = Push::start();
    let server = servers::start(servers::Make::Ours, &folder, 2, Some(&push));
    let (asleep_relay, awake_relay) =
        (Relay::start(server.tls_port, Duration::ZERO), Relay::start(server.tls_port, Duration::ZERO));
    let roots = server.certificate.display().to_string();
    let phone = |user: &str, relay: &Relay| {
        let account = [
            ("serveraddress", DOMAIN.to_owned()),
            ("proxyaddress", format!("127.0.0.1:{}", relay.port)),
            ("username", user.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("transport", "2".to_owned()),
            ("localip", "127.0.0.1".to_owned()),
        ];
        let token = format!("fcm:{PROJECT}:{}", token(user));
        let flags = ["--no-audio", "--tls-roots", &roots, "--push-token", &token];
        let mut phone = Phone::start(&folder, &format!("{user}.log"), &account, &flags);
        phone.wait_registration("registered");
        phone
    };
    let (mut asleep, awake) = (phone("u0", &asleep_relay), phone("u1", &awake_relay));
    asleep.command(&json!({ "command": "suspend" }));
    let one = |make| {
        let exchange = Exchange::start();
        let phone = phones::start(make, &folder, &exchange, Codec::Pcmu, Sound::None);
        (phone, exchange)
    };
    let (ours, peer) = (one(Make::Ours), one(Make::Baresip));
    // Threads that were wanted for the start only end after ten seconds without work.
    thread::sleep(Duration::from_secs(15));
    eprintln!("  four phones rest for {} s", span.as_secs());
    let families = [vec![asleep.id()], vec![awake.id()], ours.0.ids(), peer.0.ids()];
    let costs = || families.each_ref().map(|ids| processes::costs(ids));
    let (before, began) = (costs(), Instant::now());
    let before_packets = asleep_relay.from_clients().len();
    thread::sleep(span);
    let (after, took) = (costs(), began.elapsed().as_secs_f64());
    let packets = asleep_relay.from_clients().len() - before_packets;
    let hour = |figure: f64| figure * 3600.0 / took;
    let spent = |at: usize| processes::spent(&before[at], &after[at]);
    let processor = |at: usize| hour(spent(at).0 * 1000.0);
    let wakeups = |at: usize| hour(spent(at).1);
    let keepalives = per_hour(&awake_relay.from_clients(), took);
    let said = ours.1.waiting();
    asleep.quit();
    awake.quit();
    let name = |what: &str| format!("{what}, an hour (from {} s)", span.as_secs());
    vec![
        Row::alone(
            "7",
            name("suspended with push: packets"),
            "",
            Goal::AtMost(0.0),
            vec![hour(packets as f64)],
        ),
        Row::alone("7", name("suspended with push: wake-ups"), "", Goal::AtMost(0.0), vec![wakeups(0)]),
        Row::alone("7", name("suspended with push: CPU"), "ms", Goal::AtMost(15.0), vec![processor(0)]),
        Row::alone("7", name("foreground on TLS: keep-alives"), "", Goal::AtMost(33.0), vec![keepalives]),
        Row::of_pairs(
            "7",
            name("foreground: CPU, TLS by baresip's UDP"),
            "ms",
            "baresip",
            Goal::AtMost(15.0),
            &[(processor(1), processor(3))],
        ),
        Row::of_pairs(
            "7",
            name("foreground over UDP: CPU"),
            "ms",
            "baresip",
            Goal::OfPeer(1.0),
            &[(processor(2), processor(3))],
        )
        .remark("*"),
        Row::of_pairs(
            "7",
            name("foreground over UDP: packets"),
            "",
            "baresip",
            Goal::Told,
            &[(hour(said as f64), hour(peer.1.waiting() as f64))],
        ),
    ]
}

/// Keep-alives an hour: by the time between them when two were seen, else by their number.
fn per_hour(pieces: &[Instant], span: f64) -> f64 {
    // What belongs to the registration comes in one go.
    let apart: Vec<f64> =
        pieces.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()).collect();
    let gaps: Vec<f64> = apart.into_iter().filter(|gap| *gap > 5.0).collect();
    if gaps.len() > 1 {
        3600.0 * gaps.len() as f64 / gaps.iter().sum::<f64>()
    } else {
        gaps.len() as f64 * 3600.0 / span
    }
}
