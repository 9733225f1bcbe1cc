//! The numbers under which the machine knows its things: cheap to copy, and free of what they stand for.

use serde::{Deserialize, Serialize};

/// The number of an address of record within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct AorId(pub(crate) u32);

impl AorId {
    /// No account has this number.
    pub(crate) const NOBODY: AorId = AorId(u32::MAX);
}

/// The number of a binding. It is never used again, also not after a restart: names in the hands of phones and peers
/// (PURR, temporary GRUU, Record-Route) stand for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BindingId(pub u64);

/// Numbers from here on are drawn, those below are counted. Both stay exact in JSON.
const DRAWN: u64 = 1 << 52;

impl BindingId {
    /// A number that nobody counts up to.
    pub(crate) const fn drawn(random: u64) -> BindingId {
        BindingId(DRAWN | random >> 12)
    }

    /// Whether it was counted.
    pub(crate) const fn is_counted(self) -> bool {
        self.0 < DRAWN
    }
}

/// One device of an address of record: its `+sip.instance`, else its push token, else the binding itself. A keyed
/// digest; equal devices have equal values within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Device(pub(crate) u64);

/// The number of a request in progress.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ContextId(pub(crate) u64);

/// The name of one push request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PushKey(pub u64);

/// The number of a next hop: all upstreams' in the order of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HopId(pub u16);

/// The number of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UpstreamId(pub(crate) u16);

/// The number of another node of the same gateway within this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct NodeId(pub(crate) u16);

/// A next hop's name within dialogs: it outlives restarts and changes of order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HopName(pub(crate) u64);
