//! Our gateway before Kamailio: a phone registers there through us with a password that only Kamailio knows, sleeps, is
//! woken for a call, and calls out.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod push;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::gateway::Gateway;
use wakeline_interop::kamailio::{DOMAIN, Kamailio, PASSWORD};
use wakeline_interop::phone::{Phone, program};
use wakeline_interop::place::{Folder, free_port, wait_until};
use wakeline_interop::{sipp, sound};
use wakeline_push_services::{Delivered, FcmService};

const OURS: f64 = 500.0;
const THEIRS: f64 = 1000.0;
const TOKEN: &str = "dK2_exampleToken:APA91bExample";
/// Phones live elsewhere than the PBX, whose network is trusted.
const PHONES: &str = "127.0.0.2";

/// How the gateway reaches Kamailio.
#[derive(Clone, Copy)]
enum Between {
    Udp,
    Tcp,
    Tls,
}

/// What the gateway knows of Kamailio's passwords.
#[derive(Clone, Copy)]
enum Knows {
    Nothing,
    MiasPassword,
}

/// Mia's password sealed by the program itself, as an operator does it; gives the lines for the file.
fn kept(folder: &Folder, upstream: &str) -> String {
    let vault = format!("[vault]\nkey_file = \"{}\"\n", folder.path("vault.key").display());
    let file = folder.write("sealing.toml", &format!("{vault}{upstream}"));
    let mut command = Command::new(program());
    command.args(["gateway", "--seal", &format!("mia@{DOMAIN}"), "--config"]).arg(file);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("its standard input");
    writeln!(input, "{PASSWORD}").expect("it reads the password");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let account = String::from_utf8(output.stdout).expect("text");
    assert!(account.contains("sealed = \"v1.") && !account.contains(PASSWORD), "{account}");
    format!("{vault}{account}")
}

struct Place {
    push: Arc<FcmService>,
    deliveries: UnboundedReceiver<Delivered>,
    kamailio: Kamailio,
    gateway: Gateway,
    folder: Folder,
}

impl Place {
    fn new(name: &str, between: Between, knows: Knows) -> Place {
        let folder = Folder::new(name);
        let push = push::service();
        let deliveries = push.subscribe();
        let account = folder.write("push-account.json", &push.service_account_json());
        let ca = folder.write("push-ca.pem", push.ca_pem());
        let kamailio = Kamailio::start_challenging_calls(&folder);
        let (port, tls) = (free_port(), free_port());
        let upstream = match between {
            Between::Udp => format!("next_hops = [\"sip:127.0.0.1:{}\"]", kamailio.port),
            Between::Tcp => format!(
                "next_hops = [\"sip:127.0.0.1:{};transport=tcp\"]\nnetworks = [\"127.0.0.1\"]",
                kamailio.port
            ),
            Between::Tls => format!(
                "next_hops = [\"sip:127.0.0.1:{};transport=tls\"]\nnetworks = [\"127.0.0.1\"]\nca_file = \"{}\"",
                kamailio.tls_port,
                kamailio.authority.display()
            ),
        };
        let upstream = format!("[[upstream]]\ndomains = [\"{DOMAIN}\"]\n{upstream}\n");
        let more = match knows {
            Knows::Nothing => String::new(),
            Knows::MiasPassword => kept(&folder, &upstream),
        };
        let file = format!(
            "[listen]\nudp = [\"127.0.0.1:{port}\"]\ntcp = [\"127.0.0.1:{port}\"]\ntls = [\"127.0.0.1:{tls}\"]\nws = []\nwss = []\n\
             [admin]\nlisten = [\"127.0.0.1:{}\"]\n{upstream}\n{more}\n\
             [push.fcm]\nservice_accounts = [\"{}\"]\nca_file = \"{}\"\nendpoint = \"{}\"\n",
            free_port(),
            account.display(),
            ca.display(),
            push.endpoint()
        );
        let gateway = Gateway::start_with(&folder, port, &file);
        Place { push, deliveries, kamailio, gateway, folder }
    }

    /// Mia's phone, registered at Kamailio through the gateway, with a push token.
    fn mia(&self, flags: &[&str]) -> Phone {
        let mut account = self.gateway.account("mia", "1");
        account.retain(|(name, _)| *name != "localip");
        account.push(("localip", PHONES.to_owned()));
        account.push(("codec", "pcmu".to_owned()));
        let token = format!("fcm:{}:{TOKEN}", "wakeline-demo");
        let flags: Vec<&str> = ["--push-token", &token].into_iter().chain(flags.iter().copied()).collect();
        let mut mia = Phone::start(&self.folder, "phone-mia.log", &account, &flags);
        let registered = mia.wait("registration with push", |event| {
            event["event"] == "registration-changed"
                && event["phase"] == "registered"
                && event["push"] == "confirmed"
        });
        drop(registered);
        mia
    }

    /// What the push service was asked to deliver to mia's phone.
    fn delivered(&mut self) -> String {
        let mut message = None;
        wait_until("a push", || {
            message = self.deliveries.try_recv().ok();
            message.is_some()
        });
        let message = message.expect("a push");
        assert_eq!(message.device, TOKEN);
        serde_json::to_string(&message.data).expect("a payload")
    }

    fn baresip(&self, user: &'static str) -> Baresip {
        let says = self.folder.path(&format!("{user}-says.wav"));
        sound::write_tone(&says, THEIRS, 8000, 60);
        let wishes = Wishes {
            user,
            registrar: self.kamailio.port,
            transport: "udp",
            codecs: "pcmu",
            more: "",
            answer: "auto",
            says: &says,
        };
        Baresip::start(&self.folder, &wishes)
    }
}

fn a_phone_sleeps_and_talks_through_us(name: &str, between: Between, knows: Knows) {
    let mut place = Place::new(name, between, knows);
    let mut bob = place.baresip("bob");
    let heard = place.folder.path("phone-heard.wav");
    let mut mia = place.mia(&["--tone", &OURS.to_string(), "--record", &heard.display().to_string()]);
    // Kamailio knows our Contact and nothing that wakes the phone.
    wait_until("mia is bound at kamailio", || !place.kamailio.contacts_of("mia").is_empty());
    let contacts = place.kamailio.contacts_of("mia");
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    assert!(contacts[0].contains("@127.0.0.1:") && !contacts[0].contains("pn-"), "{contacts:?}");
    let log = std::fs::read_to_string(place.folder.path("kamailio.log")).expect("kamailio's log");
    assert!(!log.contains(TOKEN));

    // Outwards: Kamailio challenges the call, the phone answers the challenge.
    mia.command(&json!({ "command": "dial", "to": format!("sip:bob@{DOMAIN}") }));
    let call = mia.wait_call("established");
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(2500));
    mia.command(&json!({ "command": "hangup", "call": call }));
    bob.wait_event("CALL_CLOSED");
    mia.wait_end();
    mia.forget();

    // Asleep, then called by a phone that is registered at Kamailio itself.
    let before = place.kamailio.requests("REGISTER");
    mia.command(&json!({ "command": "suspend" }));
    mia.wait("suspended", |event| event["event"] == "registration-changed" && event["phase"] == "suspended");
    bob.command("dial", &format!("sip:mia@{DOMAIN}"));
    let payload = place.delivered();
    assert_eq!(place.kamailio.requests("REGISTER"), before, "nothing happens until the phone wakes");
    mia.command(&json!({ "command": "push-received", "payload": payload }));
    let call = mia.wait_call("ringing");
    let asked = place.kamailio.requests("REGISTER") > before;
    match knows {
        Knows::Nothing => assert!(asked, "the wake was Kamailio's to judge"),
        Knows::MiasPassword => assert!(!asked, "the wake was ours to judge"),
    }
    mia.command(&json!({ "command": "answer", "call": call }));
    mia.wait_call("established");
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(2500));
    bob.command("hangup", "");
    let ended = mia.wait_end();
    assert_eq!(ended["by_peer"], true, "{ended}");
    assert_eq!(place.push.records().len(), 1, "one push for one call");
    mia.quit();
    sound::assert_heard(&bob.heard(), OURS, 3.0);
    sound::assert_heard(std::slice::from_ref(&heard), THEIRS, 1.5);
}

#[test]
fn a_phone_sleeps_before_kamailio_over_udp() {
    a_phone_sleeps_and_talks_through_us("edge-udp", Between::Udp, Knows::Nothing);
}

#[test]
fn a_phone_sleeps_before_kamailio_over_tcp() {
    a_phone_sleeps_and_talks_through_us("edge-tcp", Between::Tcp, Knows::Nothing);
}

#[test]
fn a_phone_sleeps_before_kamailio_over_tls() {
    a_phone_sleeps_and_talks_through_us("edge-tls", Between::Tls, Knows::Nothing);
}

#[test]
fn a_phone_sleeps_while_the_gateway_registers_for_it() {
    a_phone_sleeps_and_talks_through_us("edge-kept", Between::Udp, Knows::MiasPassword);
}

#[test]
fn a_wrong_password_is_kamailios_to_refuse_and_binds_nothing() {
    let place = Place::new("edge-wrong", Between::Udp, Knows::Nothing);
    let mut account = place.gateway.account("mia", "1");
    account.retain(|(name, _)| !["localip", "password"].contains(name));
    account.push(("localip", PHONES.to_owned()));
    account.push(("password", "not that one".to_owned()));
    let mut mia = Phone::start(&place.folder, "phone-mia.log", &account, &[]);
    mia.wait_registration("failed");
    assert!(place.kamailio.contacts_of("mia").is_empty());
    // Whoever calls now is told by Kamailio that nobody is there.
    let scenario = place.folder.write("caller.xml", UNKNOWN);
    let target = format!("127.0.0.1:{}", place.kamailio.port);
    let mut caller = sipp::start(
        &place.folder,
        "caller",
        &scenario,
        free_port(),
        &target,
        &["-m", "1", "-s", "mia", "-key", "domain", DOMAIN],
    );
    let mut ended = None;
    wait_until("sipp ends", || {
        ended = caller.ends_within(Duration::from_millis(100));
        ended.is_some()
    });
    assert!(ended.is_some_and(|status| status.success()), "sipp saw something else than 404");
}

/// A caller from outside (Kamailio does not challenge it) whose callee is not there.
const UNKNOWN: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="unknown">
  <send retrans="500">
    <![CDATA[
INVITE sip:mia@[domain] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:carol@elsewhere.test>;tag=[pid]sipp[call_number]
To: <sip:mia@[domain]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:carol@[local_ip]:[local_port]>
Content-Length: 0

    ]]>
  </send>
  <recv response="100" optional="true"/>
  <recv response="404"/>
  <send>
    <![CDATA[
ACK sip:mia@[domain] SIP/2.0
[last_Via:]
[last_From:]
[last_To:]
Max-Forwards: 70
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

    ]]>
  </send>
</scenario>
"#;

#[test]
fn the_doctor_calls_a_sleeping_phone_through_kamailio() {
    let place = Place::new("edge-doctor", Between::Udp, Knows::Nothing);
    let token = format!("fcm:wakeline-demo:{TOKEN}");
    let account = format!("mia@{DOMAIN}");
    let output = std::process::Command::new(program())
        .args(["doctor", "--user", &account, "--password", PASSWORD, "--push-token", &token, "--config"])
        .arg(place.folder.path("gateway.toml"))
        .output()
        .expect("the program");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in ["ok      pbx", "ok      register", "ok      push", "ok      call"] {
        assert!(report.contains(wanted), "{wanted}: {report}");
    }
    assert!(output.status.success(), "{report}");
}
