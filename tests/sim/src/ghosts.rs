//! Ghosts: phones that ring for a call that is over.

use std::time::Duration;

use wakeline_push::WakeId;
use wakeline_user_agent::{CallPhase, Direction};

use crate::network::LinkState;
use crate::phone::{Pace, Reach};
use crate::watch::Path;
use crate::world::{Happening, World};

/// What the machines themselves take, at the most.
const WORK: Duration = Duration::from_millis(100);

impl World {
    /// A round trip, from an INVITE that is under way when its call ends: it arrives, its 180 goes back, the CANCEL comes.
    fn trip(&self) -> Duration {
        self.weather.longest() * 3 + self.news * 6 + WORK
    }

    /// Looks for ghosts when whoever is concerned now must have heard.
    pub(crate) fn check_soon(&mut self) {
        self.after(self.trip() + WORK, Happening::Check);
    }

    /// How a CANCEL for this wake would get to a phone.
    pub(crate) fn path_of(&self, phone: usize, wake: WakeId) -> Path {
        let link = self.watch.invited_on(phone, wake).map(|link| &self.links[link]);
        match link {
            Some(link) if link.transport.is_reliable() && link.state == LinkState::Up => Path::Sound,
            Some(_) | None => Path::Doubtful,
        }
    }

    /// Nobody who can know rings for a call that is over.
    pub(crate) fn check_ghosts(&mut self) {
        // What is lost comes again by timers, in its own time.
        if self.weather.loss > 0 {
            return;
        }
        for phone in 0..self.phones.len() {
            if self.phones[phone].pace == Pace::Frozen || self.phones[phone].reach == Reach::Offline {
                continue;
            }
            let Some(snapshot) = self.snapshot(phone) else { continue };
            let alerts = snapshot.calls.iter().filter(|call| {
                matches!(call.phase, CallPhase::Ringing | CallPhase::Announced)
                    && call.direction == Direction::Incoming
            });
            for (call, wake) in alerts.filter_map(|call| Some((call.call, call.wake_id?))).collect::<Vec<_>>()
            {
                let times = (self.weather.longest() + self.news * 2, self.trip());
                let path = self.path_of(phone, wake);
                if self.watch.must_be_silent(self.now, phone, (call, wake), path, times) {
                    let what = format!("phone {phone} still rings a round trip after the call's end");
                    self.watch.violated(self.now, what);
                }
            }
        }
    }
}
