//! Calls and registrations against real peers.
