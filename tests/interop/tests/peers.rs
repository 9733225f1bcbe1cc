//! The peers among themselves: what fails here is no fault of ours.

use std::time::Duration;

use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::kamailio::{DOMAIN, Kamailio};
use wakeline_interop::linphone::Linphone;
use wakeline_interop::place::{Folder, in_own_network};
use wakeline_interop::sound;

fn wishes<'a>(user: &'a str, port: u16, says: &'a std::path::Path) -> Wishes<'a> {
    Wishes { user, registrar: port, transport: "udp", codecs: "pcmu", more: "", answer: "auto", says }
}

#[test]
fn baresip_calls_baresip_through_kamailio_and_both_hear() {
    let folder = Folder::new("peers");
    let kamailio = Kamailio::start(&folder);
    let (low, high) = (folder.path("low.wav"), folder.path("high.wav"));
    sound::write_tone(&low, 500.0, 8000, 60);
    sound::write_tone(&high, 1000.0, 8000, 60);
    let mut ann = Baresip::start(&folder, &wishes("ann", kamailio.port, &low));
    let mut bob = Baresip::start(&folder, &wishes("bob", kamailio.port, &high));
    ann.command("dial", &format!("sip:bob@{DOMAIN}"));
    ann.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_secs(2));
    ann.command("hangup", "");
    bob.wait_event("CALL_CLOSED");
    ann.wait_event("CALL_CLOSED");
    sound::assert_heard(&ann.heard(), 1000.0, 1.0);
    sound::assert_heard(&bob.heard(), 500.0, 1.0);
}

#[test]
fn linphone_calls_baresip_through_kamailio_and_both_hear() {
    if !in_own_network("linphone_calls_baresip_through_kamailio_and_both_hear") {
        return;
    }
    let folder = Folder::new("peers-linphone");
    let kamailio = Kamailio::start(&folder);
    let (low, high) = (folder.path("low.wav"), folder.path("high.wav"));
    sound::write_tone(&low, 500.0, 8000, 60);
    sound::write_tone(&high, 1000.0, 8000, 60);
    let mut linus = Linphone::start(&folder, "linus", kamailio.port, &low);
    let mut bob = Baresip::start(&folder, &wishes("bob", kamailio.port, &high));
    linus.command(&format!("call sip:bob@{DOMAIN}"));
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_secs(3));
    linus.command("terminate");
    bob.wait_event("CALL_CLOSED");
    sound::assert_heard(&bob.heard(), 500.0, 1.0);
    sound::assert_heard(std::slice::from_ref(&linus.heard), 1000.0, 1.0);
}
