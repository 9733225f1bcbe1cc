//! The 12 messages of RFC 5118 (IPv6) and how each is graded.
//!
//! The three colons of §4.10 are accepted, and never written.

use crate::{Grade, Vector};

/// Every message of the RFC, in its order.
pub const VECTORS: [Vector; 12] = [
    Vector {
        name: "ipv6-good",
        section: "RFC 5118 §4.1",
        bytes: include_bytes!("../rfc5118/ipv6-good.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "ipv6-bad",
        section: "RFC 5118 §4.2",
        bytes: include_bytes!("../rfc5118/ipv6-bad.dat"),
        any: Grade::Refuse(400),
        endpoint: Grade::Refuse(400),
        proxy: Grade::Refuse(400),
    },
    Vector {
        name: "port-ambiguous",
        section: "RFC 5118 §4.3",
        bytes: include_bytes!("../rfc5118/port-ambiguous.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "port-unambiguous",
        section: "RFC 5118 §4.4",
        bytes: include_bytes!("../rfc5118/port-unambiguous.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "via-received-param-with-delim",
        section: "RFC 5118 §4.5",
        bytes: include_bytes!("../rfc5118/via-received-param-with-delim.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "via-received-param-no-delim",
        section: "RFC 5118 §4.5",
        bytes: include_bytes!("../rfc5118/via-received-param-no-delim.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "ipv6-in-sdp",
        section: "RFC 5118 §4.6",
        bytes: include_bytes!("../rfc5118/ipv6-in-sdp.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "mult-ip-in-header",
        section: "RFC 5118 §4.7",
        bytes: include_bytes!("../rfc5118/mult-ip-in-header.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "mult-ip-in-sdp",
        section: "RFC 5118 §4.8",
        bytes: include_bytes!("../rfc5118/mult-ip-in-sdp.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "ipv4-mapped-ipv6",
        section: "RFC 5118 §4.9",
        bytes: include_bytes!("../rfc5118/ipv4-mapped-ipv6.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "ipv6-correct-abnf-2-colons",
        section: "RFC 5118 §4.10",
        bytes: include_bytes!("../rfc5118/ipv6-correct-abnf-2-colons.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
    Vector {
        name: "ipv6-bug-abnf-3-colons",
        section: "RFC 5118 §4.10",
        bytes: include_bytes!("../rfc5118/ipv6-bug-abnf-3-colons.dat"),
        any: Grade::Accept,
        endpoint: Grade::Accept,
        proxy: Grade::Accept,
    },
];
