//! Speech to say, and WAV files to read.

use std::path::Path;
use std::process::{Command, Stdio};

use wakeline_media::{Resampler, wav};

use crate::exit::{Exit, Failure};

/// What the phones play and record at.
pub(crate) const RATE: u32 = 16_000;

/// Mono samples of 16 bits, at [`RATE`].
pub(crate) type Samples = Vec<i16>;

/// Where a speech came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Voice {
    /// espeak-ng.
    Espeak,
    /// A sound made here that is loud and silent as speech is.
    Synthesised,
}

/// Makes a WAV file in which somebody speaks for `seconds`, over and over if the text is short.
pub(crate) fn speak(path: &Path, text: &str, pitch: u8, seconds: f64) -> Result<Voice, Failure> {
    let length = (seconds * f64::from(RATE)) as usize;
    let (mut samples, voice) = match espeak(path, text, pitch) {
        Some(samples) if !samples.is_empty() => (samples, Voice::Espeak),
        _ => (speech_like(length, f32::from(pitch)), Voice::Synthesised),
    };
    let once = samples.len();
    while samples.len() < length {
        let from = samples.len() % once;
        let until = once.min(from + length - samples.len());
        samples.extend_from_within(from..until);
    }
    samples.truncate(length);
    write(path, &samples)?;
    Ok(voice)
}

/// Lets espeak-ng speak; `None` when it is not there or does not work.
fn espeak(path: &Path, text: &str, pitch: u8) -> Option<Samples> {
    let status = Command::new("espeak-ng")
        .args(["-v", "en", "-s", "165", "-p", &pitch.to_string(), "-w"])
        .arg(path)
        .arg("--")
        .arg(text)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.ok()?.success() {
        return None;
    }
    read(path).ok()
}

/// A buzz with the rhythm of syllables and a wandering pitch.
fn speech_like(length: usize, pitch: f32) -> Samples {
    let mut phase = 0.0_f32;
    let sample = |at: usize| {
        let time = at as f32 / RATE as f32;
        let hertz = 90.0 + pitch + 25.0 * (time * 1.9).sin() + 10.0 * (time * 5.3).sin();
        phase = (phase + hertz / RATE as f32).fract();
        let syllable = (time * 11.0).sin().max(0.0) * (0.6 + 0.4 * (time * 1.3).sin());
        let turn = phase * std::f32::consts::TAU;
        let voice =
            turn.sin() + 0.5 * (2.0 * turn).sin() + 0.3 * (5.0 * turn).sin() + 0.2 * (9.0 * turn).sin();
        (voice * syllable * 7000.0) as i16
    };
    (0..length).map(sample).collect()
}

/// Reads a WAV file, at [`RATE`].
pub(crate) fn read(path: &Path) -> Result<Samples, Failure> {
    let failed =
        |cause: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: {cause}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    let (mut reader, mut samples) = (wav::Reader::default(), Vec::new());
    reader.push(&bytes, &mut samples).map_err(|error| failed(&error))?;
    let rate = reader.format().map(|format| format.rate).ok_or_else(|| failed(&"no WAV file"))?;
    Ok(at_rate(samples, rate))
}

fn write(path: &Path, samples: &[i16]) -> Result<(), Failure> {
    let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut bytes = wav::header(RATE, count).to_vec();
    wav::write(samples, &mut bytes);
    std::fs::write(path, bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

fn at_rate(samples: Samples, rate: u32) -> Samples {
    if rate == RATE {
        return samples;
    }
    let mut converted = Samples::new();
    Resampler::new(rate, RATE).process(&samples, &mut converted);
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_and_at_our_rate() {
        let path = std::env::temp_dir().join(format!("wakeline-sound-{}.wav", std::process::id()));
        let said = speech_like(RATE as usize, 40.0);
        write(&path, &said).unwrap();
        assert_eq!(read(&path).unwrap(), said);
        std::fs::remove_file(path).unwrap();
        assert!(at_rate(vec![1000; 22_050], 22_050).len().abs_diff(16_000) < 40);
    }

    #[test]
    fn the_stand_in_for_speech_has_loud_and_silent_parts() {
        let said = speech_like(4 * RATE as usize, 40.0);
        let loud = |from: usize| {
            said[from..from + 80].iter().map(|sample| i32::from(*sample).abs()).max().unwrap_or(0)
        };
        let levels: Vec<i32> = (0..said.len() - 80).step_by(80).map(loud).collect();
        assert!(levels.iter().any(|level| *level < 200) && levels.iter().any(|level| *level > 6000));
    }
}
