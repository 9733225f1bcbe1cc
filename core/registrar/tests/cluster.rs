//! Several nodes of one gateway: what one stores the others know, and a connection is used from wherever the call came in.
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
use wakeline_push::{WakeId, WakeState, read_wake_states};
use wakeline_registrar::PushResult;
use wakeline_registrar::{Allowance, Config, HopId, Loaded, NextHop, NodeName, NodeView, Persist};
use wakeline_sip_message::{Builder, Message, Method, Name};
use world::*;

/// A node's end of the links: the one that it opened, and the one that the other opened.
struct Node {
    world: World,
    out: FlowInfo,
    from: FlowInfo,
    view: NodeView,
    living: bool,
}

/// Two nodes that tell each other everything at once.
struct Pair([Node; 2]);

fn view(name: &str, host: &str) -> NodeView {
    let address = NextHop { transport: Transport::Tcp, host: host.into(), port: 5060 };
    let sources = vec![host.parse().unwrap()];
    NodeView { name: name.into(), mark: format!("life of {name}"), address, sources }
}

fn named(name: &str) -> Config {
    let mut config = config();
    config.node = Some(NodeName { name: name.into(), mark: format!("life of {name}") });
    config
}

fn node(name: &str, host: &str, other: &str, seed: u8, loaded: Loaded) -> Node {
    let mut world = World::with(named(name), loaded, seed);
    let (out, from) = (world.open(Transport::Tcp, other), world.open(Transport::Tcp, other));
    Node { world, out, from, view: view(name, host), living: true }
}

impl Pair {
    fn new() -> Pair {
        let a = node("a", "10.0.0.1", "10.0.0.2", 1, Loaded::default());
        let b = node("b", "10.0.0.2", "10.0.0.1", 2, Loaded::default());
        let mut pair = Pair([a, b]);
        for place in [0, 1] {
            pair.know(place);
        }
        pair
    }

    /// A node hears that the other lives, and its link opens.
    fn know(&mut self, place: usize) {
        let other = self.0[1 - place].view.clone();
        let node = &mut self.0[place];
        let (now, wall) = (node.world.now, node.world.wall());
        node.world.gateway.handle_nodes(now, wall, &[other]);
        node.world.drain();
        assert!(matches!(node.world.take()[..], [Out::OpenFlow(HopId(0x8000))]));
        node.world.gateway.handle_hop_opened(now, HopId(1 << 15), node.out);
        node.world.drain();
        assert_eq!(node.world.gateway.nodes(), (1, 1));
    }

    /// Carries what has come out over links and through the store until nothing is left; what is for others is given back.
    fn carry(&mut self) -> [Vec<Out>; 2] {
        let mut kept = [Vec::new(), Vec::new()];
        for _ in 0..100 {
            let mut moved = false;
            for place in [0, 1] {
                let outs = self.0[place].world.take();
                let (out, from) = (self.0[place].out.id, self.0[place].from.id);
                for one in outs {
                    let to = 1 - place;
                    match one {
                        Out::Sent(flow, message) if flow == out || flow == from => {
                            let other = &mut self.0[to];
                            if other.living {
                                moved = true;
                                let end = if flow == out { other.from } else { other.out };
                                other.world.receive(end, &message);
                            }
                        }
                        Out::Persist(change) => {
                            let other = &mut self.0[to];
                            if other.living {
                                moved = true;
                                let (now, wall) = (other.world.now, other.world.wall());
                                other.world.gateway.handle_elsewhere(now, wall, (*change).clone());
                                other.world.drain();
                            }
                            kept[place].push(Out::Persist(change));
                        }
                        one => kept[place].push(one),
                    }
                }
            }
            if !moved {
                return kept;
            }
        }
        panic!("two nodes that never stop talking");
    }

    fn pass(&mut self, span: Duration) -> [Vec<Out>; 2] {
        let mut all = [Vec::new(), Vec::new()];
        let step = Duration::from_millis(100);
        for _ in 0..span.as_millis() / step.as_millis() {
            for node in self.0.iter_mut().filter(|node| node.living) {
                node.world.pass(step);
            }
            let [a, b] = self.carry();
            all[0].extend(a);
            all[1].extend(b);
        }
        all
    }

    /// A node dies, and the other is told so.
    fn die(&mut self, place: usize) {
        self.0[place].living = false;
        let left = &mut self.0[1 - place];
        let (now, wall) = (left.world.now, left.world.wall());
        left.world.gateway.handle_nodes(now, wall, &[]);
        left.world.drain();
    }
}

fn mia_at(pair: &mut Pair, place: usize) -> Phone {
    let mut mia = Phone::new(&mut pair.0[place].world, "mia", INSTANCE_A, "fcm");
    mia.extra.push(("X-Wake-Id", WakeId::of("another", "call").to_string()));
    mia
}

/// Registers at a node and keeps what came out.
fn register(pair: &mut Pair, place: usize, phone: &mut Phone) -> [Vec<Out>; 2] {
    let (out, _) = phone.register(&mut pair.0[place].world);
    pair.0[place].world.out = out;
    pair.carry()
}

fn asleep_at(pair: &mut Pair, place: usize) -> Phone {
    let mut mia = mia_at(pair, place);
    register(pair, place, &mut mia);
    pair.0[place].world.close(mia.flow);
    pair.carry();
    mia
}

/// The same phone at another node; the nonce that it has is good there too.
fn wake_at(pair: &mut Pair, place: usize, phone: &mut Phone, wake: &WakeId) -> [Vec<Out>; 2] {
    phone.extra = vec![("X-Wake-Id", wake.to_string())];
    phone.flow = pair.0[place].world.open(Transport::Tls, "192.0.2.77");
    let (out, rounds) = phone.register(&mut pair.0[place].world);
    assert_eq!(rounds, 1, "a nonce of another node's costs no extra round");
    pair.0[place].world.out = out;
    pair.carry()
}

fn states(out: &[Out], phone: &Phone) -> Vec<(WakeId, WakeState)> {
    let ok = sent(out, phone.flow).into_iter().find(|m| m.method() == Method::Register).unwrap();
    ok.header_by_name("X-Wake-State").map(read_wake_states).unwrap_or_default()
}

fn in_dialog(
    world: &mut World,
    method: Method,
    number: u32,
    ok: &Message,
    invite: &Message,
    flow: &FlowInfo,
) -> Message {
    let contact = ok.header(Name::Contact).unwrap();
    let target = contact.split(['<', '>']).nth(1).unwrap().to_owned();
    let mut routes: Vec<&str> = ok.headers(Name::RecordRoute).collect();
    routes.reverse();
    let mut builder = Builder::request(method.clone(), &target)
        .header(Name::Via, format!("SIP/2.0/TCP {};branch={};rport", flow.remote, world.branch()))
        .copy(invite, Name::From)
        .copy(ok, Name::To)
        .copy(invite, Name::CallId)
        .header(Name::CSeq, format!("{number} {method}"));
    for route in routes {
        builder = builder.header(Name::Route, route);
    }
    builder.build().unwrap()
}

#[test]
fn an_invite_held_at_one_node_leaves_when_the_phone_registers_at_another_and_the_dialog_goes_both_ways() {
    let mut pair = Pair::new();
    let mut mia = asleep_at(&mut pair, 0);
    let trunk = Trunk::new(&mut pair.0[0].world);
    let asked = trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [at_a, at_b] = pair.carry();
    assert_eq!((pushes(&at_a).len(), pushes(&at_b).len()), (1, 0));
    let wake = WakeId::of("call-1", "caller");

    let [_, at_b] = wake_at(&mut pair, 1, &mut mia, &wake);
    assert_eq!(states(&at_b, &mia), [(wake, WakeState::Pending)]);
    let invites = requests(&at_b, mia.flow, &Method::Invite);
    assert_eq!(invites.len(), 1, "released once");
    let invite = invites[0].clone();
    assert!(!invite.to_bytes().windows(3).any(|word| word == b"pn-"), "no token on the way");
    assert_eq!(invite.routes().count(), 0, "the nodes' own Route is theirs");

    mia.answer(&mut pair.0[1].world, &invite, 180);
    mia.answer(&mut pair.0[1].world, &invite, 200);
    let [at_a, _] = pair.carry();
    assert_eq!(statuses(&at_a, trunk.flow), [180, 200]);
    let ok = sent(&at_a, trunk.flow).into_iter().find(|m| m.status() == Some(200)).unwrap().clone();
    for method in [Method::Ack, Method::Bye] {
        let number = if method == Method::Ack { 1 } else { 2 };
        let request = in_dialog(&mut pair.0[0].world, method.clone(), number, &ok, &asked, &trunk.flow);
        pair.0[0].world.receive(trunk.flow, &request);
        let [_, at_b] = pair.carry();
        let arrived = requests(&at_b, mia.flow, &method);
        assert_eq!(arrived.len(), 1, "{method}");
        assert_eq!(arrived[0].routes().count(), 0);
    }
    // And from the phone to a caller whose connection is the other node's.
    let request = Builder::request(Method::Info, "sip:bob@198.51.100.7;transport=tcp")
        .header(Name::Via, format!("SIP/2.0/TLS {};branch={};rport", mia.flow.remote, "z9hG4bKback"))
        .header(Name::From, format!("{};tag=phone", invite.header(Name::To).unwrap()))
        .header(Name::To, invite.header(Name::From).unwrap())
        .header(Name::CallId, invite.call_id())
        .header(Name::CSeq, "1 INFO");
    let request = invite
        .headers(Name::RecordRoute)
        .fold(request, |request, route| request.header(Name::Route, route))
        .build()
        .unwrap();
    pair.0[1].world.receive(mia.flow, &request);
    let [at_a, _] = pair.carry();
    let arrived = requests(&at_a, trunk.flow, &Method::Info);
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].routes().count(), 0);
}

#[test]
fn s14_who_is_challenged_each_time_does_not_fill_the_store() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 0);
    for (use_of_it, seconds) in [(1, 3600), (2, 8 * 86_400)] {
        let [at_a, _] = register(&mut pair, 0, &mut mia);
        let wall = pair.0[0].world.wall();
        let kept = at_a.iter().find_map(|one| match one {
            Out::Persist(change) => match **change {
                Persist::NonceUsed { until, .. } => Some(until.0 - wall.0),
                _ => None,
            },
            _ => None,
        });
        assert_eq!(kept, Some(seconds * 1000), "use {use_of_it}");
    }
}

#[test]
fn s17_what_one_node_sealed_for_another_opens_nothing_to_a_stranger() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let link = pair.0[0].out;
    let handed = requests(&pair.0[0].world.take(), link, &Method::Invite)[0].clone();
    let world = &mut pair.0[1].world;
    // Somebody has listened between the nodes.
    let thief = world.open(Transport::Tcp, "192.0.2.66");
    world.receive(thief, &handed);
    let out = world.take();
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    assert_eq!(final_status(&out, thief), Some(403));
    // From the node itself it goes down the connection.
    let from = pair.0[1].from;
    let world = &mut pair.0[1].world;
    world.receive(from, &handed);
    assert_eq!(requests(&world.take(), mia.flow, &Method::Invite).len(), 1);
}

#[test]
fn a_phone_that_is_connected_elsewhere_rings_there_and_a_caller_that_gives_up_is_heard() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    let trunk = Trunk::new(&mut pair.0[0].world);
    let asked = trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [_, at_b] = pair.carry();
    let invite = requests(&at_b, mia.flow, &Method::Invite)[0].clone();
    mia.answer(&mut pair.0[1].world, &invite, 180);
    pair.carry();
    trunk.cancel(&mut pair.0[0].world, &asked);
    let [_, at_b] = pair.carry();
    let cancel = requests(&at_b, mia.flow, &Method::Cancel);
    assert_eq!(cancel.len(), 1);
    mia.answer(&mut pair.0[1].world, &invite, 487);
    let [at_a, _] = pair.carry();
    assert_eq!(final_invite(&at_a, &trunk), Some(487));
    for node in &pair.0 {
        assert_eq!(node.world.gateway.gauges().held, 0);
    }
}

fn final_invite(out: &[Out], trunk: &Trunk) -> Option<u16> {
    let finals = sent(out, trunk.flow).into_iter().filter(|m| m.method() == Method::Invite);
    finals.filter_map(Message::status).find(|status| *status >= 200)
}

#[test]
fn a_connection_that_another_node_has_lost_is_a_push_here() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    // The news of the loss is still on its way.
    pair.0[1].world.close(mia.flow);
    pair.0[1].world.take();
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [at_a, at_b] = pair.carry();
    assert_eq!((pushes(&at_a).len(), pushes(&at_b).len()), (1, 0), "one wake, by the node that has the call");
    assert_eq!(pair.0[0].world.gateway.gauges().held, 1);
    assert_eq!(final_invite(&at_a, &trunk), None);
}

#[test]
fn f6_a_node_that_dies_takes_its_held_calls_along_and_a_late_waker_learns_it_from_the_other() {
    let mut pair = Pair::new();
    let mut mia = asleep_at(&mut pair, 0);
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [at_a, _] = pair.carry();
    assert_eq!(pushes(&at_a).len(), 1);
    pair.die(0);
    let wake = WakeId::of("call-1", "caller");
    let [_, at_b] = wake_at(&mut pair, 1, &mut mia, &wake);
    assert_eq!(states(&at_b, &mia), [(wake, WakeState::Failed)]);
    assert!(requests(&at_b, mia.flow, &Method::Invite).is_empty());
    // The next call, at the node that is left, rings.
    let trunk = Trunk::new(&mut pair.0[1].world);
    trunk.invite(&mut pair.0[1].world, "mia", "call-2");
    let [_, at_b] = pair.carry();
    assert_eq!(requests(&at_b, mia.flow, &Method::Invite).len(), 1);
}

#[test]
fn f6_a_call_that_rings_through_a_node_that_dies_is_held_and_leaves_through_the_other() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    pair.carry();
    pair.die(1);
    let [at_a, _] = pair.carry();
    assert_eq!(final_invite(&at_a, &trunk), None);
    assert_eq!(pair.0[0].world.gateway.gauges().held, 1);
    let [at_a, _] = wake_at(&mut pair, 0, &mut mia, &WakeId::of("call-1", "caller"));
    assert_eq!(requests(&at_a, mia.flow, &Method::Invite).len(), 1);
}

#[test]
fn how_a_call_ended_is_known_at_the_other_node_and_who_answered_it_is_not_told() {
    let mut pair = Pair::new();
    let mut mia = asleep_at(&mut pair, 0);
    let trunk = Trunk::new(&mut pair.0[0].world);
    let asked = trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    pair.carry();
    trunk.cancel(&mut pair.0[0].world, &asked);
    pair.carry();
    let wake = WakeId::of("call-1", "caller");
    let [_, at_b] = wake_at(&mut pair, 1, &mut mia, &wake);
    assert_eq!(states(&at_b, &mia), [(wake, WakeState::Cancelled)]);
}

#[test]
fn the_same_call_at_two_nodes_wakes_once() {
    let mut pair = Pair::new();
    asleep_at(&mut pair, 0);
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    pair.carry();
    let again = Trunk::new(&mut pair.0[1].world);
    again.invite(&mut pair.0[1].world, "mia", "call-1");
    let [_, at_b] = pair.carry();
    assert_eq!((pushes(&at_b).len(), final_invite(&at_b, &again)), (0, Some(482)));
}

#[test]
fn s24_an_allowance_is_one_for_all_nodes() {
    let mut pair = Pair::new();
    asleep_at(&mut pair, 0);
    let allowed = Config::new(DOMAIN, "x".into()).limits.wakes_per_aor;
    assert_eq!(allowed, Allowance { per_minute: 6, per_hour: 30 });
    let mut asked = 0;
    for number in 0..20 {
        let place = number % 2;
        let mut trunk = Trunk::new(&mut pair.0[place].world);
        trunk.from = format!("<sip:{number}@198.51.100.7>;tag=caller");
        let invite = trunk.invite(&mut pair.0[place].world, "mia", &format!("call-{number}"));
        trunk.cancel(&mut pair.0[place].world, &invite);
        let [a, b] = pair.carry();
        asked += pushes(&a).len() + pushes(&b).len();
    }
    assert_eq!(asked, 6);
}

#[test]
fn only_the_node_of_a_binding_refreshes_it_and_nothing_is_stored_twice() {
    let mut pair = Pair::new();
    let mia = asleep_at(&mut pair, 0);
    let [at_a, at_b] = pair.pass(Duration::from_secs(400_000));
    assert_eq!((pushes(&at_a).len(), pushes(&at_b).len()), (1, 0), "half of its week is over");
    let stored = at_b.iter().filter(|one| matches!(one, Out::Persist(_))).count();
    assert_eq!(stored, 0);
    // Its node dies: now it is the other's.
    pair.die(0);
    let [_, at_b] = pair.pass(Duration::from_secs(150_000));
    assert!(!pushes(&at_b).is_empty());
    drop(mia);
}

#[test]
fn a_node_that_starts_takes_over_nothing_from_those_that_live() {
    let mut pair = Pair::new();
    asleep_at(&mut pair, 0);
    let trunk = Trunk::new(&mut pair.0[0].world);
    trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [at_a, _] = pair.carry();
    let mut loaded = Loaded::default();
    for one in &at_a {
        if let Out::Persist(change) = one
            && let Persist::WakePut(wake) = &**change
        {
            loaded.wakes.push(wake.clone());
        }
    }
    assert_eq!(loaded.wakes.len(), 1);
    let mut late = node("c", "10.0.0.3", "10.0.0.1", 3, loaded);
    late.world.drain();
    assert!(late.world.take().iter().all(|one| !matches!(one, Out::Persist(_))), "it is the other's call");
    let (now, wall) = (late.world.now, late.world.wall());
    late.world.gateway.handle_nodes(now, wall, &[]);
    late.world.drain();
    let failed = late.world.take().into_iter().any(|one| match one {
        Out::Persist(change) => matches!(*change, Persist::WakePut(wake) if wake.state == WakeState::Failed),
        _ => false,
    });
    assert!(failed, "that node does not live, and its call neither");
}

#[test]
fn s28_a_sealed_hand_over_is_believed_and_a_forged_one_is_not() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    let stranger = pair.0[1].world.open(Transport::Tcp, "192.0.2.200");
    let forged = Builder::request(Method::Invite, format!("sip:mia@{DOMAIN}"))
        .header(Name::Via, "SIP/2.0/TCP 192.0.2.200;branch=z9hG4bKforged")
        .header(Name::Route, "<sip:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@203.0.113.1;transport=tcp;lr>")
        .header(Name::From, "<sip:eve@elsewhere.example>;tag=x")
        .header(Name::To, format!("<sip:mia@{DOMAIN}>"))
        .header(Name::CallId, "forged")
        .header(Name::CSeq, "1 INVITE")
        .build()
        .unwrap();
    pair.0[1].world.receive(stranger, &forged);
    let [_, at_b] = pair.carry();
    assert!(requests(&at_b, mia.flow, &Method::Invite).is_empty());
    assert_eq!(statuses(&at_b, stranger), [403]);
}

#[test]
fn one_device_at_two_nodes_at_once_is_one_binding_when_they_have_told_each_other() {
    let mut pair = Pair::new();
    let (mut first, mut second) = (mia_at(&mut pair, 0), mia_at(&mut pair, 1));
    let (at_a, _) = first.register(&mut pair.0[0].world);
    pair.0[1].world.pass(Duration::from_secs(1));
    let (at_b, _) = second.register(&mut pair.0[1].world);
    // Neither has heard of the other yet.
    pair.0[0].world.out = at_a;
    pair.0[1].world.out = at_b;
    pair.carry();
    for node in &pair.0 {
        let bound = node.world.gateway.bindings_of(node.world.now, "mia", DOMAIN);
        assert_eq!(bound.len(), 1);
    }
}

#[test]
fn a_token_that_died_at_one_node_is_dead_at_the_others_and_its_connection_stays() {
    let mut pair = Pair::new();
    let mut mia = mia_at(&mut pair, 1);
    register(&mut pair, 1, &mut mia);
    let trunk = Trunk::new(&mut pair.0[0].world);
    let asked = trunk.invite(&mut pair.0[0].world, "mia", "call-1");
    let [at_a, _] = pair.carry();
    let key = pushes(&at_a)[0].key;
    pair.0[0].world.push_result(key, PushResult::Gone { since: None });
    pair.carry();
    for node in &pair.0 {
        let bound = node.world.gateway.bindings_of(node.world.now, "mia", DOMAIN);
        assert!(!bound[0].wakeable);
    }
    trunk.cancel(&mut pair.0[0].world, &asked);
    pair.carry();
    let again = Trunk::new(&mut pair.0[1].world);
    again.invite(&mut pair.0[1].world, "mia", "call-2");
    let [_, at_b] = pair.carry();
    assert_eq!(requests(&at_b, mia.flow, &Method::Invite).len(), 1, "it is still connected there");
}
