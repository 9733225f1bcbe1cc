//! The end of a run: everything comes to rest, and nothing is left.

use std::time::Duration;

use wakeline_user_agent::{CallPhase, Command};

use crate::network::{LinkState, Weather};
use crate::phone::Reach;
use crate::world::{Happening, World};

impl World {
    /// Lets everything come to rest and gives what did not hold: in the run, and in what is left over.
    pub fn finish(&mut self) -> Vec<String> {
        self.weather = Weather::default();
        self.unreachable = false;
        for node in 0..self.gateways.len() {
            self.start_node(node);
        }
        for phone in 0..self.phones.len() {
            if self.phones[phone].reach == Reach::Offline {
                self.happen(Happening::Moved(phone));
            }
            self.happen(Happening::Thaw(phone));
        }
        for _ in 0..3 {
            for phone in 0..self.phones.len() {
                while let Some(call) = self.phones[phone].latest_call(|phase| phase != CallPhase::Ending) {
                    self.wish(phone, Command::Hangup { call });
                    if self.phones[phone].latest_call(|phase| phase != CallPhase::Ending) == Some(call) {
                        break;
                    }
                }
            }
            self.run(Duration::from_secs(25));
        }
        self.run(Duration::from_secs(150));
        let now = self.now;
        self.check_leftovers();
        let (links, gateways) = (&self.links, &self.gateways);
        let excused = |link: usize| links[link].state != LinkState::Up;
        self.watch.finish(now, |link| gateways[links[link].node].lives, excused);
        core::mem::take(&mut self.watch.violations)
    }

    fn check_leftovers(&mut self) {
        let now = self.now;
        for node in 0..self.gateways.len() {
            let gauges = self.gateways[node].registrar.gauges();
            let left = [
                ("requests", gauges.contexts),
                ("held requests", gauges.held),
                ("pushes", gauges.pushes),
                ("ended calls", gauges.outcomes),
                ("client transactions", gauges.client_transactions),
                ("server transactions", gauges.server_transactions),
                ("answers to REGISTER", gauges.answers),
                // A timer per binding stays, and that of the quota tables.
                ("timers", gauges.timers.saturating_sub(2 * gauges.bindings + 1)),
            ];
            for (what, count) in left {
                if count > 0 {
                    self.watch
                        .violated(now, format!("the gateway is left with {count} {what} (node {node})"));
                }
            }
        }
        for phone in 0..self.phones.len() {
            let Some(snapshot) = self.snapshot(phone) else { continue };
            let left = [
                ("calls", snapshot.calls.len()),
                ("dialogs", snapshot.dialogs),
                ("transactions", snapshot.transactions),
                ("timers", snapshot.timers),
            ];
            for (what, count) in left {
                if count > 0 {
                    self.watch.violated(now, format!("phone {phone} is left with {count} {what}"));
                }
            }
        }
    }
}
