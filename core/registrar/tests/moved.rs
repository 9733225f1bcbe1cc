//! A call that rings while its phone registers on another flow: who takes it along, who says that it has it already, and
//! what is remembered of it afterwards (rows 13, 14, 17 and 22 of the race table).
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

use wakeline_push::{WakeId, WakeState, read_wake_states};
use wakeline_sip_message::{Message, Method};
use world::*;

const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(16);

/// A call that rings at a phone of mia, on a flow that stays open when she registers on another from the same address.
struct Ringing {
    world: World,
    mia: Phone,
    trunk: Trunk,
    /// As the trunk sent it.
    asked: Message,
    old: Message,
    old_flow: wakeline_flow::FlowInfo,
}

/// The same call when the phone has registered on another flow, with the copy of the INVITE that it got there.
struct Moved {
    at: Ringing,
    copy: Message,
}

fn invites(out: &[Out], phone: &Phone) -> Vec<Message> {
    requests(out, phone.flow, &Method::Invite).into_iter().cloned().collect()
}

/// `ours`: whether the phone names wakes in its REGISTER, as phones of ours do. `quiet`: for how long its flow has been
/// silent when the call comes; after a while a push goes out beside the INVITE.
fn ringing(ours: bool, quiet: Duration) -> Ringing {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    if ours {
        mia.extra.push(("X-Wake-Id", WakeId::of("another", "call").to_string()));
    }
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.pass(quiet);
    world.take();
    let asked = trunk.invite(&mut world, "mia", "call-1");
    let old = invites(&world.take(), &mia).remove(0);
    let old_flow = mia.flow;
    mia.answer(&mut world, &old, 180);
    world.take();
    Ringing { world, mia, trunk, asked, old, old_flow }
}

/// A phone of ours that has moved.
fn moved(quiet: Duration) -> Moved {
    let mut at = ringing(true, quiet);
    let (out, _) = at.mia.wake(&mut at.world, "192.0.2.10");
    let mut copies = invites(&out, &at.mia);
    assert_eq!(copies.len(), 1, "the call goes along");
    Moved { at, copy: copies.remove(0) }
}

fn states(out: &[Out], phone: &Phone) -> Vec<(WakeId, WakeState)> {
    let ok = sent(out, phone.flow).into_iter().find(|m| m.status() == Some(200)).expect("a 200");
    read_wake_states(ok.header_by_name("X-Wake-State").unwrap_or(""))
}

fn assert_quiet(world: &mut World) {
    world.pass(Duration::from_secs(4000));
    let gauges = world.gateway.gauges();
    let left = (gauges.contexts, gauges.held, gauges.pushes, gauges.outcomes);
    assert_eq!(left, (0, 0, 0, 0), "{gauges:?}");
    assert_eq!((gauges.client_transactions, gauges.server_transactions), (0, 0), "{gauges:?}");
}

/// Whoever leaves the old flow always takes the call along, from the same address, too; others stay where they ring.
#[test]
fn a_phone_of_ours_always_moves_and_another_one_only_to_another_address() {
    moved(SOON);
    let mut foreign = ringing(false, SOON);
    let (out, _) = foreign.mia.wake(&mut foreign.world, "192.0.2.10");
    assert!(invites(&out, &foreign.mia).is_empty());
    let (out, _) = foreign.mia.wake(&mut foreign.world, "192.0.2.99");
    assert_eq!(invites(&out, &foreign.mia).len(), 1);
}

/// 482 says that the device has it already: it goes on where it rang, and that place's answer connects the call.
#[test]
fn a_482_puts_the_branch_back_where_it_rings() {
    let Moved { at: Ringing { mut world, mia, trunk, old, old_flow, .. }, copy } = moved(SOON);
    mia.answer(&mut world, &copy, 482);
    assert_eq!(final_status(&world.take(), trunk.flow), None, "the device has not refused");
    world.pass(Duration::from_secs(10));
    mia.answer_on(&mut world, old_flow, &old, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_quiet(&mut world);
}

/// A second 482 is no more than that: there is nothing left to go back to, and the device has refused.
#[test]
fn a_482_of_the_place_that_was_put_back_is_a_refusal() {
    let Moved { at: Ringing { mut world, mia, trunk, old, old_flow, .. }, copy } = moved(SOON);
    mia.answer(&mut world, &copy, 482);
    mia.answer_on(&mut world, old_flow, &old, 482);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(482));
    assert_quiet(&mut world);
}

/// The other way round: the device goes on with the copy, and says so of the first.
#[test]
fn a_482_of_the_old_place_changes_nothing() {
    let Moved { at: Ringing { mut world, mia, trunk, old, old_flow, .. }, copy } = moved(SOON);
    mia.answer(&mut world, &copy, 180);
    mia.answer_on(&mut world, old_flow, &old, 482);
    assert_eq!(final_status(&world.take(), trunk.flow), None);
    mia.answer(&mut world, &copy, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_quiet(&mut world);
}

/// The caller gave up while the copy was under way: whichever place rings at last gets its CANCEL.
#[test]
fn a_late_cancel_reaches_the_place_that_was_put_back() {
    let Moved { at: Ringing { mut world, mia, trunk, asked, old, old_flow, .. }, copy } = moved(SOON);
    trunk.cancel(&mut world, &asked);
    let out = world.take();
    assert!(requests(&out, mia.flow, &Method::Cancel).is_empty(), "not before the copy's first response");
    mia.answer(&mut world, &copy, 482);
    let out = world.take();
    let cancels = requests(&out, old_flow, &Method::Cancel);
    assert_eq!(cancels.len(), 1, "{out:?}");
    assert_eq!(cancels[0].via().unwrap().branch(), old.via().unwrap().branch());
    let cancel = cancels[0].clone();
    mia.answer_on(&mut world, old_flow, &cancel, 200);
    mia.answer_on(&mut world, old_flow, &old, 487);
    world.take();
    assert_quiet(&mut world);
}

/// A phone of ours that was told of the end itself need not hear of it again; one that was pushed must, because the push
/// may come late and to a process that knows nothing.
#[test]
fn what_is_remembered_is_what_somebody_may_still_ask_for() {
    for pushed in [false, true] {
        let Moved { at, copy } = moved(if pushed { LONG } else { SOON });
        let Ringing { mut world, mut mia, trunk, .. } = at;
        mia.answer(&mut world, &copy, 486);
        assert_eq!(final_status(&world.take(), trunk.flow), Some(486));
        let wake = WakeId::of("call-1", "caller");
        mia.extra = vec![("X-Wake-Id", wake.to_string())];
        let (out, _) = mia.register(&mut world);
        let told = if pushed { WakeState::Failed } else { WakeState::Unknown };
        assert_eq!(states(&out, &mia), [(wake, told)], "pushed: {pushed}");
        assert_quiet(&mut world);
    }
}
