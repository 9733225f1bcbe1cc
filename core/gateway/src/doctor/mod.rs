//! The doctor: examines a whole installation hop by hop, and says of each broken one what helps.
//!
//! In: the operator's file, and the running gateway as phones see it. Out: a [`Report`]: findings with cures, and the
//! trace of a test call to a fake phone that registers, sleeps, is woken and answers. Never: a change to the gateway
//! beyond the fake phone's own binding, which it takes back; a push that could ring on somebody's phone, a secret in
//! the report.

mod chain;
mod credentials;
mod names;
mod nodes;
mod phone;
mod ports;
mod records;
mod report;
mod test_call;
mod upstream;
mod view;

use std::path::PathBuf;

pub use wakeline_push::{Provider, PushParameters};
use wakeline_secret::Secret;

pub use self::records::Records;
pub use self::report::{Finding, Hop, Report, State};
pub use self::test_call::WakeSignal;

use self::phone::Identity;
use self::view::View;
use crate::config::Config;
use crate::push::Lookup;
use crate::store;

/// What an examination may use.
#[derive(Debug)]
pub struct Options {
    /// The account of the test call, `user` or `user@domain`; without one, the first of the file that has a password and no devices.
    pub account: Option<(String, Secret)>,
    /// The token that the test call's push goes to; without one, the first canary's.
    pub push: Option<PushParameters>,
    /// How the fake phone learns of its push.
    pub signal: WakeSignal,
    /// Authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Where names lead.
    pub lookup: Lookup,
    /// Whom to ask for SRV and NAPTR records.
    pub records: Records,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            account: None,
            push: None,
            signal: WakeSignal::Trace,
            ca_file: None,
            lookup: Lookup::System,
            records: Records::System,
        }
    }
}

/// Examines the installation that this file describes.
pub async fn examine(config: &Config, options: Options) -> Report {
    let mut report = Report::default();
    match config.faults() {
        Ok(()) => report.good(Hop::Configuration, "file", "every value means something"),
        Err(error) => {
            report.broken(Hop::Configuration, "file", error.to_string(), "correct the key that is named");
            return report;
        }
    }
    look_at_store(config, &mut report);
    nodes::examine(config, &mut report).await;
    names::examine(config, &options.lookup, &mut report).await;
    records::examine(config, &options.records, &options.lookup, &mut report).await;
    let ca_file = options.ca_file.as_deref();
    let way = ports::examine(config, ca_file, &mut report).await;
    credentials::examine(config, &mut report).await;
    let view = View::of(config, ca_file);
    view::examine(view.as_ref(), &mut report).await;
    upstream::examine(config, &options.lookup, &mut report).await;
    match way {
        None => report.skipped(Hop::Call, "test call", "no listener answers"),
        Some(way) => match whose(config, &options, view.as_ref(), &way.domain).await {
            Err(why) => report.doubtful(
                Hop::Register,
                "test call",
                why,
                "give the doctor an account of its own: --user USER --password PASSWORD",
            ),
            Ok((user, password)) => {
                let push = options.push.clone().or_else(|| canary(config));
                if push.is_none() {
                    report.doubtful(
                        Hop::Push,
                        "test call",
                        "no token to push to: the test call goes to a phone that is awake",
                        "add a [[push.canary]] block with a token of your own",
                    );
                }
                // An account of a PBX behind the edge is named with its domain.
                let (user, domain) = match user.rsplit_once('@') {
                    Some((user, domain)) => (user.to_owned(), domain.to_owned()),
                    None => (user, way.domain.clone()),
                };
                let who = Identity { user, domain, password, push };
                test_call::examine(&way, &who, options.signal, view.as_ref(), &mut report).await;
            }
        },
    }
    report.sort();
    report
}

/// The account of the test call.
async fn whose(
    config: &Config,
    options: &Options,
    view: Option<&View>,
    domain: &str,
) -> Result<(String, Secret), String> {
    if let Some(account) = &options.account {
        return Ok(account.clone());
    }
    let mut asleep = Err("no account of the file has a password (digest secrets cannot be used)".to_owned());
    for account in config.account.iter().filter(|account| !account.password.is_empty()) {
        // Other people's devices would ring.
        let domain = if account.domain.is_empty() { domain } else { &account.domain };
        let name = format!("{}@{domain}", account.user);
        let path = format!("/api/aors/{name}");
        let devices = match view {
            Some(view) => view.json(&path).await.ok().and_then(|aor| aor["devices"].as_array().map(Vec::len)),
            None => None,
        };
        match devices {
            Some(0) => return Ok((name, account.password.clone())),
            Some(_) | None => {
                asleep =
                    Err("every account of the file has devices, which the test call would ring".to_owned());
            }
        }
    }
    asleep
}

/// The token of the first canary whose push wakes nobody by a ring.
fn canary(config: &Config) -> Option<PushParameters> {
    let canary = config.push.canary.first()?;
    PushParameters::new(Provider::parse(&canary.provider), &canary.param, canary.token.clone()).ok()
}

fn look_at_store(config: &Config, report: &mut Report) {
    let path = &config.store.path;
    if !config.store.url.is_empty() {
        let looked = store::Redis::open(&config.store.url).and_then(|mut server| {
            let rows = server.rows()?;
            Ok((server.place().to_owned(), rows))
        });
        return match looked {
            Ok((place, rows)) => report.good(Hop::Store, &place, format!("it answers, {rows} rows")),
            Err(error) => {
                let text = error.to_string();
                let (what, cure) = text.split_once("; ").unwrap_or((&text, "look at the server's log"));
                report.broken(Hop::Store, "store", what, cure);
            }
        };
    }
    if path.as_os_str().is_empty() {
        return report.doubtful(
            Hop::Store,
            "store",
            "there is none: after a restart no phone can be woken until it registers again",
            "name a file in store.path",
        );
    }
    let subject = path.display().to_string();
    match store::inspect(path) {
        Ok(rows) => report.good(Hop::Store, &subject, format!("sound, {rows} rows")),
        Err(error) => {
            let text = error.to_string();
            let (what, cure) = text.split_once("; ").unwrap_or((
                &text,
                "move the file away and restore a backup (wakeline gateway restore); phones register anew",
            ));
            report.broken(Hop::Store, &subject, what, cure);
        }
    }
}
