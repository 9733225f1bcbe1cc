//! The hook's sender.

use std::time::Duration;

use wakeline_gateway::push::{HookSender, HookSetup, Outcome};
use wakeline_push::PushTarget;
use wakeline_push_services::{Answer, HookService, Step};

use crate::ground::{Folder, Log, WAKE, call, refresh};

const SECRET: &str = "a secret of the operator's";

fn sender(service: &HookService, folder: &Folder, secret: &str) -> HookSender {
    HookSender::new(HookSetup {
        url: service.url(),
        secret: secret.into(),
        trust: folder.trust(&[service.ca_pem()]),
        concurrency: 8,
    })
    .unwrap()
}

fn target() -> PushTarget {
    PushTarget::Other { provider: "hms".to_owned(), param: "app-7".to_owned(), token: "canary-token".into() }
}

#[tokio::test]
async fn the_hook_gets_what_it_needs_signed_and_no_more() {
    let (service, folder) = (HookService::start(SECRET).await.unwrap(), Folder::new());
    let sender = sender(&service, &folder, SECRET);
    assert_eq!(sender.send(&call(target())).await, Outcome::Accepted);
    assert_eq!(sender.send(&refresh(target())).await, Outcome::Accepted);
    let records = service.records();
    let body = &records[0].body;
    assert_eq!((&body["provider"], &body["param"]), (&"hms".into(), &"app-7".into()));
    assert_eq!((&body["purpose"], &body["data"]["wid"]), (&"call".into(), &WAKE.into()));
    assert_eq!(records[1].body["purpose"], "refresh");
    let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["data", "param", "provider", "purpose", "seconds", "token"]);
}

#[tokio::test]
async fn every_answer_of_the_hook_has_its_outcome() {
    let (service, folder) = (HookService::start(SECRET).await.unwrap(), Folder::new());
    let hook = sender(&service, &folder, SECRET);
    let bug = |status: u16| Outcome::OurBug { field: format!("status {status} of push.hook.url") };
    for (step, outcome, tries) in [
        (Step::refuse(410, ""), Outcome::TokenDead { since: None }, 1),
        (Step::refuse(404, ""), bug(404), 1),
        (Step::refuse(302, ""), bug(302), 1),
        (Step::refuse(403, ""), Outcome::NotAuthorised { code: "status 403".to_owned() }, 1),
        (
            Step::refuse_until(429, "", "40"),
            Outcome::QuotaExceeded { retry_after: Duration::from_secs(40) },
            1,
        ),
        (Step::refuse_until(503, "", "0"), Outcome::Accepted, 2),
        (Step::answer(Answer::Reset), Outcome::Accepted, 2),
    ] {
        let before = service.records().len();
        service.next(step.clone());
        assert_eq!(hook.send(&call(target())).await, outcome, "{step:?}");
        assert_eq!(service.records().len() - before, tries, "{step:?}");
    }
    let stranger = sender(&service, &folder, "another secret, as long");
    let outcome = stranger.send(&call(target())).await;
    assert_eq!(outcome, Outcome::NotAuthorised { code: "status 401".to_owned() });
}

#[tokio::test]
async fn s23_neither_token_nor_secret_of_the_hook_reaches_the_log() {
    let log = Log::default();
    let _guard = log.start();
    let (service, folder) = (HookService::start(SECRET).await.unwrap(), Folder::new());
    let sender = sender(&service, &folder, SECRET);
    for step in [Step::refuse(410, ""), Step::refuse(404, ""), Step::answer(Answer::Reset)] {
        service.next(step);
        sender.send(&call(target())).await;
    }
    let text = log.text() + &format!("{sender:?} {:?}", call(target()));
    assert!(text.contains("push token is dead"));
    for secret in ["canary-token", SECRET, "v1="] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
