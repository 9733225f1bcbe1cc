//! Whether the nodes of a gateway can work together: their server, their clocks, the ways between them.

use std::time::Duration;

use tokio::net::TcpStream;
use wakeline_clock::{WallTime, system};

use super::report::{Hop, Report};
use crate::cluster::{BEAT, Beat};
use crate::config::Config;
use crate::store::{Facts, Redis, Row, Store as _, StoreError, Table};

/// Clocks this far apart (milliseconds) are worth a word.
const APART: u64 = 1_000;
/// So far apart they end registrations early.
const TOO_FAR: u64 = 5_000;
/// How long another node may take to accept.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at the server and at every node that says that it lives.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    if !config.cluster.is_on() {
        return;
    }
    // That the server is away was told with the store.
    let Ok((facts, rows)) = look(config) else { return };
    let own = system::wall();
    server(&facts, own, report);
    let mut others = 0;
    for row in rows {
        let name = String::from_utf8_lossy(&row.key).into_owned();
        let Ok(beat) = serde_json::from_slice::<Beat>(&row.value) else { continue };
        if name == config.cluster.node {
            continue;
        }
        others += 1;
        clock(&name, &beat, facts.wall, report);
        way(&name, &beat, report).await;
    }
    if others == 0 {
        report.doubtful(
            Hop::Node,
            &config.cluster.node,
            "no other node says that it lives",
            "start another one with the same file but for cluster.node and cluster.address, and look at its log",
        );
    }
}

fn look(config: &Config) -> Result<(Facts, Vec<Row>), StoreError> {
    let mut server = Redis::open(&config.store.url)?;
    let facts = server.facts()?;
    Ok((facts, server.load(Table::Nodes, WallTime(0))?))
}

fn server(facts: &Facts, own: WallTime, report: &mut Report) {
    let subject = "redis";
    let major = facts.version.split('.').next().and_then(|text| text.parse::<u32>().ok());
    match major {
        Some(..7) => report.broken(
            Hop::Node,
            subject,
            format!("version {}: older than 7, by which a cluster is tested", facts.version),
            "install Redis 7 or later",
        ),
        Some(_) | None => report.good(Hop::Node, subject, format!("version {}", facts.version)),
    }
    if facts.append_only.as_deref() == Some("no") {
        report.doubtful(
            Hop::Node,
            subject,
            "appendonly is off: when the server restarts, phones registered at other nodes are forgotten",
            "set appendonly yes in redis.conf",
        );
    }
    if let Some(policy) = facts.when_full.as_deref().filter(|policy| *policy != "noeviction") {
        report.doubtful(
            Hop::Node,
            subject,
            format!("maxmemory-policy is {policy}: a full server would drop registrations"),
            "set maxmemory-policy noeviction in redis.conf, and give it memory enough",
        );
    }
    told(subject, "this node's clock and the server's", own.0.abs_diff(facts.wall.0), report);
}

/// A node speaks every other second, so what it said of its clock is up to that old.
fn clock(name: &str, beat: &Beat, server: WallTime, report: &mut Report) {
    let age = u64::try_from(BEAT.as_millis()).unwrap_or(u64::MAX);
    let behind = server.0.saturating_sub(beat.wall).saturating_sub(age);
    let ahead = beat.wall.saturating_sub(server.0);
    told(name, "its clock and the server's", behind.max(ahead), report);
}

fn told(subject: &str, which: &str, apart: u64, report: &mut Report) {
    let detail = format!("{which} are {:.1} s apart", apart as f64 / 1000.0);
    let cure = "keep the clocks of all nodes and of the Redis server by NTP (timedatectl set-ntp true)";
    match apart {
        ..APART => report.good(Hop::Node, subject, format!("{which} agree")),
        APART..TOO_FAR => report.doubtful(Hop::Node, subject, detail, cure),
        _ => report.broken(Hop::Node, subject, detail, cure),
    }
}

async fn way(name: &str, beat: &Beat, report: &mut Report) {
    let host = beat.host.trim_start_matches('[').trim_end_matches(']');
    let address = format!("{}:{}", beat.host, beat.port);
    let why = match tokio::time::timeout(PATIENCE, TcpStream::connect((host, beat.port))).await {
        Ok(Ok(_)) => return report.good(Hop::Node, name, format!("{address} accepts")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    report.broken(
        Hop::Node,
        name,
        format!("it lives, but {address} cannot be reached: {why}; its phones are called by push only"),
        "let the nodes reach each other's cluster.address on their listen.tcp port, and look at firewalls",
    );
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn states(look: impl FnOnce(&mut Report)) -> Vec<(String, State)> {
        let mut report = Report::default();
        look(&mut report);
        report.findings.into_iter().map(|finding| (finding.detail, finding.state)).collect()
    }

    #[test]
    fn a_server_that_forgets_is_named_with_the_line_that_helps() {
        let sound = Facts {
            version: "7.0.15".to_owned(),
            wall: WallTime(1_800_000_000_000),
            append_only: Some("yes".to_owned()),
            when_full: Some("noeviction".to_owned()),
        };
        assert!(
            states(|report| server(&sound, sound.wall, report))
                .iter()
                .all(|(_, state)| *state == State::Good)
        );
        let doubted = Facts {
            append_only: Some("no".to_owned()),
            when_full: Some("allkeys-lru".to_owned()),
            ..sound.clone()
        };
        let found = states(|report| server(&doubted, sound.wall, report));
        let cures: Vec<&str> = found
            .iter()
            .filter_map(|(_, state)| match state {
                State::Doubtful(cure) => Some(cure.as_str()),
                State::Good | State::Skipped | State::Broken(_) => None,
            })
            .collect();
        assert!(cures.len() == 2 && cures[0].contains("appendonly yes") && cures[1].contains("noeviction"));
        let old = Facts { version: "6.0.16".to_owned(), ..sound.clone() };
        assert!(matches!(&states(|report| server(&old, sound.wall, report))[0].1, State::Broken(_)));
    }

    #[test]
    fn clocks_are_judged_by_how_far_they_are_apart() {
        let now = 1_800_000_000_000;
        let judged = |wall: u64| {
            let beat = Beat {
                mark: String::new(),
                host: String::new(),
                port: 0,
                wall,
                condition: Default::default(),
            };
            states(|report| clock("two", &beat, WallTime(now), report)).remove(0)
        };
        for good in [now, now - 2_900, now + 900] {
            assert_eq!(judged(good).1, State::Good, "{good}");
        }
        for doubtful in [now - 4_000, now + 1_500] {
            let (detail, state) = judged(doubtful);
            assert!(matches!(state, State::Doubtful(_)) && detail.contains("s apart"), "{detail}");
        }
        for broken in [now - 60_000, now + 5_000] {
            assert!(matches!(judged(broken).1, State::Broken(cure) if cure.contains("NTP")));
        }
    }
}
