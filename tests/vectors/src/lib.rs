//! Test messages of the RFCs and how each is to be graded, and what can be done to messages at random.
//!
//! In: nothing, or a seed. Out: [`Vector`]s (RFC 4475, RFC 5118), mutated messages ([`mutate`]), and functions that take
//! any bytes and must come back ([`targets`]): the bodies of the fuzz targets. Never: part of a program.

pub mod mutate;
pub mod rfc4475;
pub mod rfc5118;
pub mod targets;

use wakeline_sip_message::{Method, Refusal, Role, Understands};

/// What is to become of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grade {
    /// It is acted on.
    Accept,
    /// It is answered with this code.
    Refuse(u16),
    /// It is passed over in silence.
    Drop,
}

impl Grade {
    /// The grade that a check's outcome stands for.
    pub fn of(outcome: &Result<(), Refusal>) -> Grade {
        match outcome {
            Ok(()) => Grade::Accept,
            Err(refusal) => refusal.code().map_or(Grade::Drop, Grade::Refuse),
        }
    }
}

/// One message of an RFC.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    /// The RFC's tag.
    pub name: &'static str,
    /// Where it stands.
    pub section: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// By what every receiver demands.
    pub any: Grade,
    /// By [`ENDPOINT`].
    pub endpoint: Grade,
    /// By [`PROXY`].
    pub proxy: Grade,
}

/// What our phone understands, as far as the vectors ask.
pub const ENDPOINT: Understands<'_> = Understands {
    role: Role::Endpoint,
    methods: &Method::KNOWN,
    options: &["100rel", "timer", "replaces", "outbound", "path", "gruu"],
    bodies: &["application/sdp", "text/plain"],
};

/// What our gateway understands, as far as the vectors ask.
pub const PROXY: Understands<'_> =
    Understands { role: Role::Proxy, methods: &[], options: &["path", "outbound"], bodies: &[] };

/// Every vector of every RFC.
pub fn all() -> impl Iterator<Item = &'static Vector> {
    rfc4475::VECTORS.iter().chain(&rfc5118::VECTORS)
}
