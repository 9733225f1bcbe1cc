//! The buffer on virtual time, with seeded loss and jitter.
