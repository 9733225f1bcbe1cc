//! Devices without hardware, paced by the clock: silence, a tone, a WAV file; and a recording of what is played.
//!
//! The microphone runs one frame ahead of the clock, as a real one does that was opened early: the first packet of a
//! call need not wait for the first frame to fill. The loudspeaker is given one turn in advance, as a real one has to be:
//! what comes in at a moment is never played before it. A recording begins where the microphone began, so that a place in
//! it and the same place in the file that was played are the same moment.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_media::wav;

use super::{AudioDevice, AudioError};

/// The rate when no file says another: wide band, at half the cost of 48 kHz.
const RATE: u32 = 16_000;
/// How far the microphone is ahead of the clock, and what the loudspeaker is given in advance.
const AHEAD: Duration = Duration::from_millis(20);
/// When the loop slept longer than this (a suspended process), what was missed is skipped, not made up for.
const LONGEST_GAP: Duration = Duration::from_millis(500);
/// Files are read in pieces of this size.
const PIECE: usize = 4096;
/// A tone's amplitude: half of full scale.
const AMPLITUDE: f32 = 16_384.0;

/// What the microphone hears.
enum Source {
    Silence,
    Tone { step: f32, phase: f32 },
    Wav { file: File, reader: wav::Reader, waiting: Vec<i16>, place: usize, path: PathBuf },
}

/// Where the loudspeaker's samples go.
struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
    samples: u32,
}

impl Recording {
    fn write(&mut self, samples: &[i16]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(samples.len() * 2);
        wav::write(samples, &mut bytes);
        self.samples = self.samples.saturating_add(u32::try_from(samples.len()).unwrap_or(u32::MAX));
        self.file.write_all(&bytes)
    }
}

/// A device that the clock drives.
pub(crate) struct Paced {
    rate: u32,
    source: Source,
    recording: Option<Recording>,
    captured: Pace,
    played: Pace,
    failure: Option<String>,
}

/// How many samples are due by the clock.
pub(super) struct Pace {
    since: Time,
    count: u64,
}

impl Pace {
    pub(super) fn new(since: Time) -> Pace {
        Pace { since, count: 0 }
    }

    pub(super) fn advance(&mut self, samples: usize) {
        self.count += samples as u64;
    }

    pub(super) fn due(&mut self, now: Time, rate: u32) -> usize {
        let due = elapsed_samples(now.since(self.since), rate);
        let missing = due.saturating_sub(self.count);
        if missing > elapsed_samples(LONGEST_GAP, rate) {
            self.count = due;
            return 0;
        }
        usize::try_from(missing).unwrap_or(0)
    }
}

fn elapsed_samples(span: Duration, rate: u32) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(0) * u64::from(rate) / 1_000_000
}

impl Paced {
    /// Silence, and nobody listens.
    pub(crate) fn silent(now: Time) -> Paced {
        Paced::new(now, RATE, Source::Silence, None)
    }

    /// A sine wave.
    pub(crate) fn tone(now: Time, hertz: f32, record: Option<&Path>) -> Result<Paced, AudioError> {
        let step = hertz * std::f32::consts::TAU / RATE as f32;
        Ok(Paced::new(now, RATE, Source::Tone { step, phase: 0.0 }, open_recording(record, RATE)?))
    }

    /// A file as the microphone; its rate becomes the device's.
    pub(crate) fn file(now: Time, play: Option<&Path>, record: Option<&Path>) -> Result<Paced, AudioError> {
        let Some(path) = play else {
            return Ok(Paced::new(now, RATE, Source::Silence, open_recording(record, RATE)?));
        };
        let mut file = File::open(path).map_err(|error| failed(path, error))?;
        let (mut reader, mut waiting) = (wav::Reader::default(), Vec::new());
        while reader.format().is_none() {
            if !read_piece(&mut file, &mut reader, &mut waiting, path)? {
                return Err(AudioError::File(
                    path.to_owned(),
                    "no WAV file: it ends before its format is told".into(),
                ));
            }
        }
        let rate = reader.format().map_or(RATE, |format| format.rate);
        let source = Source::Wav { file, reader, waiting, place: 0, path: path.to_owned() };
        Ok(Paced::new(now, rate, source, open_recording(record, rate)?))
    }

    fn new(now: Time, rate: u32, source: Source, recording: Option<Recording>) -> Paced {
        let pace = || Pace::new(now - AHEAD);
        Paced { rate, source, recording, captured: pace(), played: pace(), failure: None }
    }
}

fn failed(path: &Path, error: impl std::fmt::Display) -> AudioError {
    AudioError::File(path.to_owned(), error.to_string())
}

fn open_recording(path: Option<&Path>, rate: u32) -> Result<Option<Recording>, AudioError> {
    let Some(path) = path else { return Ok(None) };
    let file = File::create(path).map_err(|error| failed(path, error))?;
    let mut file = BufWriter::new(file);
    file.write_all(&wav::header(rate, 0)).map_err(|error| failed(path, error))?;
    let mut recording = Recording { path: path.to_owned(), file, samples: 0 };
    // While the microphone's first frame was said, nothing was heard.
    let samples = usize::try_from(elapsed_samples(AHEAD, rate)).unwrap_or(0);
    recording.write(&vec![0; samples]).map_err(|error| failed(path, error))?;
    Ok(Some(recording))
}

/// Reads on; false at the end of the file.
fn read_piece(
    file: &mut File,
    reader: &mut wav::Reader,
    into: &mut Vec<i16>,
    path: &Path,
) -> Result<bool, AudioError> {
    let mut piece = [0; PIECE];
    let length = file.read(&mut piece).map_err(|error| failed(path, error))?;
    reader.push(&piece[..length], into).map_err(|error| failed(path, error))?;
    Ok(length > 0)
}

impl Source {
    fn append(&mut self, count: usize, samples: &mut Vec<i16>) -> Result<(), AudioError> {
        let end = samples.len() + count;
        match self {
            Source::Silence => {}
            Source::Tone { step, phase } => {
                for _ in 0..count {
                    samples.push((phase.sin() * AMPLITUDE) as i16);
                    *phase = (*phase + *step) % std::f32::consts::TAU;
                }
            }
            Source::Wav { file, reader, waiting, place, path } => {
                while waiting.len() - *place < count {
                    waiting.drain(..*place);
                    *place = 0;
                    if !read_piece(file, reader, waiting, path)? {
                        break;
                    }
                }
                let until = (*place + count).min(waiting.len());
                samples.extend_from_slice(&waiting[*place..until]);
                *place = until;
            }
        }
        // Silence after a file's end.
        samples.resize(end, 0);
        Ok(())
    }
}

impl AudioDevice for Paced {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn capture(&mut self, now: Time, samples: &mut Vec<i16>) {
        let count = self.captured.due(now, self.rate);
        self.captured.advance(count);
        if let Err(error) = self.source.append(count, samples) {
            self.failure = Some(error.to_string());
            self.source = Source::Silence;
        }
    }

    fn wanted(&mut self, now: Time) -> usize {
        self.played.due(now, self.rate)
    }

    fn play(&mut self, samples: &[i16]) {
        self.played.advance(samples.len());
        let Some(recording) = &mut self.recording else { return };
        if let Err(error) = recording.write(samples) {
            self.failure = Some(failed(&recording.path, error).to_string());
            self.recording = None;
        }
    }

    /// Nobody hears these devices' delay: once per packet is enough.
    fn turn(&self) -> Duration {
        AHEAD
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        let Some(mut recording) = self.recording.take() else { return };
        let header = wav::header(self.rate, recording.samples);
        let written = recording.file.seek(SeekFrom::Start(0)).and_then(|_| recording.file.write_all(&header));
        if let Err(error) = written.and_then(|()| recording.file.flush()) {
            tracing::error!(path = %recording.path.display(), %error, "the recording's length cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_microphone_is_a_frame_ahead_and_keeps_the_clocks_pace() {
        let start = Time::from_millis(1000);
        let mut device = Paced::tone(start, 440.0, None).unwrap();
        let mut samples = Vec::new();
        device.capture(start, &mut samples);
        assert_eq!(samples.len(), 320);
        device.capture(start + 10 * MS, &mut samples);
        assert_eq!((samples.len(), device.wanted(start + 10 * MS)), (480, 480));
        assert!(samples.iter().any(|&sample| sample > 16_000));
    }

    #[test]
    fn s26_a_suspended_loop_does_not_make_up_for_hours() {
        let start = Time::from_millis(1000);
        let mut device = Paced::silent(start);
        let (mut samples, later) = (Vec::new(), start + Duration::from_secs(7200));
        device.capture(later, &mut samples);
        assert_eq!((samples.len(), device.wanted(later)), (0, 0));
        device.capture(later + 20 * MS, &mut samples);
        assert_eq!((samples.len(), device.wanted(later + 20 * MS)), (320, 320));
    }

    #[test]
    fn a_recording_is_a_wav_file_that_plays_back() {
        let path = std::env::temp_dir().join(format!("wakeline-paced-{}.wav", std::process::id()));
        let start = Time::from_millis(1000);
        let mut device = Paced::file(start, None, Some(&path)).unwrap();
        device.play(&[1, -2, 3]);
        drop(device);
        let mut device = Paced::file(start, Some(&path), None).unwrap();
        let mut samples = Vec::new();
        device.capture(start + 20 * MS, &mut samples);
        assert_eq!((device.rate(), &samples[320..324], samples.len()), (RATE, &[1, -2, 3, 0][..], 640));
        std::fs::remove_file(path).unwrap();
    }

    /// A line that hands over every frame in the moment it is captured: a real sound device, which is fed before it plays
    /// and emptied after it has captured, is not quicker than a frame and a turn.
    #[test]
    fn a_recording_shows_the_lines_delay_and_never_less() {
        let name = |what: &str| {
            std::env::temp_dir().join(format!("wakeline-paced-{what}-{}.wav", std::process::id()))
        };
        let (said, heard) = (name("said"), name("heard"));
        let mut bytes = wav::header(RATE, 3200).to_vec();
        wav::write(&(1..=3200).collect::<Vec<i16>>(), &mut bytes);
        std::fs::write(&said, bytes).unwrap();
        let start = Time::from_millis(1000);
        let mut device = Paced::file(start, Some(&said), Some(&heard)).unwrap();
        let mut line = std::collections::VecDeque::new();
        for turn in 0..8 {
            let now = start + 20 * turn * MS;
            let wanted = device.wanted(now);
            let silence = wanted.saturating_sub(line.len());
            let mut samples = vec![0; silence];
            samples.extend(line.drain(..wanted - silence));
            device.play(&samples);
            let mut captured = Vec::new();
            device.capture(now, &mut captured);
            line.extend(captured);
        }
        drop(device);
        let mut device = Paced::file(start, Some(&heard), None).unwrap();
        let mut recorded = Vec::new();
        device.capture(start + 160 * MS, &mut recorded);
        // Said in the 20 ms before the start, handed over a turn after it: heard 40 ms after it was said.
        assert_eq!(recorded.iter().position(|&sample| sample == 1), Some(640));
        for path in [said, heard] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
