//! Phones, registrar, callers, push providers and network on one virtual clock with a seed.
