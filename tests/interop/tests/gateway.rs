//! Other people's phones at our gateway: they register with it and call through it.

use std::time::Duration;

use serde_json::json;
use wakeline_interop::baresip::{Baresip, Wishes};
use wakeline_interop::gateway::Gateway;
use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_interop::linphone::Linphone;
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, in_own_network};
use wakeline_interop::sound;

const OURS: f64 = 500.0;
const THEIRS: f64 = 1000.0;

fn baresip(
    folder: &Folder,
    user: &'static str,
    gateway: &Gateway,
    transport: &'static str,
    hertz: f64,
) -> Baresip {
    let says = folder.path(&format!("{user}-says.wav"));
    sound::write_tone(&says, hertz, 8000, 60);
    let wishes = Wishes {
        user,
        registrar: gateway.port,
        transport,
        codecs: "pcmu",
        more: "",
        answer: "auto",
        says: &says,
    };
    Baresip::start(folder, &wishes)
}

fn our_phone_and_baresip_over(transport: &'static str, ours: &str) {
    let folder = Folder::new("gateway-baresip");
    let gateway = Gateway::start(&folder, &["mia", "bob"]);
    let mut bob = baresip(&folder, "bob", &gateway, transport, THEIRS);
    let heard = folder.path("phone-heard.wav");
    let flags = ["--tone", &OURS.to_string(), "--record", &heard.display().to_string()];
    let mut account = gateway.account("mia", ours);
    account.push(("codec", "pcmu".to_owned()));
    let mut mia = Phone::start(&folder, "phone-mia.log", &account, &flags);
    mia.wait_registration("registered");
    mia.command(&json!({ "command": "dial", "to": format!("sip:bob@{DOMAIN}") }));
    let call = mia.wait_call("established");
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(2500));
    mia.command(&json!({ "command": "hangup", "call": call }));
    bob.wait_event("CALL_CLOSED");
    // Its own news of that end may come later than theirs; it must not be taken for the end of the next call.
    mia.wait_end();
    mia.forget();
    bob.command("dial", &format!("sip:mia@{DOMAIN}"));
    let call = mia.wait_call("ringing");
    mia.command(&json!({ "command": "answer", "call": call }));
    mia.wait_call("established");
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(2500));
    bob.command("hangup", "");
    let ended = mia.wait_end();
    assert_eq!(ended["by_peer"], true, "{ended}");
    mia.quit();
    sound::assert_heard(&bob.heard(), OURS, 3.0);
    sound::assert_heard(std::slice::from_ref(&heard), THEIRS, 1.5);
}

#[test]
fn our_phone_and_baresip_call_each_other_over_udp() {
    our_phone_and_baresip_over("udp", "0");
}

#[test]
fn our_phone_and_baresip_call_each_other_over_tcp() {
    our_phone_and_baresip_over("tcp", "1");
}

#[test]
fn two_baresips_talk_through_our_gateway() {
    let folder = Folder::new("gateway-two");
    let gateway = Gateway::start(&folder, &["ann", "bob"]);
    let mut ann = baresip(&folder, "ann", &gateway, "udp", OURS);
    let mut bob = baresip(&folder, "bob", &gateway, "udp", THEIRS);
    ann.command("dial", &format!("sip:bob@{DOMAIN}"));
    ann.wait_event("CALL_ESTABLISHED");
    bob.wait_event("CALL_ESTABLISHED");
    std::thread::sleep(Duration::from_millis(2500));
    ann.command("hangup", "");
    bob.wait_event("CALL_CLOSED");
    sound::assert_heard(&ann.heard(), THEIRS, 1.0);
    sound::assert_heard(&bob.heard(), OURS, 1.0);
}

#[test]
fn linphone_and_our_phone_talk_through_our_gateway() {
    if !in_own_network("linphone_and_our_phone_talk_through_our_gateway") {
        return;
    }
    let folder = Folder::new("gateway-linphone");
    let gateway = Gateway::start(&folder, &["mia", "linus"]);
    let says = folder.path("linus-says.wav");
    sound::write_tone(&says, THEIRS, 8000, 60);
    let mut linus = Linphone::start_at(&folder, "linus", PASSWORD, DOMAIN, gateway.port, &says);
    let heard = folder.path("phone-heard.wav");
    let flags = ["--tone", &OURS.to_string(), "--record", &heard.display().to_string()];
    let mut mia = Phone::start(&folder, "phone-mia.log", &gateway.account("mia", "0"), &flags);
    mia.wait_registration("registered");
    linus.command(&format!("call sip:mia@{DOMAIN}"));
    let call = mia.wait_call("ringing");
    mia.command(&json!({ "command": "answer", "call": call }));
    mia.wait_call("established");
    std::thread::sleep(Duration::from_secs(3));
    mia.command(&json!({ "command": "hangup", "call": call }));
    mia.wait_end();
    mia.quit();
    drop(gateway);
    sound::assert_heard(std::slice::from_ref(&heard), THEIRS, 1.0);
    sound::assert_heard(std::slice::from_ref(&linus.heard), OURS, 1.0);
}
