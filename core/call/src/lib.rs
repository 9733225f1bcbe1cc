//! One INVITE session's life, on either side.
//!
//! RFC 3261 §13-15, RFC 3262 (reliable provisionals), RFC 3311 (UPDATE), RFC 3264 and 6337 as far as the order of offers
//! goes, RFC 3326 (Reason), RFC 3515 (REFER received), RFC 3891 and 3911 (Replaces and Join received), RFC 4028 (session
//! timers), RFC 5057, RFC 6026 and 6141.
//!
//! In: commands, requests and responses with the names of their transactions, session descriptions as opaque bytes,
//! time. Out: [`Output`]s: requests and responses to send, questions to the media, [`Event`]s, and one [`CallRecord`].
//! Never: codecs, flows, transactions' timers, the choice of a next hop, passwords.
//!
//! A call is fed through one door, [`Call`], and drained by [`Call::poll_output`]. It must be kept until
//! [`Call::is_finished`]: for half a minute after its end it still acknowledges what comes late.

mod answer;
mod arrival;
mod call;
mod config;
mod context;
mod digits;
mod end;
mod ending;
mod established;
mod exchange;
mod incoming;
mod intent;
mod key;
mod lingering;
mod mid_dialog;
mod modify;
mod outgoing;
mod output;
mod record;
mod redirect;
mod reliable;
mod repeat;
mod retry;
mod session_timer;
mod views;

pub use call::{Announcement, Call, Phase};
pub use config::{Config, InfoDigits, Reliable, SessionTimers, TransferPolicy};
pub use end::EndReason;
pub use intent::{IncomingState, Intent, Refusal};
pub use key::RequestId;
pub use outgoing::{Dial, Opening};
pub use output::{Describe, Described, Event, HopFailure, Output, Replaces};
pub use record::{CallRecord, Direction};
pub use wakeline_sip_dialog::{DialogContact, DialogId, SipCallId};
pub use wakeline_sip_transaction::ServerKey;

#[cfg(test)]
mod tests;
