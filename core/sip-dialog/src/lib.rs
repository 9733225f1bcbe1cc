//! Dialogs: the memory that two peers share from the first tagged response to the last BYE.
//!
//! RFC 3261 §12 (dialogs, route sets, CSeq), RFC 3262 §3-4 (RSeq order), RFC 5057 (what a failure ends), RFC 8599 §4.1
//! (no push parameters in a dialog's Contact).
//!
//! In: requests and responses. Out: dialog state, requests prefilled for it, verdicts on what came in. Never:
//! transactions, timers, session descriptions, the decision to end a dialog.

mod contact;
mod dialog;
mod effect;
mod error;
mod forks;
mod id;
mod provisional;
mod route;

pub use contact::DialogContact;
pub use dialog::{Dialog, Role, State};
pub use effect::{Effect, effect_of};
pub use error::DialogError;
pub use forks::{Forks, Leg};
pub use id::{DialogId, SipCallId};
pub use provisional::{Heard, Provisionals};
pub use route::RouteSet;
