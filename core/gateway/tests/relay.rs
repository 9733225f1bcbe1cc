//! The blind relay between a gateway of ours, unchanged, and a vendor's push service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phone::{PATIENCE, Phone, soon};
use reqwest::{Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::relay::{self, Relay};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push::{Payload, PayloadKind, WakeId, escape_value};
use wakeline_push_services::es256::EcKey;
use wakeline_push_services::{ApnsOptions, ApnsService, DeviceKeys, FcmOptions, FcmService, Step};
use wakeline_sip_message::{Method as SipMethod, Name};

/// Where nothing listens yet.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn folder() -> PathBuf {
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).unwrap();
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = std::env::temp_dir().join(format!("wakeline-relay-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

const PROJECT: &str = "vendors-project";
const TOKEN: &str = "device1:APA91bOfTheVendorsApp";

/// A vendor: its push service and its relay.
struct Vendor {
    folder: PathBuf,
    push: FcmService,
    relay: relay::Handle,
    client: reqwest::Client,
    config: relay::Config,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn client(relay: &relay::Handle) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(relay.certificate_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

impl Vendor {
    async fn new(limits: &str) -> Vendor {
        let folder = folder();
        let options = FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() };
        let push = FcmService::start(options).await.unwrap();
        std::fs::write(folder.join("account.json"), push.service_account_json()).unwrap();
        std::fs::write(folder.join("ca.pem"), push.ca_pem()).unwrap();
        // The address is a part of what is handed out, so the port is chosen before.
        let port = free_port();
        let place = folder.display();
        let config = relay::Config::from_toml(&format!(
            "listen = [\"127.0.0.1:{port}\"]\npublic_url = \"https://localhost:{port}\"\n[store]\npath = \"{place}/relay.db\"\n\
             [push.fcm]\nservice_accounts = [\"{place}/account.json\"]\nca_file = \"{place}/ca.pem\"\nendpoint = \"{}\"\n\
             [limits]\n{limits}",
            push.endpoint()
        ))
        .unwrap();
        let relay = Relay::start(config.clone()).unwrap();
        let client = client(&relay);
        Vendor { folder, push, relay, client, config }
    }

    async fn ask(&self, method: Method, url: &str, body: Option<Value>) -> Response {
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn json(&self, method: Method, url: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.ask(method, url, Some(body)).await;
        (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// What the app does: it asks, shows what was pushed to it, and has its push address.
    async fn subscribe(&self, token: &str) -> (String, String) {
        let mut devices = self.push.subscribe();
        let url = format!("{}/subscribe", self.config.public_url);
        let wish = json!({ "provider": "fcm", "param": PROJECT, "token": token });
        let (status, told) = self.json(Method::POST, &url, wish).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{told}");
        let manage = told["subscription"].as_str().unwrap().to_owned();
        let pushed = soon("the code", devices.recv()).await.unwrap();
        assert_eq!((pushed.device.as_str(), pushed.data["t"].as_str()), (token, "proof"));
        let (status, told) = self.json(Method::POST, &manage, json!({ "code": pushed.data["b"] })).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
        (manage, told["endpoint"].as_str().unwrap().to_owned())
    }

    async fn post(&self, address: &str, lines: &[(&'static str, &str)], body: &[u8]) -> StatusCode {
        let mut request = self.client.post(address).body(body.to_vec());
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status()
    }
}

const CALL: [(&str, &str); 3] = [("ttl", "20"), ("urgency", "high"), ("content-encoding", "aes128gcm")];

/// Somebody else's gateway, which has keys of its own and none of the vendor's.
fn gateway(vendor: &Vendor) -> Handle {
    let mut config = Config::default().on_any_port();
    for user in ["mia", "ben"] {
        let account = Account { user: user.to_owned(), password: "open sesame".into(), ..Account::default() };
        config.account.push(account);
    }
    let (key, ca) = (vendor.folder.join("vapid.pem"), vendor.folder.join("relay.pem"));
    std::fs::write(&key, EcKey::generate().unwrap().private_pem()).unwrap();
    std::fs::write(&ca, vendor.relay.certificate_pem().unwrap()).unwrap();
    (config.push.webpush.key_file, config.push.webpush.ca_file) = (key, ca);
    config.push.webpush.subject = "mailto:ops@example.org".to_owned();
    config.push.webpush.allowed_hosts = vec!["localhost".to_owned()];
    Gateway::start(config).unwrap()
}

#[tokio::test]
async fn anybodys_gateway_wakes_the_vendors_app_and_the_relay_cannot_read_what_for() {
    let vendor = Vendor::new("").await;
    let (_, address) = vendor.subscribe(TOKEN).await;
    let keys = DeviceKeys::generate().unwrap();
    let gateway = gateway(&vendor);
    let mut devices = vendor.push.subscribe();

    let mut mia = Phone::connect(&gateway, Transport::Tcp, "mia", "open sesame").await;
    let prid = escape_value(&format!("{address}#{}", keys.fragment())).into_owned();
    mia.contact_parameters = format!(";ob;pn-provider=webpush;pn-prid={prid}");
    let (ok, _) = mia.register(604_800).await;
    assert!(ok.header(Name::FeatureCaps).unwrap().contains("webpush"));
    let sleeping = mia.sleep();
    let mut ben = Phone::connect(&gateway, Transport::Tcp, "ben", "open sesame").await;
    let (invite, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));

    // The vendor's service and the relay see a sealed body, and nothing else of the call.
    let pushed = soon("a push", devices.recv()).await.unwrap();
    assert_eq!((pushed.device.as_str(), pushed.data["t"].as_str()), (TOKEN, "sealed"));
    let record = vendor.push.records().pop().unwrap();
    assert_eq!(record.priority.as_deref(), Some("HIGH"));
    let seen = format!("{:?}", pushed.data);
    let from = invite.header(Name::From).unwrap();
    let wake = WakeId::of(invite.header(Name::CallId).unwrap(), from.split(";tag=").nth(1).unwrap());
    for private in ["mia", "ben", "localhost", wake.as_str(), invite.header(Name::CallId).unwrap()] {
        assert!(!seen.contains(private), "{private} in {seen}");
    }
    // The phone opens it: it is the gateway's own payload.
    let body = URL_SAFE_NO_PAD.decode(&pushed.data["b"]).unwrap();
    let opened = String::from_utf8(keys.open(&body).unwrap()).unwrap();
    assert_eq!(Payload::from_json(&opened).unwrap().kind, PayloadKind::Call(wake));
    let mut mia = Phone::wake(&gateway, Transport::Tcp, sleeping).await;
    mia.register(604_800).await;
    let incoming = mia.receive().await;
    assert_eq!((incoming.method(), incoming.call_id()), (SipMethod::Invite, invite.call_id()));
}

#[tokio::test]
async fn an_address_is_good_until_its_app_takes_it_back_or_the_token_dies() {
    let mut vendor = Vendor::new("").await;
    let (manage, address) = vendor.subscribe(TOKEN).await;
    assert_eq!(vendor.post(&address, &CALL, b"sealed").await, StatusCode::CREATED);
    // After a restart too, though only digests of addresses are stored.
    assert!(vendor.relay.flush(PATIENCE));
    let config = vendor.config.clone();
    let (stop, start) = (
        std::mem::replace(&mut vendor.relay, {
            let mut other = config.clone();
            other.listen = vec!["127.0.0.1:0".parse().unwrap()];
            other.store.path = vendor.folder.join("other.db");
            Relay::start(other).unwrap()
        }),
        config,
    );
    tokio::task::spawn_blocking(move || stop.shutdown()).await.unwrap();
    vendor.relay = Relay::start(start).unwrap();
    vendor.client = client(&vendor.relay);
    assert_eq!(vendor.post(&address, &CALL, b"sealed").await, StatusCode::CREATED);
    let bytes = std::fs::read(vendor.folder.join("relay.db")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for capability in [&address, &manage] {
        assert!(!holds(capability.rsplit('/').next().unwrap()), "a capability is in the store");
    }

    assert_eq!(vendor.ask(Method::DELETE, &manage, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(vendor.post(&address, &CALL, b"sealed").await, StatusCode::NOT_FOUND);
    assert_eq!(vendor.ask(Method::DELETE, &manage, None).await.status(), StatusCode::NOT_FOUND);

    let (_, address) = vendor.subscribe(TOKEN).await;
    vendor.push.always_for(TOKEN, Step::refuse(404, "UNREGISTERED"));
    for _ in 0..2 {
        assert_eq!(vendor.post(&address, &CALL, b"sealed").await, StatusCode::NOT_FOUND);
    }
    // The second post asked nobody.
    assert_eq!(vendor.push.records().iter().filter(|record| record.status == 404).count(), 1);
}

#[tokio::test]
async fn s24_a_token_that_others_have_seen_and_an_address_that_is_flooded_wake_nobody() {
    let vendor = Vendor::new("posts_per_minute = 3\nasks_per_minute = 4").await;
    let (_, address) = vendor.subscribe(TOKEN).await;
    let before = vendor.push.records().len();
    for wanted in [201, 201, 201, 429, 429] {
        assert_eq!(vendor.post(&address, &CALL, b"sealed").await.as_u16(), wanted);
    }
    assert_eq!(vendor.push.records().len() - before, 3);
    // Whoever knows a token gets no address without its app: the code goes to the app, and a guess is none.
    let url = format!("{}/subscribe", vendor.config.public_url);
    let wish = json!({ "provider": "fcm", "param": PROJECT, "token": TOKEN });
    let (_, told) = vendor.json(Method::POST, &url, wish.clone()).await;
    let manage = told["subscription"].as_str().unwrap();
    assert_eq!(vendor.push.records().last().unwrap().priority.as_deref(), Some("NORMAL"));
    assert_eq!(
        vendor.json(Method::POST, manage, json!({ "code": "A".repeat(32) })).await.0,
        StatusCode::NOT_FOUND
    );
    let foreign = json!({ "provider": "webpush", "token": "https://192.0.2.1/x" });
    assert_eq!(vendor.json(Method::POST, &url, foreign).await.0, StatusCode::FORBIDDEN);
    assert_eq!(vendor.json(Method::POST, &url, wish).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_post_that_breaks_rfc_8030_is_refused_and_a_vendors_trouble_is_passed_on() {
    let vendor = Vendor::new("").await;
    let (_, address) = vendor.subscribe(TOKEN).await;
    let sealed = ("content-encoding", "aes128gcm");
    for (lines, body, wanted) in [
        (&[("urgency", "high"), sealed][..], &b"x"[..], 400),
        (&[("ttl", "-1"), sealed], b"x", 400),
        (&[("ttl", "20"), ("urgency", "soon"), sealed], b"x", 400),
        (&[("ttl", "20"), ("topic", "a b"), sealed], b"x", 400),
        (&[("ttl", "20"), ("urgency", "high")], b"{\"caller\":\"mia\"}", 400),
        (&[("ttl", "20"), ("urgency", "high")], b"", 201),
        (&CALL, &[b'x'; 2901], 413),
        (&CALL, &[b'x'; 2900], 201),
        (&[("ttl", "0"), ("urgency", "low"), sealed], b"x", 201),
    ] {
        assert_eq!(vendor.post(&address, lines, body).await.as_u16(), wanted, "{lines:?} {}", body.len());
    }
    let last = vendor.push.records().pop().unwrap();
    assert_eq!(last.priority.as_deref(), Some("NORMAL"));
    vendor.push.next(Step::refuse_until(429, "QUOTA_EXCEEDED", "90"));
    assert_eq!(vendor.post(&address, &CALL, b"x").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(vendor.post(&format!("{address}x"), &CALL, b"x").await, StatusCode::NOT_FOUND);
}

/// Apple's kind of vendor, and its relay.
struct Apple {
    push: ApnsService,
    client: reqwest::Client,
    base: String,
    folder: PathBuf,
    _relay: relay::Handle,
}

impl Drop for Apple {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Apple {
    async fn new() -> Apple {
        let (folder, options) = (folder(), ApnsOptions::default());
        let push = ApnsService::start(options.clone()).await.unwrap();
        std::fs::write(folder.join("key.p8"), push.key().private_pem()).unwrap();
        std::fs::write(folder.join("ca.pem"), push.ca_pem()).unwrap();
        let (place, port) = (folder.display(), free_port());
        let base = format!("https://localhost:{port}");
        let config = relay::Config::from_toml(&format!(
            "listen = [\"127.0.0.1:{port}\"]\npublic_url = \"{base}\"\n[store]\npath = \"{place}/relay.db\"\n\
             [push.apns]\nteam_id = \"{}\"\nkey_id = \"{}\"\nkey_file = \"{place}/key.p8\"\ntopic = \"{}\"\n\
             ca_file = \"{place}/ca.pem\"\nendpoint = \"{}\"\n",
            options.team,
            options.key_id,
            options.bundle,
            push.endpoint()
        ))
        .unwrap();
        let relay = Relay::start(config).unwrap();
        Apple { client: client(&relay), push, base, folder, _relay: relay }
    }

    async fn subscribe(&self, param: &str, token: &str) -> (StatusCode, Value) {
        let wish = json!({ "provider": "apns", "param": param, "token": token });
        let answer = self.client.post(format!("{}/subscribe", self.base)).json(&wish).send().await.unwrap();
        (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn post(&self, address: &str, urgency: &'static str) -> StatusCode {
        let request = self.client.post(address).header("ttl", "20").header("urgency", urgency);
        request.header("content-encoding", "aes128gcm").body("sealed").send().await.unwrap().status()
    }
}

const VOIP: &str = "6f9a000000000000000000000000000000000000000000000000000000000001";
const REMOTE: &str = "6f9a000000000000000000000000000000000000000000000000000000000002";

#[tokio::test]
async fn an_iphone_proves_itself_by_its_quiet_token_and_rings_by_the_other() {
    let apple = Apple::new().await;
    let param = format!("{}.{}.voip&remote", ApnsOptions::default().team, ApnsOptions::default().bundle);
    let (status, told) = apple.subscribe(&param, &format!("{VOIP}:voip&{REMOTE}:remote")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    let proof = apple.push.records().pop().unwrap();
    assert_eq!((proof.device.as_str(), proof.push_type.as_str(), proof.status), (REMOTE, "background", 200));
    let code = json!({ "code": proof.payload["b"] });
    let shown = apple.client.post(told["subscription"].as_str().unwrap()).json(&code).send().await.unwrap();
    assert_eq!(shown.status(), StatusCode::CREATED);
    let told: Value = serde_json::from_str(&shown.text().await.unwrap()).unwrap();
    let address = told["endpoint"].as_str().unwrap();
    for (urgency, device, kind) in
        [("high", VOIP, "voip"), ("normal", REMOTE, "background"), ("low", REMOTE, "background")]
    {
        assert_eq!(apple.post(address, urgency).await, StatusCode::CREATED, "{urgency}");
        let last = apple.push.records().pop().unwrap();
        assert_eq!((last.device.as_str(), last.push_type.as_str(), last.status), (device, kind, 200));
        assert_eq!(last.payload["t"], "sealed");
    }
}

#[tokio::test]
async fn an_iphone_with_a_ringing_token_alone_is_never_rung_for_what_is_no_call() {
    let apple = Apple::new().await;
    let param = format!("{}.{}.voip", ApnsOptions::default().team, ApnsOptions::default().bundle);
    // There is no quiet push that could carry a code.
    let (status, told) = apple.subscribe(&param, VOIP).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let address = told["endpoint"].as_str().unwrap();
    assert_eq!(apple.post(address, "normal").await, StatusCode::BAD_GATEWAY);
    assert_eq!(apple.post(address, "low").await, StatusCode::BAD_GATEWAY);
    assert_eq!(apple.push.records().len(), 0);
    assert_eq!(apple.post(address, "high").await, StatusCode::CREATED);
    assert_eq!(apple.push.records()[0].push_type, "voip");
}

#[tokio::test]
async fn a_gateway_posts_many_wakes_on_one_connection_of_http_2() {
    let vendor = Vendor::new("").await;
    let (_, address) = vendor.subscribe(TOKEN).await;
    let posts = (0..10).map(|_| {
        let request = vendor.client.post(&address).body("sealed");
        CALL.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    });
    for answer in futures_util::future::join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::CREATED, reqwest::Version::HTTP_2));
    }
}
