//! What the push services say to our keys: a push to a token that is nobody's. A service that knows us answers that it
//! does not know the token.

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
        ask(&only, &subject, Provider::Fcm, "doctor", "wakeline-doctor:nobodys-token", report).await;
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
        ask(&only, "apns", Provider::Apns, &param, &"0".repeat(64), report).await;
    }
    if push.webpush.is_on() {
        none = false;
        let only = Settings { webpush: push.webpush.clone(), ..Settings::default() };
        match Senders::new(&only) {
            Ok(_) => report.good(
                Hop::Credentials,
                "webpush",
                "the key can be used; each browser's push service judges it with the first push",
            ),
            Err(error) => setup(report, "webpush", &error),
        }
    }
    if push.hook.is_on() {
        none = false;
        let only = Settings { hook: push.hook.clone(), ..Settings::default() };
        match Senders::new(&only) {
            Ok(_) => report.skipped(
                Hop::Credentials,
                "hook",
                "set up; your program is not asked without a token of yours",
            ),
            Err(error) => setup(report, "hook", &error),
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

async fn ask(
    only: &Settings,
    subject: &str,
    provider: Provider,
    param: &str,
    token: &str,
    report: &mut Report,
) {
    let sender = match Senders::new(only) {
        Ok(senders) => senders.of(&provider),
        Err(error) => return setup(report, subject, &error),
    };
    let targets =
        PushParameters::new(provider, param, token.into()).and_then(|parameters| parameters.targets());
    let target = targets.ok().and_then(|targets| target_for(targets, Purpose::Refresh));
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
    let (what, cure) = match sender.send(&push).await {
        Outcome::Accepted | Outcome::TokenDead { .. } => {
            return report.good(Hop::Credentials, subject, "the service knows us");
        }
        Outcome::NotAllowed { why } => (why.to_owned(), "name the app in push.apns.topic"),
        // The made-up token is of no project, so both answers say that we may push at all.
        Outcome::WrongProject => return report.good(Hop::Credentials, subject, "the service knows us"),
        Outcome::OurBug { field } => (
            format!("the service does not like our message ({field})"),
            "check the topic and the ids in the file; if they are right, report this",
        ),
        Outcome::NotAuthorised { code } => (
            format!("the service refuses our key ({code})"),
            "make a new key: Firebase console > project settings > service accounts, or Apple's developer account > \
             keys (with the right team_id and key_id); and set this machine's clock",
        ),
        Outcome::QuotaExceeded { .. } => {
            return report.doubtful(
                Hop::Credentials,
                subject,
                "the service knows us, and wants fewer pushes",
                "see what pushes so much; quotas are shown by the vendor's console",
            );
        }
        Outcome::Unavailable | Outcome::TooLate => (
            format!("the service did not answer within {} s", WITHIN.as_secs()),
            "let this machine reach the service: DNS, route and firewall for port 443 outwards, and the vendor's status page",
        ),
    };
    report.broken(Hop::Credentials, subject, what, cure);
}
