//! RFC 8599 push parameters, the dialects of other stacks, wake ids, and what a push payload may carry.
//!
//! A registration tells the network how its phone can be woken: the `pn-*` parameters of the Contact URI (RFC 8599
//! §4.1, §8, §14), older spellings of them, or a header of its own. The network answers in `Feature-Caps` (§4.1.1, §9).
//! A push then names the call by its wake id, and the network tells a late waker how that call went meanwhile.
//!
//! In: names and values of URI parameters, header field values, push payloads; all as text.
//! Out: values. Never: SIP messages, a connection to a push service, trust in what a push says (it is a hint).

mod dialect;
mod error;
mod escape;
mod feature_caps;
mod parameters;
mod payload;
mod provider;
mod read;
mod target;
mod token;
mod wake;
mod write;

pub use dialect::{Dialect, PushMode};
pub use error::PushError;
pub use escape::{escape_value, unescape_value};
pub use feature_caps::FeatureCaps;
pub use parameters::{ContactPush, PushParameters};
pub use payload::{MAX_PAYLOAD, Payload, PayloadKind};
pub use provider::Provider;
pub use target::{PushTarget, Service, WebPushKeys};
pub use token::{is_token_parameter, strip_token_parameters, token_mark};
pub use wake::{ExternalId, WAKE_STATE_HEADER, WakeId, WakeState, read_wake_states, write_wake_states};
pub use write::Written;

/// The header field of a REGISTER that names the wake it answers.
pub const WAKE_ID_HEADER: &str = "X-Wake-Id";
/// The header field in which servers without RFC 8599 take a token.
pub const X_MPUSH_HEADER: &str = "X-MPUSH";
