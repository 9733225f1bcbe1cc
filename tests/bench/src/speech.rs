//! Speech to say, and the codecs that carry it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wakeline_interop::place::Folder;
use wakeline_interop::sound;
use wakeline_media::g711;
use wakeline_media::opus::{Encoder, Tuning};

const TEXT: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It is easy to tell \
    the depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of \
    lemons makes fine punch. The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage.";

/// What a call's packets hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// G.711, mu-law.
    Pcmu,
    /// Opus at 24 kbit/s with in-band FEC.
    Opus,
}

impl Codec {
    /// Its payload type in our offers.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Opus => 96,
        }
    }

    /// By how much a frame of 20 ms moves the RTP clock on.
    pub fn frame_clock(self) -> u32 {
        match self {
            Codec::Pcmu => 160,
            Codec::Opus => 960,
        }
    }

    /// The rate at which we encode and decode.
    pub fn rate(self) -> u32 {
        match self {
            Codec::Pcmu => 8000,
            Codec::Opus => 16_000,
        }
    }

    /// Its lines of a session description.
    pub fn media(self, port: u16) -> String {
        match self {
            Codec::Pcmu => format!("m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"),
            Codec::Opus => format!(
                "m=audio {port} RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n\
                 a=fmtp:96 maxaveragebitrate=24000;useinbandfec=1;stereo=0;sprop-stereo=0\r\n"
            ),
        }
    }

    /// Samples, at [`Codec::rate`], as payloads of 20 ms; an Opus sender is told of this much loss.
    pub fn encode(self, samples: &[i16], loss_percent: u8) -> Vec<Vec<u8>> {
        let frames = samples.chunks_exact(self.rate() as usize / 50);
        match self {
            Codec::Pcmu => {
                frames.map(|frame| frame.iter().map(|&s| g711::encode_ulaw(s)).collect()).collect()
            }
            Codec::Opus => {
                let mut encoder = encoder(loss_percent);
                let mut encode = |frame: &[i16]| {
                    let mut payload = Vec::new();
                    encoder.encode(frame, &mut payload).expect("a frame");
                    payload
                };
                frames.map(&mut encode).collect()
            }
        }
    }

    /// Decodes payloads in their order; what is missing becomes silence (PCMU) or is concealed (Opus).
    pub fn decode(self, payloads: &[Option<Vec<u8>>]) -> Vec<i16> {
        let frame = self.rate() as usize / 50;
        match self {
            Codec::Pcmu => payloads
                .iter()
                .flat_map(|payload| match payload {
                    Some(payload) => payload.iter().map(|&byte| g711::decode_ulaw(byte)).collect(),
                    None => vec![0; frame],
                })
                .collect(),
            Codec::Opus => {
                let mut decoder =
                    ::opus::Decoder::new(self.rate(), ::opus::Channels::Mono).expect("a decoder");
                let mut all = Vec::new();
                for payload in payloads {
                    let mut piece = vec![0; if payload.is_some() { frame * 6 } else { frame }];
                    let count = decoder
                        .decode(payload.as_deref().unwrap_or_default(), &mut piece, false)
                        .unwrap_or_default();
                    all.extend_from_slice(&piece[..count]);
                }
                all
            }
        }
    }
}

/// An Opus encoder as our phone has it, at 24 kbit/s and 16 kHz, without pauses in sending.
fn encoder(loss_percent: u8) -> Encoder {
    let tuning =
        Tuning { bitrate: 24_000, expected_loss: loss_percent, fec: true, dtx: false, ..Tuning::default() };
    Encoder::new(Codec::Opus.rate(), tuning).expect("an encoder")
}

/// Writes a WAV file of this many seconds: silence for the first `lead` of them, then speech.
pub fn write(folder: &Folder, name: &str, rate: u32, channels: u32, lead: u32, seconds: u32) -> PathBuf {
    let (raw, path) = (folder.path("speech-raw.wav"), folder.path(name));
    if !raw.is_file() {
        tool(
            Command::new("espeak-ng").args(["-v", "en", "-s", "150", "-w"]).arg(&raw).arg(TEXT),
            "espeak-ng",
        );
    }
    tool(
        Command::new("sox")
            .arg("-D")
            .arg(&raw)
            .args(["-b", "16", "-r"])
            .arg(rate.to_string())
            .arg("-c")
            .arg(channels.to_string())
            .arg(&path)
            .args(["gain", "-n", "-6", "repeat", "9", "pad"])
            .arg(lead.to_string())
            .args(["0", "trim", "0"])
            .arg(seconds.to_string()),
        "sox",
    );
    path
}

/// The samples of such a file.
pub fn samples(folder: &Folder, rate: u32, lead: u32, seconds: u32) -> Vec<i16> {
    sound::read(&write(folder, &format!("speech-{rate}.wav"), rate, 1, lead, seconds)).1
}

/// The same samples after a turn at another rate, by a converter that is not ours.
pub fn through(folder: &Folder, rate: u32, other: u32, samples: &[i16]) -> Vec<i16> {
    if rate == other {
        return samples.to_vec();
    }
    let [first, second, third] = ["here.wav", "there.wav", "back.wav"].map(|name| folder.path(name));
    write_samples(&first, rate, samples);
    for (from, to, rate) in [(&first, &second, other), (&second, &third, rate)] {
        tool(
            Command::new("sox").arg("-D").arg(from).args(["-b", "16", "-r", &rate.to_string()]).arg(to),
            "sox",
        );
    }
    let mut back = sound::read(&third).1;
    back.resize(samples.len(), 0);
    back
}

fn tool(command: &mut Command, package: &str) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{package} failed or is not installed: apt-get install {package}"
    );
}

/// Writes mono samples as a WAV file.
pub fn write_samples(path: &Path, rate: u32, samples: &[i16]) {
    let mut bytes = wakeline_media::wav::header(rate, samples.len() as u32).to_vec();
    wakeline_media::wav::write(samples, &mut bytes);
    std::fs::write(path, bytes).expect("a WAV file");
}
