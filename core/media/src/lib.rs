//! One audio stream and the mixer: samples in, samples out.
//!
//! RFC 3550/3551 (RTP and its audio profile), RFC 3389 (comfort noise), RFC 4733 (telephone events), RFC 6716/7587
//! (Opus), ITU-T G.711, G.722, G.107 (the E-model).
//!
//! In: RTP and RTCP packets (decrypted), sound from the microphone, time and seeds. Out: packets to send, sound for the
//! loudspeaker, events and figures. Never: sockets, devices, threads, files, clocks, encryption, SDP.
//!
//! - [`Stream`]: one call's audio; what the engine drives.
//! - [`Playout`]: the adaptive jitter buffer with its decoder, inside the stream.
//! - [`Mixer`], [`tone`], [`wav`], [`Resampler`], [`level`]: sound without packets.
//! - [`quality`]: what a listener would say, by the E-model.

mod activity;
mod codec;
pub mod comfort_noise;
pub mod dtmf;
mod error;
pub mod g711;
pub mod g722;
pub mod level;
mod mixer;
pub mod opus;
mod playout;
pub mod quality;
mod resample;
mod send;
mod statistics;
mod stream;
pub mod tone;
pub mod wav;

pub use activity::Activity;
pub use codec::{Codec, Decoder, Encoder};
pub use error::MediaError;
pub use mixer::Mixer;
pub use playout::{Content, DelayHistogram, Playout, PlayoutStats, Waiting};
pub use resample::Resampler;
pub use send::Microphone;
pub use statistics::StreamStats;
pub use stream::{EventTypes, Outgoing, Seeds, Stream, StreamConfig, StreamEvent};
