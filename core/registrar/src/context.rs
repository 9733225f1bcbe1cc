//! One request in progress.

/// The number of a request in progress.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ContextId(pub(crate) u64);
