//! What the push services say to our keys: a push to a token that is nobody's. A service that knows us answers that it
//! does not know the token. Web Push and an operator's program have no such token: they are asked with the canary's.

use std::time::Duration;

use wakeline_clock::system;
use wakeline_push::{Payload, Provider, PushParameters};

use super::report::{Hop, Report};
use crate::config::Config;
use crate::config::Push as Settings;
use crate::push::dispatch::{Senders, target_for};
use crate::push::{Outcome, Purpose, Push, SetupError};

/// How long a service may take.
const WITHIN: Duration = Duration::from_secs(8);

/// Asks every service that is configured.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    let push = &config.push;
    let mut none = true;
    // Each account by itself: with several, the first would answer for all.
    for path in &push.fcm.service_accounts {
        none = false;
        let mut only = Settings { fcm: push.fcm.clone(), ..Settings::default() };
        only.fcm.service_accounts = vec![path.clone()];
        let subject = format!(
            "fcm {}",
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        );
        let nobody = nobody(Provider::Fcm, "doctor", "wakeline-doctor:nobodys-token");
        ask(&only, &subject, nobody, report).await;
    }
    if push.apns.is_on() {
        none = false;
        let only = Settings { apns: push.apns.clone(), ..Settings::default() };
        let bundle = match push.apns.topic.strip_suffix(".voip").unwrap_or(&push.apns.topic) {
            "" => "org.example.voice",
            bundle => bundle,
        };
        // A notification token: nothing could ring, whoever's it were.
        let param = format!("{}.{bundle}", push.apns.team_id);
        ask(&only, "apns", nobody(Provider::Apns, &param, &"0".repeat(64)), report).await;
    }
    if push.webpush.is_on() {
        none = false;
        let only = Settings { webpush: push.webpush.clone(), ..Settings::default() };
        match (Senders::new(&only), canary(config, |provider| *provider == Provider::WebPush)) {
            (Ok(_), canary @ Some(_)) => ask(&only, "webpush", canary, report).await,
            (Ok(_), None) => report.good(
                Hop::Credentials,
                "webpush",
                "the key can be used; each browser's push service judges it with the first push",
            ),
            (Err(error), _) => setup(report, "webpush", &error),
        }
    }
    if push.hook.is_on() {
        none = false;
        let only = Settings { hook: push.hook.clone(), ..Settings::default() };
        let served = |provider: &Provider| {
            push.hook.providers.iter().any(|name| Provider::parse(name).is_served_by(provider))
        };
        match (Senders::new(&only), canary(config, served)) {
            (Ok(_), canary @ Some(_)) => ask(&only, "hook", canary, report).await,
            (Ok(_), None) => report.skipped(
                Hop::Credentials,
                "hook",
                "set up; your program is not asked without a token of yours ([[push.canary]])",
            ),
            (Err(error), _) => setup(report, "hook", &error),
        }
    }
    if none {
        report.doubtful(
            Hop::Credentials,
            "push",
            "no push service is configured: a phone that sleeps stays asleep",
            "fill in [push.fcm], [push.apns] or [push.webpush]; the example file says where each key comes from",
        );
    }
}

/// A sender that cannot even be built says itself what helps.
fn setup(report: &mut Report, subject: &str, error: &SetupError) {
    let text = error.to_string();
    let (what, cure) = text.split_once("; ").unwrap_or((&text, "correct the file"));
    report.broken(Hop::Credentials, subject, what, cure);
}

/// Whose token a service is asked with.
enum Whose {
    /// Made up: whether it lives tells nothing.
    Nobodys,
    /// The operator's own.
    Canarys,
}

/// A token that is nobody's.
fn nobody(provider: Provider, param: &str, token: &str) -> Option<(PushParameters, Whose)> {
    Some((PushParameters::new(provider, param, token.into()).ok()?, Whose::Nobodys))
}

/// The first canary's token for one of these services.
fn canary(config: &Config, of: impl Fn(&Provider) -> bool) -> Option<(PushParameters, Whose)> {
    let provider = |name: &str| Provider::parse(name);
    let found = config.push.canary.iter().find(|canary| of(&provider(&canary.provider)))?;
    let parameters =
        PushParameters::new(provider(&found.provider), &found.param, found.token.clone()).ok()?;
    Some((parameters, Whose::Canarys))
}

async fn ask(only: &Settings, subject: &str, token: Option<(PushParameters, Whose)>, report: &mut Report) {
    let Some((parameters, whose)) = token else {
        return report.skipped(Hop::Credentials, subject, "cannot be asked");
    };
    let sender = match Senders::new(only) {
        Ok(senders) => senders.of(&parameters.provider),
        Err(error) => return setup(report, subject, &error),
    };
    let target = parameters.targets().ok().and_then(|targets| target_for(targets, Purpose::Refresh));
    let (Some(sender), Some(target)) = (sender, target) else {
        return report.skipped(Hop::Credentials, subject, "cannot be asked");
    };
    let push = Push {
        target,
        purpose: Purpose::Refresh,
        payload: Payload::refresh(system::wall().0),
        call_id: None,
        until: system::now() + WITHIN,
    };
    let (what, cure) = match (sender.send(&push).await, whose) {
        (Outcome::Accepted, Whose::Canarys) => {
            return report.good(Hop::Credentials, subject, "the service took a push to your canary's token");
        }
        (Outcome::TokenDead { .. }, Whose::Canarys) => (
            "the service knows us, and says that your canary's token is dead".to_owned(),
            "put a token that lives into the [[push.canary]] block",
        ),
        (Outcome::Accepted | Outcome::TokenDead { .. }, Whose::Nobodys) => {
            return report.good(Hop::Credentials, subject, "the service knows us");
        }
        (Outcome::NotAllowed { why }, _) => {
            (why.to_owned(), "name the app in push.apns.topic, or the host in push.webpush.allowed_hosts")
        }
        // A made-up token is of no project, so both answers say that we may push at all.
        (Outcome::WrongProject, _) => {
            return report.good(Hop::Credentials, subject, "the service knows us");
        }
        (Outcome::OurBug { field }, _) => (
            format!("the service does not like our message ({field})"),
            "check the topic and the ids in the file; if they are right, report this",
        ),
        (Outcome::NotAuthorised { code }, _) => (
            format!("the service refuses our key ({code})"),
            "make a new key: Firebase console > project settings > service accounts, or Apple's developer account > \
             keys (with the right team_id and key_id); and set this machine's clock",
        ),
        (Outcome::QuotaExceeded { .. }, _) => {
            return report.doubtful(
                Hop::Credentials,
                subject,
                "the service knows us, and wants fewer pushes",
                "see what pushes so much; quotas are shown by the vendor's console",
            );
        }
        (Outcome::Unavailable | Outcome::TooLate, _) => (
            format!("the service did not answer within {} s", WITHIN.as_secs()),
            "let this machine reach the service: DNS, route and firewall for port 443 outwards, and the vendor's status page",
        ),
    };
    report.broken(Hop::Credentials, subject, what, cure);
}
