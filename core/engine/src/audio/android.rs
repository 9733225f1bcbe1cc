//! Android sound by Oboe, with the usage and input preset of a call: so the system routes it as one and cancels echo.
//!
//! Type-checked for its target only: no Android device has run it.

use oboe::{
    AudioInputCallback, AudioInputStreamSafe, AudioOutputCallback, AudioOutputStreamSafe, AudioStream,
    AudioStreamAsync, AudioStreamBuilder, ContentType, DataCallbackResult, Error, Input, InputPreset, Mono,
    Output, PerformanceMode, SharingMode, Usage,
};

use super::AudioError;
use super::wires::{Alarm, Loudspeaker, Microphone, Wired, wires};

/// The native rate of nearly every phone; Oboe converts on the others.
const RATE: u32 = 48_000;

/// The microphone and the loudspeaker of a call.
pub(crate) type Android = Wired<(AudioStreamAsync<Input, Capturing>, AudioStreamAsync<Output, Playing>)>;

/// Runs in the input stream's callback.
pub(crate) struct Capturing(Microphone);

/// Runs in the output stream's callback; tells of lost devices for both, because both are lost together.
pub(crate) struct Playing(Loudspeaker, Alarm);

/// Opens and starts both streams.
pub(crate) fn open() -> Result<Android, AudioError> {
    let (end, microphone, loudspeaker, alarm) = wires(RATE);
    let mut playing = AudioStreamBuilder::default()
        .set_output()
        .set_usage(Usage::VoiceCommunication)
        .set_content_type(ContentType::Speech)
        .set_performance_mode(PerformanceMode::LowLatency)
        .set_sharing_mode(SharingMode::Shared)
        .set_sample_rate(RATE as i32)
        .set_i16()
        .set_mono()
        .set_callback(Playing(loudspeaker, alarm))
        .open_stream()
        .map_err(device)?;
    let mut capturing = AudioStreamBuilder::default()
        .set_input()
        .set_input_preset(InputPreset::VoiceCommunication)
        .set_performance_mode(PerformanceMode::LowLatency)
        .set_sharing_mode(SharingMode::Shared)
        .set_sample_rate(RATE as i32)
        .set_i16()
        .set_mono()
        .set_callback(Capturing(microphone))
        .open_stream()
        .map_err(device)?;
    playing.start().map_err(device)?;
    capturing.start().map_err(device)?;
    Ok(end.with((capturing, playing)))
}

fn device(error: Error) -> AudioError {
    AudioError::Device(format!("{error:?}"))
}

impl AudioInputCallback for Capturing {
    type FrameType = (i16, Mono);

    fn on_audio_ready(&mut self, _: &mut dyn AudioInputStreamSafe, samples: &[i16]) -> DataCallbackResult {
        self.0.give(samples, 1);
        DataCallbackResult::Continue
    }
}

impl AudioOutputCallback for Playing {
    type FrameType = (i16, Mono);

    fn on_audio_ready(
        &mut self,
        _: &mut dyn AudioOutputStreamSafe,
        samples: &mut [i16],
    ) -> DataCallbackResult {
        self.0.take(samples, 1);
        DataCallbackResult::Continue
    }

    fn on_error_after_close(&mut self, _: &mut dyn AudioOutputStreamSafe, error: Error) {
        self.1.tell(format!("{error:?}"));
    }
}
