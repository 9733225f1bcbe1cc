//! The doctor: a sound installation passes, and each kind of breakage has its own finding and cure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::sync::mpsc;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Canary, Config, Upstream};
use wakeline_gateway::doctor::{self, Finding, Hop, Options, Records, Report, State, WakeSignal};
use wakeline_gateway::push::Lookup;
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::es256::EcKey;
use wakeline_push_services::service_account::ServiceAccount;
use wakeline_push_services::{
    ApnsOptions, ApnsService, FcmOptions, FcmService, HookService, Step, WebPushService,
};
use wakeline_sip_resolve::{Kind, Question, Record};

const PROJECT: &str = "doctors-project";
const TOKEN: &str = "canary:APA91bOfTheOperator";

struct Site {
    folder: PathBuf,
    push: FcmService,
    config: Config,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    /// What an operator has set up: a push service, an account, a view, a store, a canary's token.
    async fn new() -> Site {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = std::env::temp_dir().join(format!("wakeline-doctor-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let options = FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() };
        let push = FcmService::start(options).await.unwrap();
        std::fs::write(folder.join("push-ca.pem"), push.ca_pem()).unwrap();
        std::fs::write(folder.join("account.json"), push.service_account_json()).unwrap();
        let mut config = Config::default().on_any_port();
        config.store.path = folder.join("gateway.db");
        config.push.fcm.endpoint = push.endpoint();
        config.push.fcm.ca_file = folder.join("push-ca.pem");
        config.push.fcm.service_accounts = vec![folder.join("account.json")];
        config.push.canary.push(Canary {
            provider: "fcm".to_owned(),
            param: PROJECT.to_owned(),
            token: TOKEN.into(),
            every: 3600,
        });
        let account =
            Account { user: "test".to_owned(), password: "open sesame".into(), ..Account::default() };
        config.account.push(account);
        config.admin.listen = vec!["127.0.0.1:0".parse().unwrap()];
        Site { folder, push, config }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts it; the file then names the ports that the system chose.
    fn start(&mut self) -> Handle {
        let gateway = Gateway::start(self.config.clone()).unwrap();
        let listen = &mut self.config.listen;
        for (transport, address) in gateway.bound() {
            match transport {
                Transport::Udp => listen.udp = vec![*address],
                Transport::Tcp => listen.tcp = vec![*address],
                Transport::Tls => listen.tls = vec![*address],
                Transport::Ws => listen.ws = vec![*address],
                Transport::Wss => listen.wss = vec![*address],
            }
        }
        self.config.admin.listen = gateway.admin().to_vec();
        gateway
    }

    fn trusting(&self, gateway: &Handle) -> Options {
        let pem = gateway.certificate_pem().unwrap();
        Options { ca_file: Some(self.write("ca.pem", pem)), ..Options::default() }
    }
}

fn of(report: &Report, hop: Hop) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.hop == hop).collect()
}

/// The one broken finding of a hop, as detail and cure.
fn broken(report: &Report, hop: Hop) -> (String, String) {
    let found: Vec<&Finding> = report.broken_hops().filter(|finding| finding.hop == hop).collect();
    let [Finding { detail, state: State::Broken(cure), .. }] = found[..] else { panic!("{hop}: {report}") };
    (detail.clone(), cure.clone())
}

#[tokio::test]
async fn a_sound_installation_passes_and_its_test_call_leaves_a_trace() {
    let mut site = Site::new().await;
    let gateway = site.start();
    let (sender, signal) = mpsc::unbounded_channel();
    let mut deliveries = site.push.subscribe();
    tokio::spawn(async move {
        while let Some(delivered) = deliveries.recv().await {
            if delivered.data.get("t").is_some_and(|kind| kind == "call") {
                let _ = sender.send(());
            }
        }
    });
    for signal in [WakeSignal::Delivered(signal), WakeSignal::Trace] {
        let report = doctor::examine(&site.config, Options { signal, ..site.trusting(&gateway) }).await;
        assert!(report.is_sound(), "{report}");
        for hop in [Hop::Port, Hop::Tls, Hop::Credentials, Hop::Gateway, Hop::Register, Hop::Push, Hop::Call]
        {
            assert!(of(&report, hop).iter().any(|finding| finding.state == State::Good), "{hop}: {report}");
        }
        assert_eq!(of(&report, Hop::Port).len(), 5, "{report}");
        let text = report.to_string();
        for leg in
            ["held for a sleeping device", "push taken by the service", "device rings", "device answered"]
        {
            assert!(text.contains(leg), "{leg}: {text}");
        }
        // Nothing of the test stays behind.
        assert!(gateway.bindings("test", "localhost").await.is_empty());
        assert!(!text.contains("open sesame") && !text.contains(TOKEN));
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_run_is_a_closed_port() {
    let mut site = Site::new().await;
    drop(site.start());
    let report = doctor::examine(&site.config, Options::default()).await;
    let ports: Vec<_> = report.broken_hops().filter(|finding| finding.hop == Hop::Port).collect();
    assert_eq!(ports.len(), 5, "{report}");
    for finding in ports {
        let State::Broken(cure) = &finding.state else { panic!() };
        assert!(cure.contains("wakeline gateway --config"), "{report}");
    }
    assert!(broken(&report, Hop::Gateway).0.contains("does not answer"), "{report}");
    assert_eq!(of(&report, Hop::Call)[0].state, State::Skipped);
}

#[tokio::test]
async fn one_closed_port_is_named_among_open_ones() {
    let mut site = Site::new().await;
    let gateway = site.start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.config.listen.tcp = vec![free];
    let report = doctor::examine(&site.config, site.trusting(&gateway)).await;
    let closed: Vec<&Finding> = report.broken_hops().collect();
    assert_eq!(closed.len(), 1, "{report}");
    assert_eq!((closed[0].hop, closed[0].subject.clone()), (Hop::Port, format!("tcp {free}")));
    assert!(closed[0].detail.contains("refused"), "{report}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_named() {
    let mut site = Site::new().await;
    site.config.domains.insert(0, "voice.example.org".to_owned());
    site.config.public.tls = "edge.example.org:5061".to_owned();
    let gateway = site.start();
    let table = BTreeMap::from([("edge.example.org".to_owned(), vec!["127.0.0.1".parse().unwrap()])]);
    let options = Options {
        lookup: Lookup::Table(table),
        records: Records::Table(BTreeMap::new()),
        ..site.trusting(&gateway)
    };
    let report = doctor::examine(&site.config, options).await;
    let (detail, cure) = broken(&report, Hop::Dns);
    assert!(detail.contains("no name server knows") && cure.contains("A (and AAAA) record"), "{report}");
    let good: Vec<&Finding> =
        of(&report, Hop::Dns).into_iter().filter(|one| one.state == State::Good).collect();
    assert_eq!(good[0].subject, "edge.example.org (127.0.0.1)");
}

#[tokio::test]
async fn records_that_lead_phones_astray_are_named_with_the_line_that_would_be_right() {
    let mut site = Site::new().await;
    site.config.domains = vec!["voice.example.org".to_owned()];
    let gateway = site.start();
    let tls = gateway.address(Transport::Tls).unwrap().port();
    site.config.listen.udp.clear();
    let here = vec!["127.0.0.1".parse().unwrap()];
    let names = ["voice.example.org", "edge.example.org"].map(|name| (name.to_owned(), here.clone()));
    let examined = async |records: Vec<(&str, Kind, Record)>| {
        let mut table: BTreeMap<Question, Vec<Record>> = BTreeMap::new();
        for (name, kind, record) in records {
            table.entry(Question { name: name.to_owned(), kind }).or_default().push(record);
        }
        let options = Options {
            lookup: Lookup::Table(BTreeMap::from(names.clone())),
            records: Records::Table(table),
            ..site.trusting(&gateway)
        };
        let report = doctor::examine(&site.config, options).await;
        let told =
            |finding: &&Finding| finding.subject.contains("voice.example.org") && finding.hop == Hop::Dns;
        report.findings.iter().filter(told).cloned().collect::<Vec<Finding>>()
    };
    let srv =
        |port: u16, target: &str| Record::Srv { priority: 10, weight: 0, port, target: target.to_owned() };
    let naptr = |service: &str, replacement: &str| Record::Naptr {
        order: 10,
        preference: 10,
        flags: "S".to_owned(),
        service: service.to_owned(),
        replacement: replacement.to_owned(),
    };
    let sips = "_sips._tcp.voice.example.org";
    let states = |found: &[Finding], subject: &str| {
        let one = found.iter().find(|one| one.subject.starts_with(subject));
        let one = one.unwrap_or_else(|| panic!("{subject}: {found:#?}"));
        let cure = match &one.state {
            State::Good => "good".to_owned(),
            State::Skipped => "skipped".to_owned(),
            State::Doubtful(cure) | State::Broken(cure) => cure.clone(),
        };
        (one.detail.clone(), cure)
    };
    // None at all, on ports that nobody would guess: the line that helps.
    let found = examined(vec![]).await;
    let (detail, cure) = states(&found, sips);
    assert!(detail.contains("5061"), "{detail}");
    assert!(cure.contains(&format!("{sips}. IN SRV 10 0 {tls} voice.example.org.")), "{cure}");
    // All is well.
    let domain = "voice.example.org";
    let found = examined(vec![
        (sips, Kind::Srv, srv(tls, "edge.example.org")),
        (domain, Kind::Naptr, naptr("SIPS+D2T", sips)),
        (domain, Kind::Naptr, naptr("E2U+sip", "elsewhere.example.org")),
    ])
    .await;
    assert_eq!(states(&found, sips).1, "good", "{found:#?}");
    assert_eq!(states(&found, "voice.example.org NAPTR SIPS+D2T").1, "good");
    assert!(
        found.iter().all(|one| !matches!(one.state, State::Broken(_) | State::Doubtful(_))),
        "{found:#?}"
    );
    // The wrong port, a host without address, a transport that is not served, a NAPTR that leads nowhere.
    let found = examined(vec![(sips, Kind::Srv, srv(9, "edge.example.org"))]).await;
    assert_eq!(states(&found, sips).1, format!("let the record name port {tls}"));
    let found = examined(vec![(sips, Kind::Srv, srv(tls, "gone.example.org"))]).await;
    assert!(states(&found, sips).0.contains("no address"), "{found:#?}");
    let udp = "_sip._udp.voice.example.org";
    let found = examined(vec![
        (udp, Kind::Srv, srv(5060, "edge.example.org")),
        (domain, Kind::Naptr, naptr("SIP+D2U", udp)),
        (domain, Kind::Naptr, naptr("SIPS+D2T", sips)),
    ])
    .await;
    assert!(states(&found, udp).1.contains("listen.udp"), "{found:#?}");
    assert!(states(&found, "voice.example.org NAPTR SIP+D2U").0.contains("nothing listens"));
    assert!(states(&found, "voice.example.org NAPTR SIPS+D2T").0.contains("no SRV record"));
}

/// An authority's certificate, and one under it, valid between two years, for a name.
fn certificate(site: &Site, from: i32, until: i32, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let authority = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&authority).unwrap().pem();
    let issuer = Issuer::new(ca, authority);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    (
        site.write("authority.pem", &pem),
        site.write("leaf.pem", &leaf.pem()),
        site.write("leaf.key", &key.serialize_pem()),
    )
}

async fn examined(site: &mut Site, ca_file: Option<&Path>) -> Report {
    let gateway = site.start();
    let options = Options { ca_file: ca_file.map(Path::to_owned), ..Options::default() };
    let report = doctor::examine(&site.config, options).await;
    drop(gateway);
    report
}

#[tokio::test]
async fn a_certificate_that_expired_or_is_for_others_or_of_nobody_is_told_apart() {
    for (from, until, name, trusted, told) in [
        (2020, 2021, "localhost", true, "has expired"),
        (2090, 2091, "localhost", true, "not valid yet"),
        (2020, 2090, "other.example", true, "for other names"),
        (2020, 2090, "localhost", false, "no authority"),
    ] {
        let mut site = Site::new().await;
        let (authority, leaf, key) = certificate(&site, from, until, name);
        (site.config.tls.certificate, site.config.tls.key) = (leaf, key);
        let report = examined(&mut site, trusted.then_some(authority.as_path())).await;
        let (detail, cure) = broken(&report, Hop::Tls);
        assert!(detail.contains(told) && !cure.is_empty(), "{told}: {report}");
        assert_eq!(report.broken_hops().count(), 1, "{report}");
    }
    let mut site = Site::new().await;
    let (authority, leaf, key) = certificate(&site, 2020, 2090, "localhost");
    (site.config.tls.certificate, site.config.tls.key) = (leaf, key);
    let report = examined(&mut site, Some(&authority)).await;
    assert!(report.is_sound(), "{report}");
}

#[tokio::test]
async fn a_service_account_that_is_refused_or_is_none_is_named() {
    let mut site = Site::new().await;
    // Another key than the one that the service knows.
    let other = ServiceAccount::generate(PROJECT).unwrap().json(&site.push.token_uri());
    site.config.push.fcm.service_accounts.push(site.write("old-account.json", &other));
    let gateway = site.start();
    let report = doctor::examine(&site.config, site.trusting(&gateway)).await;
    let (detail, cure) = broken(&report, Hop::Credentials);
    assert!(detail.contains("refuses our key"), "{report}");
    assert!(cure.contains("Firebase console"), "{report}");
    let wrong: Vec<&str> = report.broken_hops().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(wrong, ["fcm old-account.json"], "{report}");

    site.config.push.fcm.service_accounts = vec![site.write("no-account.json", "{}")];
    let report = doctor::examine(&site.config, site.trusting(&gateway)).await;
    assert!(broken(&report, Hop::Credentials).1.contains("JSON key"), "{report}");
}

#[tokio::test]
async fn apple_is_asked_with_nobodys_token_and_the_hook_and_web_push_with_the_canarys() {
    let mut site = Site::new().await;
    let apns = ApnsService::start(ApnsOptions::default()).await.unwrap();
    let web = WebPushService::start().await.unwrap();
    let hook = HookService::start("a secret of the operator's").await.unwrap();
    let vapid = EcKey::generate().unwrap();
    let ca = site.write("services-ca.pem", &[apns.ca_pem(), web.ca_pem(), hook.ca_pem()].concat());
    let (key, other) = (site.write("key.p8", &apns.key().private_pem()), EcKey::generate().unwrap());
    let (other, vapid_file) =
        (site.write("other.p8", &other.private_pem()), site.write("vapid.pem", &vapid.private_pem()));
    let push = &mut site.config.push;
    push.apns.team_id = ApnsOptions::default().team;
    push.apns.key_id = ApnsOptions::default().key_id;
    push.apns.key_file = key;
    push.apns.topic = "org.example.voice".to_owned();
    push.apns.endpoint = apns.endpoint();
    push.apns.sandbox_endpoint = apns.endpoint();
    push.webpush.key_file = vapid_file;
    push.webpush.subject = "mailto:ops@example.org".to_owned();
    push.webpush.allowed_hosts = vec!["127.0.0.1".to_owned()];
    push.hook.url = hook.url();
    push.hook.secret = "a secret of the operator's".into();
    push.hook.providers = vec!["hms".to_owned()];
    for file in [&mut push.apns.ca_file, &mut push.webpush.ca_file, &mut push.hook.ca_file] {
        file.clone_from(&ca);
    }
    let credentials = async |site: &Site, gateway: &Handle| {
        let report = doctor::examine(&site.config, site.trusting(gateway)).await;
        let told = |subject: &str| {
            let found = of(&report, Hop::Credentials).into_iter().find(|one| one.subject == subject);
            found.cloned().unwrap_or_else(|| panic!("{subject}: {report}"))
        };
        [told("apns"), told("webpush"), told("hook")]
    };
    let gateway = site.start();
    let [apple, browser, program] = credentials(&site, &gateway).await;
    assert_eq!(apple.state, State::Good, "{apple:?}");
    assert_eq!(apns.records()[0].push_type, "background", "nothing could ring");
    assert!(browser.state == State::Good && program.state == State::Skipped, "{browser:?} {program:?}");
    assert!(hook.records().is_empty() && web.records().is_empty());

    // With canaries the others are asked too; and a key that Apple does not know is named.
    let canary = |provider: &str, token: &str| Canary {
        provider: provider.to_owned(),
        param: String::new(),
        token: token.into(),
        every: 3600,
    };
    let server = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vapid.public())
    };
    let subscription = web.browser("ops", "127.0.0.1", &server).unwrap();
    site.config.push.canary.extend([canary("webpush", &subscription), canary("hms", "huawei-token")]);
    site.config.push.apns.key_file = other;
    let [apple, browser, program] = credentials(&site, &gateway).await;
    assert!(matches!(apple.state, State::Broken(_)) && apple.detail.contains("refuses our key"), "{apple:?}");
    for asked in [browser, program] {
        assert_eq!(asked.state, State::Good, "{asked:?}");
        assert!(asked.detail.contains("canary"), "{asked:?}");
    }
    assert_eq!((hook.records().len(), web.records().len()), (1, 1));
}

#[tokio::test]
async fn a_wrong_password_and_a_token_that_died_are_told() {
    let mut site = Site::new().await;
    let gateway = site.start();
    let account = Some(("test".to_owned(), "wrong".into()));
    let report = doctor::examine(&site.config, Options { account, ..site.trusting(&gateway) }).await;
    assert!(broken(&report, Hop::Register).0.contains("password is not accepted"), "{report}");

    site.push.always_for(TOKEN, Step::refuse(404, "UNREGISTERED"));
    let report = doctor::examine(&site.config, site.trusting(&gateway)).await;
    let (detail, cure) = broken(&report, Hop::Push);
    assert!(detail.contains("not take the push") || detail.contains("refused with 480"), "{report}");
    assert!(cure.contains("push.canary"), "{report}");
}

#[tokio::test]
async fn a_file_that_means_nothing_and_a_damaged_store_are_told() {
    let mut site = Site::new().await;
    let gateway = site.start();
    let options = site.trusting(&gateway);
    std::fs::write(site.folder.join("other.db"), vec![b'x'; 8192]).unwrap();
    site.config.store.path = site.folder.join("other.db");
    let report = doctor::examine(&site.config, options).await;
    assert!(broken(&report, Hop::Store).1.contains("restore"), "{report}");
    site.config.digest.clear();
    let report = doctor::examine(&site.config, Options::default()).await;
    assert!(broken(&report, Hop::Configuration).0.contains("digest"), "{report}");
    assert_eq!(report.findings.len(), 1);
}

#[tokio::test]
async fn a_pbx_behind_the_edge_is_asked_and_one_that_is_gone_is_named() {
    // The PBX: a registrar of its own. A call through a real one is in the interop tests.
    let mut pbx = Site::new().await;
    pbx.config.domains = vec!["pbx.example".to_owned()];
    let registrar = pbx.start();
    let udp = registrar.address(Transport::Udp).unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let mut site = Site::new().await;
    site.config.upstream.push(Upstream {
        domains: vec!["pbx.example".to_owned()],
        next_hops: vec![format!("sip:{udp};transport=udp"), format!("sip:{gone};transport=tcp")],
        ..Upstream::default()
    });
    let gateway = site.start();
    let report = doctor::examine(&site.config, site.trusting(&gateway)).await;
    assert!(broken(&report, Hop::Upstream).1.contains("start the PBX"), "{report}");
    let hops = of(&report, Hop::Upstream);
    assert!(
        hops.iter().any(|one| one.state == State::Good && one.subject.contains(&udp.to_string())),
        "{report}"
    );
    assert_eq!(report.broken_hops().count(), 1, "{report}");
}
