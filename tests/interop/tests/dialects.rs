//! A real Linphone (5.1 of Debian) with a push token in its Contact, as its builds for Android write it, at our gateway.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod push;

use std::time::Duration;

use serde_json::json;
use wakeline_interop::gateway::Gateway;
use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_interop::linphone::Linphone;
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, PATIENCE, free_port, in_own_network};
use wakeline_interop::sound;

const TOKEN: &str = "dK2_exampleToken:APA91bExample";

#[test]
fn linphone_that_was_frozen_is_pushed_to_and_takes_the_call_on_its_old_connection() {
    if !in_own_network("linphone_that_was_frozen_is_pushed_to_and_takes_the_call_on_its_old_connection") {
        return;
    }
    let folder = Folder::new("linphone-push");
    let push = push::service();
    let mut deliveries = push.subscribe();
    let account = folder.write("push-account.json", &push.service_account_json());
    let ca = folder.write("push-ca.pem", push.ca_pem());
    let port = free_port();
    let accounts: String = ["mia", "linus"]
        .iter()
        .map(|user| format!("[[account]]\nuser = \"{user}\"\npassword = \"{PASSWORD}\"\n"))
        .collect();
    let file = format!(
        "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\ndigest = [\"MD5\"]\n[listen]\nudp = [\"127.0.0.1:{port}\"]\n\
         tcp = [\"127.0.0.1:{port}\"]\ntls = []\nws = []\nwss = []\n[timers]\nproven = 2\n\
         [push.fcm]\nservice_accounts = [\"{}\"]\nca_file = \"{}\"\nendpoint = \"{}\"\n{accounts}",
        account.display(),
        ca.display(),
        push.endpoint()
    );
    let gateway = Gateway::start_with(&folder, port, &file);
    let says = folder.path("linus-says.wav");
    sound::write_tone(&says, 1000.0, 8000, 60);
    let parameters =
        format!("pn-prid={TOKEN};pn-provider=fcm;pn-param=481516234200;pn-silent=1;pn-timeout=0");
    let mut linus =
        Linphone::start_with(&folder, "linus", PASSWORD, DOMAIN, gateway.port, &says, &parameters);
    let mut mia = Phone::start(&folder, "phone-mia.log", &gateway.account("mia", "0"), &[]);
    mia.wait_registration("registered");
    linus.freeze(true);
    std::thread::sleep(Duration::from_secs(3));
    mia.command(&json!({ "command": "dial", "to": format!("sip:linus@{DOMAIN}") }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let delivered = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, deliveries.recv()).await.expect("a push").expect("the service runs")
    });
    assert_eq!(delivered.device, TOKEN);
    // The name under which it shows the call before the INVITE is there.
    assert!(delivered.data.contains_key("call-id"), "{:?}", delivered.data);
    linus.freeze(false);
    let call = mia.wait_call("alerting");
    linus.command("answer");
    mia.wait_call("established");
    mia.command(&json!({ "command": "hangup", "call": call }));
    mia.wait_end();
    mia.quit();
    drop(gateway);
}
