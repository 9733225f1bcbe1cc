//! The loop's alarm: one deadline, on the clock that counts suspension.
//!
//! Linux and Android: a timer of the kernel on `CLOCK_BOOTTIME`, so that a deadline that passed while the machine slept
//! rings at once (class S26); the runtime's own timers stand still meanwhile. It also saves the wake-up of itself with which
//! the runtime takes every new timer in, a hundred times a second in a call. Elsewhere: the runtime's timers.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use kernel::Alarm;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use runtime::Alarm;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
    use std::time::Duration;

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use wakeline_clock::{Time, system};

    /// The kernel's timer, as the runtime watches it.
    struct Timer(TimerFd);

    impl AsFd for Timer {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    #[expect(unsafe_code, reason = "the runtime wants to be told that the descriptor stays the timer's")]
    fn watched(timer: TimerFd) -> std::io::Result<AsyncFd<Timer>> {
        // SAFETY: the timer owns its descriptor until it is dropped, hands out the same one each time, and the alarm
        // neither replaces nor closes it before the runtime lets go of it.
        let watched = unsafe { AsyncFd::register_with_interest(Timer(timer), Interest::READABLE) };
        Ok(watched?)
    }

    /// The alarm.
    pub(crate) struct Alarm {
        /// Nothing where the system has no such timers.
        timer: Option<AsyncFd<Timer>>,
        set: Option<Time>,
    }

    impl Alarm {
        /// An alarm that is not set; to be made within the runtime.
        pub(crate) fn new() -> Alarm {
            let made =
                TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
                    .map_err(std::io::Error::from)
                    .and_then(watched);
            if let Err(error) = &made {
                tracing::warn!(%error, "no timer that counts suspension");
            }
            Alarm { timer: made.ok(), set: None }
        }

        /// Waits for the deadline; for ever when there is none.
        pub(crate) async fn until(&mut self, deadline: Option<Time>) {
            let Some(deadline) = deadline.filter(|deadline| *deadline != Time::NEVER) else {
                return std::future::pending().await;
            };
            if self.ring(deadline).await.is_none() {
                tokio::time::sleep(deadline.since(system::now())).await;
            }
        }

        async fn ring(&mut self, deadline: Time) -> Option<()> {
            let timer = self.timer.as_ref()?;
            if self.set != Some(deadline) {
                // A time of zero would disarm it.
                let at = TimeSpec::from_duration(Duration::from_nanos(deadline.as_nanos().max(1)));
                let set =
                    timer.get_ref().0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
                if let Err(error) = set {
                    tracing::warn!(%error, "the timer cannot be set");
                    return None;
                }
                self.set = Some(deadline);
            }
            // What rang for an earlier deadline may still be noted: the clock decides.
            while system::now() < deadline {
                timer.readable().await.ok()?.clear_ready();
            }
            self.set = None;
            Some(())
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod runtime {
    use wakeline_clock::{Time, system};

    /// The alarm.
    pub(crate) struct Alarm;

    impl Alarm {
        /// An alarm that is not set.
        pub(crate) fn new() -> Alarm {
            Alarm
        }

        /// Waits for the deadline; for ever when there is none.
        pub(crate) async fn until(&mut self, deadline: Option<Time>) {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline.since(system::now())).await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wakeline_clock::{Time, system};

    use super::Alarm;

    #[tokio::test]
    async fn it_rings_at_its_time_and_not_for_a_deadline_that_was_given_up() {
        let mut alarm = Alarm::new();
        let start = system::now();
        for (wait, given_up) in [(0, false), (20, false), (5, true), (30, false), (30, false)] {
            let deadline = start + Duration::from_millis(wait);
            if given_up {
                // Another thing came first.
                tokio::select! {
                    biased;
                    () = std::future::ready(()) => {}
                    () = alarm.until(Some(deadline)) => {}
                }
            } else {
                alarm.until(Some(deadline)).await;
                assert!(system::now() >= deadline, "{wait}");
            }
        }
        alarm.until(Some(Time::ZERO)).await;
        tokio::select! {
            () = alarm.until(None) => panic!("no deadline"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}
