//! Questions to the DNS, and answers.

use core::net::IpAddr;

/// A record type that RFC 3263 asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Which transports a domain has, and in which order.
    Naptr,
    /// Which hosts and ports serve a transport.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// One look-up.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Question {
    /// The name, without a trailing dot, in lower case.
    pub name: String,
    /// What is wanted of it.
    pub kind: Kind,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// RFC 3403; `regexp` is left out, because RFC 3263 §4.1 ignores records that have one.
    Naptr {
        /// Lower first.
        order: u16,
        /// Lower first, within one order.
        preference: u16,
        /// `s` means that the replacement is an SRV name.
        flags: String,
        /// `SIP+D2U`, `SIPS+D2T`, …
        service: String,
        /// The SRV name.
        replacement: String,
    },
    /// RFC 2782.
    Srv {
        /// Lower first.
        priority: u16,
        /// Share within one priority.
        weight: u16,
        /// Where the service listens.
        port: u16,
        /// The host; `.` (here empty) says that there is no such service.
        target: String,
    },
    /// An A or AAAA record.
    Address(IpAddr),
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupFailure {
    /// The name, or a record of this type, does not exist: an answer of its own.
    NotFound,
    /// SERVFAIL, a time-out, no resolver: nothing is known.
    Unavailable,
}

/// What a look-up brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The records, in the order received.
    pub outcome: Result<Vec<Record>, LookupFailure>,
}
