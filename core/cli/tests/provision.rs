//! From the operator's wish to a phone that registers with what it was given, hears of changes and of the end: the real
//! gateway over TLS, `wakeline provision`, and a phone that is started with what that kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and waits for one event"
)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use wakeline_engine::{AudioChoice, Options, Phone, Trust};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};
use wakeline_settings::Settings;
use wakeline_user_agent::{AccountId, Command, Event, ProvisioningStep, RegistrationPhase};

const TOKEN: &str = "operator-0123456789";
const PASSWORD: &str = "open sesame";
/// A machine that is busy may keep a phone waiting for so long.
const PATIENCE: Duration = Duration::from_secs(20);
const ACCOUNT: AccountId = AccountId(0);

struct Site {
    gateway: Handle,
    client: reqwest::Client,
    folder: PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    fn start(name: &str) -> Site {
        let folder = std::env::temp_dir().join(format!("wakeline-provision-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        // Links name the port, so it must be known before the gateway has it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "[store]\npath = \"{}\"\n[provision]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"https://localhost:{port}\"\n\
             token = \"{TOKEN}\"\nname = \"Acme\"\n",
            folder.join("gateway.db").display()
        );
        let mut config = Config::from_toml(&text).unwrap().on_any_port();
        config.provision.listen = vec![([127, 0, 0, 1], port).into()];
        config.account.push(Account {
            user: "mia".to_owned(),
            password: PASSWORD.into(),
            ..Account::default()
        });
        let gateway = Gateway::start(config).unwrap();
        std::fs::write(folder.join("ca.pem"), gateway.certificate_pem().unwrap()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        Site { gateway, client, folder }
    }

    async fn operator(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("https://localhost:{}{path}", self.gateway.provision()[0].port());
        let request = self.client.request(method, url).bearer_auth(TOKEN);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    fn wish(&self, display: &str) -> Value {
        let edge = format!("localhost:{}", self.gateway.address(Transport::Tls).unwrap().port());
        json!({ "parameters": { "serveraddress": "localhost", "proxyaddress": edge, "username": "mia",
                "password": PASSWORD, "transport": "2", "displayname": display } })
    }

    /// `wakeline provision`, answered with this line.
    async fn follow(&self, link: &str, state: &Path, trusted: bool, answer: &str) -> (Option<i32>, String) {
        let mut program = Program::new(env!("CARGO_BIN_EXE_wakeline"));
        program.args(["provision", link, "--state"]).arg(state);
        if trusted {
            program.arg("--tls-roots").arg(self.folder.join("ca.pem"));
        }
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
        let Output { status, stdout, stderr } = waited.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(!said.contains(PASSWORD), "S23: {said}");
        (status.code(), said)
    }
}

async fn wait<T>(phone: &mut Phone, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = phone.event().await.expect("the phone stopped").event;
            seen.push(format!("{event:?}"));
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("the event never came: {seen:#?}"))
}

async fn phase(phone: &mut Phone, wanted: RegistrationPhase) {
    wait(phone, |event| match event {
        Event::RegistrationChanged(view) => (view.phase == wanted).then_some(()),
        _ => None,
    })
    .await;
}

async fn step(phone: &mut Phone) -> ProvisioningStep {
    wait(phone, |event| match event {
        Event::Provisioning { step, .. } => Some(step),
        _ => None,
    })
    .await
}

async fn has_serial(phone: &mut Phone, wanted: u32) {
    phone.command(Command::Register { account: ACCOUNT });
    match step(phone).await {
        ProvisioningStep::Done { provider, serial } => {
            assert_eq!((provider.as_str(), serial), ("Acme", wanted))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_link_becomes_a_registered_phone_that_hears_of_changes_and_of_the_end() {
    let site = Site::start("whole");
    let (status, link) = site.operator(Method::POST, "/provision", Some(site.wish("Mia"))).await;
    assert_eq!(status, StatusCode::CREATED, "{link}");
    let (id, address) = (link["id"].as_str().unwrap(), link["link"].as_str().unwrap());
    let state = site.folder.join("state");

    // Whom nobody vouches for is told nothing; a no leaves the code good; a yes keeps the settings, for us alone.
    let (code, said) = site.follow(address, &state, false, "y\n").await;
    assert!(code == Some(1) && said.contains("certificate is not trusted"), "{said}");
    let (code, said) = site.follow(address, &state, true, "n\n").await;
    assert!(code == Some(1) && said.contains("declined") && said.contains("It calls itself Acme"), "{said}");
    assert!(said.contains("username = mia") && said.contains("password = (secret)"), "{said}");
    let record = state.join("provision-0.json");
    assert!(!record.exists());
    let (code, said) = site.follow(address, &state, true, "y\n").await;
    assert!(code == Some(0) && said.contains("wakeline phone --state"), "{said}");
    assert_eq!(std::fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, said) = site.follow(address, &site.folder.join("other"), true, "y\n").await;
    assert!(code == Some(1) && said.contains("it was used") && said.contains("ask the provider"), "{said}");

    // A phone that knows nothing but its folder registers over TLS.
    let options = || Options {
        accounts: vec![Settings::new()],
        state: Some(state.clone()),
        audio: AudioChoice::Null,
        trust: Trust::Authorities(site.folder.join("ca.pem")),
        ..Options::default()
    };
    let mut phone = Phone::start(options()).unwrap();
    phone.command(Command::Start);
    phase(&mut phone, RegistrationPhase::Registered).await;

    // A change, and one that is signed with a new key; each is told in a 200.
    let path = format!("/provision/{id}");
    site.operator(Method::PUT, &path, Some(site.wish("Mia M."))).await;
    has_serial(&mut phone, 2).await;
    assert!(std::fs::read_to_string(&record).unwrap().contains("Mia M."));
    assert_eq!(site.operator(Method::POST, "/provision/keys", None).await.0, StatusCode::OK);
    site.operator(Method::PUT, &path, Some(site.wish("Mia N."))).await;
    has_serial(&mut phone, 3).await;

    // After a restart of its process, the phone still follows.
    tokio::task::spawn_blocking(|| phone.stop()).await.unwrap();
    let mut phone = Phone::start(options()).unwrap();
    phone.command(Command::Start);
    phase(&mut phone, RegistrationPhase::Registered).await;

    // Withdrawn: unregistered, and nothing is left.
    assert_eq!(site.operator(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    phone.command(Command::Register { account: ACCOUNT });
    let told = step(&mut phone).await;
    assert!(matches!(&told, ProvisioningStep::Withdrawn { provider } if provider == "Acme"), "{told:?}");
    phase(&mut phone, RegistrationPhase::Unregistered).await;
    tokio::task::spawn_blocking(|| phone.stop()).await.unwrap();
    assert!(!record.exists());
}

#[tokio::test]
async fn what_is_no_link_is_refused_with_its_cure() {
    let site = Site::start("wrong");
    let state = site.folder.join("state");
    let port = site.gateway.provision()[0].port();
    for (link, told) in [
        ("nonsense".to_owned(), "copy the whole link"),
        (format!("http://localhost:{port}/p/{}", "7".repeat(26)), "starts with https"),
        (format!("https://mia@localhost:{port}/p/{}", "7".repeat(26)), "server cannot be read"),
        (format!("https://localhost:{port}/p/{}", "7".repeat(26)), "ask the provider for a new link"),
        (format!("https://localhost:{port}/p/short"), "has no code"),
    ] {
        let (code, said) = site.follow(&link, &state, true, "y\n").await;
        assert!(code == Some(1) && said.contains(told), "{link}: {said}");
    }
}
