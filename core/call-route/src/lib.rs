//! Which way a dialled number goes, and how it is rewritten.
//!
//! What a person types is a number, a user name, an address or a whole URI. Numbers are cleaned, rewritten and given a
//! prefix as the account's settings say (`normalizenumber`, `numpxrewrite`, `techprefix`; behaviours B-129 to B-134);
//! names and URIs are left alone. RFC 3966 (`tel:`), RFC 3261 §19.1 (`sip:`).
//!
//! In: settings, and what was typed. Out: the URI to call, and digits to be sent once the call is up. Never: a
//! decision to call by other means than SIP (the webphone's other engines have no parameter that this phone honours).

mod dialled;
mod number;
mod rewrite;
mod screen;

pub use dialled::{DialError, Dialled, Dialling};
pub use number::{is_number, normalized};
pub use rewrite::RewriteRule;
pub use screen::{is_listed, same_peer};
