//! The one place that reads the operating system's clocks.
//!
//! Linux and Android: `CLOCK_BOOTTIME`; Apple: `CLOCK_MONOTONIC_RAW`'s sibling that runs through sleep
//! (`CLOCK_MONOTONIC`, which is `mach_continuous_time` there). Other systems fall back to `std::time::Instant`.

use core::time::Duration;

use crate::{Time, WallTime};

/// Now, on the clock that counts suspension.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn now() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` is a valid, writable timespec for the whole call, and the clock id is a constant that the
    // system knows; the call cannot fail for either reason, and zero is returned if it ever did.
    unsafe { libc::clock_gettime(CLOCK, &mut spec) };
    Time::from_nanos(spec.tv_sec as u64 * 1_000_000_000 + spec.tv_nsec as u64)
}

/// Now, on the best clock that the standard library has here.
#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn now() -> Time {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    Time::ZERO + ORIGIN.get_or_init(std::time::Instant::now).elapsed()
}

/// The wall clock, which may jump.
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn wall() -> WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// How long ago the wall clock showed this time since 1970; nothing when it was set meanwhile, or the time is to come.
#[expect(clippy::disallowed_methods, reason = "this module is where the clock is read")]
pub fn since(shown: Duration) -> Duration {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since_epoch.saturating_sub(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let (first, second) = (now(), now());
        assert!(second >= first);
        assert!(wall().as_secs() > 1_700_000_000);
    }
}
