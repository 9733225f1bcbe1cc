//! Pushes over one HTTP/2 connection into a service of another process; prints what one costs this process.
//!
//! `push_load ACCOUNT CA ENDPOINT PUSHES`: the service account's file, the authority's certificate, where the service
//! is, and how many. The scoreboard starts it (row 15); the senders run as they do in the gateway, all on one thread.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use std::path::Path;
use std::time::Duration;

use wakeline_clock::system;
use wakeline_gateway::push::{FcmSender, FcmSetup, Outcome, Purpose, Push, ServiceAccount, Trust};
use wakeline_push::{Payload, PushTarget};
use wakeline_secret::Secret;

/// Pushes on their way at once: what 10,000 a second are at 25 ms to the service and back.
const ON_THEIR_WAY: usize = 256;
/// Pushes before the measured ones: connection, access token, warm code.
const BEFORE: usize = 500;

/// Processor time of this thread so far, in microseconds.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1000.0
}

fn push(number: usize, project: &str) -> Push {
    let token = format!(
        "dK2_example-{number}:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ-hQMRKRrZuJAEcl7B338qju59zJMjw2DELjzEvxwYv7hH5Ynpc1ODQ0aT4U4OFEeco8ohsN5PjL1iC2dNtk2BAokeMCg2ZXKqpc8FXKmhX94kIxQ"
    );
    Push {
        target: PushTarget::Fcm { project: project.to_owned(), token: Secret::from(token.as_str()) },
        purpose: Purpose::Call,
        payload: Payload::call("Zk3vQm1xT0aB9wLr".parse().unwrap(), 0, 20),
        call_id: None,
        until: system::now() + Duration::from_secs(60),
    }
}

async fn send(sender: &FcmSender, project: &str, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        if tasks.len() >= ON_THEIR_WAY {
            assert_eq!(tasks.join_next().await.unwrap().unwrap(), Outcome::Accepted);
        }
        let (sender, push) = (sender.clone(), push(number, project));
        tasks.spawn(async move { sender.send(&push).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap(), Outcome::Accepted);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [account, authority, endpoint, count] = arguments.as_slice() else {
        println!("usage: push_load ACCOUNT CA ENDPOINT PUSHES");
        return;
    };
    let account = ServiceAccount::from_file(Path::new(account)).unwrap();
    let project = account.project().to_owned();
    let sender = FcmSender::new(FcmSetup {
        accounts: vec![account],
        endpoint: endpoint.clone(),
        trust: Trust { ca_file: Some(authority.into()) },
        package: None,
        concurrency: 512,
    })
    .unwrap();
    send(&sender, &project, BEFORE).await;
    let count: usize = count.parse().unwrap();
    let (before, began) = (processor(), system::now());
    send(&sender, &project, count).await;
    let spent = (processor() - before) / count as f64;
    let rate = count as f64 / system::now().since(began).as_secs_f64();
    println!("{spent:.1} us of processor time a push, {rate:.0} pushes a second");
}
