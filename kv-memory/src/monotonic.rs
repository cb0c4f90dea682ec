//! The monotonic clock of the system, and a cheaper way to read it.

#[cfg(target_os = "linux")]
pub(crate) use coarse::{is_before, now};
#[cfg(not(target_os = "linux"))]
pub(crate) use exact::{is_before, now};

/// Linux has a second, coarse clock. It shows the time of the exact clock at the last tick of the kernel (1 to 10 ms ago).
/// Reading it takes at most a third of the time, because it does not read the hardware.
///
/// The coarse clock is never ahead of the exact one, so a time before it is certainly in the past. It may be behind, and no
/// small bound for that is reliable. [`FAR`](coarse::FAR) is a reliable bound. It is a thousand ticks or more, and
/// - a processor that runs a program takes its own timer's interrupts, and a processor that wakes from idling updates the
///   time before it runs anything;
/// - the processor whose ticks keep the time may be held up, for instance by the hypervisor of a virtual machine.
///   Then another processor takes over at its fifth tick (since 2022, Linux commit `a1ff03cd6fb9`).
///
/// One case remains: the whole machine stands still for longer than `FAR` while its clock goes on, as with some hypervisors
/// that pause it. In the few ticks after it resumes, an entry that expired meanwhile may still be read. With an older kernel
/// the same happens while the processor that keeps the time is held up for longer than `FAR` and others run.
#[cfg(target_os = "linux")]
mod coarse {
    use rustix::time::{ClockId, clock_gettime};

    /// A time that is further than this beyond the coarse clock is also in the future of the exact clock: ten seconds. After
    /// the same time without a timer interrupt, Linux reports a processor as locked up (`watchdog_thresh`).
    pub(super) const FAR: u64 = 10_000_000_000;

    /// The time in nanoseconds, exact.
    pub(crate) fn now() -> u64 {
        read(ClockId::Monotonic)
    }

    /// Whether a time is in the future.
    #[inline]
    pub(crate) fn is_before(time: u64) -> bool {
        by_coarse_clock(read(ClockId::MonotonicCoarse), time).unwrap_or_else(|| now() < time)
    }

    /// Whether a time is in the future; `None` if only the exact clock can tell.
    #[inline]
    fn by_coarse_clock(coarse: u64, time: u64) -> Option<bool> {
        match time.checked_sub(coarse) {
            None | Some(0) => Some(false),
            Some(left) => (left > FAR).then_some(true),
        }
    }

    /// The time in nanoseconds since the machine was started. It is never negative.
    #[inline]
    fn read(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        let secs = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
        secs.saturating_mul(1_000_000_000).saturating_add(nanos)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_coarse_clock_decides_only_for_past_and_far_times() {
            assert_eq!(by_coarse_clock(100, 99), Some(false));
            assert_eq!(by_coarse_clock(100, 100), Some(false));
            assert_eq!(by_coarse_clock(100, 101), None);
            assert_eq!(by_coarse_clock(100, 100 + FAR), None);
            assert_eq!(by_coarse_clock(100, 101 + FAR), Some(true));
            assert_eq!(by_coarse_clock(0, u64::MAX), Some(true));
            assert_eq!(by_coarse_clock(u64::MAX, u64::MAX), Some(false));
        }

        #[test]
        fn the_coarse_clock_is_behind_the_exact_one_by_less_than_far() {
            for _ in 0..100_000 {
                let before = read(ClockId::Monotonic);
                let coarse = read(ClockId::MonotonicCoarse);
                let after = read(ClockId::Monotonic);
                assert!(coarse <= after);
                assert!(before < coarse + FAR);
            }
        }

        #[test]
        fn a_time_is_in_the_future_until_the_exact_clock_reaches_it() {
            let time = now() + 20_000_000;
            loop {
                let before = now();
                let still = is_before(time);
                assert!(if still { before < time } else { now() >= time });
                if !still {
                    return;
                }
            }
        }
    }
}

/// Other systems have no coarse clock that is known never to be ahead.
#[cfg(not(target_os = "linux"))]
mod exact {
    use std::sync::LazyLock;
    use std::time::Instant;

    use crate::clock::nanos;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// The time in nanoseconds, exact.
    pub(crate) fn now() -> u64 {
        nanos(START.elapsed())
    }

    /// Whether a time is in the future.
    #[inline]
    pub(crate) fn is_before(time: u64) -> bool {
        now() < time
    }
}
