//! The scoreboard: figures of ours beside a peer's, in one run.
