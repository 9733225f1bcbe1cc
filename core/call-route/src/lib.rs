//! Which way a dialled number goes, and how it is rewritten.
