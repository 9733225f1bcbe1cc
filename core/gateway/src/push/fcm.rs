//! FCM HTTP v1.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use wakeline_clock::system;
use wakeline_push::PushTarget;

use super::http::{Line, Trust};
use super::oauth::{Denied, Tokens};
use super::outcome::{Outcome, Verdict, retry_after};
use super::pace::{QUOTA_PAUSE, answer_within, jittered, pause};
use super::{Purpose, Push, ServiceAccount, SetupError};

/// The production endpoint.
pub const ENDPOINT: &str = crate::config::FCM;
/// Waits before the second, third and fourth attempt, unless the service names one.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How the sender is set up.
#[derive(Debug)]
pub struct FcmSetup {
    /// One account per Firebase project; the first serves tokens whose project is not known.
    pub accounts: Vec<ServiceAccount>,
    /// Scheme, host and port; [`ENDPOINT`] in production.
    pub endpoint: String,
    /// Whom to believe.
    pub trust: Trust,
    /// `restricted_package_name`: only this Android package may get the push.
    pub package: Option<String>,
    /// How many requests may be on their way at once.
    pub concurrency: usize,
}

/// The sender; cheap to clone, all clones share one connection and one token.
#[derive(Debug, Clone)]
pub struct FcmSender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    projects: Vec<Arc<Tokens>>,
    line: Arc<Line>,
    endpoint: String,
    package: Option<String>,
    slots: Semaphore,
}

#[derive(Serialize)]
struct Body<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fid: Option<&'a str>,
    android: Android<'a>,
    data: &'a std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Android<'a> {
    priority: &'static str,
    ttl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restricted_package_name: Option<&'a str>,
}

/// What one attempt gave.
enum Attempt {
    Answered(Verdict),
    /// Nothing came back; the connection may have gone.
    Lost,
    /// The queue in front of the service was too long.
    TooLate,
}

impl FcmSender {
    /// Builds the sender; nothing is sent before the first push.
    ///
    /// # Errors
    /// When the endpoint, the CA file or the trust store cannot be used, or there is no account.
    pub fn new(setup: FcmSetup) -> Result<FcmSender, SetupError> {
        let endpoint = setup.endpoint.trim_end_matches('/').to_owned();
        if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
            return Err(SetupError::Endpoint(setup.endpoint));
        }
        if setup.accounts.is_empty() {
            return Err(SetupError::Account("none is named"));
        }
        let line = Arc::new(Line::new(&setup.trust)?);
        let projects = setup
            .accounts
            .into_iter()
            .map(|account| Arc::new(Tokens::new(account, Arc::clone(&line))))
            .collect();
        Ok(FcmSender(Arc::new(Inner {
            projects,
            line,
            endpoint,
            package: setup.package,
            slots: Semaphore::new(setup.concurrency.max(1)),
        })))
    }

    /// Fetches the access tokens ahead, so that the first wake does not wait for them.
    pub async fn warm(&self) {
        for tokens in &self.0.projects {
            if let Err(denied) = tokens.get().await {
                tracing::error!(project = tokens.account().project(), ?denied, "no push access token");
            }
        }
    }

    /// Sends, and tries again while the push is of use.
    pub async fn send(&self, push: &Push) -> Outcome {
        let started = system::now();
        let outcome = self.0.send(push).await;
        outcome.log(push.target.token(), started);
        outcome
    }
}

impl Inner {
    /// The account of the project that the phone named, else the first.
    fn account_of(&self, project: Option<&str>) -> Option<usize> {
        project
            .and_then(|project| self.projects.iter().position(|tokens| tokens.account().project() == project))
    }

    async fn send(&self, push: &Push) -> Outcome {
        let PushTarget::Fcm { project, token: device } = &push.target else {
            return Outcome::OurBug { field: "target".to_owned() };
        };
        let mut project = self.account_of(Some(project)).unwrap_or(0);
        let mut tried = vec![project];
        let mut renewed = false;
        let mut pauses = PAUSES.into_iter();
        loop {
            if system::now() >= push.until {
                return Outcome::TooLate;
            }
            let Some(tokens) = self.projects.get(project) else { return Outcome::WrongProject };
            let left = push.until.since(system::now());
            let token = match tokio::time::timeout(left, tokens.get()).await {
                Ok(Ok(token)) => token,
                Ok(Err(Denied::Refused(code))) => return Outcome::NotAuthorised { code },
                Ok(Err(Denied::Unavailable)) => {
                    if pause(pauses.next(), push.until).await {
                        continue;
                    }
                    return Outcome::Unavailable;
                }
                Err(_) => return Outcome::Unavailable,
            };
            let project_name = tokens.account().project();
            let attempt = self.attempt(project_name, token.text.expose(), device.expose(), push).await;
            let again = match attempt {
                Attempt::Answered(Verdict::Accepted) => return Outcome::Accepted,
                Attempt::Answered(Verdict::TokenDead) => return Outcome::TokenDead { since: None },
                Attempt::Answered(Verdict::OurBug { field }) => return Outcome::OurBug { field },
                Attempt::Answered(Verdict::NotAuthorised { code }) => return Outcome::NotAuthorised { code },
                Attempt::Answered(Verdict::RenewAuth) if renewed => {
                    return Outcome::NotAuthorised { code: "UNAUTHENTICATED".to_owned() };
                }
                Attempt::Answered(Verdict::RenewAuth) => {
                    renewed = true;
                    tokens.spoilt(&token);
                    continue;
                }
                // pn-param said another project, or nothing: every account of ours may try once.
                Attempt::Answered(Verdict::WrongProject) => {
                    match (0..self.projects.len()).find(|other| !tried.contains(other)) {
                        None => return Outcome::WrongProject,
                        Some(other) => {
                            tried.push(other);
                            project = other;
                            renewed = false;
                            continue;
                        }
                    }
                }
                Attempt::Answered(Verdict::Quota { retry_after }) => {
                    let retry_after = retry_after.unwrap_or(QUOTA_PAUSE);
                    if !pause(Some(retry_after), push.until).await {
                        return Outcome::QuotaExceeded { retry_after };
                    }
                    continue;
                }
                Attempt::Answered(Verdict::Retry { retry_after }) => {
                    let ours = pauses.next();
                    ours.map(|ours| retry_after.unwrap_or_else(|| jittered(ours)))
                }
                Attempt::Lost => pauses.next().map(jittered),
                Attempt::TooLate => return Outcome::TooLate,
            };
            if !pause(again, push.until).await {
                return Outcome::Unavailable;
            }
        }
    }

    async fn attempt(&self, project: &str, bearer: &str, prid: &str, push: &Push) -> Attempt {
        let left = push.until.since(system::now());
        // For one attempt only: who waits for another one holds nobody up.
        let Ok(Ok(_slot)) = tokio::time::timeout(left, self.slots.acquire()).await else {
            return Attempt::TooLate;
        };
        let urgent = push.purpose != Purpose::Refresh;
        let data = push.data();
        let (token, fid) = if is_installation_id(prid) { (None, Some(prid)) } else { (Some(prid), None) };
        let body = Body {
            message: Message {
                token,
                fid,
                android: Android {
                    priority: if urgent { "HIGH" } else { "NORMAL" },
                    // A call that is late is no call: deliver now or never.
                    ttl: match push.purpose {
                        Purpose::Call | Purpose::Request => "0s".to_owned(),
                        Purpose::Message | Purpose::Refresh => {
                            format!("{}s", push.until.since(system::now()).as_secs())
                        }
                    },
                    restricted_package_name: self.package.as_deref(),
                },
                data: &data,
            },
        };
        let (number, client) = self.line.client();
        let response = client
            .post(format!("{}/v1/projects/{project}/messages:send", self.endpoint))
            .bearer_auth(bearer)
            .timeout(answer_within(push.until))
            .json(&body)
            .send()
            .await;
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                // The error's own text may hold the address with nothing secret in it; the body never stands there.
                let silent = error.is_timeout();
                tracing::debug!(error = %error.without_url(), "push request failed");
                // A GOAWAY or an end is seen by the connection itself; silence is not.
                if silent && system::now() < push.until {
                    self.line.leave(number);
                }
                return Attempt::Lost;
            }
        };
        let status = response.status().as_u16();
        let wait = response
            .headers()
            .get("retry-after")
            .and_then(|value| retry_after(value.to_str().ok()?, system::wall().as_secs()));
        match response.bytes().await {
            Ok(body) => Attempt::Answered(Verdict::of(status, &body, wait)),
            Err(_) if status == 200 => Attempt::Answered(Verdict::Accepted),
            Err(_) => Attempt::Lost,
        }
    }
}

/// A Firebase installation id: 22 characters of base64url whose first four bits are 0111.
fn is_installation_id(prid: &str) -> bool {
    prid.len() == 22
        && prid.starts_with(['c', 'd', 'e', 'f'])
        && prid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_installation_ids_are_told_apart() {
        assert!(is_installation_id("dK2_exampleInstall-123"));
        assert!(!is_installation_id("dK2_exampleToken:APA91bExample"));
        assert!(!is_installation_id("aK2_exampleInstall-123"));
    }
}
