//! The gateway with every service configured: what it offers to phones, how it wakes them, what its canaries say.

use wakeline_clock::system;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Canary, Config};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::es256::EcKey;
use wakeline_push_services::{Answer, ApnsOptions, ApnsService, HookService, Step, WebPushService};
use wakeline_sip_message::{Message, Method, Name};

use crate::ground::Folder;
use crate::phone::{Phone, Sleeping, soon};

const SECRET: &str = "a secret of the operator's";

struct World {
    gateway: Handle,
    apns: ApnsService,
    web: WebPushService,
    hook: HookService,
    _folder: Folder,
}

fn token(number: u64) -> String {
    format!("6f9a{number:060x}")
}

impl World {
    async fn new(canary: Option<Canary>) -> World {
        let folder = Folder::new();
        let apns = ApnsService::start(ApnsOptions::default()).await.unwrap();
        let web = WebPushService::start().await.unwrap();
        let hook = HookService::start(SECRET).await.unwrap();
        let mut config = Config::default().on_any_port();
        for user in ["mia", "ben"] {
            let password = "open sesame".into();
            config.account.push(Account { user: user.to_owned(), password, ..Account::default() });
        }
        let ca = folder.write("ca.pem", &[apns.ca_pem(), web.ca_pem(), hook.ca_pem()].concat());
        let push = &mut config.push;
        push.apns.team_id = ApnsOptions::default().team;
        push.apns.key_id = ApnsOptions::default().key_id;
        push.apns.key_file = folder.write("key.p8", &apns.key().private_pem());
        push.apns.topic = "org.example.voice".to_owned();
        push.apns.endpoint = apns.endpoint();
        push.apns.sandbox_endpoint = apns.endpoint();
        push.webpush.key_file = folder.write("vapid.pem", &EcKey::generate().unwrap().private_pem());
        push.webpush.subject = "mailto:ops@example.org".to_owned();
        push.webpush.allowed_hosts = vec!["127.0.0.1".to_owned()];
        push.hook.url = hook.url();
        push.hook.secret = SECRET.into();
        push.hook.providers = vec!["hms".to_owned()];
        push.canary.extend(canary);
        for file in [&mut push.apns.ca_file, &mut push.webpush.ca_file, &mut push.hook.ca_file] {
            file.clone_from(&ca);
        }
        let gateway = Gateway::start(config).unwrap();
        World { gateway, apns, web, hook, _folder: folder }
    }

    async fn phone(&self, user: &str) -> Phone {
        Phone::connect(&self.gateway, Transport::Tcp, user, "open sesame").await
    }

    /// A phone that registers with these parameters; with the 200.
    async fn registered(&self, parameters: &str) -> (Phone, Message) {
        let mut mia = self.phone("mia").await;
        mia.contact_parameters = format!(";ob;{parameters}");
        let (response, _) = mia.register(604_800).await;
        assert_eq!(response.status(), Some(200));
        (mia, response)
    }

    async fn asleep(&self, parameters: &str) -> Sleeping {
        let (mia, _) = self.registered(parameters).await;
        let before = self.gateway.stats().await.unwrap().streams;
        let sleeping = mia.sleep();
        soon("the flow's end", async {
            while self.gateway.stats().await.unwrap().streams >= before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        sleeping
    }

    /// A call that wakes the phone and reaches it.
    async fn rings(&self, sleeping: Sleeping, pushed: impl Fn() -> bool) {
        let mut ben = self.phone("ben").await;
        let (invite, first) = ben.invite("mia@localhost").await;
        assert_eq!(first.status(), Some(100));
        soon("a push", async {
            while !pushed() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut mia = Phone::wake(&self.gateway, Transport::Tcp, sleeping).await;
        mia.register(604_800).await;
        let incoming = mia.receive().await;
        assert_eq!((incoming.method(), incoming.call_id()), (Method::Invite, invite.call_id()));
        let answer = mia.answer(&incoming, 180);
        mia.send(&answer).await;
        ben.receive_status(180).await;
    }

    async fn refused(&self) {
        let mut ben = self.phone("ben").await;
        let (invite, first) = ben.invite("mia@localhost").await;
        if first.status() == Some(100) {
            let refused = ben.receive_status(480).await;
            let ack = ben.ack(&invite, &refused);
            ben.send(&ack).await;
        }
    }
}

#[tokio::test]
async fn every_configured_service_is_offered_and_no_other() {
    let world = World::new(None).await;
    let (_, response) = world.registered("pn-provider").await;
    let caps: Vec<String> = response.headers(Name::FeatureCaps).map(str::to_owned).collect();
    let caps = caps.join(", ");
    for offered in ["apns", "webpush", "hms"] {
        assert!(caps.contains(&format!("+sip.pns=\"{offered}\"")), "{offered}: {caps}");
    }
    assert!(caps.contains("+sip.vapid=\"B") && !caps.contains("fcm"), "{caps}");
}

#[tokio::test]
async fn a_sleeping_iphone_rings_by_its_voip_token() {
    let world = World::new(None).await;
    let prid = format!("{}:voip&{}:remote", token(1), token(2));
    let parameters =
        format!("pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip&remote;pn-prid={prid}");
    let sleeping = world.asleep(&parameters).await;
    world.rings(sleeping, || !world.apns.records().is_empty()).await;
    let records = world.apns.records();
    assert_eq!((records.len(), records[0].device.as_str()), (1, token(1).as_str()));
    assert_eq!((records[0].push_type.as_str(), records[0].status), ("voip", 200));
}

#[tokio::test]
async fn a_sleeping_browser_rings_by_a_sealed_push() {
    let world = World::new(None).await;
    let (_, response) = world.registered("pn-provider=webpush").await;
    let caps = response.header(Name::FeatureCaps).unwrap().to_owned();
    let server = caps.split("+sip.vapid=\"").nth(1).unwrap().split('"').next().unwrap();
    let prid = world.web.browser("mia", "127.0.0.1", server).unwrap();
    let sleeping =
        world.asleep(&format!("pn-provider=webpush;pn-prid={}", wakeline_push::escape_value(&prid))).await;
    world.rings(sleeping, || !world.web.records().is_empty()).await;
    let record = world.web.records().remove(0);
    assert_eq!((record.status, record.wrong), (201, ""));
    assert_eq!(record.payload.unwrap()["t"], "call");
}

#[tokio::test]
async fn a_service_of_another_name_rings_by_the_hook() {
    let world = World::new(None).await;
    let sleeping = world.asleep("pn-provider=hms;pn-param=app-7;pn-prid=huawei-token").await;
    world.rings(sleeping, || !world.hook.records().is_empty()).await;
    assert_eq!(world.hook.records()[0].body["token"], "huawei-token");
}

#[tokio::test]
async fn a_token_is_dropped_only_when_it_was_registered_before_apple_saw_it_die() {
    let world = World::new(None).await;
    let parameters =
        format!("pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip;pn-prid={}", token(1));
    let _sleeping = world.asleep(&parameters).await;
    let gone = |since_ms| Step::answer(Answer::RefuseSince { status: 410, code: "Unregistered", since_ms });
    // Dead since an hour ago, but the phone has registered since: it lives.
    world.apns.next(gone(system::wall().0 - 3_600_000));
    world.refused().await;
    assert_eq!(world.apns.records().len(), 1);
    world.apns.next(gone(system::wall().0 + 1000));
    world.refused().await;
    assert_eq!(world.apns.records().len(), 2, "pushed to again");
    world.refused().await;
    assert_eq!(world.apns.records().len(), 2, "and never more");
}

#[tokio::test]
async fn s24_the_quota_stands_before_every_service() {
    let world = World::new(None).await;
    let parameters =
        format!("pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip;pn-prid={}", token(1));
    let _sleeping = world.asleep(&parameters).await;
    world.apns.always_for(&token(1), Step::refuse(429, "TooManyRequests"));
    for _ in 0..10 {
        let mut ben = world.phone("ben").await;
        let (_, first) = ben.invite("mia@localhost").await;
        if first.status() == Some(100) {
            loop {
                let answer = ben.receive().await;
                if answer.status().is_some_and(|status| status >= 300) {
                    break;
                }
            }
        }
    }
    assert_eq!(world.apns.records().len(), 6, "six a minute");
}

#[tokio::test]
async fn a_canary_sings_and_is_heard() {
    let canary = Canary {
        provider: "apns".to_owned(),
        param: "AB12CD34EF.org.example.voice".to_owned(),
        token: token(9).into(),
        every: 1,
    };
    let world = World::new(Some(canary)).await;
    let report = |accepted: u64, failed: u64| {
        let gateway = &world.gateway;
        async move {
            loop {
                let report = gateway.stats().await.unwrap().canaries.remove(0);
                if report.accepted >= accepted && report.failed >= failed {
                    return report;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    };
    let first = soon("the first song", report(1, 0)).await;
    assert_eq!((first.provider.as_str(), first.last), ("apns", "accepted"));
    world.apns.always_for(&token(9), Step::refuse(403, "InvalidProviderToken"));
    let second = soon("a failure", report(1, 1)).await;
    assert_eq!(second.last, "not authorised");
    assert_eq!(world.apns.records()[0].push_type, "background");
}

#[tokio::test]
async fn a_canary_whose_push_would_ring_is_refused() {
    let folder = Folder::new();
    let mut config = Config::default().on_any_port();
    config.push.apns.team_id = "AB12CD34EF".to_owned();
    config.push.apns.key_id = "KEY1234567".to_owned();
    config.push.apns.key_file = folder.write("key.p8", &EcKey::generate().unwrap().private_pem());
    config.push.canary.push(Canary {
        provider: "apns".to_owned(),
        param: "AB12CD34EF.org.example.voice.voip".to_owned(),
        token: token(9).into(),
        every: 300,
    });
    let error = Gateway::start(config).unwrap_err().to_string();
    assert!(error.contains("rings") && !error.contains(&token(9)), "{error}");
}
