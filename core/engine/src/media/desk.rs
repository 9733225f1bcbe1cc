//! The one sound device that all calls share.

use std::time::Duration;

use wakeline_clock::Time;
use wakeline_media::Mixer;
use wakeline_user_agent::MediaEvent;

use super::session::Session;
use crate::audio::{self, AudioChoice, AudioDevice, AudioError};

/// How often a device that is lost is looked for again (fault F17).
const RETRY: Duration = Duration::from_secs(2);

/// A device, or silence in its place until it can be had.
pub(super) struct Desk {
    choice: AudioChoice,
    device: Box<dyn AudioDevice>,
    /// When the device is tried again for which silence stands in.
    retry: Option<Time>,
    sound: Vec<i16>,
    block: Vec<i16>,
    mixed: Vec<i16>,
    mixer: Mixer,
}

impl Desk {
    /// Opens the device. When it cannot be had, the call goes on with silence and says so: the far end keeps hearing
    /// packets, and the person reads why there is no sound.
    pub(super) fn open(choice: &AudioChoice, now: Time) -> (Desk, Option<String>) {
        let (device, retry, failure) = match audio::open(choice, now) {
            Ok(device) => (device, None, None),
            Err(error) => (audio::silence(now), again(now, &error), Some(error.to_string())),
        };
        let (sound, block, mixed) = (Vec::new(), Vec::new(), Vec::new());
        (
            Desk { choice: choice.clone(), device, retry, sound, block, mixed, mixer: Mixer::default() },
            failure,
        )
    }

    /// Samples per second.
    pub(super) fn rate(&self) -> u32 {
        self.device.rate()
    }

    /// How often the device wants to be served.
    pub(super) fn turn(&self) -> Duration {
        self.device.turn()
    }

    /// Looks after the device: one that failed is opened anew. Returns what the person should know.
    pub(super) fn tend(&mut self, now: Time) -> Option<String> {
        if let Some(failure) = self.device.failure() {
            // Mostly another device has become the default one.
            match audio::open(&self.choice, now) {
                Ok(device) => self.device = device,
                Err(error) => {
                    self.device = audio::silence(now);
                    self.retry = again(now, &error);
                }
            }
            return Some(failure);
        }
        if self.retry.is_some_and(|at| now >= at) {
            match audio::open(&self.choice, now) {
                Ok(device) => (self.device, self.retry) = (device, None),
                Err(error) => self.retry = again(now, &error),
            }
        }
        None
    }

    /// The microphone to every call, and every call to the loudspeaker.
    pub(super) fn serve<'a>(
        &mut self,
        now: Time,
        sessions: impl Iterator<Item = (&'a mut Session, &'a mut Vec<MediaEvent>)>,
    ) {
        self.sound.clear();
        self.device.capture(now, &mut self.sound);
        let wanted = self.device.wanted(now);
        self.block.resize(wanted, 0);
        self.mixed.clear();
        let mut voices = 0;
        for (session, told) in sessions {
            session.capture(now, &self.sound, told);
            if wanted == 0 || !session.needs_sound() {
                continue;
            }
            session.playout(now, &mut self.block);
            match voices {
                // One call is the rule and needs no mixing.
                0 => self.mixed.extend_from_slice(&self.block),
                1 => {
                    self.mixer.begin(wanted);
                    self.mixer.add(&self.mixed);
                    self.mixer.add(&self.block);
                }
                _ => self.mixer.add(&self.block),
            }
            voices += 1;
        }
        self.mixed.resize(wanted, 0);
        if voices > 1 {
            self.mixer.all(&mut self.mixed);
        }
        if wanted > 0 {
            self.device.play(&self.mixed);
        }
    }
}

/// A device may come back; a file that is not there will not.
fn again(now: Time, error: &AudioError) -> Option<Time> {
    match error {
        AudioError::Device(_) => Some(now + RETRY),
        AudioError::File(_, _) => None,
    }
}
