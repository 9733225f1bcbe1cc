//! Apple's sender.

use std::sync::Arc;
use std::time::Duration;

use wakeline_clock::{WallTime, system};
use wakeline_gateway::push::{ApnsSender, ApnsSetup, Outcome, Push, SigningKey};
use wakeline_push::{ExternalId, PushTarget, Service};
use wakeline_push_services::{Answer, ApnsOptions, ApnsService, Delivery, Step};
use wakeline_secret::Secret;

use crate::ground::{Folder, Log, WAKE, call, refresh, wake};

struct Pair {
    production: ApnsService,
    development: ApnsService,
    sender: ApnsSender,
    _folder: Folder,
}

async fn pair(options: ApnsOptions) -> Pair {
    let production = ApnsService::start(options.clone()).await.unwrap();
    let development = ApnsService::start_with(options.clone(), Arc::clone(production.key())).await.unwrap();
    let folder = Folder::new();
    let sender = ApnsSender::new(ApnsSetup {
        team: options.team,
        key_id: options.key_id,
        key: SigningKey::from_pem(&Secret::from(production.key().private_pem())).unwrap(),
        bundle: Some(options.bundle),
        sandbox: false,
        endpoint: production.endpoint(),
        sandbox_endpoint: development.endpoint(),
        trust: folder.trust(&[production.ca_pem(), development.ca_pem()]),
        concurrency: 256,
    })
    .unwrap();
    Pair { production, development, sender, _folder: folder }
}

fn token(number: u64) -> String {
    format!("6f9a{number:060x}")
}

fn target(service: Service, token: &str) -> PushTarget {
    let topic = match service {
        Service::Voip => "org.example.voice.voip",
        Service::Remote => "org.example.voice",
    };
    PushTarget::Apns { topic: topic.to_owned(), service, sandbox: false, token: token.into() }
}

fn voip(number: u64) -> Push {
    call(target(Service::Voip, &token(number)))
}

#[tokio::test]
async fn a_call_a_notification_and_a_refresh_have_their_headers_and_payloads() {
    let pair = pair(ApnsOptions::default()).await;
    let mut devices = pair.production.subscribe();
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    let delivered = devices.recv().await.unwrap();
    assert_eq!((delivered.device.as_str(), delivered.data["wid"].as_str()), (token(1).as_str(), WAKE));
    let mut alert = call(target(Service::Remote, &token(2)));
    alert.call_id = Some("a84b4c76e66710".to_owned());
    assert_eq!(pair.sender.send(&alert).await, Outcome::Accepted);
    assert_eq!(pair.sender.send(&refresh(target(Service::Remote, &token(2)))).await, Outcome::Accepted);

    let records = pair.production.records();
    let head = |at: usize| {
        let record = &records[at];
        (record.topic.as_str(), record.push_type.as_str(), record.priority.as_str())
    };
    assert_eq!(head(0), ("org.example.voice.voip", "voip", "10"));
    assert_eq!(head(1), ("org.example.voice", "alert", "10"));
    assert_eq!(head(2), ("org.example.voice", "background", "5"));
    assert_eq!((records[0].expiration.as_str(), records[1].expiration.as_str()), ("0", "0"));
    let ahead = records[2].expiration.parse::<u64>().unwrap() - system::wall().as_secs();
    assert!((3500..=3600).contains(&ahead), "{ahead}");
    assert_eq!(records[0].id, ExternalId::of(&wake()).to_string());
    assert_eq!(records[0].payload["aps"], serde_json::json!({}));
    assert_eq!(records[0].payload["ts"], 1_789_000_000_123_u64);
    assert_eq!(records[1].payload["aps"]["call-id"], "a84b4c76e66710");
    assert_eq!(records[2].payload["t"], "refresh");
}

#[tokio::test]
async fn a_voip_token_is_never_used_for_anything_but_a_call() {
    let pair = pair(ApnsOptions::default()).await;
    let outcome = pair.sender.send(&refresh(target(Service::Voip, &token(1)))).await;
    assert!(matches!(outcome, Outcome::OurBug { .. }), "{outcome:?}");
    assert!(pair.production.records().is_empty());
}

#[tokio::test]
async fn every_row_of_apples_error_table_has_its_outcome() {
    let pair = pair(ApnsOptions::default()).await;
    let bug = |status: u16, reason: &str| Outcome::OurBug { field: format!("status {status} {reason}") };
    let denied = |code: &str| Outcome::NotAuthorised { code: code.to_owned() };
    let since = WallTime(1_789_000_000_123);
    let gone = |code| Step::answer(Answer::RefuseSince { status: 410, code, since_ms: since.0 });
    let dead = Outcome::TokenDead { since: Some(since) };
    let mut rows = vec![
        (gone("Unregistered"), dead.clone()),
        (gone("ExpiredToken"), dead),
        (Step::refuse(404, "BadPath"), bug(404, "BadPath")),
        (Step::refuse(405, "MethodNotAllowed"), bug(405, "MethodNotAllowed")),
        (
            Step::refuse_until(429, "TooManyRequests", "7"),
            Outcome::QuotaExceeded { retry_after: Duration::from_secs(7) },
        ),
        (
            Step::refuse(403, "ExpiredProviderToken"),
            denied("ExpiredProviderToken: check this machine's clock"),
        ),
        (Step::refuse_until(503, "ServiceUnavailable", "30"), Outcome::Unavailable),
    ];
    for reason in [
        "DeviceTokenNotForTopic",
        "MissingTopic",
        "BadTopic",
        "TopicDisallowed",
        "InvalidPushType",
        "BadPriority",
        "BadExpirationDate",
        "PayloadEmpty",
        "DuplicateHeaders",
        "IdleTimeout",
    ] {
        rows.push((Step::refuse(400, reason), bug(400, reason)));
    }
    for reason in
        ["InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken", "BadEnvironmentKeyInToken"]
    {
        rows.push((Step::refuse(403, reason), denied(reason)));
    }
    for (step, outcome) in rows {
        let before = pair.production.records().len();
        pair.production.next(step.clone());
        assert_eq!(pair.sender.send(&voip(1)).await, outcome, "{step:?}");
        assert_eq!(pair.production.records().len() - before, 1, "no second try for {step:?}");
    }
    assert!(pair.development.records().is_empty());
}

#[tokio::test]
async fn a_token_of_the_other_environment_is_found_out_once_and_remembered() {
    let pair = pair(ApnsOptions::default()).await;
    pair.production.always_for(&token(1), Step::refuse(400, "BadDeviceToken"));
    for _ in 0..2 {
        assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    }
    assert_eq!((pair.production.records().len(), pair.development.records().len()), (1, 2));
    // Refused by both: no token of ours.
    pair.production.always_for(&token(2), Step::refuse(400, "BadDeviceToken"));
    pair.development.always_for(&token(2), Step::refuse(400, "BadDeviceToken"));
    assert_eq!(pair.sender.send(&voip(2)).await, Outcome::TokenDead { since: None });
    // Said to be of the development environment: the other one is not asked.
    let mut said = voip(2);
    if let PushTarget::Apns { sandbox, .. } = &mut said.target {
        *sandbox = true;
    }
    assert_eq!(pair.sender.send(&said).await, Outcome::TokenDead { since: None });
    assert_eq!((pair.production.records().len(), pair.development.records().len()), (2, 4));
}

#[tokio::test]
async fn a_fault_of_the_service_is_tried_again_and_a_lost_answer_once() {
    let pair = pair(ApnsOptions::default()).await;
    pair.production.next(Step::refuse(500, "InternalServerError"));
    pair.production.next(Step::refuse_until(503, "Shutdown", "0"));
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    pair.production.next(Step::answer(Answer::Reset));
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    pair.production.next(Step::answer(Answer::Reset));
    pair.production.next(Step::answer(Answer::Reset));
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Unavailable);
    let statuses: Vec<u16> = pair.production.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [500, 503, 200, 0, 200, 0, 0]);
    pair.production.always_for(&token(2), Step::refuse_until(503, "ServiceUnavailable", "0"));
    assert_eq!(pair.sender.send(&voip(2)).await, Outcome::Unavailable);
    assert_eq!(pair.production.records().len(), 7 + 4);
}

#[tokio::test]
async fn f12_a_connection_that_goes_silent_is_left_behind() {
    let pair = pair(ApnsOptions::default()).await;
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    pair.production.connections().freeze_all();
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    assert_eq!(pair.production.connections().accepted(), 2);
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    assert_eq!(pair.production.connections().accepted(), 2, "the new one stays");
}

#[tokio::test]
async fn goaway_in_the_middle_and_a_broken_connection_cost_no_push() {
    let pair = pair(ApnsOptions::default()).await;
    assert_eq!(pair.sender.send(&voip(0)).await, Outcome::Accepted);
    let slow = Step::accept(Delivery::Now).slow(Duration::from_millis(200));
    for number in 1..=20 {
        pair.production.next_for(&token(number), slow.clone());
    }
    let send = |number| {
        let sender = pair.sender.clone();
        tokio::spawn(async move { sender.send(&voip(number)).await })
    };
    let mut sends: Vec<_> = (1..=20).map(send).collect();
    while pair.production.records().len() < 21 {
        tokio::task::yield_now().await;
    }
    pair.production.connections().go_away();
    sends.extend((21..=40).map(send));
    for send in sends {
        assert_eq!(send.await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(pair.production.records().len(), 41, "each was sent once");
    pair.production.connections().break_all();
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    assert!(pair.production.connections().accepted() <= 4);
}

#[tokio::test]
async fn many_pushes_share_one_connection_one_token_and_the_streams_that_are_allowed() {
    let pair = pair(ApnsOptions { streams: Some(8), ..ApnsOptions::default() }).await;
    let sends: Vec<_> = (0..400)
        .map(|number| {
            let sender = pair.sender.clone();
            tokio::spawn(async move { sender.send(&voip(number)).await })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), Outcome::Accepted);
    }
    let records = pair.production.records();
    assert_eq!(records.len(), 400);
    assert!(records.iter().all(|record| record.bearer == records[0].bearer), "one token for all");
    assert_eq!(pair.production.connections().accepted(), 1);
    assert!(pair.production.peak() <= 8, "{}", pair.production.peak());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_and_makes_no_flood_of_tokens() {
    let pair = pair(ApnsOptions::default()).await;
    pair.production.set_clock_ahead(7200);
    for _ in 0..3 {
        let outcome = pair.sender.send(&voip(1)).await;
        assert!(matches!(&outcome, Outcome::NotAuthorised { code } if code.contains("clock")), "{outcome:?}");
    }
    let records = pair.production.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.bearer == records[0].bearer));
    pair.production.set_clock_ahead(0);
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
}

#[tokio::test]
async fn too_many_new_tokens_keep_the_old_one_and_wait() {
    let pair = pair(ApnsOptions::default()).await;
    pair.production.next(Step::refuse_until(429, "TooManyProviderTokenUpdates", "0"));
    assert_eq!(pair.sender.send(&voip(1)).await, Outcome::Accepted);
    let records = pair.production.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].bearer, records[1].bearer);
}

#[tokio::test]
async fn a_payload_that_is_too_large_leaves_its_envelope_behind() {
    let pair = pair(ApnsOptions::default()).await;
    let sized = |service, size: usize| {
        let mut push = call(target(service, &token(1)));
        push.payload.envelope = Some("e".repeat(size).into());
        push
    };
    assert_eq!(pair.sender.send(&sized(Service::Voip, 4900)).await, Outcome::Accepted);
    assert_eq!(pair.sender.send(&sized(Service::Voip, 5100)).await, Outcome::Accepted);
    assert_eq!(pair.sender.send(&sized(Service::Remote, 4050)).await, Outcome::Accepted);
    pair.production.next(Step::refuse(413, "PayloadTooLarge"));
    assert_eq!(pair.sender.send(&sized(Service::Voip, 100)).await, Outcome::Accepted);
    let records = pair.production.records();
    assert!(records.iter().all(|record| record.size <= 5120));
    let sealed: Vec<bool> = records.iter().map(|record| record.payload["e"].is_string()).collect();
    assert_eq!(sealed, [true, false, false, true, false]);
}

#[tokio::test]
async fn s25_apples_stand_in_loses_doubles_and_reorders() {
    let pair = pair(ApnsOptions::default()).await;
    let mut devices = pair.production.subscribe();
    pair.production.next_for(&token(1), Step::accept(Delivery::Never));
    pair.production.next_for(&token(2), Step::accept(Delivery::BehindNext));
    pair.production.next_for(&token(3), Step::accept(Delivery::Twice));
    for number in 1..=3 {
        assert_eq!(pair.sender.send(&voip(number)).await, Outcome::Accepted);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(devices.recv().await.unwrap().device);
    }
    assert_eq!(order, [token(3), token(2), token(3)]);
}

#[tokio::test]
async fn s22_a_token_cannot_leave_its_place_in_the_path() {
    let pair = pair(ApnsOptions::default()).await;
    for bad in ["../../elsewhere", "6f9a?x=1", "6f9a#", "6f9a%2e", "https://[::1]/", "", &"a".repeat(201)] {
        let outcome = pair.sender.send(&call(target(Service::Voip, bad))).await;
        assert_eq!(outcome, Outcome::TokenDead { since: None }, "{bad}");
    }
    let topic = "org.example.another".to_owned();
    let other = PushTarget::Apns { topic, service: Service::Remote, sandbox: false, token: token(1).into() };
    assert!(matches!(pair.sender.send(&call(other)).await, Outcome::NotAllowed { .. }));
    assert!(pair.production.records().is_empty() && pair.development.records().is_empty());
}

#[tokio::test]
async fn a_token_without_an_answer_delays_nobody() {
    let pair = pair(ApnsOptions::default()).await;
    assert_eq!(pair.sender.send(&voip(0)).await, Outcome::Accepted);
    for number in 1000..1100 {
        pair.production.always_for(&token(number), Step::answer(Answer::Silence));
    }
    let stuck: Vec<_> = (1000..1100)
        .map(|number| {
            let sender = pair.sender.clone();
            tokio::spawn(async move { sender.send(&voip(number)).await })
        })
        .collect();
    let started = system::now();
    for number in 1..50 {
        assert_eq!(pair.sender.send(&voip(number)).await, Outcome::Accepted);
    }
    let took = system::now().since(started);
    assert!(took < Duration::from_secs(4), "{took:?}");
    stuck.iter().for_each(|send| send.abort());
}

#[tokio::test]
async fn s23_neither_device_token_nor_key_nor_jwt_nor_payload_reaches_the_log() {
    let log = Log::default();
    let _guard = log.start();
    let pair = pair(ApnsOptions::default()).await;
    let mut push = voip(7);
    push.payload.envelope = Some("canary-envelope".into());
    for step in [
        Step::accept(Delivery::Now),
        Step::refuse(410, "Unregistered"),
        Step::refuse(403, "InvalidProviderToken"),
        Step::refuse(400, "BadTopic"),
        Step::answer(Answer::Reset),
    ] {
        pair.production.next(step);
        pair.sender.send(&push).await;
    }
    let text = log.text() + &format!("{:?} {push:?}", pair.sender);
    assert!(text.contains(&wakeline_push::token_mark(push.target.token())), "{text}");
    assert!(text.contains("push token is dead") && text.contains("push refused"));
    for secret in [token(7).as_str(), "eyJ", "PRIVATE KEY", "canary-envelope"] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
