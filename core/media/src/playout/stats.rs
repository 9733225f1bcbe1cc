//! What a receiving side counts.

/// Counters of one received stream. All but the two delays only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Audio packets taken in.
    pub received: u64,
    /// Packets that came after they were needed.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that were missing when they were needed (late ones among them).
    pub missing: u64,
    /// Missing packets that were rebuilt from redundancy.
    pub recovered: u64,
    /// Samples made up by concealment, at the codec's rate.
    pub concealed: u64,
    /// Of these, samples that were played while waiting: they made the delay longer.
    pub stalled: u64,
    /// Samples taken out to become quicker.
    pub accelerated: u64,
    /// Samples put in to become safer.
    pub expanded: u64,
    /// Samples of noise in the sender's pauses.
    pub noise: u64,
    /// Samples played in all.
    pub played: u64,
    /// What the buffer adds to the quickest packet's transit, in microseconds.
    pub delay_micros: i64,
    /// What it aims to add.
    pub target_micros: i64,
}
