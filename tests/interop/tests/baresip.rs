//! Calls with baresip through Kamailio, each side's audio checked in a recording of what it heard.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::kamailio::{DOMAIN, Kamailio};
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, wait_until};
use wakeline_interop::sound;

/// What our phone says and what baresip says.
const OURS: f64 = 500.0;
const THEIRS: f64 = 1000.0;

const UDP: &str = "0";
const TCP: &str = "1";
const TLS: &str = "2";

struct Pair {
    // Dropped in this order: the phone before its registrar, the folder last.
    phone: Phone,
    baresip: Baresip,
    _kamailio: Kamailio,
    heard: PathBuf,
    _folder: Folder,
}

/// How a pair differs from a plain one.
struct Codec {
    ours: &'static str,
    theirs: &'static str,
    rate: u32,
    name: &'static str,
}

const PCMU: Codec = Codec { ours: "pcmu", theirs: "pcmu", rate: 8000, name: "PCMU" };
const PCMA: Codec = Codec { ours: "pcma", theirs: "pcma", rate: 8000, name: "PCMA" };
const G722: Codec = Codec { ours: "g722", theirs: "g722", rate: 16000, name: "G722" };
const OPUS: Codec = Codec { ours: "opus", theirs: "opus/48000/2", rate: 48000, name: "opus" };

fn pair(
    codec: &Codec,
    transport: &str,
    more: &str,
    answer: &str,
    parameters: &[(&'static str, &str)],
) -> Pair {
    pair_with("udp", codec, transport, more, answer, parameters)
}

/// The same with baresip on this transport.
fn pair_with(
    theirs: &str,
    codec: &Codec,
    transport: &str,
    more: &str,
    answer: &str,
    parameters: &[(&'static str, &str)],
) -> Pair {
    let folder = Folder::new("baresip");
    let kamailio = Kamailio::start(&folder);
    let says = folder.path("says.wav");
    sound::write_tone_on(&says, THEIRS, codec.rate, 60, if codec.rate == 48000 { 2 } else { 1 });
    let baresip = Baresip::start(
        &folder,
        &Wishes {
            user: "bob",
            registrar: if theirs == "tls" { kamailio.tls_port } else { kamailio.port },
            transport: theirs,
            codecs: codec.theirs,
            more,
            answer,
            says: &says,
        },
    );
    let heard = folder.path("phone-heard.wav");
    let (tone, record) = (OURS.to_string(), heard.display().to_string());
    let mut all = vec![("codec", codec.ours), ("alwaysallowlowcodec", "0")];
    all.extend_from_slice(parameters);
    let flags = ["--tone", &tone, "--record", &record];
    let mut phone = Phone::at(&folder, &kamailio, "mia", transport, &flags, &all);
    phone.wait_registration("registered");
    Pair { phone, baresip, _kamailio: kamailio, heard, _folder: folder }
}

impl Pair {
    /// Our phone dials and is answered.
    fn dial(&mut self) -> u64 {
        self.phone.command(&json!({ "command": "dial", "to": format!("sip:bob@{DOMAIN}") }));
        let call = self.phone.wait_call("established");
        self.baresip.wait_event("CALL_ESTABLISHED");
        call
    }

    /// baresip dials and we answer.
    fn take(&mut self) -> u64 {
        self.baresip.command("dial", &format!("sip:mia@{DOMAIN}"));
        let call = self.phone.wait_call("ringing");
        self.phone.command(&json!({ "command": "answer", "call": call }));
        self.phone.wait_call("established");
        self.baresip.wait_event("CALL_ESTABLISHED");
        call
    }

    /// Hangs up and gives the call's record.
    fn hang_up(&mut self, call: u64) -> Value {
        self.phone.command(&json!({ "command": "hangup", "call": call }));
        let ended = self.phone.wait_end();
        assert_eq!(ended["by_peer"], false, "{ended}");
        self.baresip.wait_event("CALL_CLOSED");
        ended
    }

    /// Ends the phone and tells of how many seconds of the call baresip heard us, and for how many.
    fn heard_by_them(self, call_ms: &Value) -> (f64, f64) {
        self.phone.quit();
        let heard = self.baresip.heard().iter().map(|path| sound::seconds_of(path, OURS)).sum();
        (call_ms.as_f64().unwrap_or_default() / 1000.0, heard)
    }

    /// Ends the programs, so that their recordings are whole, and checks both.
    fn assert_both_heard(self, seconds: f64) {
        self.phone.quit();
        sound::assert_heard(&self.baresip.heard(), OURS, seconds);
        sound::assert_heard(std::slice::from_ref(&self.heard), THEIRS, seconds);
    }
}

fn talk() {
    std::thread::sleep(Duration::from_millis(2500));
}

fn dial_talk_hang_up(codec: &Codec) {
    dial_talk_hang_up_in(pair(codec, UDP, "", "auto", &[]), codec);
}

fn dial_talk_hang_up_in(mut pair: Pair, codec: &Codec) {
    let call = pair.dial();
    talk();
    let last = pair.phone.latest_call(call);
    assert_eq!((&last["codec"], &last["encryption"]), (&json!(codec.name), &json!("none")), "{last}");
    pair.hang_up(call);
    pair.assert_both_heard(1.5);
}

#[test]
fn dial_answered_talk_hang_up_pcmu() {
    dial_talk_hang_up(&PCMU);
}

#[test]
fn dial_answered_talk_hang_up_pcma() {
    dial_talk_hang_up(&PCMA);
}

#[test]
fn dial_answered_talk_hang_up_g722() {
    dial_talk_hang_up(&G722);
}

#[test]
fn dial_answered_talk_hang_up_opus() {
    dial_talk_hang_up(&OPUS);
}

#[test]
fn dial_over_tcp_to_a_peer_on_tcp() {
    dial_talk_hang_up_in(pair_with("tcp", &PCMU, TCP, "", "auto", &[]), &PCMU);
}

#[test]
fn dial_over_tls_to_a_peer_on_tls() {
    dial_talk_hang_up_in(pair_with("tls", &PCMU, TLS, "", "auto", &[]), &PCMU);
}

#[test]
fn rung_answer_talk_they_hang_up() {
    let mut pair = pair(&OPUS, UDP, "", "auto", &[]);
    pair.take();
    talk();
    pair.baresip.command("hangup", "");
    let ended = pair.phone.wait_end();
    assert_eq!(ended["by_peer"], true, "{ended}");
    assert_eq!(pair.phone.count(|event| event["event"] == "rings"), 1);
    pair.assert_both_heard(1.5);
}

#[test]
fn over_tls_with_srtp_required_on_both_sides() {
    let mut pair = pair(&PCMU, TLS, ";mediaenc=srtp-mand", "auto", &[("mediaencryption", "2")]);
    let call = pair.dial();
    talk();
    let last = pair.phone.latest_call(call);
    assert_eq!(last["encryption"], "srtp", "{last}");
    pair.hang_up(call);
    pair.assert_both_heard(1.5);
}

#[test]
fn srtp_required_by_them_rung_answer_talk() {
    let mut pair = pair(&OPUS, TLS, ";mediaenc=srtp-mand", "auto", &[("mediaencryption", "2")]);
    let call = pair.take();
    talk();
    let last = pair.phone.latest_call(call);
    assert_eq!(last["encryption"], "srtp", "{last}");
    pair.hang_up(call);
    pair.assert_both_heard(1.5);
}

#[test]
fn srtp_required_by_us_and_unknown_to_them_gives_no_call() {
    let mut pair = pair(&PCMU, TLS, "", "auto", &[("mediaencryption", "2")]);
    pair.phone.command(&json!({ "command": "dial", "to": format!("sip:bob@{DOMAIN}") }));
    let ended = pair.phone.wait_end();
    assert_eq!((&ended["code"], &ended["talk_ms"]), (&json!(488), &json!(0)), "no silent downgrade: {ended}");
    pair.phone.quit();
}

/// How long a call stays quiet in these tests.
const QUIET: Duration = Duration::from_secs(3);

#[test]
fn hold_resume_talk_again() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    let call = pair.dial();
    talk();
    pair.phone.command(&json!({ "command": "hold", "call": call, "on": true }));
    pair.phone.wait("our hold", |event| event["event"] == "call-changed" && event["on_hold"] == true);
    // What is on its way when the hold is agreed may still be heard.
    std::thread::sleep(Duration::from_millis(300));
    let before = sound::seconds_of(&pair.heard, THEIRS);
    std::thread::sleep(QUIET);
    let held = sound::seconds_of(&pair.heard, THEIRS);
    assert!(held < before + 0.5, "they are heard for {:.1} s while we hold", held - before);
    pair.phone.forget();
    pair.phone.command(&json!({ "command": "hold", "call": call, "on": false }));
    pair.phone.wait("no hold", |event| event["event"] == "call-changed" && event["on_hold"] == false);
    talk();
    // It counts over some seconds, quiet ones among them at first.
    wait_until("baresip gets our audio again", || (50_000..80_000).contains(&pair.baresip.incoming_rate()));
    let ended = pair.hang_up(call);
    assert!(sound::seconds_of(&pair.heard, THEIRS) > held + 1.5, "they are heard again after the hold");
    let (_, heard) = pair.heard_by_them(&ended["talk_ms"]);
    assert!((1.5..4.0).contains(&heard), "they heard us for {heard:.1} s before the hold");
}

#[test]
fn they_hold_and_resume() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    let call = pair.dial();
    talk();
    pair.baresip.command("hold", "");
    pair.phone.wait("their hold", |event| event["event"] == "call-changed" && event["held_by_peer"] == true);
    std::thread::sleep(QUIET);
    pair.phone.forget();
    pair.baresip.command("resume", "");
    pair.phone
        .wait("their resumption", |event| event["event"] == "call-changed" && event["held_by_peer"] == false);
    let before = sound::seconds_of(&pair.heard, THEIRS);
    talk();
    // It counts over some seconds, quiet ones among them at first.
    wait_until("baresip gets our audio again", || (50_000..80_000).contains(&pair.baresip.incoming_rate()));
    let ended = pair.hang_up(call);
    assert!(sound::seconds_of(&pair.heard, THEIRS) > before + 1.5, "they are heard again after their hold");
    let (_, heard) = pair.heard_by_them(&ended["talk_ms"]);
    assert!((1.5..4.0).contains(&heard), "they heard us for {heard:.1} s before their hold");
}

#[test]
fn mute_silences_us_and_unmute_brings_us_back() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    let call = pair.dial();
    talk();
    pair.phone.command(&json!({ "command": "mute", "call": call, "on": true }));
    pair.phone.wait("the mute", |event| event["microphone_muted"] == true);
    std::thread::sleep(QUIET);
    pair.phone.command(&json!({ "command": "mute", "call": call, "on": false }));
    talk();
    let ended = pair.hang_up(call);
    assert!(
        sound::seconds_of(&pair.heard, THEIRS) > QUIET.as_secs_f64() + 1.5,
        "they are heard all the time"
    );
    let (whole, heard) = pair.heard_by_them(&ended["talk_ms"]);
    let quiet = QUIET.as_secs_f64() - 0.5;
    assert!(heard > 3.5 && heard < whole - quiet, "they heard us for {heard:.1} s of {whole:.1} s");
}

#[test]
fn keys_that_we_press_reach_them() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[("dtmfmode", "4")]);
    let call = pair.dial();
    pair.phone.command(&json!({ "command": "dtmf", "call": call, "digits": "15#" }));
    let mut pressed = String::new();
    while pressed.len() < 3 {
        let key = pair.baresip.wait_event("CALL_DTMF_START");
        pressed += key["param"].as_str().expect("a key");
    }
    assert_eq!(pressed, "15#");
    pair.hang_up(call);
}

#[test]
fn keys_that_they_press_reach_us() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    let call = pair.dial();
    for key in ["4", "2", "*"] {
        pair.baresip.press_key(key);
        pair.phone.wait("a key", |event| event["event"] == "dtmf-received" && event["digit"] == key);
    }
    assert_eq!(pair.phone.count(|event| event["event"] == "dtmf-received"), 3, "each key once");
    pair.hang_up(call);
}

#[test]
fn they_ring_and_we_decline() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    pair.baresip.command("dial", &format!("sip:mia@{DOMAIN}"));
    let call = pair.phone.wait_call("ringing");
    pair.phone.command(&json!({ "command": "reject", "call": call, "code": 486 }));
    let closed = pair.baresip.wait_event("CALL_CLOSED");
    assert!(closed["param"].as_str().is_some_and(|why| why.contains("486")), "{closed}");
    pair.phone.wait_end();
    pair.phone.quit();
}

#[test]
fn they_ring_and_give_up() {
    let mut pair = pair(&PCMU, UDP, "", "auto", &[]);
    pair.baresip.command("dial", &format!("sip:mia@{DOMAIN}"));
    pair.phone.wait_call("ringing");
    pair.baresip.command("hangup", "");
    let ended = pair.phone.wait_end();
    assert_eq!((&ended["by_peer"], &ended["talk_ms"]), (&json!(true), &json!(0)), "{ended}");
    pair.phone.quit();
}

#[test]
fn we_ring_and_give_up() {
    let mut pair = pair(&PCMU, UDP, "", "manual", &[]);
    pair.phone.command(&json!({ "command": "dial", "to": format!("sip:bob@{DOMAIN}") }));
    let call = pair.phone.wait_call("alerting");
    pair.phone.command(&json!({ "command": "hangup", "call": call }));
    pair.baresip.wait_event("CALL_CLOSED");
    let ended = pair.phone.wait_end();
    assert_eq!((&ended["by_peer"], &ended["talk_ms"]), (&json!(false), &json!(0)), "{ended}");
    pair.phone.quit();
}
