//! The running gateway's own view, asked over loopback.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::ports::reachable;
use super::report::{Hop, Report};
use crate::config::Config;
use crate::push::Trust;

/// Where it is, and what it wants to be shown.
#[derive(Debug)]
pub(super) struct View {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl View {
    /// `None` when the file has no such view.
    pub(super) fn of(config: &Config, ca_file: Option<&Path>) -> Option<View> {
        let address = config.admin.listen.first()?;
        let scheme = if address.ip().is_loopback() { "http" } else { "https" };
        let trust = Trust { ca_file: ca_file.map(Path::to_owned) };
        let client = crate::push::client_for_one(&trust).ok()?;
        let base = format!("{scheme}://{}", reachable(*address));
        Some(View { client, base, token: config.admin.token.expose().to_owned() })
    }

    /// One answer.
    pub(super) async fn json(&self, path: &str) -> Result<Value, String> {
        let mut request = self.client.get(format!("{}{path}", self.base)).timeout(Duration::from_secs(5));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let bytes = answer.bytes().await.map_err(|error| error.without_url().to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

/// What the gateway says of its store and its canaries.
pub(super) async fn examine(view: Option<&View>, report: &mut Report) {
    let Some(view) = view else {
        return report.doubtful(
            Hop::Gateway,
            "admin",
            "admin.listen is empty: nothing tells why a call did not ring",
            "write listen = [\"127.0.0.1:5080\"] below [admin] and start the gateway again",
        );
    };
    let stats = match view.json("/api/stats").await {
        Ok(stats) => stats,
        Err(why) => {
            return report.broken(
                Hop::Gateway,
                "admin",
                format!("the gateway's view does not answer: {why}"),
                "start the gateway with this file; where it listens beyond this machine, its certificate must be good",
            );
        }
    };
    match stats["store_trouble"].as_str() {
        None => report.good(
            Hop::Gateway,
            "admin",
            format!("up for {} s", stats["up_ms"].as_u64().unwrap_or(0) / 1000),
        ),
        Some(trouble) => report.broken(
            Hop::Gateway,
            "store",
            trouble,
            "free disk space or correct the permissions; what changed meanwhile is written then",
        ),
    }
    let canaries = stats["canaries"].as_array().cloned().unwrap_or_default();
    if canaries.is_empty() {
        report.doubtful(
            Hop::Gateway,
            "canary",
            "no canary push: that keys or services fail is seen by the first caller",
            "add a [[push.canary]] block with a token of your own",
        );
    }
    for canary in canaries {
        let provider = canary["provider"].as_str().unwrap_or("").to_owned();
        match canary["last"].as_str().unwrap_or("") {
            "" => report.skipped(Hop::Gateway, &format!("canary {provider}"), "not sung yet"),
            "accepted" => {
                report.good(Hop::Gateway, &format!("canary {provider}"), "the last push was accepted")
            }
            last => report.broken(
                Hop::Gateway,
                &format!("canary {provider}"),
                format!("the last push: {last}"),
                "see the credentials; a dead token must be replaced in [[push.canary]]",
            ),
        }
    }
}
