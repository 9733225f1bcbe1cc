//! Every webphone parameter: schema, reading, precedence of sources, links.
//!
//! A phone is described by parameters whose names and meanings are those that browser phones use. They come from
//! several sources at once; the strongest source wins, in whatever order they were read (behaviours B-036 to B-061).
//! What cannot be used is told by name, with cause and cure, and never stops the phone.
//!
//! In: text: files, links, environment, flags, what a server or a person sets. Out: values, by name or as the typed
//! groups that the phone obeys. Never: a file, an environment or a connection of its own.

mod account;
mod call;
mod check;
mod codec;
mod codec_preference;
mod diagnosis;
mod host;
mod link;
mod log;
mod media;
mod network;
mod pairs;
mod parameter;
mod params_list;
pub mod provisioning;
mod push;
mod reader;
mod script;
mod sealed;
mod source;
mod store;

pub use account::{AccountSettings, Credential, RegisterMode, Reregister};
pub use call::{AutoAnswer, CallSettings, ForwardOnNoAnswer, Hold, IncomingPolicy, Normalize};
pub use codec::Codec;
pub use codec_preference::CodecPreference;
pub use diagnosis::{Diagnosis, Finding};
pub use host::HostPort;
pub use log::LogSettings;
pub use media::{DtmfMode, MediaEncryption, MediaSettings};
pub use network::{NetworkSettings, Rport, TransportChoice};
pub use parameter::{Group, Kind, Parameter, meaning, nearest, parameter, parameters};
pub use push::{PushChoice, PushDialect, PushSettings};
pub use reader::ReadError;
pub use source::Source;
pub use store::Settings;
