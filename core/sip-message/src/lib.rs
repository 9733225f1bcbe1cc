//! Read and write SIP messages: tolerant in, strict out.
//!
//! RFC 3261 §7, §8.1.1, §18.3, §19, §20, §25 and the header fields of its extensions. A [`Message`] is its bytes and an
//! index of its header lines; typed views ([`Via`], [`NameAddr`], [`Uri`], …) are read when asked for and borrow from
//! it. [`Builder`] writes new messages, [`Edit`] changes received ones and keeps the rest as it was, [`Framer`] cuts
//! messages out of a stream.
//!
//! In: bytes of one message, or of a stream; values to write. Out: messages, typed views, [`ParseError`] with the place
//! of the flaw, [`BuildError`]. Never: I/O, a panic on any input, more than linear time, a value that forges a header
//! line.
//!
//! ```
//! use bytes::Bytes;
//! use wakeline_sip_message::{Builder, Frame, Framer, Message, Method, Name, NameAddr, OwnedNameAddr, OwnedUri};
//!
//! // Write a request. Values are text or anything that displays as it; all of them are checked in `build`.
//! let to = OwnedUri::parse("sip:bob@example.net")?;
//! let from = OwnedNameAddr::new(OwnedUri::parse("sip:alice@example.org")?)
//!     .with_display_name("Alice \"A.\" Liddell")?
//!     .with_tag("1928301774")?;
//! let invite = Builder::request(Method::Invite, &to)
//!     .header(Name::Via, "SIP/2.0/TLS phone.example.org;branch=z9hG4bK776asdhds;rport")
//!     .header(Name::From, &from)
//!     .header(Name::To, format!("<{to}>"))
//!     .header(Name::CallId, "a84b4c76e66710")
//!     .header(Name::CSeq, "314159 INVITE")
//!     .header(Name::Contact, "<sip:alice@phone.example.org;transport=tls>")
//!     .header_text("X-Line", "2")
//!     .body("application/sdp", "v=0\r\n")
//!     .build()?;
//!
//! // Read one. Required fields give an error when absent or malformed, optional ones `Ok(None)` when absent.
//! let message = Message::parse(invite.to_bytes())?;
//! assert_eq!(message.method(), Method::Invite);
//! assert_eq!(message.request_uri()?.user(), Some("bob"));
//! assert_eq!(message.via()?.branch(), Some("z9hG4bK776asdhds"));
//! assert_eq!(message.from()?.display_name().as_deref(), Some("Alice \"A.\" Liddell"));
//! assert_eq!((message.from_tag(), message.to_tag()), (Some("1928301774"), None));
//! assert_eq!((message.call_id(), message.cseq()?.number), ("a84b4c76e66710", 314159));
//! assert_eq!(message.contact()?.map(|contact| contact.uri().to_owned()).as_ref().map(OwnedUri::as_str),
//!     Some("sip:alice@phone.example.org;transport=tls"));
//! assert_eq!((message.max_forwards()?, message.expires()?), (Some(70), None));
//! assert_eq!(message.header_by_name("x-line"), Some("2"));
//! let routes: Result<Vec<NameAddr<'_>>, _> = message.routes().collect();
//! assert!(routes?.is_empty());
//!
//! // Answer it.
//! let ringing = Builder::response(&message, 180, "")
//!     .to_tag("314")
//!     .copy(&message, Name::RecordRoute)
//!     .header(Name::Contact, "<sip:bob@192.0.2.4>")
//!     .build()?;
//! assert_eq!((ringing.status(), ringing.to_tag(), ringing.method()), (Some(180), Some("314"), Method::Invite));
//!
//! // Forward it: only what is named changes.
//! let forwarded = message
//!     .edit()
//!     .set_request_uri("sip:bob@192.0.2.4")
//!     .replace(Name::MaxForwards, 69)
//!     .prepend(Name::Via, "SIP/2.0/UDP gateway.example.net;branch=z9hG4bK1")
//!     .prepend(Name::RecordRoute, "<sip:gateway.example.net;lr>")
//!     .finish()?;
//! assert_eq!(forwarded.vias().count(), 2);
//!
//! // Cut messages out of a stream.
//! let mut framer = Framer::default();
//! framer.push(b"\r\n\r\n");
//! framer.push(&forwarded.to_bytes());
//! assert_eq!(framer.next()?, Some(Frame::Ping));
//! assert_eq!(framer.next()?, Some(Frame::Message(forwarded.to_bytes())));
//! assert_eq!(framer.next()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod builder;
mod check;
mod dates;
mod edit;
mod error;
mod framer;
mod grammar;
mod host;
mod index;
pub mod limits;
#[cfg(test)]
mod linear_tests;
mod media_type;
mod message;
mod method;
mod multipart;
mod name;
mod name_addr;
mod notices;
mod params;
pub mod reason;
mod redact;
mod session;
mod typed;
mod uri;
mod uri_compare;
mod via;
mod write;

pub use auth::{AuthParams, Picked, nonce_count};
pub use builder::{Builder, check_name, check_value};
pub use check::{Checked, Refusal, Role, Understands};
pub use dates::{RetryAfter, Timestamp, date_text};
pub use edit::Edit;
pub use error::{BuildError, Flaw, ParseError, Place};
pub use framer::{Frame, FrameError, Framer, Limits};
pub use host::Host;
pub use media_type::{Item, MediaType};
pub use message::{HeaderLine, Kind, Message};
pub use method::{Method, Token};
pub use multipart::Part;
pub use name::{Name, OtherName};
pub use name_addr::{NameAddr, OwnedNameAddr};
pub use notices::{InfoUri, Reason, SubscriptionPhase, SubscriptionState, Warning};
pub use params::{ParamIter, Params};
pub use session::{DialogRef, RAck, Refresher, SessionExpires};
pub use typed::{CSeq, Contacts};
pub use uri::{OwnedUri, Scheme, Uri};
pub use via::{MAGIC_COOKIE, Via};
