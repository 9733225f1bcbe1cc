//! RTP, RTCP and telephone-event packets (RFC 3550, RFC 3611, RFC 4733).
//!
//! In: datagrams, times, NTP times. Out: borrowed views of packets, packets as bytes, reception figures, and the RTCP
//! reports that are due. Never: sockets, encryption, codecs, the wall clock.
//!
//! - [`RtpPacket`]: one RTP packet, read in place or written.
//! - [`sequence`]: sequence numbers and timestamps that wrap.
//! - [`rtcp`]: compound RTCP packets; what is not known is kept as it came.
//! - [`ntp`]: the arithmetic of NTP times and round trips.
//! - [`telephone_event`]: DTMF digits as RTP payloads.
//! - [`reception`]: loss and jitter of one source (RFC 3550 appendix A).
//! - [`session`]: when to report, and what (RFC 3550 §6.2, §6.3).

mod error;
pub mod ntp;
mod packet;
pub mod reception;
pub mod rtcp;
pub mod sequence;
pub mod session;
pub mod telephone_event;

pub use error::RtpError;
pub use ntp::NtpTime;
pub use packet::{Csrcs, Extension, RtpPacket, header_length};
pub use reception::Reception;
pub use rtcp::{ReportBlock, RtcpPacket};
pub use sequence::ExtendedSequence;
pub use session::RtcpSession;
pub use telephone_event::TelephoneEvent;
