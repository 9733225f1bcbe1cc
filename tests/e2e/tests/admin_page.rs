//! The administrator's page in a real browser, as small as a phone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../core/gateway/tests/redis/mod.rs"]
mod redis;

use redis::{Folder, Redis};

use wakeline_e2e::Browser;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Canary, Config};
use wakeline_gateway::doctor::{self, Options};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::{FcmOptions, FcmService};

const PROJECT: &str = "the-browsers-project";
const CANARY: &str = "canary:APA91bOfTheOperator";

struct Site {
    folder: Folder,
    _push: FcmService,
    config: Config,
    gateway: Handle,
}

impl Site {
    async fn new(token: &str) -> Site {
        Site::of(token, |_| {}).await
    }

    async fn of(token: &str, change: impl FnOnce(&mut Config)) -> Site {
        let folder = Folder::new("e2e");
        let options = FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() };
        let push = FcmService::start(options).await.unwrap();
        let mut config = Config::default().on_any_port();
        config.push.fcm.endpoint = push.endpoint();
        config.push.fcm.ca_file = folder.write("ca.pem", push.ca_pem());
        config.push.fcm.service_accounts = vec![folder.write("account.json", &push.service_account_json())];
        config.push.canary.push(Canary {
            provider: "fcm".to_owned(),
            param: PROJECT.to_owned(),
            token: CANARY.into(),
            every: 3600,
        });
        for user in ["test", "<img src=x onerror=alert(1)>"] {
            let account =
                Account { user: user.to_owned(), password: "open sesame".into(), ..Account::default() };
            config.account.push(account);
        }
        config.admin.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin.token = token.into();
        change(&mut config);
        let gateway = Gateway::start(config.clone()).unwrap();
        config.listen.tcp = vec![gateway.address(Transport::Tcp).unwrap()];
        for others in
            [&mut config.listen.udp, &mut config.listen.tls, &mut config.listen.ws, &mut config.listen.wss]
        {
            others.clear();
        }
        config.admin.listen = gateway.admin().to_vec();
        Site { folder, _push: push, config, gateway }
    }

    /// A call that wakes a fake phone, which answers.
    async fn call(&self) {
        let account = Some(("test".to_owned(), "open sesame".into()));
        let report = doctor::examine(&self.config, Options { account, ..Options::default() }).await;
        assert!(report.is_sound(), "{report}");
    }

    fn page(&self) -> String {
        format!("http://{}/", self.gateway.admin()[0])
    }

    async fn browser(&self) -> Browser {
        Browser::start(&self.folder.0.join("profile")).await
    }
}

#[tokio::test]
async fn an_operator_sees_on_a_phone_why_a_call_rang_who_is_there_and_that_pushes_work() {
    let site = Site::new("").await;
    site.call().await;
    let mut browser = site.browser().await;
    browser.open(&site.page()).await;

    browser.until("document.querySelectorAll('#wakes li').length === 1").await;
    browser.run("document.querySelector('#wakes summary').click()").await;
    browser.until("document.querySelector('#wakes li').innerText.includes('held for')").await;
    let wake = browser.run("document.querySelector('#wakes li').innerText").await.to_string();
    for wanted in
        ["answered", "rang after", "held for a sleeping device", "push taken by the service", "device rings"]
    {
        assert!(wake.contains(wanted), "{wanted}: {wake}");
    }

    browser.run("location.hash = '#devices'").await;
    browser.until("document.querySelectorAll('#devices .list > li').length === 2").await;
    // A name is text, whatever it looks like.
    assert_eq!(browser.run("document.querySelectorAll('img').length").await, 0);
    let find = "const form = document.querySelector('#devices form'); form.elements.name.value = 'eve@localhost'; form.requestSubmit()";
    browser.run(find).await;
    browser
        .until("document.querySelector('#devices .list').innerText.includes('is no address of record')")
        .await;

    browser.run("location.hash = '#numbers'").await;
    browser.until("document.querySelector('#canaries').innerText.includes('accepted')").await;
    let numbers = browser.run("document.querySelector('#numbers').innerText").await.to_string();
    assert!(numbers.contains("fcm") && numbers.contains("counters: pushes"), "{numbers}");

    browser.run("location.hash = '#log'").await;
    browser.until("!document.querySelector('#log').hidden").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    site.call().await;
    browser.until("document.querySelector('#log .list').innerText.includes('device answered')").await;

    for section in ["wakes", "devices", "numbers", "nodes", "log"] {
        browser.run(&format!("location.hash = '#{section}'")).await;
        browser.until(&format!("!document.querySelector('#{section}').hidden")).await;
        let fits = browser.run("document.documentElement.scrollWidth <= window.innerWidth").await;
        assert_eq!(fits, true, "{section} is wider than a phone");
    }
    let page = browser.run("document.documentElement.outerHTML").await.to_string();
    assert!(!page.contains(CANARY) && !page.contains("open sesame"));
    // The 404 is the answer for eve, whom nobody knows; exceptions and violations of the policy are none.
    let complaints = browser.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains("404"), "{complaints:?}");
}

#[tokio::test]
async fn the_page_asks_for_the_token_and_keeps_it_in_its_tab() {
    let site = Site::new("0123456789abcdef").await;
    let mut browser = site.browser().await;
    browser.open(&site.page()).await;
    browser.until("!document.querySelector('#door').hidden").await;
    let show = |token: &str| {
        format!(
            "document.querySelector('#token').value = '{token}'; document.querySelector('#door').requestSubmit()"
        )
    };
    browser.run(&show("a wrong one")).await;
    browser.until("document.querySelector('#state').innerText.includes('a token is needed')").await;
    browser.run(&show("0123456789abcdef")).await;
    browser.until("document.querySelector('#state').innerText.startsWith('up ')").await;
    assert_eq!(browser.run("document.querySelector('#door').hidden").await, true);
    assert_eq!(browser.run("document.cookie + JSON.stringify(localStorage)").await, "{}");
}

#[tokio::test]
async fn an_operator_sees_the_nodes_of_a_cluster_and_drains_one_and_takes_it_back() {
    let ground = Folder::new("e2e-cluster");
    let server = Redis::start(&ground.0);
    let node = async |name: &str| {
        Site::of("0123456789abcdef", |config| {
            config.store.url = format!("redis+unix://{}", server.socket.display()).into();
            config.cluster.node = name.to_owned();
            config.cluster.address = "127.0.0.1".to_owned();
        })
        .await
    };
    let (one, two) = (node("one").await, node("two").await);
    let mut browser = one.browser().await;
    browser.open(&format!("{}#nodes", one.page())).await;
    browser
        .run("document.querySelector('#token').value = '0123456789abcdef'; document.querySelector('#door').requestSubmit()")
        .await;
    let said = |text: &str| format!("document.querySelector('#nodes .list').innerText.includes('{text}')");
    browser.until("[...document.querySelectorAll('#nodes .list > li')].filter((one) => one.innerText.includes('serving')).length === 2").await;
    browser.until(&said("this one")).await;
    assert_eq!(browser.run("document.querySelector('#nodes .none').hidden").await, true);
    assert_eq!(
        browser.run("document.documentElement.scrollWidth <= window.innerWidth").await,
        true,
        "wider than a phone"
    );
    // Who thinks better of it has changed nothing.
    browser.run("document.querySelector('#nodes .drain').click()").await;
    browser.run("document.querySelector('#nodes .keep').click()").await;
    assert_eq!(browser.run("document.querySelector('#nodes .sure').hidden").await, true);
    assert!(!one.gateway.nodes().await[0].condition.draining);
    browser.run("document.querySelector('#nodes .drain').click()").await;
    browser.run("document.activeElement.click()").await;
    browser.until(&said("drained: it may end")).await;
    assert!(one.gateway.nodes().await[0].condition.draining);
    assert!(!two.gateway.nodes().await[0].condition.draining);
    browser.until("document.querySelector('#nodes .drain').innerText === 'Take this node back'").await;
    browser.run("document.querySelector('#nodes .drain').click()").await;
    browser.until("document.querySelector('#nodes .drain').innerText === 'Drain this node'").await;
    assert!(!one.gateway.nodes().await[0].condition.draining);
    // The first answer, before the token was there, is a 401.
    assert!(browser.complaints().iter().all(|one| one.contains("401")), "{:?}", browser.complaints());
}
