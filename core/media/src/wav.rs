//! WAV files as a stream of bytes: RIFF, 16-bit PCM, one channel out, one or two in.
//!
//! The reader is fed the file piece by piece and gives samples; the writer gives a header and bytes. Neither touches a
//! file, and neither holds more than the piece in hand.

use crate::MediaError;

/// The length of the header that [`header`] writes.
pub const HEADER_LENGTH: usize = 44;

/// The header of a mono 16-bit file of `samples` samples; write it again when the length is known.
pub fn header(rate: u32, samples: u32) -> [u8; HEADER_LENGTH] {
    let bytes = samples.saturating_mul(2).min(u32::MAX - 36);
    let mut out = [0; HEADER_LENGTH];
    out[..4].copy_from_slice(b"RIFF");
    out[4..8].copy_from_slice(&(bytes + 36).to_le_bytes());
    out[8..16].copy_from_slice(b"WAVEfmt ");
    out[16..20].copy_from_slice(&16u32.to_le_bytes());
    out[20..22].copy_from_slice(&1u16.to_le_bytes());
    out[22..24].copy_from_slice(&1u16.to_le_bytes());
    out[24..28].copy_from_slice(&rate.to_le_bytes());
    out[28..32].copy_from_slice(&rate.saturating_mul(2).to_le_bytes());
    out[32..34].copy_from_slice(&2u16.to_le_bytes());
    out[34..36].copy_from_slice(&16u16.to_le_bytes());
    out[36..40].copy_from_slice(b"data");
    out[40..44].copy_from_slice(&bytes.to_le_bytes());
    out
}

/// Appends samples as the bytes of a file's data.
pub fn write(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
}

/// What a file's sound is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Samples per second and channel.
    pub rate: u32,
    /// One or two.
    pub channels: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Riff,
    ChunkHead,
    Skip(u64),
    FormatChunk(u32),
    Data(u64),
}

/// Reads a file that arrives in pieces.
#[derive(Clone, Debug)]
pub struct Reader {
    place: Place,
    held: Vec<u8>,
    format: Option<Format>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { place: Place::Riff, held: Vec::new(), format: None }
    }
}

impl Reader {
    /// The format, once it has been read.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Takes the next bytes of the file and appends mono samples (two channels are averaged).
    ///
    /// # Errors
    /// [`MediaError::Wav`] when this is not a RIFF/WAVE file of 16-bit PCM with one or two channels.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<i16>) -> Result<(), MediaError> {
        self.held.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let rest = &self.held[used..];
            match self.place {
                Place::Riff => {
                    let Some(head) = rest.get(..12) else { break };
                    if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
                        return Err(MediaError::Wav("not a RIFF WAVE file"));
                    }
                    used += 12;
                    self.place = Place::ChunkHead;
                }
                Place::ChunkHead => {
                    let Some(head) = rest.get(..8) else { break };
                    let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
                    self.place = match &head[..4] {
                        b"fmt " if (16..=256).contains(&size) => Place::FormatChunk(size),
                        b"fmt " => return Err(MediaError::Wav("format chunk of a wrong size")),
                        b"data" if self.format.is_none() => {
                            return Err(MediaError::Wav("data before the format"));
                        }
                        // Zero and the maximum are what a writer leaves that streamed to a pipe.
                        b"data" if size == 0 || size == u32::MAX => Place::Data(u64::MAX),
                        b"data" => Place::Data(u64::from(size)),
                        _ => Place::Skip(u64::from(size) + u64::from(size & 1)),
                    };
                    used += 8;
                }
                Place::Skip(0) => self.place = Place::ChunkHead,
                Place::Skip(left) => {
                    if rest.is_empty() {
                        break;
                    }
                    let step = left.min(rest.len() as u64);
                    used += step as usize;
                    self.place = Place::Skip(left - step);
                }
                Place::FormatChunk(size) => {
                    let padded = (size + (size & 1)) as usize;
                    let Some(chunk) = rest.get(..padded) else { break };
                    let word = |at: usize| u16::from_le_bytes([chunk[at], chunk[at + 1]]);
                    let rate = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
                    // 0xFFFE is the extensible form, whose first bytes mean the same.
                    let pcm = matches!(word(0), 1 | 0xfffe) && word(14) == 16;
                    if !pcm || !(1..=2).contains(&word(2)) || !(4000..=192_000).contains(&rate) {
                        return Err(MediaError::Wav("only 16-bit PCM with one or two channels is read"));
                    }
                    self.format = Some(Format { rate, channels: word(2) });
                    used += padded;
                    self.place = Place::ChunkHead;
                }
                Place::Data(left) => {
                    let channels = self.format.map_or(1, |format| usize::from(format.channels));
                    let frame = 2 * channels;
                    let whole = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)) / frame * frame;
                    out.extend(rest[..whole].chunks_exact(frame).map(|frame| {
                        let sum: i32 =
                            frame.chunks_exact(2).map(|s| i32::from(i16::from_le_bytes([s[0], s[1]]))).sum();
                        (sum / channels as i32) as i16
                    }));
                    used += whole;
                    let left = left - whole as u64;
                    if left < frame as u64 {
                        self.place = Place::Skip(left);
                    } else {
                        self.place = Place::Data(left);
                        break;
                    }
                }
            }
        }
        self.held.drain(..used);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(samples: &[i16]) -> Vec<u8> {
        let mut bytes = header(16_000, samples.len() as u32).to_vec();
        write(samples, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let samples: Vec<i16> = (0..500).map(|n| n * 60 - 15_000).collect();
        let bytes = file(&samples);
        for piece in [1, 3, 7, 44, 1000, 5000] {
            let (mut reader, mut got) = (Reader::default(), Vec::new());
            for part in bytes.chunks(piece) {
                reader.push(part, &mut got).unwrap();
            }
            assert_eq!(got, samples, "pieces of {piece}");
            assert_eq!(reader.format(), Some(Format { rate: 16_000, channels: 1 }));
        }
    }

    #[test]
    fn unknown_chunks_are_passed_and_two_channels_averaged() {
        let mut bytes = header(8000, 0).to_vec();
        bytes[22] = 2;
        bytes.splice(36..36, *b"LIST\x03\0\0\0abc\0");
        let data = bytes.len() - 4;
        bytes[data..].copy_from_slice(&8u32.to_le_bytes());
        write(&[100, 200, -50, 50], &mut bytes);
        bytes.extend_from_slice(b"LIST\x04\0\0\0more");
        let (mut reader, mut got) = (Reader::default(), Vec::new());
        reader.push(&bytes, &mut got).unwrap();
        assert_eq!(got, [150, 0]);
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |bytes: &[u8]| Reader::default().push(bytes, &mut Vec::new()).is_err();
        assert!(refused(b"ID3 and something more"));
        let mut compressed = file(&[0; 4]);
        compressed[20] = 6;
        assert!(refused(&compressed));
        let mut early = file(&[0; 4]);
        early[12..16].copy_from_slice(b"data");
        assert!(refused(&early));
    }
}
