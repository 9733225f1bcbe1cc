//! Session descriptions, and RFC 3264 offer/answer as pure functions over values.
