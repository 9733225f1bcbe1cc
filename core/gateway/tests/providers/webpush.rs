//! The Web Push sender.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use wakeline_clock::system;
use wakeline_gateway::push::{AllowedHosts, Lookup, Outcome, Push, SigningKey, WebPushSender, WebPushSetup};
use wakeline_push::{Provider, PushParameters, PushTarget};
use wakeline_push_services::es256::EcKey;
use wakeline_push_services::{Answer, Delivery, Step, WebPushService};
use wakeline_secret::Secret;

use crate::ground::{Folder, Log, WAKE, call, refresh};

struct Pair {
    service: WebPushService,
    sender: WebPushSender,
    folder: Folder,
}

impl Pair {
    fn browser(&self, name: &str) -> PushTarget {
        target(&self.service.browser(name, "127.0.0.1", &self.sender.vapid_public()).unwrap())
    }
}

fn sender(folder: &Folder, ca_pems: &[&str], hosts: &[&str], lookup: Lookup) -> WebPushSender {
    WebPushSender::new(WebPushSetup {
        key: SigningKey::from_pem(&Secret::from(EcKey::generate().unwrap().private_pem())).unwrap(),
        subject: "mailto:ops@example.org".to_owned(),
        allowed: AllowedHosts { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), only: false },
        lookup,
        trust: folder.trust(ca_pems),
        concurrency: 64,
    })
    .unwrap()
}

async fn pair() -> Pair {
    let (service, folder) = (WebPushService::start().await.unwrap(), Folder::new());
    let sender = sender(&folder, &[service.ca_pem()], &["127.0.0.1"], Lookup::System);
    Pair { service, sender, folder }
}

fn target(prid: &str) -> PushTarget {
    PushParameters::new(Provider::WebPush, "", prid.into()).unwrap().targets().unwrap().remove(0)
}

#[tokio::test]
async fn a_call_is_sealed_for_its_browser_and_signed_by_the_gateway() {
    let pair = pair().await;
    let mut devices = pair.service.subscribe();
    let mia = pair.browser("mia");
    assert_eq!(pair.sender.send(&call(mia.clone())).await, Outcome::Accepted);
    let delivered = devices.recv().await.unwrap();
    assert_eq!((delivered.device.as_str(), delivered.data["wid"].as_str()), ("mia", WAKE));
    assert_eq!(pair.sender.send(&refresh(mia.clone())).await, Outcome::Accepted);
    let records = pair.service.records();
    let head = |at: usize| (records[at].urgency.as_str(), records[at].topic.as_str(), records[at].wrong);
    assert_eq!(head(0), ("high", WAKE, ""));
    assert_eq!(head(1), ("low", "refresh", ""));
    assert!(matches!(records[0].ttl.parse::<u64>().unwrap(), 18..=20), "{}", records[0].ttl);
    assert_eq!(records[0].payload.as_ref().unwrap()["t"], "call");

    // Without keys, as RFC 8599 §12 has it: a push that carries nothing.
    let PushTarget::WebPush { address, .. } = mia else { panic!() };
    let bare = PushTarget::WebPush { address, keys: None };
    assert_eq!(pair.sender.send(&call(bare)).await, Outcome::Accepted);
    let last = pair.service.records().pop().unwrap();
    assert_eq!((last.size, last.payload, last.wrong), (0, None, ""));
}

#[tokio::test]
async fn every_answer_of_a_push_service_has_its_outcome() {
    let pair = pair().await;
    let mia = pair.browser("mia");
    let denied = |status: u16| Outcome::NotAuthorised { code: format!("status {status}") };
    let quota = |seconds| Outcome::QuotaExceeded { retry_after: Duration::from_secs(seconds) };
    for (step, outcome, tries) in [
        (Step::refuse(404, ""), Outcome::TokenDead { since: None }, 1),
        (Step::refuse(410, ""), Outcome::TokenDead { since: None }, 1),
        (Step::refuse(400, ""), Outcome::OurBug { field: "status 400".to_owned() }, 1),
        (Step::refuse(401, ""), denied(401), 1),
        (Step::refuse(403, ""), denied(403), 1),
        (Step::refuse(413, ""), Outcome::Accepted, 2),
        (Step::refuse(429, ""), quota(60), 1),
        (Step::refuse_until(429, "", "90"), quota(90), 1),
        (Step::refuse_until(429, "", "0"), Outcome::Accepted, 2),
        (Step::refuse_until(503, "", "0"), Outcome::Accepted, 2),
        (Step::refuse_until(500, "", "30"), Outcome::Unavailable, 1),
        (Step::answer(Answer::Reset), Outcome::Accepted, 2),
    ] {
        let before = pair.service.records().len();
        pair.service.next(step.clone());
        assert_eq!(pair.sender.send(&call(mia.clone())).await, outcome, "{step:?}");
        assert_eq!(pair.service.records().len() - before, tries, "{step:?}");
    }
    pair.service.always_for("mia", Step::refuse_until(503, "", "0"));
    let before = pair.service.records().len();
    assert_eq!(pair.sender.send(&call(mia)).await, Outcome::Unavailable);
    assert_eq!(pair.service.records().len() - before, 4);
}

#[tokio::test]
async fn a_subscription_for_another_key_and_keys_that_are_none_are_told_apart() {
    let pair = pair().await;
    let other = sender(&pair.folder, &[pair.service.ca_pem()], &["127.0.0.1"], Lookup::System);
    let foreign = pair.service.browser("ben", "127.0.0.1", &other.vapid_public()).unwrap();
    let outcome = pair.sender.send(&call(target(&foreign))).await;
    assert_eq!(outcome, Outcome::NotAuthorised { code: "status 403".to_owned() });
    let none = format!("https://127.0.0.1/push/x#p256dh=B{}&auth={}", "A".repeat(86), "A".repeat(22));
    assert_eq!(pair.sender.send(&call(target(&none))).await, Outcome::TokenDead { since: None });
}

#[tokio::test]
async fn a_body_stays_below_four_kilobytes() {
    let pair = pair().await;
    let mut push = call(pair.browser("mia"));
    for (size, sealed) in [(3800, true), (4096, false)] {
        push.payload.envelope = Some("e".repeat(size).into());
        assert_eq!(pair.sender.send(&push).await, Outcome::Accepted);
        let record = pair.service.records().pop().unwrap();
        assert!(record.size <= 4096, "{}", record.size);
        assert_eq!(record.payload.unwrap()["e"].is_string(), sealed);
    }
}

#[tokio::test]
async fn s22_a_redirect_is_not_followed() {
    let pair = pair().await;
    let mia = pair.browser("mia");
    for status in [301, 302, 303, 307, 308] {
        let before = pair.service.records().len();
        pair.service.next(Step::refuse(status, ""));
        let outcome = pair.sender.send(&call(mia.clone())).await;
        assert_eq!(outcome, Outcome::NotAllowed { why: "the push service redirects" });
        assert_eq!(pair.service.records().len() - before, 1);
    }
}

#[tokio::test]
async fn s22_a_name_that_leads_into_our_network_is_not_connected_to() {
    let (service, folder) = (WebPushService::start().await.unwrap(), Folder::new());
    let names = |address: &[&str]| {
        let all: Vec<IpAddr> = address.iter().map(|text| text.parse().unwrap()).collect();
        Lookup::Table(BTreeMap::from([("push.example".to_owned(), all)]))
    };
    let ca = [service.ca_pem()];
    let keyless = |url: String| call(PushTarget::WebPush { address: url.into(), keys: None });
    for addresses in
        [vec!["127.0.0.1"], vec!["10.0.0.1", "::1"], vec!["169.254.169.254"], vec!["::ffff:7f00:1"]]
    {
        let closed = sender(&folder, &ca, &[], names(&addresses));
        let outcome = closed.send(&keyless("https://push.example/push/mia".to_owned())).await;
        assert_eq!(outcome, Outcome::NotAllowed { why: "the name leads to no public address" });
    }
    for url in [
        service.endpoint() + "/push/mia",
        format!("https://localhost:{}/push/mia", service.address().port()),
        format!("http://push.example:{}/push/mia", service.address().port()),
    ] {
        let closed = sender(&folder, &ca, &[], names(&["127.0.0.1"]));
        let outcome = closed.send(&keyless(url)).await;
        assert!(matches!(outcome, Outcome::NotAllowed { .. }), "{outcome:?}");
    }
    assert_eq!(service.connections().accepted(), 0);

    // What the operator names is connected to, at the address that was looked up and nowhere else.
    let host = format!("push.example:{}", service.address().port());
    let open = sender(&folder, &ca, &[&host], names(&["127.0.0.1"]));
    let prid = service.browser("mia", "push.example", &open.vapid_public()).unwrap();
    assert_eq!(open.send(&call(target(&prid))).await, Outcome::Accepted);
    assert_eq!(service.connections().accepted(), 1);
}

#[tokio::test]
async fn a_push_service_without_an_answer_delays_no_other() {
    let pair = pair().await;
    let other = WebPushService::start().await.unwrap();
    let sender =
        sender(&pair.folder, &[pair.service.ca_pem(), other.ca_pem()], &["127.0.0.1"], Lookup::System);
    let stuck = pair.service.browser("stuck", "127.0.0.1", &sender.vapid_public()).unwrap();
    let well = other.browser("well", "127.0.0.1", &sender.vapid_public()).unwrap();
    pair.service.always_for("stuck", Step::answer(Answer::Silence));
    // More than there are places altogether.
    let sends: Vec<_> = (0..200)
        .map(|_| {
            let (sender, push): (WebPushSender, Push) = (sender.clone(), call(target(&stuck)));
            tokio::spawn(async move { sender.send(&push).await })
        })
        .collect();
    let started = system::now();
    for _ in 0..20 {
        assert_eq!(sender.send(&call(target(&well))).await, Outcome::Accepted);
    }
    let took = system::now().since(started);
    assert!(took < Duration::from_secs(4), "{took:?}");
    sends.iter().for_each(|send| send.abort());
}

#[tokio::test]
async fn goaway_and_a_broken_connection_cost_no_push() {
    let pair = pair().await;
    let mia = pair.browser("mia");
    assert_eq!(pair.sender.send(&call(mia.clone())).await, Outcome::Accepted);
    pair.service.connections().go_away();
    assert_eq!(pair.sender.send(&call(mia.clone())).await, Outcome::Accepted);
    pair.service.connections().break_all();
    assert_eq!(pair.sender.send(&call(mia)).await, Outcome::Accepted);
}

#[tokio::test]
async fn s23_neither_subscription_nor_keys_nor_vapid_token_reach_the_log() {
    let log = Log::default();
    let _guard = log.start();
    let pair = pair().await;
    let prid = pair.service.browser("canary-mia", "127.0.0.1", &pair.sender.vapid_public()).unwrap();
    let push = call(target(&prid));
    for step in [
        Step::accept(Delivery::Now),
        Step::refuse(410, ""),
        Step::refuse(403, ""),
        Step::refuse(400, ""),
        Step::refuse(307, ""),
        Step::answer(Answer::Reset),
    ] {
        pair.service.next(step);
        pair.sender.send(&push).await;
    }
    let text = log.text() + &format!("{:?} {push:?}", pair.sender);
    assert!(text.contains(&wakeline_push::token_mark(push.target.token())), "{text}");
    let key = prid.split("p256dh=").nth(1).unwrap();
    for secret in ["canary-mia", "eyJ", "PRIVATE KEY", &key[..40], prid.rsplit('=').next().unwrap()] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
