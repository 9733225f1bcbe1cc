//! From the machine's wish for a push to a service's sender, and back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use wakeline_clock::system;
use wakeline_push::{Dialect, Payload, Provider, PushTarget, Service};
use wakeline_registrar::{PushKey, PushPurpose, PushRequest, PushResult};

use super::{
    AllowedHosts, ApnsSender, ApnsSetup, FcmSender, FcmSetup, HookSender, HookSetup, Lookup, Outcome,
    Purpose, Push, PushThread, ServiceAccount, SetupError, SigningKey, Trust, WebPushSender, WebPushSetup,
};
use crate::config as settings;

/// Repeated pushes that may be on their way at once. A repeat is for a phone that has slept through a push already; the
/// first push of the next call does not wait behind a crowd of them.
const REPEATS: usize = 64;

/// One service's sender.
#[derive(Debug, Clone)]
pub(crate) enum Sender {
    /// Google's.
    Fcm(FcmSender),
    /// Apple's.
    Apns(ApnsSender),
    /// RFC 8030.
    WebPush(WebPushSender),
    /// The operator's own program.
    Hook(HookSender),
}

impl Sender {
    pub(crate) async fn send(&self, push: &Push) -> Outcome {
        match self {
            Sender::Fcm(sender) => sender.send(push).await,
            Sender::Apns(sender) => sender.send(push).await,
            Sender::WebPush(sender) => sender.send(push).await,
            Sender::Hook(sender) => sender.send(push).await,
        }
    }
}

/// The senders that are configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Senders {
    fcm: Option<FcmSender>,
    apns: Option<ApnsSender>,
    webpush: Option<WebPushSender>,
    /// With the services it stands for.
    hook: Option<(HookSender, Vec<Provider>)>,
}

impl Senders {
    /// Builds what the operator's file names.
    ///
    /// # Errors
    /// With cause and cure.
    pub(crate) fn new(settings: &settings::Push) -> Result<Senders, SetupError> {
        Ok(Senders {
            fcm: settings.fcm.is_on().then(|| fcm(&settings.fcm)).transpose()?,
            apns: settings.apns.is_on().then(|| apns(&settings.apns)).transpose()?,
            webpush: settings.webpush.is_on().then(|| webpush(&settings.webpush)).transpose()?,
            hook: settings.hook.is_on().then(|| hook(&settings.hook)).transpose()?,
        })
    }

    /// The sender for a service: our own, else the hook where it stands for it.
    pub(crate) fn of(&self, provider: &Provider) -> Option<Sender> {
        let own = match provider {
            Provider::Fcm => self.fcm.clone().map(Sender::Fcm),
            Provider::Apns | Provider::ApnsSandbox => self.apns.clone().map(Sender::Apns),
            Provider::WebPush => self.webpush.clone().map(Sender::WebPush),
            Provider::Other(_) => None,
        };
        own.or_else(|| {
            let (hook, providers) = self.hook.as_ref()?;
            providers.iter().any(|served| provider.is_served_by(served)).then(|| Sender::Hook(hook.clone()))
        })
    }

    /// The VAPID public key that phones are told.
    pub(crate) fn vapid(&self) -> Option<String> {
        self.webpush.as_ref().map(WebPushSender::vapid_public)
    }

    /// Gets ready what a first push would have to wait for.
    pub(crate) async fn warm(&self) {
        if let Some(fcm) = &self.fcm {
            fcm.warm().await;
        }
    }
}

/// The file of further authorities, if one is named.
fn trust(ca_file: &Path) -> Trust {
    Trust { ca_file: Some(ca_file.to_owned()).filter(|path| !path.as_os_str().is_empty()) }
}

fn fcm(settings: &settings::Fcm) -> Result<FcmSender, SetupError> {
    FcmSender::new(FcmSetup {
        accounts: settings
            .service_accounts
            .iter()
            .map(|path| ServiceAccount::from_file(path))
            .collect::<Result<_, _>>()?,
        endpoint: settings.endpoint.clone(),
        trust: trust(&settings.ca_file),
        package: some(&settings.package),
        concurrency: settings.concurrency,
    })
}

fn apns(settings: &settings::Apns) -> Result<ApnsSender, SetupError> {
    ApnsSender::new(ApnsSetup {
        team: settings.team_id.clone(),
        key_id: settings.key_id.clone(),
        key: SigningKey::from_file(&settings.key_file)?,
        bundle: some(settings.topic.strip_suffix(".voip").unwrap_or(&settings.topic)),
        sandbox: settings.sandbox,
        endpoint: settings.endpoint.clone(),
        sandbox_endpoint: settings.sandbox_endpoint.clone(),
        trust: trust(&settings.ca_file),
        concurrency: settings.concurrency,
    })
}

fn webpush(settings: &settings::WebPush) -> Result<WebPushSender, SetupError> {
    WebPushSender::new(WebPushSetup {
        key: SigningKey::from_file(&settings.key_file)?,
        subject: settings.subject.clone(),
        allowed: AllowedHosts { hosts: settings.allowed_hosts.clone(), only: settings.only_allowed_hosts },
        lookup: Lookup::System,
        trust: trust(&settings.ca_file),
        concurrency: settings.concurrency,
    })
}

fn hook(settings: &settings::Hook) -> Result<(HookSender, Vec<Provider>), SetupError> {
    if settings.providers.is_empty() {
        return Err(SetupError::HookProviders);
    }
    let sender = HookSender::new(HookSetup {
        url: settings.url.clone(),
        secret: settings.secret.clone(),
        trust: trust(&settings.ca_file),
        concurrency: settings.concurrency,
    })?;
    Ok((sender, settings.providers.iter().map(|name| Provider::parse(name)).collect()))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The senders, and what is on its way.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    senders: Senders,
    thread: PushThread,
    repeats: Arc<Semaphore>,
    on_their_way: BTreeMap<PushKey, AbortHandle>,
    results: mpsc::UnboundedSender<(PushKey, PushResult)>,
}

impl Dispatcher {
    pub(crate) fn new(
        senders: Senders,
        thread: PushThread,
        results: mpsc::UnboundedSender<(PushKey, PushResult)>,
    ) -> Dispatcher {
        let repeats = Arc::new(Semaphore::new(REPEATS));
        Dispatcher { senders, thread, repeats, on_their_way: BTreeMap::new(), results }
    }

    /// Starts a push, on a task of its own so that none waits for another; its result comes by the channel.
    pub(crate) fn send(&mut self, request: &PushRequest) {
        let key = request.key;
        let sender = self.senders.of(&request.target.provider);
        let (Some(push), Some(sender)) = (push_of(request), sender) else {
            tracing::error!(
                provider = request.target.provider.as_str(),
                "a push was asked for that no configured sender can make"
            );
            let _ = self.results.send((key, PushResult::Refused));
            return;
        };
        let only_token = request.target.targets().is_ok_and(|targets| targets.len() == 1);
        let asked = request.asked_at;
        let results = self.results.clone();
        let repeats = (request.attempt > 1).then(|| Arc::clone(&self.repeats));
        let task = self.thread.spawn(async move {
            let result = match result_of(&sent(&sender, &push, repeats.as_deref()).await) {
                // A notification token has died beside a VoIP token: calls can still ring.
                PushResult::Gone { .. } if !only_token && push.purpose != Purpose::Call => {
                    PushResult::Refused
                }
                // A token that was registered while this push was on its way is another one.
                PushResult::Gone { since } => PushResult::Gone { since: Some(since.unwrap_or(asked)) },
                same @ (PushResult::Accepted | PushResult::Refused | PushResult::Unavailable) => same,
            };
            let _ = results.send((key, result));
        });
        self.on_their_way.insert(key, task);
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

/// Sends; a repeat waits until it may.
async fn sent(sender: &Sender, push: &Push, repeats: Option<&Semaphore>) -> Outcome {
    let Some(repeats) = repeats else { return sender.send(push).await };
    let left = push.until.since(system::now());
    match tokio::time::timeout(left, repeats.acquire()).await {
        Ok(Ok(_place)) => sender.send(push).await,
        Ok(Err(_)) | Err(_) => Outcome::TooLate,
    }
}

/// Which of a device's tokens is pushed to: a call rings by the VoIP token if there is one; anything else never goes to
/// it, because its push rings whatever it says.
pub(crate) fn target_for(targets: Vec<PushTarget>, purpose: Purpose) -> Option<PushTarget> {
    let is_voip = |target: &PushTarget| match target {
        PushTarget::Apns { service: Service::Voip, .. } => true,
        PushTarget::Apns { service: Service::Remote, .. }
        | PushTarget::Fcm { .. }
        | PushTarget::WebPush { .. }
        | PushTarget::Other { .. } => false,
    };
    let (voip, other): (Vec<_>, Vec<_>) = targets.into_iter().partition(is_voip);
    match purpose {
        Purpose::Call => voip.into_iter().chain(other).next(),
        Purpose::Request | Purpose::Message | Purpose::Refresh => other.into_iter().next(),
    }
}

/// What goes to the service; `None` for a device without a token that fits.
fn push_of(request: &PushRequest) -> Option<Push> {
    let seconds = u32::try_from(request.hold.as_secs()).unwrap_or(u32::MAX);
    let asked = request.asked_at.0;
    let (purpose, payload, call_id) = match &request.purpose {
        PushPurpose::Call { wake, sip_call_id, .. } => {
            (Purpose::Call, Payload::call(*wake, asked, seconds), Some(sip_call_id.clone()))
        }
        // Nothing rings for these: the phone registers and takes what comes.
        PushPurpose::Request { .. } => {
            (Purpose::Request, Payload { ttl: Some(seconds), ..Payload::refresh(asked) }, None)
        }
        PushPurpose::Message { .. } => (Purpose::Message, Payload::refresh(asked), None),
        PushPurpose::Refresh => (Purpose::Refresh, Payload::refresh(asked), None),
    };
    // Linphone's own clients show the call under this name; nobody else needs to know it.
    let wants_call_id = match request.target.dialect {
        Dialect::Linphone | Dialect::Legacy => true,
        Dialect::Rfc8599 | Dialect::Xmpush => false,
    };
    let good_for = match purpose {
        Purpose::Call | Purpose::Request => request.hold,
        Purpose::Message | Purpose::Refresh => request.ttl.max(Duration::from_secs(60)),
    };
    Some(Push {
        target: target_for(request.target.targets().ok()?, purpose)?,
        purpose,
        payload,
        call_id: call_id.filter(|_| wants_call_id),
        until: system::now() + good_for,
    })
}

/// The machine's view of an outcome.
fn result_of(outcome: &Outcome) -> PushResult {
    match outcome {
        Outcome::Accepted => PushResult::Accepted,
        Outcome::TokenDead { since } => PushResult::Gone { since: *since },
        // A token of a project that we have no account for is as good as dead to us.
        Outcome::WrongProject => PushResult::Gone { since: None },
        Outcome::OurBug { .. } | Outcome::NotAuthorised { .. } | Outcome::NotAllowed { .. } => {
            PushResult::Refused
        }
        Outcome::QuotaExceeded { .. } | Outcome::Unavailable | Outcome::TooLate => PushResult::Unavailable,
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use wakeline_push::PushParameters;
    use wakeline_push_services::{Answer, FcmOptions, FcmService, Step};

    fn targets(param: &str, prid: &str) -> Vec<PushTarget> {
        let uri = [("pn-provider", Some("apns")), ("pn-param", Some(param)), ("pn-prid", Some(prid))];
        match PushParameters::read(uri) {
            Ok(wakeline_push::ContactPush::Bound(parameters)) => parameters.targets().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_voip_token_takes_calls_only_and_a_notification_token_the_rest() {
        let text = |param: &str, prid: &str, purpose| {
            target_for(targets(param, prid), purpose).map(|target| target.token().expose().to_owned())
        };
        let both = ("T.org.example.voip&remote", "aa:voip&bb:remote");
        let voip = ("T.org.example.voip", "aa");
        let remote = ("T.org.example", "bb");
        for ((param, prid), call, quiet) in
            [(both, Some("aa"), Some("bb")), (voip, Some("aa"), None), (remote, Some("bb"), Some("bb"))]
        {
            assert_eq!(text(param, prid, Purpose::Call).as_deref(), call);
            assert_eq!(text(param, prid, Purpose::Request).as_deref(), quiet);
            assert_eq!(text(param, prid, Purpose::Message).as_deref(), quiet);
            assert_eq!(text(param, prid, Purpose::Refresh).as_deref(), quiet);
        }
    }

    fn request(number: u64, attempt: u8, prid: &str) -> PushRequest {
        let uri =
            [("pn-provider", Some("fcm")), ("pn-param", Some("wakeline-demo")), ("pn-prid", Some(prid))];
        let target = match PushParameters::read(uri) {
            Ok(wakeline_push::ContactPush::Bound(parameters)) => parameters,
            other => panic!("{other:?}"),
        };
        PushRequest {
            key: PushKey(number),
            target,
            purpose: PushPurpose::Refresh,
            account: String::new(),
            contact_user: String::new(),
            ttl: Duration::ZERO,
            hold: Duration::from_secs(60),
            attempt,
            asked_at: system::wall(),
        }
    }

    #[tokio::test]
    async fn a_crowd_of_repeats_does_not_stand_before_a_first_push() {
        let service = FcmService::start(FcmOptions { tls: false, ..FcmOptions::default() }).await.unwrap();
        service.always_for("dK2_example:slow", Step::answer(Answer::Silence));
        let account = ServiceAccount::from_json(&service.service_account_json()).unwrap();
        let fcm = FcmSender::new(FcmSetup {
            accounts: vec![account],
            endpoint: service.endpoint(),
            trust: Trust::default(),
            package: None,
            concurrency: 4 * REPEATS,
        });
        let senders = Senders { fcm: Some(fcm.unwrap()), ..Senders::default() };
        let (results, mut told) = mpsc::unbounded_channel();
        let mut pushes = Dispatcher::new(senders, PushThread::start().unwrap(), results);
        for number in 0..REPEATS as u64 + 10 {
            pushes.send(&request(number, 2, "dK2_example:slow"));
        }
        pushes.send(&request(1000, 1, "dK2_example:first"));
        assert_eq!(told.recv().await, Some((PushKey(1000), PushResult::Accepted)));
        // Those that wait have not been at the service, and those that are there are no more than may be.
        let slow = || service.records().iter().filter(|sent| sent.device.ends_with("slow")).count();
        assert!(slow() <= REPEATS, "{} repeats at once", slow());
        // A place that is given back is the next one's.
        while slow() < REPEATS {
            tokio::task::yield_now().await;
        }
        pushes.cancel(PushKey(0));
        while slow() < REPEATS + 1 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn the_hook_stands_for_what_has_no_sender_of_its_own() {
        let hook = settings::Hook {
            url: "https://hook.example.org/".to_owned(),
            secret: "0123456789abcdef".into(),
            providers: vec!["HMS".to_owned(), "apns".to_owned()],
            ..settings::Hook::default()
        };
        let settings = settings::Push { hook, ..settings::Push::default() };
        let senders = Senders::new(&settings).unwrap();
        let is_hook = |name: &str| matches!(senders.of(&Provider::parse(name)), Some(Sender::Hook(_)));
        assert!(is_hook("hms") && is_hook("apns") && is_hook("apns.dev"));
        assert!(senders.of(&Provider::Fcm).is_none() && senders.of(&Provider::parse("other")).is_none());
        let mut services = wakeline_registrar::PushServices::default();
        settings.announce(&mut services);
        assert!(services.apns && !services.fcm && !services.webpush);
        assert_eq!(services.others, ["hms"]);
    }

    #[test]
    fn what_is_missing_in_the_file_is_named_with_its_cure() {
        let folder = std::env::temp_dir();
        let absent = folder.join("wakeline-no-such-key.pem");
        let apns = settings::Apns { key_file: absent.clone(), ..settings::Apns::default() };
        let webpush = settings::WebPush { key_file: absent, ..settings::WebPush::default() };
        let hook = settings::Hook { url: "https://h/".to_owned(), ..settings::Hook::default() };
        for (settings, told) in [
            (settings::Push { apns, ..settings::Push::default() }, "check the path"),
            (settings::Push { webpush, ..settings::Push::default() }, "check the path"),
            (settings::Push { hook, ..settings::Push::default() }, "push.hook.providers"),
        ] {
            let error = Senders::new(&settings).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
