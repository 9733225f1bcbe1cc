//! Time that also counts suspension: instants as values, and the one place that reads the system's clock.
