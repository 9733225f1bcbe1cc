//! The next hop by RFC 3263; asks its DNS questions as outputs.
