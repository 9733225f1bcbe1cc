//! The phone, composed of the machines below it; owns Command, Event and Snapshot.
