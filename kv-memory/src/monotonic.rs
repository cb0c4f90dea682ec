//! The monotonic clock of the system, and a cheaper look at it.

#[cfg(target_os = "linux")]
pub(crate) use coarse::{is_before, now};
#[cfg(not(target_os = "linux"))]
pub(crate) use exact::{is_before, now};

/// Linux has a second clock, which shows what the first one showed at the last tick of the kernel (1 to 10 ms ago).
/// To read it takes a third of the time or less, as no hardware is asked.
///
/// It is never ahead of the exact one, so what lies before it is past for certain. How far it may be behind has no
/// bound that is small and can be relied on. [`FAR`](coarse::FAR) can be: it is a thousand ticks or more, and
/// - a processor that runs a program takes its own timer's interrupts, and one that wakes from idleness brings the
///   time up to date before it runs anything;
/// - the processor whose ticks keep the time may be held up, by the hypervisor of a virtual machine for instance.
///   Then another one takes over at its fifth tick (since 2022, Linux commit `a1ff03cd6fb9`).
///
/// What remains is a machine that stands still as a whole for longer than `FAR` while its clock goes on, as some do
/// whose hypervisor pauses them: in the few ticks after it has gone on, an entry that ended meanwhile may still be
/// read. With an older kernel that is also so while the processor that keeps the time is held up for longer than
/// `FAR`, and others run.
#[cfg(target_os = "linux")]
mod coarse {
    use rustix::time::{ClockId, clock_gettime};

    /// What is further than this beyond the coarse clock is still to come by the exact one, too: ten seconds. That is
    /// also for how long a processor may take no timer interrupt before Linux calls it locked up (`watchdog_thresh`).
    pub(super) const FAR: u64 = 10_000_000_000;

    /// The time in nanoseconds, exact.
    pub(crate) fn now() -> u64 {
        read(ClockId::Monotonic)
    }

    /// Whether a time is still to come.
    #[inline]
    pub(crate) fn is_before(time: u64) -> bool {
        by_a_glance(read(ClockId::MonotonicCoarse), time).unwrap_or_else(|| now() < time)
    }

    /// Whether a time is still to come, as far as the coarse clock can tell.
    #[inline]
    fn by_a_glance(coarse: u64, time: u64) -> Option<bool> {
        match time.checked_sub(coarse) {
            None | Some(0) => Some(false),
            Some(left) => (left > FAR).then_some(true),
        }
    }

    /// In nanoseconds since the machine was started, which are not negative.
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
        fn a_glance_tells_what_is_past_and_what_is_far_and_nothing_of_what_is_near() {
            assert_eq!(by_a_glance(100, 99), Some(false));
            assert_eq!(by_a_glance(100, 100), Some(false));
            assert_eq!(by_a_glance(100, 101), None);
            assert_eq!(by_a_glance(100, 100 + FAR), None);
            assert_eq!(by_a_glance(100, 101 + FAR), Some(true));
            assert_eq!(by_a_glance(0, u64::MAX), Some(true));
            assert_eq!(by_a_glance(u64::MAX, u64::MAX), Some(false));
        }

        #[test]
        fn the_coarse_clock_is_behind_the_exact_one_and_not_far() {
            for _ in 0..100_000 {
                let before = read(ClockId::Monotonic);
                let coarse = read(ClockId::MonotonicCoarse);
                let after = read(ClockId::Monotonic);
                assert!(coarse <= after);
                assert!(before < coarse + FAR);
            }
        }

        #[test]
        fn a_time_is_still_to_come_until_the_exact_clock_has_reached_it() {
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

/// Other systems have no second clock, or none that is known to be behind.
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

    /// Whether a time is still to come.
    #[inline]
    pub(crate) fn is_before(time: u64) -> bool {
        now() < time
    }
}
