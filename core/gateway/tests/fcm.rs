//! The FCM sender against the stand-in: the production code path, another endpoint.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wakeline_clock::system;
use wakeline_gateway::push::{FcmSender, FcmSetup, Outcome, Purpose, Push, ServiceAccount, Trust};
use wakeline_push::{Payload, PushTarget};
use wakeline_push_services::{Answer, Delivery, FcmOptions, FcmService, Step};
use wakeline_secret::Secret;

const DEVICE: &str = "dK2_exampleToken:APA91bExample";

/// A file that goes with the test.
struct CaFile(PathBuf);

impl CaFile {
    fn new(pem: &str) -> CaFile {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("wakeline-ca-{name}.pem"));
        std::fs::write(&path, pem).unwrap();
        CaFile(path)
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Pair {
    service: FcmService,
    sender: FcmSender,
    _ca: CaFile,
}

async fn pair(options: FcmOptions) -> Pair {
    let service = FcmService::start(options).await.unwrap();
    let ca = CaFile::new(service.ca_pem());
    let sender = FcmSender::new(FcmSetup {
        accounts: vec![ServiceAccount::from_json(&service.service_account_json()).unwrap()],
        endpoint: service.endpoint(),
        trust: Trust { ca_file: Some(ca.0.clone()) },
        package: Some("org.example.voice".to_owned()),
        concurrency: 64,
    })
    .unwrap();
    Pair { service, sender, _ca: ca }
}

fn push_within(device: &str, left: Duration) -> Push {
    Push {
        target: PushTarget::Fcm { project: "wakeline-demo".to_owned(), token: Secret::from(device) },
        purpose: Purpose::Call,
        payload: Payload::call("Zk3vQm1xT0aB9wLr".parse().unwrap(), 0, 20),
        call_id: None,
        until: system::now() + left,
    }
}

fn push(device: &str) -> Push {
    push_within(device, Duration::from_secs(20))
}

#[tokio::test]
async fn a_push_arrives_with_its_data_and_android_fields() {
    let pair = pair(FcmOptions::default()).await;
    let mut devices = pair.service.subscribe();
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    let delivered = devices.recv().await.unwrap();
    assert_eq!(delivered.device, DEVICE);
    assert_eq!(delivered.data["wid"], "Zk3vQm1xT0aB9wLr");
    let record = pair.service.records().remove(0);
    assert_eq!(record.priority.as_deref(), Some("HIGH"));
    assert_eq!(record.ttl.as_deref(), Some("0s"));
    assert_eq!(record.package.as_deref(), Some("org.example.voice"));
    assert!(!record.has_notification);
    // An installation id goes into its own field, which the stand-in takes as the device too.
    assert_eq!(pair.sender.send(&push("dK2_exampleInstall-123")).await, Outcome::Accepted);
}

#[tokio::test]
async fn every_row_of_the_error_table_has_its_outcome() {
    let pair = pair(FcmOptions::default()).await;
    let unauthorised = |code: &str| Outcome::NotAuthorised { code: code.to_owned() };
    let rows = [
        (Step::refuse(404, "UNREGISTERED"), Outcome::TokenDead { since: None }),
        (Step::refuse(404, "UNREGISTERED_FID"), Outcome::TokenDead { since: None }),
        (Step::refuse(400, "INVALID_ARGUMENT"), Outcome::TokenDead { since: None }),
        (
            Step::answer(Answer::BadRequest { field: "message.android.ttl" }),
            Outcome::OurBug { field: "message.android.ttl".to_owned() },
        ),
        (Step::refuse(403, "SENDER_ID_MISMATCH"), Outcome::WrongProject),
        (Step::refuse(401, "THIRD_PARTY_AUTH_ERROR"), unauthorised("THIRD_PARTY_AUTH_ERROR")),
        (
            Step::refuse(429, "QUOTA_EXCEEDED"),
            Outcome::QuotaExceeded { retry_after: Duration::from_secs(60) },
        ),
        (
            Step::refuse_until(429, "QUOTA_EXCEEDED", "25"),
            Outcome::QuotaExceeded { retry_after: Duration::from_secs(25) },
        ),
        (Step::refuse_until(503, "UNAVAILABLE", "30"), Outcome::Unavailable),
    ];
    for (step, outcome) in rows {
        let before = pair.service.records().len();
        pair.service.next(step.clone());
        assert_eq!(pair.sender.send(&push(DEVICE)).await, outcome, "{step:?}");
        assert_eq!(pair.service.records().len() - before, 1, "no second try for {step:?}");
    }
}

#[tokio::test]
async fn a_fault_of_the_service_is_tried_again_inside_the_hold() {
    let pair = pair(FcmOptions::default()).await;
    pair.service.next(Step::refuse_until(503, "UNAVAILABLE", "0"));
    pair.service.next(Step::refuse_until(500, "INTERNAL", "0"));
    pair.service.next(Step::answer(Answer::Reset));
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    let statuses: Vec<u16> = pair.service.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [503, 500, 0, 200]);
}

#[tokio::test]
async fn a_service_that_stays_away_costs_four_tries_and_no_more() {
    let pair = pair(FcmOptions::default()).await;
    pair.service.always_for(DEVICE, Step::refuse_until(503, "UNAVAILABLE", "0"));
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Unavailable);
    assert_eq!(pair.service.records().len(), 4);
}

#[tokio::test]
async fn silence_ends_with_the_hold() {
    let pair = pair(FcmOptions::default()).await;
    pair.sender.warm().await;
    pair.service.next(Step::answer(Answer::Silence));
    let hold = Duration::from_millis(400);
    let outcome = pair.sender.send(&push_within(DEVICE, hold)).await;
    assert!(matches!(outcome, Outcome::Unavailable | Outcome::TooLate), "{outcome:?}");
    assert_eq!(pair.sender.send(&push_within(DEVICE, Duration::ZERO)).await, Outcome::TooLate);
}

#[tokio::test]
async fn an_expired_access_token_is_renewed_once_and_the_push_sent_again() {
    let pair = pair(FcmOptions::default()).await;
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    pair.service.revoke_tokens();
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    let statuses: Vec<u16> = pair.service.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [200, 401, 200]);
    assert_eq!(pair.service.token_requests(), [200, 200]);
    // 401 although the token is fresh: not for ever.
    pair.service.next(Step::refuse(401, ""));
    pair.service.next(Step::refuse(401, ""));
    let outcome = pair.sender.send(&push(DEVICE)).await;
    assert_eq!(outcome, Outcome::NotAuthorised { code: "UNAUTHENTICATED".to_owned() });
}

#[tokio::test]
async fn many_concurrent_pushes_use_one_connection_and_one_token() {
    let pair = pair(FcmOptions::default()).await;
    let sends: Vec<_> = (0..500)
        .map(|number| {
            let sender = pair.sender.clone();
            tokio::spawn(async move { sender.send(&push(&format!("device:{number}"))).await })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(pair.service.records().len(), 500);
    assert_eq!(pair.service.connections().accepted(), 1);
    assert_eq!(pair.service.token_requests(), [200]);
    // All of them meet a revoked token at once: still one refresher.
    pair.service.revoke_tokens();
    let sends: Vec<_> = (0..50)
        .map(|number| {
            let sender = pair.sender.clone();
            tokio::spawn(async move { sender.send(&push(&format!("device:{number}"))).await })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(pair.service.token_requests(), [200, 200]);
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_behind_the_push() {
    // Renewal is due at half of a life this short.
    let pair = pair(FcmOptions { token_life: 2, ..FcmOptions::default() }).await;
    pair.sender.warm().await;
    let half = system::now() + Duration::from_millis(1100);
    while pair.service.token_requests().len() < 2 {
        assert!(system::now() < half + Duration::from_secs(10), "never renewed");
        assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    }
    assert!(system::now() >= half - Duration::from_millis(200), "renewed at once");
}

#[tokio::test]
async fn goaway_and_a_broken_connection_cost_no_push() {
    let pair = pair(FcmOptions::default()).await;
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    pair.service.connections().go_away();
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    pair.service.connections().break_all();
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    assert!(pair.service.connections().accepted() <= 3);
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_from_the_services_date() {
    for clock_ahead in [-7200, 7200] {
        let pair = pair(FcmOptions { clock_ahead, ..FcmOptions::default() }).await;
        assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
        assert_eq!(pair.service.token_requests(), [400, 200]);
    }
}

#[tokio::test]
async fn a_faulty_token_endpoint_is_tried_again() {
    let pair = pair(FcmOptions::default()).await;
    pair.service.fail_tokens(1);
    assert_eq!(pair.sender.send(&push(DEVICE)).await, Outcome::Accepted);
    assert_eq!(pair.service.token_requests(), [503, 200]);
}

#[tokio::test]
async fn an_account_that_google_does_not_know_is_told_as_such() {
    let (service, other) = (
        FcmService::start(FcmOptions::default()).await.unwrap(),
        FcmService::start(FcmOptions::default()).await.unwrap(),
    );
    let ca = CaFile::new(service.ca_pem());
    // The other service's key with this service's token endpoint.
    let mut account: serde_json::Value = serde_json::from_str(&other.service_account_json()).unwrap();
    account["token_uri"] = serde_json::Value::from(service.token_uri());
    let sender = FcmSender::new(FcmSetup {
        accounts: vec![ServiceAccount::from_json(&account.to_string()).unwrap()],
        endpoint: service.endpoint(),
        trust: Trust { ca_file: Some(ca.0.clone()) },
        package: None,
        concurrency: 4,
    })
    .unwrap();
    let outcome = sender.send(&push(DEVICE)).await;
    assert_eq!(outcome, Outcome::NotAuthorised { code: "invalid_grant".to_owned() });
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_nothing() {
    let service = FcmService::start(FcmOptions::default()).await.unwrap();
    let sender = FcmSender::new(FcmSetup {
        accounts: vec![ServiceAccount::from_json(&service.service_account_json()).unwrap()],
        endpoint: service.endpoint(),
        trust: Trust::default(),
        package: None,
        concurrency: 4,
    })
    .unwrap();
    let outcome = sender.send(&push_within(DEVICE, Duration::from_millis(300))).await;
    assert!(matches!(outcome, Outcome::Unavailable | Outcome::TooLate), "{outcome:?}");
    assert!(service.token_requests().is_empty());
    assert!(service.records().is_empty());
}

#[tokio::test]
async fn s25_the_stand_in_loses_doubles_and_reorders() {
    let pair = pair(FcmOptions::default()).await;
    let mut devices = pair.service.subscribe();
    pair.service.next_for("lost:1", Step::accept(Delivery::Never));
    pair.service.next_for("late:1", Step::accept(Delivery::BehindNext));
    pair.service.next_for("twice:1", Step::accept(Delivery::Twice));
    for device in ["lost:1", "late:1", "twice:1"] {
        assert_eq!(pair.sender.send(&push(device)).await, Outcome::Accepted);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(devices.recv().await.unwrap().device);
    }
    assert_eq!(order, ["twice:1", "late:1", "twice:1"]);
}

/// Everything that is logged, at the most talkative level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn s23_no_push_token_jwt_or_payload_reaches_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let pair = pair(FcmOptions::default()).await;
    for step in [
        Step::accept(Delivery::Now),
        Step::refuse(404, "UNREGISTERED"),
        Step::refuse(403, "SENDER_ID_MISMATCH"),
        Step::refuse(401, ""),
        Step::answer(Answer::BadRequest { field: "message.data" }),
        Step::refuse(429, "QUOTA_EXCEEDED"),
    ] {
        pair.service.next(step);
        pair.sender.send(&push(DEVICE)).await;
    }
    let debug = format!("{:?} {:?}", pair.sender, push(DEVICE));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap() + &debug;
    assert!(
        text.contains(&wakeline_push::token_mark(&Secret::from(DEVICE))),
        "the log names the device by a digest: {text}"
    );
    assert!(text.contains("push token is dead"));
    for secret in [DEVICE, "APA91b", "ya29.", "eyJ", "PRIVATE KEY"] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
