//! WAV files: a tone to say, and whether it was heard.

use std::path::{Path, PathBuf};

/// Writes a sine wave as a mono 16-bit WAV file.
pub fn write_tone(path: &Path, hertz: f64, rate: u32, seconds: u32) {
    write_tone_on(path, hertz, rate, seconds, 1);
}

/// The same on this many channels: baresip takes a file only when it has as many as its codec.
pub fn write_tone_on(path: &Path, hertz: f64, rate: u32, seconds: u32, channels: u16) {
    let samples: Vec<i16> = (0..rate * seconds)
        .map(|n| ((f64::from(n) * hertz * std::f64::consts::TAU / f64::from(rate)).sin() * 12_000.0) as i16)
        .flat_map(|sample| std::iter::repeat_n(sample, usize::from(channels)))
        .collect();
    let length = u32::try_from(samples.len() * 2).expect("a short file");
    let mut bytes = Vec::with_capacity(samples.len() * 2 + 44);
    bytes.extend(b"RIFF");
    bytes.extend((length + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2 * u32::from(channels)).to_le_bytes());
    bytes.extend((2 * channels).to_le_bytes());
    bytes.extend(16_u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(path, bytes).expect("a WAV file");
}

/// Reads a 16-bit WAV file: its rate and the first channel's samples. The data may be longer than its header says,
/// when the program that wrote it was ended.
pub fn read(path: &Path) -> (u32, Vec<i16>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(bytes.len() >= 44 && &bytes[..4] == b"RIFF", "{} is no WAV file", path.display());
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (channels, rate) = (usize::from(bytes[22]), number(24));
    let mut at = 12;
    while &bytes[at..at + 4] != b"data" {
        at += 8 + number(at + 4) as usize;
    }
    let samples = bytes[at + 8..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    (rate, samples.step_by(channels.max(1)).collect())
}

/// The share of a recording's energy that stands at one frequency, over its loud parts: near 1 for a clean tone.
pub fn share_at(path: &Path, hertz: f64) -> f64 {
    let (rate, samples) = read(path);
    let (mut at, mut all) = (0.0, 0.0);
    for (at_here, all_here) in
        samples.chunks_exact((rate / 10) as usize).filter_map(|piece| share(piece, rate, hertz))
    {
        at += at_here;
        all += all_here;
    }
    if all == 0.0 { 0.0 } else { at / all }
}

/// The energy at one frequency and altogether; `None` when it is too quiet to tell.
fn share(piece: &[i16], rate: u32, hertz: f64) -> Option<(f64, f64)> {
    let length = piece.len() as f64;
    let all: f64 = piece.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if all / length <= 500.0 * 500.0 {
        return None;
    }
    let angle = |n: usize| n as f64 * hertz * std::f64::consts::TAU / f64::from(rate);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in piece.iter().enumerate() {
        re += f64::from(sample) * angle(n).cos();
        im += f64::from(sample) * angle(n).sin();
    }
    Some((2.0 * (re * re + im * im) / length, all))
}

/// For how many seconds a recording holds mostly this tone.
pub fn seconds_of(path: &Path, hertz: f64) -> f64 {
    let (rate, samples) = read(path);
    let pieces = samples.chunks_exact((rate / 10) as usize);
    0.1 * pieces.filter(|piece| share(piece, rate, hertz).is_some_and(|(at, all)| at > 0.8 * all)).count()
        as f64
}

/// Fails unless the recordings hold together at least `seconds` of audio that is mostly this tone, and no other sound.
pub fn assert_heard(recordings: &[PathBuf], hertz: f64, seconds: f64) {
    let toned: f64 = recordings.iter().map(|path| seconds_of(path, hertz)).sum();
    let told: Vec<String> = recordings
        .iter()
        .map(|path| {
            let (rate, samples) = read(path);
            let (length, tone) = (samples.len() as f64 / f64::from(rate), seconds_of(path, hertz));
            format!("{}: {length:.1} s, {tone:.1} s of them the tone", path.display())
        })
        .collect();
    assert!(toned >= seconds, "{toned:.1} s of {hertz} Hz, {seconds:.1} s wanted\n{}", told.join("\n"));
    for path in recordings.iter().filter(|path| seconds_of(path, hertz) > 0.5) {
        let share = share_at(path, hertz);
        assert!(
            share > 0.8,
            "{}: {:.0} % of what was heard is the {hertz} Hz tone",
            path.display(),
            share * 100.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_told_from_another() {
        let path = std::env::temp_dir().join(format!("wakeline-tone-{}.wav", std::process::id()));
        write_tone(&path, 1000.0, 8000, 2);
        assert!(share_at(&path, 1000.0) > 0.95 && share_at(&path, 700.0) < 0.05);
        assert_eq!(read(&path).0, 8000);
        std::fs::remove_file(path).unwrap();
    }
}
