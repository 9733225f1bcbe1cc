//! Stand-ins for the vendors' push services: the same protocol on loopback, with scripted faults.
//!
//! A sender that is tested against these meets what it meets in production: HTTP/2 over TLS, an OAuth exchange whose
//! assertion is really verified, the body rules of the service, its errors, its delays and its lost messages. Only the
//! endpoint differs, and that comes from the service account's `token_uri` and one configuration key.
//!
//! In: HTTP/2 requests. Out: answers, [`Delivered`] messages to whoever subscribed (a demo starts the sleeping phone
//! from there), and records for assertions. Never: a connection to anything but loopback.
//!
//! FCM HTTP v1 lives in [`fcm`], APNs in [`apns`], Web Push in [`webpush`], an operator's program in [`hook`]; all of them
//! on the same [`http2`] listener, [`script`] and [`desk`].

pub mod apns;
pub mod assertion;
pub mod certificate;
pub mod desk;
pub mod es256;
pub mod fcm;
mod fcm_rules;
pub mod hook;
pub mod http2;
pub mod rsa_key;
pub mod script;
pub mod service_account;
pub mod webpush;

pub use apns::{ApnsOptions, ApnsRecord, ApnsService};
pub use desk::{Delivered, Running};
pub use fcm::{FcmOptions, FcmService, Record};
pub use hook::{HookRecord, HookService};
pub use script::{Answer, Delivery, Step};
pub use webpush::{DeviceKeys, WebPushRecord, WebPushService};

/// What can go wrong while a stand-in starts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The loopback port could not be bound.
    #[error("cannot bind the stand-in's port: {0}")]
    Bind(#[from] std::io::Error),
    /// The certificate could not be made.
    #[error("cannot make the stand-in's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was not accepted by the TLS library.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No randomness, or the generated key was not accepted.
    #[error("cannot make the service account's key: {0}")]
    Key(&'static str),
}
