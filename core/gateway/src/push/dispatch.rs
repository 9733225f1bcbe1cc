//! From the machine's wish for a push to a service's sender, and back.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use wakeline_clock::system;
use wakeline_push::{Dialect, Payload, PushTarget};
use wakeline_registrar::{PushKey, PushPurpose, PushRequest, PushResult};

use super::{FcmSender, Outcome, Push};

/// The senders, and what is on its way.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    fcm: Option<FcmSender>,
    on_their_way: BTreeMap<PushKey, AbortHandle>,
    results: mpsc::UnboundedSender<(PushKey, PushResult)>,
}

impl Dispatcher {
    pub(crate) fn new(
        fcm: Option<FcmSender>,
        results: mpsc::UnboundedSender<(PushKey, PushResult)>,
    ) -> Dispatcher {
        Dispatcher { fcm, on_their_way: BTreeMap::new(), results }
    }

    /// Starts a push; its result comes by the channel.
    pub(crate) fn send(&mut self, request: &PushRequest) {
        let key = request.key;
        let push = match (push_of(request), &self.fcm) {
            (Some(push), Some(fcm)) => Some((push, fcm.clone())),
            (Some(_) | None, _) => None,
        };
        let Some((push, fcm)) = push else {
            tracing::error!("a push was asked for from a service that is not configured");
            let _ = self.results.send((key, PushResult::Refused));
            return;
        };
        let results = self.results.clone();
        let task = tokio::spawn(async move {
            let result = result_of(&fcm.send(&push).await);
            let _ = results.send((key, result));
        });
        self.on_their_way.insert(key, task.abort_handle());
    }

    /// The push is no longer wanted.
    pub(crate) fn cancel(&mut self, key: PushKey) {
        if let Some(task) = self.on_their_way.remove(&key) {
            task.abort();
        }
    }

    /// A result was handed on.
    pub(crate) fn done(&mut self, key: PushKey) {
        self.on_their_way.remove(&key);
    }

    pub(crate) fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }
}

/// What goes to the service; `None` for a service that we have no sender for.
fn push_of(request: &PushRequest) -> Option<Push> {
    let targets = request.target.targets().ok()?;
    let (project, token) = targets.into_iter().find_map(|target| match target {
        PushTarget::Fcm { project, token } => Some((project, token)),
        PushTarget::Apns { .. } | PushTarget::WebPush { .. } => None,
    })?;
    let seconds = u32::try_from(request.hold.as_secs()).unwrap_or(u32::MAX);
    let asked = request.asked_at.0;
    let (payload, call_id) = match &request.purpose {
        PushPurpose::Call { wake, sip_call_id, .. } => {
            (Payload::call(*wake, asked, seconds), Some(sip_call_id.clone()))
        }
        // Nothing rings for these: the phone registers and takes what comes.
        PushPurpose::Request { .. } => (Payload { ttl: Some(seconds), ..Payload::refresh(asked) }, None),
        PushPurpose::Refresh => (Payload::refresh(asked), None),
    };
    let mut data: BTreeMap<String, String> =
        payload.to_data().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // Linphone's own clients show the call under this name; nobody else needs to know it.
    let wants_call_id = match request.target.dialect {
        Dialect::Linphone | Dialect::Legacy => true,
        Dialect::Rfc8599 | Dialect::Xmpush => false,
    };
    if let Some(call_id) = call_id.filter(|_| wants_call_id) {
        data.insert("call-id".to_owned(), call_id);
    }
    let (urgent, good_for) = match &request.purpose {
        PushPurpose::Call { .. } | PushPurpose::Request { .. } => (true, request.hold),
        PushPurpose::Refresh => (false, request.ttl.max(std::time::Duration::from_secs(60))),
    };
    Some(Push {
        prid: token,
        project: Some(project).filter(|project| !project.is_empty()),
        data,
        urgent,
        until: system::now() + good_for,
    })
}

/// The machine's view of an outcome.
fn result_of(outcome: &Outcome) -> PushResult {
    match outcome {
        Outcome::Accepted => PushResult::Accepted,
        // A token of a project that we have no account for is as good as dead to us.
        Outcome::TokenDead | Outcome::WrongProject => PushResult::Gone { since: None },
        Outcome::OurBug { .. } | Outcome::NotAuthorised { .. } => PushResult::Refused,
        Outcome::QuotaExceeded { .. } | Outcome::Unavailable | Outcome::TooLate => PushResult::Unavailable,
    }
}
