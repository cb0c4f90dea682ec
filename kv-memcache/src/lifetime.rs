//! How lifetimes are told to memcached, whose clock ticks once a second.
//!
//! An entry that is given `n` seconds goes with the `n`th tick from then on: as ticks are a second apart, after more than `n - 1`
//! seconds and at most `n`. But now and then the clock makes two ticks in one, since its timer is a little slow, and then it is a
//! second less. So that none goes early (T2), a lifetime is sent in whole seconds, rounded up, and two more.
//!
//! More than 30 days the server takes for a Unix time, a signed 32-bit number, by its own clock ([protocol.txt], "Expiration
//! times"). That is what it is sent then: the server's time, as it told it when the connection was made, and how long ago
//! that was.
//!
//! [protocol.txt]: https://github.com/memcached/memcached/blob/1.6.18/doc/protocol.txt

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_core::Remaining;

/// How many seconds are added to a lifetime that was rounded up.
const ADDED: u32 = 2;

/// How late an entry may go: by these, and by what it was rounded up.
pub(crate) const RESOLUTION: Duration = Duration::from_secs(ADDED as u64 + 1);

/// The most seconds that the server takes for a number of seconds.
const LONGEST_COUNT: u32 = 60 * 60 * 24 * 30;

/// The last second of a signed 32-bit Unix time: 2038-01-19 03:14:07 UTC.
const LAST_SECOND: u64 = i32::MAX as u64;

const DAY: u64 = 60 * 60 * 24;

/// A lifetime as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Forever,
    /// None: the key is to be absent.
    Zero,
    /// As many seconds.
    Count(u32),
    /// Until this long from now by the server's clock.
    Until(Duration),
}

impl Lifetime {
    /// The lifetime for an entry that is to live this long; `None` is for ever.
    pub(crate) fn new(ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return Self::Forever };
        match u32::try_from(whole_seconds(ttl)).ok().and_then(|seconds| seconds.checked_add(ADDED)) {
            _ if ttl.is_zero() => Self::Zero,
            Some(count @ ..=LONGEST_COUNT) => Self::Count(count),
            _ => Self::Until(ttl),
        }
    }

    /// The lifetime for a copy that is to go when its original goes, of which the server says that this many seconds are left.
    pub(crate) fn of_copy(seconds_left: i64) -> Self {
        match u32::try_from(seconds_left) {
            Err(_) => Self::Forever,
            Ok(count @ ..=LONGEST_COUNT) => Self::Count(count.max(1)),
            // With what is added to it that is a second more than is left, as the clock may be about to tick.
            Ok(count) => Self::Until(Duration::from_secs(u64::from(count - 1))),
        }
    }
}

/// In seconds, rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// What remains of a lifetime, of which the server says that this many seconds are left.
pub(crate) fn remaining(seconds_left: i64) -> Remaining {
    match u32::try_from(seconds_left) {
        Err(_) => Remaining::Forever,
        Ok(seconds) => Remaining::For(Duration::from_secs(u64::from(seconds.saturating_sub(ADDED)))),
    }
}

/// The longest lifetime that can be expressed now: in whole days up to the last second, and at least what can be counted.
pub(crate) fn longest() -> Duration {
    longest_at(SystemTime::now())
}

fn longest_at(now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // A second for that which has begun.
    let left = LAST_SECOND.saturating_sub(now + u64::from(ADDED) + 1);
    Duration::from_secs((left / DAY * DAY).max(u64::from(LONGEST_COUNT - ADDED)))
}

/// The time of a server, as it told it once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    told: u64,
    at: Instant,
}

impl Clock {
    /// A clock that shows this Unix time, in reply to a question that was asked then.
    pub(crate) fn new(told: u64, asked_at: Instant) -> Self {
        Self { told, at: asked_at }
    }

    /// The Unix time at which an entry has to go that is to live this long from now; `None` if that does not fit.
    pub(crate) fn end_of(&self, ttl: Duration, now: Instant) -> Option<u32> {
        let seconds = whole_seconds(now.saturating_duration_since(self.at).checked_add(ttl)?);
        let end = self.told.checked_add(seconds)?.checked_add(u64::from(ADDED))?;
        u32::try_from(end).ok().filter(|_| end <= LAST_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MONTH: Duration = Duration::from_secs(LONGEST_COUNT as u64);
    const LONGEST_COUNTED: Duration = Duration::from_secs((LONGEST_COUNT - ADDED) as u64);

    #[test]
    fn a_lifetime_is_rounded_up_and_two_seconds_are_added() {
        let sent = |ttl| Lifetime::new(Some(ttl));
        assert_eq!(sent(Duration::from_nanos(1)), Lifetime::Count(3));
        assert_eq!(sent(Duration::from_millis(999)), Lifetime::Count(3));
        assert_eq!(sent(SECOND), Lifetime::Count(3));
        assert_eq!(sent(Duration::from_millis(1001)), Lifetime::Count(4));
        assert_eq!(sent(Duration::ZERO), Lifetime::Zero);
        assert_eq!(Lifetime::new(None), Lifetime::Forever);
    }

    #[test]
    fn what_would_be_taken_for_a_unix_time_is_sent_as_one() {
        let sent = |ttl| Lifetime::new(Some(ttl));
        assert_eq!(sent(LONGEST_COUNTED), Lifetime::Count(LONGEST_COUNT));
        for ttl in [LONGEST_COUNTED + SECOND, MONTH, MONTH + SECOND, Duration::MAX] {
            assert_eq!(sent(ttl), Lifetime::Until(ttl));
        }
    }

    #[test]
    fn a_copy_goes_when_its_original_goes() {
        assert_eq!(Lifetime::of_copy(-1), Lifetime::Forever);
        assert_eq!(Lifetime::of_copy(0), Lifetime::Count(1));
        assert_eq!(Lifetime::of_copy(7), Lifetime::Count(7));
        let asked = Instant::now();
        let clock = Clock::new(2_000_000_000, asked);
        let Lifetime::Until(ttl) = Lifetime::of_copy(3_000_000) else { panic!("that is no count any more") };
        assert_eq!(clock.end_of(ttl, asked), Some(2_003_000_001));
    }

    #[test]
    fn the_end_is_by_the_servers_clock_and_not_beyond_2038() {
        let asked = Instant::now();
        let clock = Clock::new(2_147_000_000, asked);
        assert_eq!(clock.end_of(Duration::from_secs(483_645), asked), Some(2_147_483_647));
        assert_eq!(clock.end_of(Duration::from_secs(483_646), asked), None);
        assert_eq!(clock.end_of(Duration::from_secs(483_645), asked + SECOND), None);
        assert_eq!(clock.end_of(Duration::MAX, asked), None);
        assert_eq!(clock.end_of(SECOND * 3 / 2, asked + SECOND / 2), Some(2_147_000_004));
        assert_eq!(clock.end_of(SECOND * 3 / 2, asked + SECOND), Some(2_147_000_005));
    }

    #[test]
    fn the_longest_is_in_whole_days_and_never_less_than_a_month() {
        let at = |seconds| longest_at(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(LAST_SECOND - 100 * DAY - 3), Duration::from_secs(100 * DAY));
        assert_eq!(at(LAST_SECOND - 100 * DAY - 2), Duration::from_secs(99 * DAY));
        for late in [LAST_SECOND - 5, LAST_SECOND, LAST_SECOND + DAY] {
            assert_eq!(at(late), LONGEST_COUNTED);
        }
    }
}
