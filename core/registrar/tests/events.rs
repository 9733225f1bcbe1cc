//! Subscriptions and publications: who is told what, how often, until when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test stops where it fails"
)]

mod world;

use std::time::Duration;

use wakeline_flow::Transport;
use wakeline_registrar::{Config, Loaded};
use wakeline_sip_message::{Builder, Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const INSTANCE_C: &str = "<urn:uuid:2f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a79>";

fn rules() -> Config {
    let mut rules = config();
    rules.trust_registered_connections = true;
    rules
}

/// Mia and ben, registered and awake.
fn two() -> (World, Phone, Phone) {
    let mut world = World::with(rules(), Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut ben = Phone::new(&mut world, "ben", INSTANCE_B, "fcm");
    mia.register(&mut world);
    ben.register(&mut world);
    world.take();
    (world, mia, ben)
}

/// A request of a phone outside of a dialog.
fn request(world: &mut World, phone: &Phone, method: Method, of: &str, call_id: &str) -> Message {
    let uri = format!("sip:{of}@{DOMAIN}");
    Builder::request(method.clone(), &uri)
        .header(Name::Via, format!("SIP/2.0/TLS {};branch={};rport", phone.flow.remote, world.branch()))
        .header(Name::From, format!("<sip:{}@{DOMAIN}>;tag=watcher", phone.user))
        .header(Name::To, format!("<{uri}>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, format!("1 {method}"))
        .header(Name::Contact, format!("<sip:{}@{};transport=tls>", phone.user, phone.flow.remote))
        .build()
        .unwrap()
}

fn subscribe(
    world: &mut World,
    phone: &Phone,
    of: &str,
    event: &str,
    expires: u32,
    call_id: &str,
) -> Vec<Out> {
    let asked = request(world, phone, Method::Subscribe, of, call_id);
    let asked = asked.edit().append(Name::Event, event).append(Name::Expires, expires).finish().unwrap();
    world.take();
    world.receive(phone.flow, &asked);
    world.take()
}

fn notifies(out: &[Out], phone: &Phone) -> Vec<Message> {
    requests(out, phone.flow, &Method::Notify).into_iter().cloned().collect()
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body().to_vec()).unwrap()
}

fn standing(message: &Message) -> String {
    message.header(Name::SubscriptionState).unwrap_or("").to_owned()
}

/// Subscribes, answers the first NOTIFY and gives the 200 and it.
fn watching(world: &mut World, phone: &Phone, of: &str, event: &str, call_id: &str) -> (Message, Message) {
    let out = subscribe(world, phone, of, event, 3600, call_id);
    let ok = sent(&out, phone.flow).into_iter().find(|m| m.status() == Some(200)).expect("a 200").clone();
    let told = notifies(&out, phone);
    assert_eq!(told.len(), 1, "at once");
    phone.answer(world, &told[0], 200);
    world.take();
    (ok, told[0].clone())
}

/// A refresh within the dialog.
fn refresh(world: &mut World, phone: &Phone, ok: &Message, event: &str, expires: u32, cseq: u32) -> Vec<Out> {
    let target = ok.contact().unwrap().unwrap().uri().as_str().to_owned();
    let asked = Builder::request(Method::Subscribe, target)
        .header(Name::Via, format!("SIP/2.0/TLS {};branch={}", phone.flow.remote, world.branch()))
        .copy(ok, Name::From)
        .copy(ok, Name::To)
        .copy(ok, Name::CallId)
        .header(Name::CSeq, format!("{cseq} SUBSCRIBE"))
        .header(Name::Contact, format!("<sip:{}@{};transport=tls>", phone.user, phone.flow.remote))
        .header(Name::Event, event)
        .header(Name::Expires, expires)
        .build()
        .unwrap();
    world.receive(phone.flow, &asked);
    world.take()
}

fn publish(
    world: &mut World,
    phone: &Phone,
    of: &str,
    extra: &[(Name, String)],
    body: Option<(&str, &str)>,
) -> Message {
    let asked = request(world, phone, Method::Publish, of, "pub");
    let mut edit = asked.edit().append(Name::Event, "presence");
    for (name, value) in extra {
        edit = edit.append(name.clone(), value);
    }
    if let Some((kind, text)) = body {
        edit = edit.set_body(kind, text.as_bytes().to_vec());
    }
    let asked = edit.finish().unwrap();
    world.take();
    world.receive(phone.flow, &asked);
    let found = sent(&world.out, phone.flow).into_iter().find(|m| m.method() == Method::Publish);
    found.expect("a response").clone()
}

const PIDF: &str = "application/pidf+xml";

#[test]
fn s23_reg_event_tells_the_devices_and_no_token() {
    let (mut world, mia, _) = two();
    let (ok, first) = watching(&mut world, &mia, "mia", "reg", "w-1");
    assert_eq!(ok.header(Name::Expires), Some("3600"));
    assert!(standing(&first).starts_with("active;expires="));
    assert_eq!(first.content_type_text(), Some("application/reginfo+xml"));
    let told = text(&first);
    assert!(told.contains("state=\"full\"") && told.contains("aor=\"sip:mia@voice.example.org\""));
    assert_eq!(told.matches("<contact ").count(), 1);
    assert!(!told.contains("pn-") && !told.contains("TokenOf"), "{told}");
    // Another device comes: told after the pace of the package, in the same dialog.
    let mut other = Phone::new(&mut world, "mia", INSTANCE_C, "apns");
    other.register(&mut world);
    world.pass(6 * SECOND);
    let told = notifies(&world.take(), &mia);
    assert_eq!(told.len(), 1);
    assert_eq!(text(&told[0]).matches("<contact ").count(), 2);
    assert!(!text(&told[0]).contains("pn-"));
    assert!(told[0].cseq().unwrap().number > first.cseq().unwrap().number);
    assert_eq!((told[0].to_tag(), told[0].from_tag()), (Some("watcher"), ok.to_tag()));
    mia.answer(&mut world, &told[0], 200);
    // A refresh of a registration is no news.
    other.register(&mut world);
    world.pass(20 * SECOND);
    assert!(notifies(&world.take(), &mia).is_empty());
}

#[test]
fn s23_token_in_a_contact_that_is_written_badly_is_not_told_either() {
    let mut world = World::with(rules(), Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    // Behind a question mark parameters are headers of the URI.
    let mut other = Phone::new(&mut world, "mia", INSTANCE_C, "");
    let contact = other.contact().replace(";ob>", "?x=y;ob;pn-provider=fcm;pn-param=acme;pn-prid=aSecret>");
    for _ in 0..2 {
        let bent = other.register_request(&mut world, 3600);
        let bent = bent.edit().replace(Name::Contact, &contact).finish().unwrap();
        world.receive(other.flow, &bent);
        let out = world.take();
        let answer = sent(&out, other.flow)[0].clone();
        if answer.status() == Some(401) {
            other
                .session
                .on_challenge(&bent, &answer, &other.credentials, wakeline_sip_auth::Asker::Configured)
                .unwrap();
        }
    }
    let (_, told) = watching(&mut world, &mia, "mia", "reg", "w-1");
    assert_eq!(text(&told).matches("<contact ").count(), 2);
    assert!(!text(&told).contains("aSecret") && !text(&told).contains("pn-"), "{}", text(&told));
    // Nor does the user's other device see it in its 200.
    let (out, _) = mia.register(&mut world);
    let seen = sent(&out, mia.flow).into_iter().rfind(|m| m.status() == Some(200)).unwrap();
    assert_eq!(seen.contacts().unwrap().list().len(), 2);
    assert!(!String::from_utf8_lossy(&seen.to_bytes()).contains("aSecret"));
}

#[test]
fn many_changes_are_told_together() {
    let (mut world, mia, _) = two();
    watching(&mut world, &mia, "mia", "reg", "w-1");
    let mut told = 0;
    for number in 0..12 {
        let instance: &'static str =
            Box::leak(format!("<urn:uuid:{number:08x}-6a1e-4d0a-9c55-2b1f5d0e8a79>").into_boxed_str());
        let mut phone = Phone::new(&mut world, "mia", instance, "fcm");
        phone.register_for(&mut world, 604_800);
        if number % 2 == 0 {
            phone.register_for(&mut world, 0);
        }
        world.pass(SECOND);
        for one in notifies(&world.take(), &mia) {
            told += 1;
            mia.answer(&mut world, &one, 200);
        }
    }
    assert!((1..=3).contains(&told), "{told} in twelve seconds");
}

#[test]
fn subscription_ends_with_a_last_word() {
    let (mut world, mia, ben) = two();
    let (ok, _) = watching(&mut world, &mia, "ben", "presence", "w-1");
    // Refreshed, it lives on.
    world.pass(Duration::from_secs(3000));
    world.take();
    let out = refresh(&mut world, &mia, &ok, "presence", 3600, 2);
    assert_eq!(statuses(&out, mia.flow), [200]);
    let told = notifies(&out, &mia);
    assert_eq!(told.len(), 1, "the whole state again (RFC 6665 §4.2.1.2)");
    mia.answer(&mut world, &told[0], 200);
    world.pass(Duration::from_secs(3000));
    assert!(world.gateway.gauges().subscriptions == 1 && notifies(&world.take(), &mia).is_empty());
    world.pass(Duration::from_secs(601));
    let told = notifies(&world.take(), &mia);
    assert_eq!(told.len(), 1);
    assert_eq!(standing(&told[0]), "terminated;reason=timeout");
    assert_eq!(world.gateway.gauges().subscriptions, 0);
    mia.answer(&mut world, &told[0], 200);
    assert_eq!(statuses(&refresh(&mut world, &mia, &ok, "presence", 3600, 3), mia.flow), [481]);
    // Given up by its watcher, and by one who does not know of it any more.
    let (ok, _) = watching(&mut world, &mia, "ben", "presence", "w-2");
    let out = refresh(&mut world, &mia, &ok, "presence", 0, 2);
    assert_eq!(standing(&notifies(&out, &mia)[0]), "terminated;reason=timeout");
    watching(&mut world, &mia, "ben", "presence", "w-3");
    let request = ben.register_gone(&mut world);
    world.receive(ben.flow, &request);
    world.pass(6 * SECOND);
    let told = notifies(&world.take(), &mia);
    assert!(text(&told[0]).contains("<basic>closed</basic>"));
    mia.answer(&mut world, &told[0], 481);
    assert_eq!(world.gateway.gauges().subscriptions, 0);
    // One look.
    let out = subscribe(&mut world, &mia, "ben", "presence", 0, "w-4");
    assert_eq!(standing(&notifies(&out, &mia)[0]), "terminated;reason=timeout");
    assert_eq!(world.gateway.gauges().subscriptions, 0);
}

/// The REGISTER that takes a phone's binding back.
trait Gone {
    fn register_gone(&self, world: &mut World) -> Message;
}

impl Gone for Phone {
    fn register_gone(&self, world: &mut World) -> Message {
        let mut twin = Phone {
            user: self.user,
            instance: self.instance,
            provider: self.provider,
            token: self.token.clone(),
            flow: self.flow,
            session: self.session.clone(),
            credentials: self.credentials.clone(),
            entropy: wakeline_entropy::Entropy::from_number(99),
            cseq: self.cseq + 50,
            call_id: self.call_id.clone(),
            extra: Vec::new(),
            reg_id: self.reg_id,
        };
        twin.register_request(world, 0)
    }
}

#[test]
fn watcher_that_sleeps_is_told_when_it_is_back_and_is_not_woken() {
    let (mut world, mut mia, mut ben) = two();
    watching(&mut world, &mia, "ben", "presence", "w-1");
    world.close(mia.flow);
    let request = ben.register_gone(&mut world);
    world.receive(ben.flow, &request);
    world.pass(60 * SECOND);
    let out = world.take();
    assert!(pushes(&out).is_empty(), "a change of presence wakes nobody");
    let (out, _) = mia.wake(&mut world, "192.0.2.40");
    let told = notifies(&out, &mia);
    assert_eq!(told.len(), 1);
    assert!(text(&told[0]).contains("<basic>closed</basic>"));
    mia.answer(&mut world, &told[0], 200);
    // What changed there and back is nothing.
    world.close(mia.flow);
    ben.cseq += 100;
    ben.register(&mut world);
    let request = ben.register_gone(&mut world);
    world.receive(ben.flow, &request);
    world.pass(60 * SECOND);
    let (out, _) = mia.wake(&mut world, "192.0.2.41");
    assert!(notifies(&out, &mia).is_empty());
}

#[test]
fn what_is_ones_own_is_for_nobody_else_and_strangers_learn_nothing() {
    let (mut world, mia, _) = two();
    for event in ["reg", "message-summary"] {
        assert_eq!(
            final_status(&subscribe(&mut world, &mia, "ben", event, 3600, event), mia.flow),
            Some(403)
        );
    }
    let out = subscribe(&mut world, &mia, "mia", "weather", 3600, "w-1");
    let refused = sent(&out, mia.flow)[0].clone();
    assert_eq!(refused.status(), Some(489));
    assert_eq!(refused.header(Name::AllowEvents), Some("reg, presence, dialog, message-summary"));
    let out = subscribe(&mut world, &mia, "mia", "reg", 10, "w-2");
    assert_eq!(sent(&out, mia.flow)[0].header(Name::MinExpires), Some("60"));
    // Over a connection that proves nothing there is a challenge, whoever is asked for and whatever.
    let stranger = world.open(Transport::Udp, "192.0.2.66");
    for (of, event) in [("ben", "presence"), ("nobody-here", "presence"), ("ben", "weather")] {
        let asked = request(&mut world, &mia, Method::Subscribe, of, event);
        let asked = asked.edit().append(Name::Event, event).finish().unwrap();
        world.take();
        world.receive(stranger, &asked);
        assert_eq!(final_status(&world.take(), stranger), Some(407), "{of} {event}");
    }
    // A trunk is trusted to call and no account of ours.
    let trunk = Trunk::new(&mut world);
    let asked = trunk.request(&mut world, Method::Subscribe, &format!("sip:mia@{DOMAIN}"), "spy");
    let asked = asked.edit().append(Name::Event, "presence").finish().unwrap();
    world.take();
    world.receive(trunk.flow, &asked);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(403));
    assert_eq!(world.gateway.gauges().subscriptions, 0);
}

#[test]
fn publication_is_told_until_it_is_taken_back_or_lapses() {
    let (mut world, mia, ben) = two();
    let (_, first) = watching(&mut world, &ben, "mia", "presence", "w-1");
    assert!(text(&first).contains("<basic>open</basic>"), "registered");
    world.pass(10 * SECOND);
    let ok = publish(&mut world, &mia, "mia", &[], Some((PIDF, "<presence>lunch</presence>")));
    assert_eq!(ok.status(), Some(200));
    let tag = ok.sip_etag().unwrap().to_owned();
    let told = notifies(&world.take(), &ben);
    assert_eq!(text(&told[0]), "<presence>lunch</presence>");
    ben.answer(&mut world, &told[0], 200);
    // A refresh says nothing new and has a new tag; the old one is spent.
    let ok = publish(&mut world, &mia, "mia", &[(Name::SipIfMatch, tag.clone())], None);
    let newer = ok.sip_etag().unwrap().to_owned();
    assert_ne!(newer, tag);
    assert_eq!(publish(&mut world, &mia, "mia", &[(Name::SipIfMatch, tag)], None).status(), Some(412));
    world.pass(10 * SECOND);
    assert!(notifies(&world.take(), &ben).is_empty());
    let change = [(Name::SipIfMatch, newer)];
    let ok = publish(&mut world, &mia, "mia", &change, Some((PIDF, "<presence>back</presence>")));
    let told = notifies(&world.take(), &ben);
    assert_eq!(text(&told[0]), "<presence>back</presence>");
    ben.answer(&mut world, &told[0], 200);
    world.pass(10 * SECOND);
    let end = [(Name::SipIfMatch, ok.sip_etag().unwrap().to_owned()), (Name::Expires, "0".to_owned())];
    assert_eq!(publish(&mut world, &mia, "mia", &end, None).status(), Some(200));
    let told = notifies(&world.take(), &ben);
    assert!(text(&told[0]).contains("<basic>open</basic>"));
    ben.answer(&mut world, &told[0], 200);
    // One that is not refreshed lapses.
    let brief = [(Name::Expires, "60".to_owned())];
    publish(&mut world, &mia, "mia", &brief, Some((PIDF, "<presence>away</presence>")));
    world.pass(10 * SECOND);
    for one in notifies(&world.take(), &ben) {
        ben.answer(&mut world, &one, 200);
    }
    world.pass(60 * SECOND);
    let told = notifies(&world.take(), &ben);
    assert!(text(told.last().unwrap()).contains("<basic>open</basic>"));
    assert_eq!(world.gateway.gauges().publications, 0);
}

#[test]
fn publication_that_means_nothing_is_refused() {
    let (mut world, mia, _) = two();
    assert_eq!(publish(&mut world, &mia, "ben", &[], Some((PIDF, "x"))).status(), Some(403));
    assert_eq!(publish(&mut world, &mia, "mia", &[], None).status(), Some(400));
    let wrong = publish(&mut world, &mia, "mia", &[], Some(("text/plain", "x")));
    assert_eq!((wrong.status(), wrong.header(Name::Accept)), (Some(415), Some(PIDF)));
    let unknown = [(Name::SipIfMatch, "never".to_owned())];
    assert_eq!(publish(&mut world, &mia, "mia", &unknown, Some((PIDF, "x"))).status(), Some(412));
    let brief = [(Name::Expires, "5".to_owned())];
    assert_eq!(publish(&mut world, &mia, "mia", &brief, Some((PIDF, "x"))).status(), Some(423));
    assert_eq!(world.gateway.gauges().publications, 0);
}

#[test]
fn call_lights_a_lamp_from_the_first_ring_to_the_bye() {
    let (mut world, mia, ben) = two();
    watching(&mut world, &ben, "mia", "dialog", "w-1");
    let trunk = Trunk::new(&mut world);
    world.pass(10 * SECOND);
    world.take();
    let lamp = |world: &mut World| -> Option<String> {
        world.pass(2 * SECOND);
        let told = notifies(&world.take(), &ben);
        for one in &told {
            ben.answer(world, one, 200);
        }
        let last = told.last().map(text)?;
        let state = last.split("<state>").nth(1).and_then(|rest| rest.split('<').next());
        Some(state.unwrap_or("none").to_owned())
    };
    let invite = trunk.invite(&mut world, "mia", "call-1");
    let rings = requests(&world.out, mia.flow, &Method::Invite)[0].clone();
    assert_eq!(lamp(&mut world).as_deref(), Some("trying"));
    mia.answer(&mut world, &rings, 180);
    assert_eq!(lamp(&mut world).as_deref(), Some("early"));
    mia.answer(&mut world, &rings, 200);
    let ok = sent(&world.out, trunk.flow).into_iter().find(|m| m.status() == Some(200)).unwrap().clone();
    assert_eq!(lamp(&mut world).as_deref(), Some("confirmed"));
    let routes: Vec<String> = ok.headers(Name::RecordRoute).map(str::to_owned).collect();
    let target = ok.contact().unwrap().unwrap().uri().as_str().to_owned();
    let bye = Builder::request(Method::Bye, target)
        .header(Name::Via, format!("SIP/2.0/TCP {};branch={}", trunk.flow.remote, world.branch()))
        .headers(routes.iter().rev().map(|route| (Name::Route, route)))
        .copy(&invite, Name::From)
        .copy(&ok, Name::To)
        .copy(&invite, Name::CallId)
        .header(Name::CSeq, "2 BYE")
        .build()
        .unwrap();
    world.receive(trunk.flow, &bye);
    assert_eq!(lamp(&mut world).as_deref(), Some("none"));
    // One that nobody answers.
    let invite = trunk.invite(&mut world, "mia", "call-2");
    assert_eq!(lamp(&mut world).as_deref(), Some("trying"));
    let rings = world.take();
    drop(rings);
    trunk.cancel(&mut world, &invite);
    world.pass(10 * SECOND);
    let told = notifies(&world.take(), &ben);
    assert!(!text(told.last().unwrap()).contains("<state>"), "dark again");
}

#[test]
fn voicemail_box_is_told_to_who_subscribes() {
    let (mut world, mia, _) = two();
    let (_, first) = watching(&mut world, &mia, "mia", "message-summary", "w-1");
    assert!(text(&first).starts_with("Messages-Waiting: no\r\n"));
    world.pass(2 * SECOND);
    let trunk = Trunk::new(&mut world);
    let said = |world: &mut World, flow, from: &str, call_id: &str| {
        let told = trunk.request(world, Method::Notify, &format!("sip:mia@{DOMAIN}"), call_id);
        let told = told
            .edit()
            .replace(Name::From, from)
            .append(Name::Event, "message-summary")
            .append(Name::SubscriptionState, "active")
            .set_body("application/simple-message-summary", &b"Messages-Waiting: yes\r\n"[..])
            .finish()
            .unwrap();
        world.take();
        world.receive(flow, &told);
        world.take()
    };
    let out = said(&mut world, trunk.flow, "<sip:box@198.51.100.7>;tag=box", "s-1");
    let own: Vec<Message> =
        notifies(&out, &mia).into_iter().filter(|one| one.to_tag() == Some("watcher")).collect();
    assert_eq!(text(&own[0]), "Messages-Waiting: yes\r\n");
    // Another account may send such a NOTIFY; what the box holds is not changed by it.
    mia.answer(&mut world, &own[0], 200);
    let eve = {
        let mut eve = Phone::new(&mut world, "eve", INSTANCE_C, "");
        eve.register_for(&mut world, 3600);
        eve
    };
    world.pass(5 * SECOND);
    let out = said(&mut world, eve.flow, &format!("<sip:eve@{DOMAIN}>;tag=eve"), "s-2");
    assert!(notifies(&out, &mia).iter().all(|one| one.to_tag() != Some("watcher")));
}

#[test]
fn s14_subscriptions_and_publications_are_bounded() {
    let mut rules = rules();
    rules.limits.subscriptions = 5;
    rules.limits.subscriptions_per_aor = 3;
    rules.limits.publications = 2;
    let mut world = World::with(rules, Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut ben = Phone::new(&mut world, "ben", INSTANCE_B, "fcm");
    mia.register(&mut world);
    ben.register(&mut world);
    for number in 0..50 {
        for phone in [&mia, &ben] {
            let name = format!("{}-{number}", phone.user);
            let out = subscribe(&mut world, phone, "mia", "presence", 3600, &name);
            let status = final_status(&out, phone.flow);
            assert_eq!(
                status,
                Some(if number < 2 && !(number == 1 && phone.user == "ben") { 200 } else { 503 })
            );
        }
    }
    assert_eq!(world.gateway.gauges().subscriptions, 3);
    for number in 0..20 {
        let ok = publish(&mut world, &mia, "mia", &[], Some((PIDF, "<presence/>")));
        assert_eq!(ok.status(), Some(if number < 2 { 200 } else { 503 }));
    }
    assert_eq!(world.gateway.gauges().publications, 2);
    // And nothing is left when all of it has run off.
    world.pass(Duration::from_secs(8000));
    let gauges = world.gateway.gauges();
    assert_eq!((gauges.subscriptions, gauges.publications, gauges.client_transactions), (0, 0, 0));
}

#[test]
fn removed_account_ends_what_is_told_of_it() {
    let (mut world, mia, _) = two();
    watching(&mut world, &mia, "ben", "presence", "w-1");
    let wall = world.wall();
    world.gateway.remove_account(world.now, wall, "ben", DOMAIN);
    world.drain();
    let told = notifies(&world.take(), &mia);
    assert_eq!(standing(told.last().unwrap()), "terminated;reason=noresource");
    assert_eq!(world.gateway.gauges().subscriptions, 0);
}
