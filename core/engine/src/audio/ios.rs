//! iOS sound by Apple's voice-processing unit, which cancels echo by itself.
//!
//! The audio session belongs to CallKit and the shell: this unit is opened only after audio was granted
//! (`Command::SetAudioGranted`). Type-checked for its target only: no Apple device has run it.

use coreaudio::audio_unit::audio_format::LinearPcmFlags;
use coreaudio::audio_unit::render_callback::{Args, data};
use coreaudio::audio_unit::{AudioUnit, Element, IOType, SampleFormat, Scope, StreamFormat};

use super::AudioError;
use super::wires::{Wired, wires};

/// The unit's own rate on every current device.
const RATE: u32 = 48_000;

/// `kAudioOutputUnitProperty_EnableIO`: the microphone side of an I/O unit is off until this is set.
const ENABLE_IO: u32 = 2003;

/// Microphone and loudspeaker in one unit.
pub(crate) type Ios = Wired<AudioUnit>;

/// Opens and starts the unit.
pub(crate) fn open() -> Result<Ios, AudioError> {
    start().map_err(|error| AudioError::Device(error.to_string()))
}

fn start() -> Result<Ios, coreaudio::Error> {
    let (end, mut microphone, mut loudspeaker, _) = wires(RATE);
    let mut unit = AudioUnit::new(IOType::VoiceProcessingIO)?;
    // An initialised unit takes no new format.
    unit.uninitialize()?;
    unit.set_property(ENABLE_IO, Scope::Input, Element::Input, Some(&1_u32))?;
    let format = StreamFormat {
        sample_rate: f64::from(RATE),
        sample_format: SampleFormat::I16,
        flags: LinearPcmFlags::IS_SIGNED_INTEGER | LinearPcmFlags::IS_PACKED,
        channels: 1,
    };
    unit.set_stream_format(format, Scope::Output, Element::Input)?;
    unit.set_stream_format(format, Scope::Input, Element::Output)?;
    unit.set_input_callback(move |args: Args<data::Interleaved<i16>>| {
        microphone.give(args.data.buffer, 1);
        Ok(())
    })?;
    unit.set_render_callback(move |args: Args<data::Interleaved<i16>>| {
        loudspeaker.take(args.data.buffer, 1);
        Ok(())
    })?;
    unit.initialize()?;
    unit.start()?;
    Ok(end.with(unit))
}
