//! Calls with linphone through Kamailio, each side's audio checked in a recording of what it heard.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use wakeline_interop::kamailio::{DOMAIN, Kamailio};
use wakeline_interop::linphone::Linphone;
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, in_own_network};
use wakeline_interop::sound;

const OURS: f64 = 500.0;
const THEIRS: f64 = 1000.0;

struct Pair {
    phone: Phone,
    linphone: Linphone,
    _kamailio: Kamailio,
    heard: PathBuf,
    _folder: Folder,
}

fn pair() -> Pair {
    let folder = Folder::new("linphone");
    let kamailio = Kamailio::start(&folder);
    let says = folder.path("says.wav");
    sound::write_tone(&says, THEIRS, 8000, 60);
    let linphone = Linphone::start(&folder, "linus", kamailio.port, &says);
    let heard = folder.path("phone-heard.wav");
    let flags = ["--tone", &OURS.to_string(), "--record", &heard.display().to_string()];
    let mut phone = Phone::at(&folder, &kamailio, "mia", "0", &flags, &[("codec", "pcmu")]);
    phone.wait_registration("registered");
    Pair { phone, linphone, _kamailio: kamailio, heard, _folder: folder }
}

impl Pair {
    fn talk_and_hang_up(mut self, call: u64) {
        std::thread::sleep(Duration::from_secs(3));
        self.phone.command(&json!({ "command": "hangup", "call": call }));
        let ended = self.phone.wait_end();
        assert_eq!(ended["by_peer"], false, "{ended}");
        self.linphone.wait_log("Call 1 with");
        self.phone.quit();
        sound::assert_heard(std::slice::from_ref(&self.heard), THEIRS, 1.0);
        sound::assert_heard(std::slice::from_ref(&self.linphone.heard), OURS, 1.0);
    }
}

#[test]
fn linphone_rings_we_answer_both_hear() {
    if !in_own_network("linphone_rings_we_answer_both_hear") {
        return;
    }
    let mut pair = pair();
    pair.linphone.command(&format!("call sip:mia@{DOMAIN}"));
    let call = pair.phone.wait_call("ringing");
    pair.phone.command(&json!({ "command": "answer", "call": call }));
    pair.phone.wait_call("established");
    pair.talk_and_hang_up(call);
}

#[test]
fn we_dial_linphone_answers_both_hear() {
    if !in_own_network("we_dial_linphone_answers_both_hear") {
        return;
    }
    let mut pair = pair();
    pair.phone.command(&json!({ "command": "dial", "to": format!("sip:linus@{DOMAIN}") }));
    let call = pair.phone.wait_call("alerting");
    pair.linphone.command("answer");
    pair.phone.wait_call("established");
    pair.phone.command(&json!({ "command": "dtmf", "call": call, "digits": "7" }));
    pair.talk_and_hang_up(call);
}
