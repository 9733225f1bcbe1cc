//! Audio devices behind one trait.
//!
//! A device captures and plays mono 16-bit samples at its own pace; the loop asks it what it has and what it wants. Real
//! devices (cpal on desktops, Oboe on Android, VoiceProcessingIO on iOS) run callbacks of their own and meet the loop
//! in two rings ([`wires`]); files, tones, silence ([`paced`]) and an [`echo`] are paced by the clock.

#[cfg(target_os = "android")]
mod android;
#[cfg(not(any(target_os = "android", target_os = "ios")))]
mod desktop;
mod echo;
#[cfg(target_os = "ios")]
mod ios;
mod paced;
mod wires;

use std::path::PathBuf;
use std::time::Duration;

use wakeline_clock::Time;

/// Which device a phone uses.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum AudioChoice {
    /// The system's microphone and loudspeaker.
    #[default]
    System,
    /// No sound at all: silence out, what comes in is dropped.
    Null,
    /// What is heard is said again, one turn later: for measuring a line.
    Echo {
        /// Samples per second, as of a device: 8000 to 48000.
        rate: u32,
    },
    /// A sine wave as the microphone; what comes in is dropped, or recorded.
    Tone {
        /// Its frequency in hertz.
        hertz: f32,
        /// Where to record what comes in, as WAV.
        record: Option<PathBuf>,
    },
    /// A WAV file as the microphone (silence after its end); what comes in is dropped, or recorded.
    File {
        /// What to play.
        play: Option<PathBuf>,
        /// Where to record what comes in, as WAV.
        record: Option<PathBuf>,
    },
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// There is no such device, or it is in use.
    #[error("no audio device: {0}; is one plugged in, and may this program use it?")]
    Device(String),
    /// A file cannot be read or written.
    #[error("{path}: {cause}", path = .0.display(), cause = .1)]
    File(PathBuf, String),
}

/// A microphone and a loudspeaker. Samples are mono, at [`AudioDevice::rate`].
pub(crate) trait AudioDevice {
    /// Samples per second, of both directions.
    fn rate(&self) -> u32;
    /// Appends what was captured since the last call.
    fn capture(&mut self, now: Time, samples: &mut Vec<i16>);
    /// How many samples the loudspeaker takes now.
    fn wanted(&mut self, now: Time) -> usize;
    /// Plays; more than was wanted makes delay.
    fn play(&mut self, samples: &[i16]);
    /// How often it wants to be served: twice per packet, so that the loudspeaker's ring can be kept short.
    fn turn(&self) -> Duration {
        Duration::from_millis(10)
    }
    /// What has gone wrong since the last call, a lost device above all (fault F17).
    fn failure(&mut self) -> Option<String>;
}

/// Opens and starts the chosen device.
pub(crate) fn open(choice: &AudioChoice, now: Time) -> Result<Box<dyn AudioDevice>, AudioError> {
    match choice {
        #[cfg(not(any(target_os = "android", target_os = "ios")))]
        AudioChoice::System => Ok(Box::new(desktop::open()?)),
        #[cfg(target_os = "android")]
        AudioChoice::System => Ok(Box::new(android::open()?)),
        #[cfg(target_os = "ios")]
        AudioChoice::System => Ok(Box::new(ios::open()?)),
        AudioChoice::Null => Ok(Box::new(paced::Paced::silent(now))),
        AudioChoice::Echo { rate } => Ok(Box::new(echo::Echo::new(now, (*rate).clamp(8000, 48_000)))),
        AudioChoice::Tone { hertz, record } => {
            Ok(Box::new(paced::Paced::tone(now, *hertz, record.as_deref())?))
        }
        AudioChoice::File { play, record } => {
            Ok(Box::new(paced::Paced::file(now, play.as_deref(), record.as_deref())?))
        }
    }
}

/// Silence in place of a device that cannot be had.
pub(crate) fn silence(now: Time) -> Box<dyn AudioDevice> {
    Box::new(paced::Paced::silent(now))
}
