//! Other people's phones, and a push proxy of other people before us.
//!
//! What each phone is modelled on, in our own words:
//!
//! - **Linphone SDK 5.2 on an iPhone:** RFC 8599 names, two tokens in one `pn-prid` (`…:voip&…:remote`), two services at the
//!   end of `pn-param`, a placeholder for the team, and parameters of its own beside them (`pn-silent`, `pn-timeout`, names of
//!   texts and sounds). It does not always register when it is pushed: while it believes in its connection it sends a
//!   CRLF ping there and waits.
//! - **Linphone SDK 5.2 on Android:** the Firebase project's number where the RFC has its id.
//! - **Linphone SDK 4.3 and apps made from it:** `app-id`, `pn-type`, `pn-tok`, in the Contact's URI or behind it.
//! - **Mizutech's softphones:** `X-MPUSH` in every REGISTER, `i:` or `a:`, application, token; no RFC 8599, no outbound.
//! - **Desk phones (Snom, Yealink):** a plain Contact over UDP with a line parameter, one hour, no instance; they go on ringing
//!   until somebody tells them otherwise, and show a missed call unless the CANCEL's Reason says that it was answered.
//! - **OpenSIPS 3.4 as push proxy before us:** it adds Path and Via, and `Feature-Caps` without RFC 6809's `*;` for the
//!   services that it pushes through itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test stops where it fails"
)]

mod world;

use std::time::Duration;

use wakeline_flow::{FlowInfo, Transport};
use wakeline_push::{PushTarget, Service};
use wakeline_registrar::{Loaded, Persist, PushPurpose, StoredBinding};
use wakeline_sip_auth::Asker;
use wakeline_sip_message::{Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const VOIP: &str = "6f9a00000000000000000000000000000000000000000000000000000000000a";
const REMOTE: &str = "77010000000000000000000000000000000000000000000000000000000000bb";
/// What Linphone says beside its tokens.
const TEXTS: &str = "pn-silent=1;pn-timeout=0;pn-msg-str=IM_MSG;pn-call-str=IC_MSG;pn-groupchat-str=GC_MSG;pn-call-snd=notes_of_the_optimistic.caf;pn-msg-snd=msg.caf";

/// A phone that writes its Contact and further fields itself.
struct Foreign {
    phone: Phone,
    contact: String,
    fields: Vec<(&'static str, String)>,
}

impl Foreign {
    fn new(world: &mut World, transport: Transport, remote: &str, contact: &str) -> Foreign {
        let mut phone = Phone::new(world, "mia", INSTANCE_A, "");
        phone.flow = world.open(transport, remote);
        phone.call_id = format!("reg-{remote}");
        Foreign { phone, contact: contact.to_owned(), fields: Vec::new() }
    }

    fn flow(&self) -> FlowInfo {
        self.phone.flow
    }

    /// Registers, through a challenge if there is one; the final answer, and everything else that came out.
    fn register(&mut self, world: &mut World, expires: u32) -> (Message, Vec<Out>) {
        for _ in 0..2 {
            let mut edit = self.phone.register_request(world, expires);
            edit = edit.edit().replace(Name::Contact, &self.contact).finish().unwrap();
            for (name, value) in &self.fields {
                edit = edit.edit().append(Name::parse(name).unwrap(), value).finish().unwrap();
            }
            world.receive(self.flow(), &edit);
            let out = world.take();
            let answer = sent(&out, self.flow())
                .into_iter()
                .find(|message| message.status().is_some() && message.method() == Method::Register)
                .expect("an answer")
                .clone();
            if answer.status() != Some(401) {
                return (answer, out);
            }
            let (session, credentials) = (&mut self.phone.session, &self.phone.credentials);
            session.on_challenge(&edit, &answer, credentials, Asker::Configured).unwrap();
        }
        panic!("no end of challenges");
    }

    fn registered(world: &mut World, transport: Transport, remote: &str, contact: &str) -> Foreign {
        let mut phone = Foreign::new(world, transport, remote, contact);
        let (answer, _) = phone.register(world, 3600);
        assert_eq!(answer.status(), Some(200), "{contact}");
        phone
    }

    /// The connection closes and a minute passes.
    fn sleep(&self, world: &mut World) {
        world.close(self.flow());
        world.pass(60 * SECOND);
        world.take();
    }

    /// A new connection and a REGISTER; what came out.
    fn wake(&mut self, world: &mut World, remote: &str) -> Vec<Out> {
        self.phone.flow = world.open(self.flow().transport, remote);
        let (answer, out) = self.register(world, 3600);
        assert_eq!(answer.status(), Some(200));
        out
    }

    fn invite(&self, out: &[Out]) -> Message {
        let found = requests(out, self.flow(), &Method::Invite);
        assert_eq!(found.len(), 1, "one INVITE");
        found[0].clone()
    }

    fn answer(&self, world: &mut World, request: &Message, status: u16) {
        self.phone.answer(world, request, status);
    }
}

fn linphone_iphone() -> String {
    format!(
        "<sip:mia@192.0.2.20:49152;transport=tls;pn-prid={VOIP}:voip&{REMOTE}:remote;pn-provider=apns;\
         pn-param=ABCD1234.org.example.phone.voip&remote;{TEXTS};pn-call-remote-push-interval=>;+sip.instance=\"{INSTANCE_A}\""
    )
}

fn linphone_android(number: &str) -> String {
    format!(
        "<sip:mia@192.0.2.20:41000;transport=tls;pn-prid=dK2_ex:APA91b;pn-provider=fcm;pn-param={number};{TEXTS}>\
         ;+sip.instance=\"{INSTANCE_A}\""
    )
}

/// The targets of the one push that is asked for.
fn targets(out: &[Out]) -> Vec<PushTarget> {
    let pushes = pushes(out);
    assert_eq!(pushes.len(), 1, "one push");
    pushes[0].target.targets().expect("targets")
}

fn apns(topic: &str, service: Service, sandbox: bool, token: &str) -> PushTarget {
    PushTarget::Apns { topic: topic.to_owned(), service, sandbox, token: token.into() }
}

/// The bindings that were given to the store.
fn stored(out: &[Out]) -> Vec<StoredBinding> {
    let put = |one: &Out| match one {
        Out::Persist(change) => match &**change {
            Persist::BindingPut(binding) => Some(binding.clone()),
            _ => None,
        },
        _ => None,
    };
    out.iter().filter_map(put).collect()
}

/// Whether a text names how a phone is woken.
fn tells_a_token(message: &Message) -> bool {
    let text = String::from_utf8_lossy(&message.to_bytes()).to_lowercase();
    ["pn-prid", "pn-tok", "pn-param", "app-id", "x-mpush", VOIP, REMOTE, "apa91b"]
        .iter()
        .any(|told| text.contains(told))
}

#[test]
fn linphone_iphone_registers_both_tokens_and_its_call_is_pushed_to_both_services_targets() {
    let mut world = World::new();
    let mut mia = Foreign::new(&mut world, Transport::Tls, "192.0.2.20", &linphone_iphone());
    let (answer, _) = mia.register(&mut world, 604_800);
    assert_eq!(answer.status(), Some(200));
    // It compares the Contact with its own: the parameters come back to it, and to nobody else.
    let contact = answer.header(Name::Contact).unwrap();
    assert!(contact.contains(&format!("pn-prid={VOIP}:voip&{REMOTE}:remote")), "{contact}");
    assert!(contact.contains("expires=604800"), "{contact}");
    mia.sleep(&mut world);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    assert_eq!(
        targets(&out),
        [
            apns("org.example.phone.voip", Service::Voip, false, VOIP),
            apns("org.example.phone", Service::Remote, false, REMOTE),
        ]
    );
    assert!(
        matches!(&pushes(&out)[0].purpose, PushPurpose::Call { sip_call_id, .. } if sip_call_id == "call-1")
    );
    assert_eq!(statuses(&out, trunk.flow), [100]);
    let out = mia.wake(&mut world, "192.0.2.21");
    let invite = mia.invite(&out);
    assert!(!tells_a_token(&invite), "{invite:?}");
    mia.answer(&mut world, &invite, 180);
    mia.answer(&mut world, &invite, 200);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [180, 200]);
    assert!(!sent(&out, trunk.flow).into_iter().any(tells_a_token), "nor is the caller told");
}

#[test]
fn linphone_iphone_with_a_notification_token_too_is_woken_quietly_for_what_is_no_call() {
    let mut world = World::new();
    let mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_iphone());
    mia.sleep(&mut world);
    let trunk = Trunk::new(&mut world);
    let message = trunk.request(&mut world, Method::Refer, &format!("sip:mia@{DOMAIN}"), "refer-1");
    let message = message.edit().append(Name::ReferTo, "<sip:ben@voice.example.org>").finish().unwrap();
    world.receive(trunk.flow, &message);
    let out = world.take();
    assert!(matches!(pushes(&out)[0].purpose, PushPurpose::Request { .. }));
    assert!(targets(&out).contains(&apns("org.example.phone", Service::Remote, false, REMOTE)));
}

#[test]
fn linphone_development_build_is_pushed_to_apples_other_host() {
    let mut world = World::new();
    let contact = linphone_iphone().replace("pn-provider=apns;", "pn-provider=apns.dev;");
    let mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &contact);
    mia.sleep(&mut world);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(
        targets(&world.take())[0],
        apns("org.example.phone.voip", Service::Voip, true, VOIP),
        "the sandbox"
    );
}

#[test]
fn linphone_android_with_its_projects_number_is_pushed_by_fcm() {
    let mut world = World::new();
    let mut mia =
        Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_android("481516234200"));
    mia.sleep(&mut world);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    let fcm = PushTarget::Fcm { project: "481516234200".into(), token: "dK2_ex:APA91b".into() };
    assert_eq!(targets(&world.take()), [fcm]);
    let out = mia.wake(&mut world, "192.0.2.21");
    assert!(!tells_a_token(&mia.invite(&out)));
}

#[test]
fn linphone_old_form_is_read_in_the_uri_and_behind_it() {
    let android = PushTarget::Fcm { project: "481516234200".into(), token: "dK2_ex:APA91b".into() };
    let (release, debug) = (
        apns("org.example.phone.voip", Service::Voip, false, VOIP),
        apns("org.example.phone.voip", Service::Voip, true, VOIP),
    );
    for (contact, expected) in [
        (
            "<sip:mia@192.0.2.20:41000;transport=tls;app-id=481516234200;pn-type=firebase;pn-tok=dK2_ex:APA91b;pn-silent=1>"
                .to_owned(),
            android.clone(),
        ),
        (
            "<sip:mia@192.0.2.20:41000;transport=tls;app-id=481516234200;pn-type=google;pn-tok=dK2_ex:APA91b>"
                .to_owned(),
            android,
        ),
        (
            format!(
                "<sip:mia@192.0.2.20:41000;transport=tls;app-id=org.example.phone.voip.prod;pn-type=apple;pn-tok={VOIP};\
                 pn-msg-str=IM_MSG;pn-call-str=IC_MSG;pn-call-snd=ring.caf;pn-msg-snd=msg.caf;pn-timeout=0>"
            ),
            release,
        ),
        (
            format!(
                "<sip:mia@192.0.2.20:41000;transport=tls>;app-id=org.example.phone.voip.dev;pn-type=apple;pn-tok={VOIP}"
            ),
            debug,
        ),
    ] {
        let mut world = World::new();
        let mut mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &contact);
        mia.sleep(&mut world);
        let trunk = Trunk::new(&mut world);
        trunk.invite(&mut world, "mia", "call-1");
        assert_eq!(targets(&world.take()), [expected], "{contact}");
        let out = mia.wake(&mut world, "192.0.2.21");
        let invite = mia.invite(&out);
        assert!(!tells_a_token(&invite), "{invite:?}");
        mia.answer(&mut world, &invite, 200);
        assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    }
}

#[test]
fn linphone_pings_its_old_connection_instead_of_registering_and_is_rung_there() {
    let mut world = World::new();
    let mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_iphone());
    let trunk = Trunk::new(&mut world);
    // Frozen by its system, its connection still stands.
    world.pass(600 * SECOND);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let invite = mia.invite(&out);
    assert_eq!(pushes(&out).len(), 1, "nobody knows whether it hears us");
    // The push thaws it, and it pings.
    world.gateway.handle_flow_alive(world.now, mia.flow().id);
    world.drain();
    mia.answer(&mut world, &invite, 180);
    mia.answer(&mut world, &invite, 200);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [180, 200]);
    assert!(requests(&out, mia.flow(), &Method::Invite).is_empty(), "one INVITE for one call");
    world.pass(30 * SECOND);
    assert!(pushes(&world.take()).is_empty(), "nor is it pushed to again");
    // It counts as awake from its ping on.
    world.gateway.handle_flow_alive(world.now, mia.flow().id);
    world.pass(10 * SECOND);
    trunk.invite(&mut world, "mia", "call-2");
    let out = world.take();
    mia.invite(&out);
    assert!(pushes(&out).is_empty());
}

#[test]
fn linphone_that_comes_too_late_is_rung_and_cancelled_with_the_reason() {
    let mut world = World::new();
    let mut mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_iphone());
    mia.sleep(&mut world);
    let desk = desk(&mut world, "192.0.2.30");
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    assert_eq!(pushes(&out).len(), 1);
    let ringing = desk.invite(&out);
    desk.answer(&mut world, &ringing, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    // An iPhone that was pushed must show a call: it gets one, and its end.
    let out = mia.wake(&mut world, "192.0.2.21");
    let late = mia.invite(&out);
    mia.answer(&mut world, &late, 180);
    let out = world.take();
    let cancel = requests(&out, mia.flow(), &Method::Cancel);
    assert_eq!(cancel.len(), 1);
    assert_eq!(cancel[0].header(Name::Reason), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
}

#[test]
fn mpush_of_both_systems_wakes_and_survives_a_restart() {
    let package = "org.example.app";
    for (value, expected) in [
        (format!("i:{package}:{VOIP}"), apns("org.example.app.voip", Service::Voip, false, VOIP)),
        (
            format!("a:{package}:dK2_ex:APA91b:x"),
            PushTarget::Fcm { project: package.into(), token: "dK2_ex:APA91b:x".into() },
        ),
    ] {
        let mut world = World::new();
        let mut mia = Foreign::new(&mut world, Transport::Tcp, "192.0.2.20", "<sip:mia@192.0.2.20:5070>");
        mia.fields.push(("X-MPUSH", value.clone()));
        let (answer, out) = mia.register(&mut world, 3600);
        assert_eq!(answer.status(), Some(200));
        let bindings = stored(&out);
        mia.sleep(&mut world);
        let trunk = Trunk::new(&mut world);
        trunk.invite(&mut world, "mia", "call-1");
        assert_eq!(targets(&world.take()), std::slice::from_ref(&expected), "{value}");
        let out = mia.wake(&mut world, "192.0.2.21");
        assert!(!tells_a_token(&mia.invite(&out)));

        let loaded = Loaded { bindings, ..Loaded::default() };
        let mut world = World::with(config(), loaded, 2);
        let trunk = Trunk::new(&mut world);
        trunk.invite(&mut world, "mia", "call-2");
        assert_eq!(targets(&world.take()), [expected], "{value} after a restart");
    }
}

#[test]
fn mpush_phone_that_leaves_its_field_out_is_not_pushed_to_any_more() {
    let mut world = World::new();
    let mut mia = Foreign::new(&mut world, Transport::Tcp, "192.0.2.20", "<sip:mia@192.0.2.20:5070>");
    mia.fields.push(("X-MPUSH", format!("i:org.example.app:{VOIP}")));
    mia.register(&mut world, 3600);
    mia.fields.clear();
    let (answer, _) = mia.register(&mut world, 3600);
    assert_eq!(answer.status(), Some(200));
    mia.sleep(&mut world);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    assert!(pushes(&out).is_empty());
    assert_eq!(final_status(&out, trunk.flow), Some(480));
}

/// A desk phone of the same account.
fn desk(world: &mut World, remote: &str) -> Foreign {
    let contact = format!("<sip:mia@{remote}:5060;line=k7x2>;reg-id=1;q=1.0;audio");
    let mut desk = Foreign::registered(world, Transport::Udp, remote, &contact);
    desk.phone.instance = INSTANCE_B;
    desk
}

#[test]
fn desk_phone_and_sleeping_phone_both_ring_and_the_desk_is_told_who_answered() {
    let mut world = World::new();
    let mut mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_android("4815"));
    mia.sleep(&mut world);
    let desk = desk(&mut world, "192.0.2.30");
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let at_desk = desk.invite(&out);
    assert_eq!(pushes(&out).len(), 1);
    desk.answer(&mut world, &at_desk, 180);
    let out = mia.wake(&mut world, "192.0.2.21");
    let at_mobile = mia.invite(&out);
    assert_eq!(at_desk.call_id(), at_mobile.call_id());
    mia.answer(&mut world, &at_mobile, 180);
    mia.answer(&mut world, &at_mobile, 200);
    let out = world.take();
    assert_eq!(final_status(&out, trunk.flow), Some(200));
    let cancel = requests(&out, desk.flow(), &Method::Cancel);
    assert_eq!(cancel.len(), 1);
    assert_eq!(cancel[0].header(Name::Reason), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    desk.answer(&mut world, &at_desk, 487);
    world.pass(200 * SECOND);
    assert_eq!(world.gateway.gauges().contexts, 0);
}

#[test]
fn desk_phone_that_is_busy_leaves_the_call_to_the_phone_that_wakes() {
    let mut world = World::new();
    let mut mia = Foreign::registered(&mut world, Transport::Tls, "192.0.2.20", &linphone_iphone());
    mia.sleep(&mut world);
    let desk = desk(&mut world, "192.0.2.30");
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    desk.answer(&mut world, &desk.invite(&out), 486);
    assert_eq!(final_status(&world.take(), trunk.flow), None, "one is still on its way");
    let out = mia.wake(&mut world, "192.0.2.21");
    let invite = mia.invite(&out);
    // A person who declines everywhere declines at the desk too.
    mia.answer(&mut world, &invite, 603);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(603));
}

#[test]
fn desk_phones_without_an_instance_are_told_apart_by_their_addresses() {
    let mut world = World::new();
    let (one, two) = (desk(&mut world, "192.0.2.30"), desk(&mut world, "192.0.2.31"));
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let (first, second) = (one.invite(&out), two.invite(&out));
    one.answer(&mut world, &first, 180);
    two.answer(&mut world, &second, 200);
    let out = world.take();
    assert_eq!(final_status(&out, trunk.flow), Some(200));
    assert_eq!(requests(&out, one.flow(), &Method::Cancel).len(), 1);
    assert!(pushes(&out).is_empty());
}

/// A phone whose REGISTER comes through another push proxy.
fn behind_opensips(world: &mut World, caps: &str) -> (Foreign, Message, Vec<Out>) {
    let contact = format!(
        "<sip:mia@192.0.2.20:41000;transport=tls;pn-provider=fcm;pn-param=acme;pn-prid=dK2_ex:APA91b>;+sip.instance=\"{INSTANCE_A}\""
    );
    let mut mia = Foreign::new(world, Transport::Tcp, "198.51.100.40", &contact);
    mia.fields.push(("Via", "SIP/2.0/TLS 192.0.2.20:41000;branch=z9hG4bKphone".to_owned()));
    mia.fields.push(("Path", "<sip:p1@198.51.100.40:5060;lr;transport=tcp>".to_owned()));
    if !caps.is_empty() {
        mia.fields.push(("Feature-Caps", caps.to_owned()));
    }
    let (answer, out) = mia.register(world, 604_800);
    (mia, answer, out)
}

#[test]
fn opensips_before_us_that_pushes_itself_is_left_to_it() {
    for caps in ["+sip.pns=\"fcm\";+sip.pnsreg=\"130\"", "*;+sip.pns=\"fcm\""] {
        let mut world = World::new();
        let (mia, answer, out) = behind_opensips(&mut world, caps);
        let bindings = stored(&out);
        assert_eq!(answer.status(), Some(200), "{caps}");
        assert_eq!(answer.header(Name::FeatureCaps), None, "its own word stands (RFC 8599 §5.6.1.1)");
        world.pass(600 * SECOND);
        let trunk = Trunk::new(&mut world);
        world.take();
        trunk.invite(&mut world, "mia", "call-1");
        let out = world.take();
        assert!(pushes(&out).is_empty(), "one proxy pushes, and it is not us");
        // It goes down its Path at once, for the other to hold.
        let invite = mia.invite(&out);
        assert!(
            invite.header(Name::Route).is_some_and(|route| route.contains("p1@198.51.100.40")),
            "{invite:?}"
        );
        mia.answer(&mut world, &invite, 180);
        mia.answer(&mut world, &invite, 200);
        assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
        // And it stays so when we start anew.
        let loaded = Loaded { bindings, ..Loaded::default() };
        let mut world = World::with(config(), loaded, 2);
        let trunk = Trunk::new(&mut world);
        trunk.invite(&mut world, "mia", "call-2");
        assert!(pushes(&world.take()).is_empty(), "{caps}");
    }
}

#[test]
fn opensips_before_us_that_does_not_push_through_this_service_leaves_it_to_us() {
    for caps in ["", "+sip.pns=\"apns\""] {
        let mut world = World::new();
        let (mia, answer, _) = behind_opensips(&mut world, caps);
        assert!(
            answer.header(Name::FeatureCaps).is_some_and(|told| told.contains("+sip.pns=\"fcm\"")),
            "{caps}: {answer:?}"
        );
        mia.sleep(&mut world);
        let trunk = Trunk::new(&mut world);
        trunk.invite(&mut world, "mia", "call-1");
        assert_eq!(pushes(&world.take()).len(), 1, "{caps}");
    }
}
