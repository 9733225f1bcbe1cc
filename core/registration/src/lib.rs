//! One binding's life: outbound flow, refresh, retry, and the push binding of RFC 8599.
