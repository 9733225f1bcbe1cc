//! Calls against SIPp: what a well-behaved phone never does, but a network does. Each scenario checks what our phone
//! sends; here its own events are checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wakeline_interop::kamailio::PASSWORD;
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, Process, free_port};
use wakeline_interop::sipp;

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.xml"))
}

/// A phone without registration whose calls go to SIPp.
struct Line {
    phone: Phone,
    sipp: Process,
    folder: Folder,
    name: &'static str,
}

impl Line {
    /// Starts SIPp with this scenario, and the phone with these parameters beside its account.
    fn to(name: &'static str, parameters: &[(&'static str, &str)]) -> Line {
        let folder = Folder::new(name);
        let (port, media) = (free_port(), free_port());
        let sipp = sipp::start(
            &folder,
            name,
            &scenario(name),
            port,
            "127.0.0.1",
            &["-m", "1", "-mp", &media.to_string()],
        );
        sipp::hears(port);
        let mut account = vec![
            ("serveraddress", "127.0.0.1".to_owned()),
            ("proxyaddress", format!("127.0.0.1:{port}")),
            ("username", "mia".to_owned()),
            ("password", PASSWORD.to_owned()),
            ("realm", "sip.test".to_owned()),
            ("register", "0".to_owned()),
            ("transport", "0".to_owned()),
            ("localip", "127.0.0.1".to_owned()),
        ];
        account.extend(parameters.iter().map(|&(name, value)| (name, value.to_owned())));
        let phone = Phone::start(&folder, "phone.log", &account, &["--tone", "440"]);
        Line { phone, sipp, folder, name }
    }

    fn dial(&mut self) {
        self.phone.command(&json!({ "command": "dial", "to": "sip:bob@127.0.0.1" }));
    }

    fn established(&mut self) -> u64 {
        self.dial();
        self.phone.wait_call("established")
    }

    fn hang_up(&mut self, call: u64) -> Value {
        self.phone.command(&json!({ "command": "hangup", "call": call }));
        self.phone.wait_end()
    }

    /// SIPp has seen all that its scenario wants.
    fn assert_played(mut self) {
        let played = self.sipp.succeeds();
        let read = |kind: &str| {
            std::fs::read_to_string(self.folder.path(&format!("{}-{kind}.log", self.name)))
                .unwrap_or_default()
        };
        assert!(played, "SIPp: {}\n{}", read("errors"), read("messages"));
        self.phone.quit();
    }
}

#[test]
fn busy_tells_486() {
    let mut line = Line::to("busy", &[]);
    line.dial();
    let ended = line.phone.wait_end();
    assert_eq!((&ended["code"], &ended["by_peer"]), (&json!(486), &json!(true)), "{ended}");
    line.assert_played();
}

#[test]
fn cancel_crossed_by_200_is_acknowledged_and_ended() {
    let mut line = Line::to("answer_crosses_cancel", &[]);
    line.dial();
    let call = line.phone.wait_call("alerting");
    let ended = line.hang_up(call);
    assert_eq!((&ended["by_peer"], &ended["talk_ms"]), (&json!(false), &json!(0)), "{ended}");
    line.assert_played();
}

#[test]
fn redirection_is_followed_once() {
    let mut line = Line::to("moved", &[]);
    line.dial();
    let ended = line.phone.wait_end();
    assert_eq!(ended["code"], 486, "{ended}");
    line.assert_played();
}

#[test]
fn proxy_challenge_is_answered() {
    let mut line = Line::to("proxy_challenge", &[]);
    let call = line.established();
    line.hang_up(call);
    line.assert_played();
}

#[test]
fn reliable_183_is_acknowledged_by_prack_then_answered() {
    let mut line = Line::to("reliable_progress", &[]);
    let call = line.established();
    line.hang_up(call);
    line.assert_played();
}

#[test]
fn two_answers_leave_one_call() {
    let mut line = Line::to("two_answers", &[]);
    let call = line.established();
    std::thread::sleep(Duration::from_millis(500));
    line.hang_up(call);
    assert_eq!(line.phone.count(|event| event["event"] == "call-ended"), 1);
    line.assert_played();
}

#[test]
fn too_small_an_interval_is_raised() {
    let mut line = Line::to("interval_too_small", &[]);
    let call = line.established();
    line.hang_up(call);
    line.assert_played();
}

#[test]
fn update_hold_resume_info_and_options_within_a_call() {
    let mut line = Line::to("mid_call", &[]);
    let call = line.established();
    let held = |wanted: bool| {
        move |event: &Value| event["event"] == "call-changed" && event["held_by_peer"] == wanted
    };
    line.phone.wait("their hold", held(true));
    line.phone.wait("a key", |event| event["event"] == "dtmf-received" && event["digit"] == "5");
    assert_eq!(line.phone.latest_call(call)["held_by_peer"], false);
    // OPTIONS follows the key; SIPp then waits for our BYE.
    std::thread::sleep(Duration::from_millis(500));
    line.hang_up(call);
    line.assert_played();
}
