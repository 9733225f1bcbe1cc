//! The four transaction machines of RFC 3261 section 17 and RFC 6026, and their table.
