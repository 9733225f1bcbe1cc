//! Names of what is under way.

/// One request of ours, through every attempt that it takes: a retry with credentials keeps its name.
///
/// Who drives the call sends the request by a client transaction and remembers which [`RequestId`] it was for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);
