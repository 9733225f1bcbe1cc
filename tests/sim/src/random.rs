//! A world and a schedule from a number.

use std::time::Duration;

use wakeline_entropy::Entropy;
use wakeline_push::WakeId;
use wakeline_registrar::PushResult;
use wakeline_user_agent::Command;

use crate::gateway::gateway_config;
use crate::network::Weather;
use crate::phone::SimPhone;
use crate::push::{Delivery, Fate};
use crate::world::{Happening, Whim, World};

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What did not hold.
    pub violations: Vec<String>,
    /// What happened, when it was wanted.
    pub timeline: Vec<String>,
}

/// Runs one seed; with `verbose` everything that happens is told.
pub fn run_seed(seed: u64, verbose: bool) -> Run {
    run(draw(seed, false), verbose)
}

/// The same with a gateway of two nodes, one of which may die and come back.
pub fn run_pair(seed: u64, verbose: bool) -> Run {
    run(draw(seed, true), verbose)
}

fn run(mut world: World, verbose: bool) -> Run {
    world.recording = false;
    world.timeline = verbose.then(Vec::new);
    world.run(Duration::from_secs(100));
    let violations = world.finish();
    Run { violations, timeline: world.timeline.take().unwrap_or_default() }
}

/// One of a list.
fn one_of<T: Copy>(entropy: &mut Entropy, list: &[T]) -> T {
    list[entropy.below(u32::try_from(list.len()).unwrap_or(1)) as usize]
}

fn millis(entropy: &mut Entropy, low: u64, high: u64) -> Duration {
    entropy.between(Duration::from_millis(low), Duration::from_millis(high))
}

fn draw(seed: u64, pair: bool) -> World {
    let mut entropy = Entropy::from_number(seed ^ 0x005e_ed0f_ca11);
    let callers = 1 + entropy.below(2) as usize;
    let devices = 1 + entropy.below(3) as usize;
    // UDP, TCP, TLS; streams more often, as in life.
    let mut phones = Vec::new();
    for user in ["bob", "eve"].into_iter().take(callers) {
        phones.push(SimPhone::new(user, one_of(&mut entropy, &[0, 1, 1, 2]), None));
    }
    for device in 0..devices {
        let token = format!("token-of-mia-{device}");
        let mut phone = SimPhone::new("mia", one_of(&mut entropy, &[0, 1, 1, 2, 2]), Some(&token));
        phone.answers_after = (entropy.below(3) == 0).then(|| millis(&mut entropy, 0, 8000));
        phones.push(phone);
    }
    for phone in &mut phones {
        phone.behind_nat = entropy.below(3) == 0;
        if entropy.below(5) == 0 {
            phone.clock_ahead = i64::from(entropy.below(7_200_000)) - 3_600_000;
        }
    }
    let mut config = gateway_config();
    config.limits.wakes_per_aor.per_minute = one_of(&mut entropy, &[6, 1000]);
    let mut world = if pair {
        let news = millis(&mut entropy, 1, 40);
        World::pair(seed, phones, config, news)
    } else {
        World::with(seed, phones, config)
    };
    world.weather = weather(&mut entropy);
    world.delivery = delivery(&mut entropy);
    let all = callers + devices;
    for phone in 0..all {
        world.after(millis(&mut entropy, 0, 500), Happening::Start(phone));
    }
    // Some sleep when the first call comes.
    for phone in callers..all {
        let at = Duration::from_secs(5) + millis(&mut entropy, 0, 3000);
        match entropy.below(4) {
            0 => world.after(at, Happening::Kill(phone, entropy.below(2) == 0)),
            1 => world.after(at, Happening::Wish(phone, Command::Suspend)),
            2 => world.after(at, Happening::Silence(phone)),
            _ => {}
        }
    }
    let calls = 1 + entropy.below(4);
    for _ in 0..calls {
        let caller = entropy.below(u32::try_from(callers).unwrap_or(1)) as usize;
        let at = Duration::from_secs(9) + millis(&mut entropy, 0, 60_000);
        let dial = Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() };
        world.after(at, Happening::Wish(caller, dial));
        if entropy.below(2) == 0 {
            let ends = at + millis(&mut entropy, 0, 30_000);
            world.after(ends, Happening::Whim(caller, Whim::Hangup));
        }
        // Persons see the call soon after it began.
        for _ in 0..entropy.below(4) {
            let device = callers + entropy.below(u32::try_from(devices).unwrap_or(1)) as usize;
            let whim = one_of(
                &mut entropy,
                &[Whim::Answer, Whim::Answer, Whim::Decline, Whim::Busy, Whim::Ignore, Whim::Hangup],
            );
            world.after(at + millis(&mut entropy, 0, 12_000), Happening::Whim(device, whim));
        }
    }
    for _ in 0..entropy.below(9) {
        let phone = entropy.below(u32::try_from(all).unwrap_or(1)) as usize;
        let at = Duration::from_secs(1) + millis(&mut entropy, 0, 95_000);
        fault(&mut world, &mut entropy, phone, at);
    }
    if entropy.below(8) == 0 {
        let at = Duration::from_secs(2) + millis(&mut entropy, 0, 90_000);
        world.after(at, Happening::RestartGateway);
    }
    if pair && entropy.below(2) == 0 {
        let node = entropy.below(2) as usize;
        let at = Duration::from_secs(2) + millis(&mut entropy, 0, 80_000);
        world.after(at, Happening::KillNode(node));
        world.after(at + millis(&mut entropy, 0, 25_000), Happening::StartNode(node));
    }
    world
}

fn fault(world: &mut World, entropy: &mut Entropy, phone: usize, at: Duration) {
    let later = at + millis(entropy, 0, 20_000);
    match entropy.below(14) {
        0 => {
            world.after(at, Happening::Kill(phone, entropy.below(2) == 0));
            if entropy.below(2) == 0 {
                world.after(later, Happening::Start(phone));
            }
        }
        1 => world.after(at, Happening::Wish(phone, Command::Suspend)),
        2 => {
            world.after(at, Happening::Wish(phone, Command::Suspend));
            world.after(later, Happening::Wish(phone, Command::Resume));
        }
        3 => world.after(at, Happening::Silence(phone)),
        4 => world.after(at, Happening::Rebind(phone)),
        5 => world.after(at, Happening::Moved(phone)),
        6 => {
            world.after(at, Happening::Offline(phone));
            world.after(later, Happening::Moved(phone));
        }
        7 => {
            world.after(at, Happening::Freeze(phone));
            world.after(later, Happening::Thaw(phone));
        }
        8 => {
            world.after(at, Happening::Whim(phone, Whim::Hold(true)));
            world.after(later, Happening::Whim(phone, Whim::Hold(false)));
        }
        9 => world.after(at, Happening::Whim(phone, Whim::Hangup)),
        10 => {
            if world.phones[phone].token.is_some() {
                let token = format!("token-of-mia-{phone}-{}", at.as_millis());
                world.after(at, Happening::Token(phone, token));
            }
        }
        11 => {
            let to = if world.phones[phone].token.is_some() {
                "sip:bob@sim.example"
            } else {
                "sip:mia@sim.example"
            };
            world.after(
                at,
                Happening::Wish(phone, Command::Dial { account: Default::default(), to: to.into() }),
            );
        }
        12 => {
            // A stranger's push: a stolen token, or a call that nobody here knows.
            let wake = WakeId::of(&entropy.token(12), "stranger");
            let payload = wakeline_push::Payload::call(wake, world.wall().0, 20).to_json();
            if let Some(token) = world.phones[phone].token.clone() {
                world.after(at, Happening::PushDelivered(token, payload));
            }
        }
        _ => world.after(at, Happening::Start(phone)),
    }
}

fn weather(entropy: &mut Entropy) -> Weather {
    let bad = entropy.below(3) == 0;
    Weather {
        delay: millis(entropy, 1, 120),
        jitter: if entropy.below(2) == 0 { Duration::ZERO } else { millis(entropy, 0, 150) },
        loss: if bad { entropy.below(30) } else { 0 },
        double: if bad { entropy.below(10) } else { 0 },
    }
}

fn delivery(entropy: &mut Entropy) -> Delivery {
    let late = entropy.below(4) == 0;
    let mut delivery = Delivery {
        delay: millis(entropy, 50, if late { 20_000 } else { 1500 }),
        jitter: millis(entropy, 0, if late { 40_000 } else { 500 }),
        loss: one_of(entropy, &[0, 0, 0, 30]),
        double: one_of(entropy, &[0, 0, 20]),
        process_start: millis(entropy, 10, 2000),
        ..Delivery::default()
    };
    if entropy.below(6) == 0 {
        for _ in 0..3 {
            let verdict = one_of(
                entropy,
                &[PushResult::Gone { since: None }, PushResult::Refused, PushResult::Unavailable],
            );
            delivery.script.push_back(Fate::Refused(verdict));
        }
    }
    delivery
}
