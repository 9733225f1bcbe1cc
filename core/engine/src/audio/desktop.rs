//! Desktop sound by cpal.

use std::sync::{Arc, Mutex, PoisonError};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, StreamConfig};

use super::AudioError;
use super::wires::{Alarm, Wired, wires};

/// Every sound system converts to and from this rate.
const RATE: u32 = 48_000;

/// The default microphone, where there is one, and loudspeaker.
pub(crate) type Desktop = Wired<(Option<cpal::Stream>, cpal::Stream)>;

/// Opens and starts both. A machine without a microphone listens only.
pub(crate) fn open() -> Result<Desktop, AudioError> {
    // The library would write to standard error, across a terminal's screen: what it has to say goes to the log.
    #[cfg(target_os = "linux")]
    let said = alsa::Output::local_error_handler();
    let opened = opened();
    #[cfg(target_os = "linux")]
    if let Ok(said) = said {
        tracing::debug!(alsa = %said.borrow(), "sound devices");
    }
    opened
}

fn opened() -> Result<Desktop, AudioError> {
    let host = cpal::default_host();
    let (end, mut microphone, mut loudspeaker, alarm) = wires(RATE);
    let alarm = Arc::new(Mutex::new(alarm));
    let output = host.default_output_device().ok_or_else(|| AudioError::Device("no loudspeaker".into()))?;
    let channels = output.default_output_config().map_or(2, |config| config.channels());
    let playing = output
        .build_output_stream(
            configuration(channels),
            move |samples: &mut [i16], _: &_| loudspeaker.take(samples, usize::from(channels)),
            telling(Arc::clone(&alarm), "loudspeaker"),
            None,
        )
        .map_err(device)?;
    playing.play().map_err(device)?;
    let capturing = host.default_input_device().map(|input| {
        let channels = input.default_input_config().map_or(1, |config| config.channels());
        let stream = input.build_input_stream(
            configuration(channels),
            move |samples: &[i16], _: &_| microphone.give(samples, usize::from(channels)),
            telling(alarm, "microphone"),
            None,
        )?;
        stream.play()?;
        Ok(stream)
    });
    Ok(end.with((capturing.transpose().map_err(device)?, playing)))
}

fn configuration(channels: u16) -> StreamConfig {
    // Ten milliseconds, as VoIP wants; the library rounds to what the device can.
    StreamConfig { channels, sample_rate: RATE, buffer_size: BufferSize::Fixed(RATE / 100) }
}

fn device(error: cpal::Error) -> AudioError {
    // The library ends its sentences; ours goes on.
    AudioError::Device(error.to_string().trim_end_matches('.').to_owned())
}

fn telling(alarm: Arc<Mutex<Alarm>>, which: &'static str) -> impl FnMut(cpal::Error) + Send + 'static {
    move |error| alarm.lock().unwrap_or_else(PoisonError::into_inner).tell(format!("{which}: {error}"))
}
