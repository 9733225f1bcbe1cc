//! A phone that sleeps is woken by a push and gets its call, over every stream transport, against a real gateway, a
//! real push sender and the stand-in for the push service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;
mod redis;

use std::path::PathBuf;

use phone::{PATIENCE, Phone, soon};
use redis::{Folder, Redis};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle, Leg};
use wakeline_push_services::{FcmOptions, FcmService, Step};
use wakeline_sip_message::{Method, Name};

const TOKEN: &str = "dK2_exampleToken:APA91bExample";

struct World {
    gateway: Option<Handle>,
    config: Config,
    push: FcmService,
    folder: Folder,
}

impl World {
    async fn new() -> World {
        let push = FcmService::start(FcmOptions::default()).await.unwrap();
        let folder = Folder::new("gateway");
        let mut config = Config::default().on_any_port();
        for user in ["mia", "ben"] {
            config.account.push(Account {
                user: user.to_owned(),
                password: "open sesame".into(),
                ..Account::default()
            });
        }
        config.store.path = folder.0.join("gateway.db");
        config.push.fcm.service_accounts = vec![folder.write("account.json", &push.service_account_json())];
        config.push.fcm.ca_file = folder.write("ca.pem", push.ca_pem());
        config.push.fcm.endpoint = push.endpoint();
        let gateway = Gateway::start(config.clone()).unwrap();
        World { gateway: Some(gateway), config, push, folder }
    }

    fn gateway(&self) -> &Handle {
        self.gateway.as_ref().unwrap()
    }

    async fn phone(&self, transport: Transport, user: &str) -> Phone {
        Phone::connect(self.gateway(), transport, user, "open sesame").await
    }

    /// A registered phone with a push token that then goes to sleep.
    async fn sleeping_phone(&self, transport: Transport) -> phone::Sleeping {
        let mut mia = self.phone(transport, "mia").await;
        mia.contact_parameters = format!(";ob;pn-provider=fcm;pn-param=wakeline-demo;pn-prid={TOKEN}");
        let (response, rounds) = mia.register(604_800).await;
        assert_eq!(rounds, 2);
        let caps = response.header(Name::FeatureCaps).unwrap_or("");
        assert!(caps.contains("+sip.pns=\"fcm\""), "{caps}");
        let before = self.gateway().stats().await.unwrap().streams;
        let sleeping = mia.sleep();
        soon("the flow's end", async {
            while self.gateway().stats().await.unwrap().streams >= before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        sleeping
    }
}

/// INVITE held, push, REGISTER with the nonce of before, one flight with 200 and INVITE, answer, ACK, BYE.
async fn wakes_over(transport: Transport) {
    let world = World::new().await;
    let mut devices = world.push.subscribe();
    let mut traces = world.gateway().traces();
    let sleeping = world.sleeping_phone(transport).await;

    let mut ben = world.phone(Transport::Tcp, "ben").await;
    let (invite, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    let delivered = soon("a push", devices.recv()).await.unwrap();
    assert_eq!(delivered.device, TOKEN);
    assert_eq!(delivered.data["t"], "call");

    let mut mia = Phone::wake(world.gateway(), transport, sleeping).await;
    let (_, rounds) = mia.register(604_800).await;
    assert_eq!(rounds, 1, "the nonce that was handed out ahead still holds");
    let in_flight = mia.last_flight;
    let incoming = mia.receive().await;
    assert_eq!(incoming.method(), Method::Invite);
    assert!(incoming.is_request());
    match transport {
        Transport::Tcp | Transport::Tls => assert_eq!(in_flight, 2, "200 and INVITE in one flight"),
        Transport::Udp | Transport::Ws | Transport::Wss => {}
    }
    assert!(!incoming.request_uri_text().contains("pn-"), "{}", incoming.request_uri_text());
    assert_eq!(incoming.call_id(), invite.call_id());

    let answer = mia.answer(&incoming, 180);
    mia.send(&answer).await;
    ben.receive_status(180).await;
    let answer = mia.answer(&incoming, 200);
    mia.send(&answer).await;
    let ok = ben.receive_status(200).await;
    assert_eq!(ok.call_id(), invite.call_id());

    // The ACK and the BYE go by the recorded route, through the gateway.
    let routes: Vec<String> = ok.headers(Name::RecordRoute).map(str::to_owned).collect();
    let target = ok.header(Name::Contact).unwrap().trim_matches(['<', '>']).to_owned();
    for (method, cseq) in [("ACK", 2), ("BYE", 3)] {
        let route: String = routes.iter().rev().map(|route| format!("Route: {route}\r\n")).collect();
        let text = format!(
            "{method} {target} SIP/2.0\r\n{}Max-Forwards: 70\r\n{route}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
            ben.via(),
            invite.header(Name::From).unwrap(),
            ok.header(Name::To).unwrap(),
            invite.header(Name::CallId).unwrap(),
        );
        ben.send(text.as_bytes()).await;
        let request = mia.receive().await;
        assert_eq!(request.method().as_str(), method);
        if method == "BYE" {
            let answer = mia.answer(&request, 200);
            mia.send(&answer).await;
            ben.receive_status(200).await;
        }
    }
    assert_eq!(world.push.records().len(), 1, "one push for one call");
    let mut legs = Vec::new();
    while let Ok(trace) = traces.try_recv() {
        legs.push(trace.leg);
    }
    for wanted in
        ["InviteIn", "Held", "PushAsked", "RegisterIn", "RegisterOk", "InviteOut", "Ringing", "Answered"]
    {
        assert!(
            legs.iter().any(|leg| format!("{leg:?}").starts_with(wanted)),
            "{wanted} is missing in {legs:?}"
        );
    }
}

#[tokio::test]
async fn invite_held_push_register_invite_once_over_tcp() {
    wakes_over(Transport::Tcp).await;
}

#[tokio::test]
async fn invite_held_push_register_invite_once_over_tls() {
    wakes_over(Transport::Tls).await;
}

#[tokio::test]
async fn invite_held_push_register_invite_once_over_ws() {
    wakes_over(Transport::Ws).await;
}

#[tokio::test]
async fn invite_held_push_register_invite_once_over_wss() {
    wakes_over(Transport::Wss).await;
}

#[tokio::test]
async fn dead_token_ends_the_call_at_once_and_is_never_pushed_to_again() {
    let world = World::new().await;
    let _sleeping = world.sleeping_phone(Transport::Tcp).await;
    world.push.next(Step::refuse(404, "UNREGISTERED"));
    let mut ben = world.phone(Transport::Tcp, "ben").await;
    let (invite, _) = ben.invite("mia@localhost").await;
    let refused = ben.receive_status(480).await;
    let ack = ben.ack(&invite, &refused);
    ben.send(&ack).await;
    let (_, first) = ben.invite("mia@localhost").await;
    if first.status() == Some(100) {
        ben.receive_status(480).await;
    }
    assert_eq!(world.push.records().len(), 1);
}

#[tokio::test]
async fn caller_gives_up_while_the_phone_sleeps() {
    let world = World::new().await;
    let mut devices = world.push.subscribe();
    let _sleeping = world.sleeping_phone(Transport::Tcp).await;
    let mut ben = world.phone(Transport::Tcp, "ben").await;
    let (invite, _) = ben.invite("mia@localhost").await;
    soon("a push", devices.recv()).await.unwrap();
    let cseq = invite.cseq().unwrap().number;
    let cancel = format!(
        "CANCEL {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} CANCEL\r\nContent-Length: 0\r\n\r\n",
        invite.request_uri_text(),
        invite.header(Name::Via).unwrap(),
        invite.header(Name::From).unwrap(),
        invite.header(Name::To).unwrap(),
        invite.header(Name::CallId).unwrap(),
    );
    ben.send(cancel.as_bytes()).await;
    let mut statuses = [ben.receive().await.status(), ben.receive().await.status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(200), Some(487)]);
}

#[tokio::test]
async fn f6_another_gateway_takes_over_from_the_redis_server_what_one_left_there() {
    let mut world = World::new().await;
    let redis = Redis::start(&world.folder.0);
    world.gateway.take().unwrap().shutdown();
    world.config.store.path = PathBuf::new();
    world.config.store.url = format!("redis+unix://{}", redis.socket.display()).into();
    world.gateway = Some(Gateway::start(world.config.clone()).unwrap());
    takes_over(world).await;
}

#[tokio::test]
async fn f6_restart_keeps_the_sleeping_phone_and_its_nonce() {
    takes_over(World::new().await).await;
}

/// A phone sleeps; the gateway ends; another one has its store, its certificate and its nonce, and wakes it.
async fn takes_over(mut world: World) {
    let mut devices = world.push.subscribe();
    let sleeping = world.sleeping_phone(Transport::Tls).await;
    let certificate = world.gateway().certificate_pem().unwrap().to_owned();
    world.gateway.take().unwrap().shutdown();
    world.gateway = Some(Gateway::start(world.config.clone()).unwrap());
    assert_eq!(world.gateway().certificate_pem(), Some(certificate.as_str()));
    assert_eq!(world.gateway().bindings("mia", "localhost").await.len(), 1);

    let mut ben = world.phone(Transport::Tcp, "ben").await;
    let (_, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    soon("a push", devices.recv()).await.unwrap();
    let mut mia = Phone::wake(world.gateway(), Transport::Tls, sleeping).await;
    let (_, rounds) = mia.register(604_800).await;
    assert_eq!(rounds, 1, "the nonce outlives a planned restart");
    assert_eq!(mia.receive().await.method(), Method::Invite);
    drop(world.folder);
}

#[tokio::test]
async fn f6_message_to_a_sleeping_phone_outlives_a_restart() {
    let mut world = World::new().await;
    let mut devices = world.push.subscribe();
    let sleeping = world.sleeping_phone(Transport::Tls).await;
    let mut ben = world.phone(Transport::Tls, "ben").await;
    ben.register(3600).await;
    for number in 1..=2 {
        let text = format!(
            "MESSAGE sip:mia@localhost SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: <sip:ben@localhost>;tag=chat\r\n\
             To: <sip:mia@localhost>\r\nCall-ID: chat-{number}\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n\
             Content-Length: 7\r\n\r\nhello {number}",
            ben.via(),
        );
        ben.send(text.as_bytes()).await;
        assert_eq!(ben.receive().await.status(), Some(202));
    }
    soon("a push", devices.recv()).await.unwrap();
    let mut stats = world.gateway().stats().await.unwrap();
    assert_eq!((stats.gauges.mail, stats.counters.mail_kept), (2, 2));
    world.gateway.take().unwrap().shutdown();
    world.gateway = Some(Gateway::start(world.config.clone()).unwrap());
    assert_eq!(world.gateway().stats().await.unwrap().gauges.mail, 2);

    let mut mia = Phone::wake(world.gateway(), Transport::Tls, sleeping).await;
    mia.register(604_800).await;
    for number in 1..=2 {
        let message = mia.receive().await;
        assert_eq!(message.method(), Method::Message);
        assert_eq!(message.body(), format!("hello {number}").as_bytes());
        assert!(message.header(Name::Date).is_some());
        let ok = mia.answer(&message, 200);
        mia.send(&ok).await;
    }
    for _ in 0..100 {
        stats = world.gateway().stats().await.unwrap();
        if stats.gauges.mail == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!((stats.gauges.mail, stats.counters.mail_delivered), (0, 2));
    drop(world.folder);
}

#[tokio::test]
async fn udp_register_is_answered_and_a_keep_alive_is_too() {
    let world = World::new().await;
    let mut mia = world.phone(Transport::Udp, "mia").await;
    let (response, _) = mia.register(3600).await;
    assert!(response.header(Name::Contact).is_some());
    let views = world.gateway().bindings("mia", "localhost").await;
    assert_eq!(views.len(), 1);
    assert!(views[0].flow.is_some() && !views[0].wakeable);
}

#[tokio::test]
async fn traces_tell_a_registration() {
    let world = World::new().await;
    let mut traces = world.gateway().traces();
    let mut mia = world.phone(Transport::Tcp, "mia").await;
    mia.register(3600).await;
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Leg::Registered { bindings } = traces.recv().await.unwrap().leg {
                return bindings;
            }
        }
    });
    assert_eq!(found.await.unwrap(), 1);
}
