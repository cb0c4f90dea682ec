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

use crate::request::Expiry;

/// How many seconds are added to a lifetime that was rounded up.
const ADDED: u32 = 2;

/// The longest that a server may take to tell its time: a date that is made of it is late by as much.
const QUICK: Duration = Duration::from_millis(300);

/// How late an entry may expire: by these seconds, by the part of a second by which its TTL was rounded up, by another second since the clock
/// ticks later in its second by then (with 1.6.18 by 0.7 ms each second), by how late it ticks on a busy machine, which was seen
/// to be some milliseconds, and by how long the server took to tell its time.
pub(crate) const RESOLUTION: Duration =
    Duration::from_millis(ADDED as u64 * 1000 + 1000 + 1000 + 100).saturating_add(QUICK);

/// The most seconds that the server takes for a number of seconds.
const LONGEST_COUNT: u32 = 60 * 60 * 24 * 30;

/// The longest lifetime on a server that does not tell its time: one that is counted.
pub(crate) const LONGEST_WITHOUT_CLOCK: Duration = Duration::from_secs((LONGEST_COUNT - ADDED) as u64);

/// The last second of a signed 32-bit Unix time: 2038-01-19 03:14:07 UTC.
const LAST_SECOND: u32 = i32::MAX as u32;

const DAY: u64 = 60 * 60 * 24;

/// A lifetime as a server is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Forever,
    /// None: the key is to be absent.
    Zero,
    /// As many seconds.
    Count(u32),
    /// Until this long from now by the server's clock.
    Until(Duration),
    /// Until so many seconds from now by the server's clock, or its last one.
    UntilOriginal(u32),
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
            Ok(count) => Self::UntilOriginal(count),
        }
    }

    /// How it is sent to a server with this clock, if it tells it. If that cannot be expressed, the longest one that can.
    pub(crate) fn expiry(self, clock: Option<&Clock>, now: Instant) -> Result<Expiry, Duration> {
        match (self, clock) {
            (Self::Forever, _) => Ok(Expiry::Seconds(0)),
            (Self::Zero, _) => Ok(Expiry::Past),
            (Self::Count(seconds), _) => Ok(Expiry::Seconds(seconds)),
            (Self::Until(_) | Self::UntilOriginal(_), None) => Err(LONGEST_WITHOUT_CLOCK),
            (Self::Until(ttl), Some(clock)) => clock.end_of(ttl, now).map(Expiry::Seconds),
            (Self::UntilOriginal(seconds), Some(clock)) => Ok(Expiry::Seconds(clock.end_of_original(seconds, now))),
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
    // A second for that which has begun.
    let left = longest_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_add(1));
    let days = Duration::from_secs(left.as_secs() / DAY * DAY);
    days.max(LONGEST_WITHOUT_CLOCK)
}

/// The longest lifetime from this Unix time on.
fn longest_from(now: u64) -> Duration {
    let left = u64::from(LAST_SECOND).saturating_sub(now.saturating_add(ADDED.into()));
    Duration::from_secs(left).max(LONGEST_WITHOUT_CLOCK)
}

/// The time of a server, as it told it once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    told: u64,
    asked_at: Instant,
    /// How long the server took to tell it.
    took: Duration,
    /// The same by the other clock, which goes on while the machine sleeps.
    asked_at_time: SystemTime,
}

impl Clock {
    /// A clock that shows this Unix time, in reply to a question that was asked then.
    pub(crate) fn new(told: u64, asked_at: Instant) -> Self {
        let took = asked_at.elapsed();
        Self { told, asked_at, took, asked_at_time: SystemTime::now().checked_sub(took).unwrap_or(UNIX_EPOCH) }
    }

    /// Whether the server took long to tell its time. It read its clock at any moment of these.
    pub(crate) fn is_slow(&self) -> bool {
        self.took > QUICK
    }

    /// Whether it can be relied upon: clocks of two machines do not run alike for long, and this one stands still while its machine sleeps.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        const LONG: Duration = Duration::from_secs(600);
        const APART: Duration = Duration::from_secs(1);
        let age = now.saturating_duration_since(self.asked_at);
        let age_by_time = self.asked_at_time.elapsed();
        age <= LONG && age_by_time.is_ok_and(|age_by_time| age_by_time.abs_diff(age) <= APART)
    }

    /// The Unix time at which an entry that is to live this long has to go. If that cannot be expressed, the longest lifetime that can.
    fn end_of(&self, ttl: Duration, now: Instant) -> Result<u32, Duration> {
        let end = self.after(ttl, now).saturating_add(ADDED.into());
        match u32::try_from(end) {
            Ok(end @ ..=LAST_SECOND) => Ok(end),
            _ => Err(longest_from(self.after(Duration::ZERO, now))),
        }
    }

    /// The Unix time at which a copy goes whose original has so many seconds left; at the latest, the last one.
    fn end_of_original(&self, seconds: u32, now: Instant) -> u32 {
        u32::try_from(self.after(Duration::from_secs(seconds.into()), now)).unwrap_or(LAST_SECOND).min(LAST_SECOND)
    }

    /// The time so long from now, rounded up.
    fn after(&self, duration: Duration, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.asked_at);
        self.told.saturating_add(whole_seconds(age.saturating_add(duration)))
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
        assert_eq!(Lifetime::of_copy(3_000_000).expiry(Some(&clock), asked), Ok(Expiry::Seconds(2_003_000_000)));
        assert_eq!(Lifetime::of_copy(200_000_000).expiry(Some(&clock), asked), Ok(Expiry::Seconds(LAST_SECOND)));
    }

    #[test]
    fn the_end_is_by_the_servers_clock_and_not_beyond_2038() {
        let asked = Instant::now();
        let clock = Clock::new(2_100_000_000, asked);
        let end = |ttl, now| clock.end_of(ttl, now);
        let longest = Duration::from_secs(47_483_645);
        assert_eq!(end(longest, asked), Ok(2_147_483_647));
        assert_eq!(end(longest + SECOND, asked), Err(longest));
        assert_eq!(end(longest, asked + SECOND / 2), Err(Duration::from_secs(47_483_644)));
        assert_eq!(end(Duration::MAX, asked), Err(longest));
        assert_eq!(end(SECOND * 3 / 2, asked + SECOND / 2), Ok(2_100_000_004));
        assert_eq!(end(SECOND * 3 / 2, asked + SECOND), Ok(2_100_000_005));
        let late = Clock::new(LAST_SECOND.into(), asked);
        assert_eq!(late.end_of(MONTH, asked), Err(LONGEST_COUNTED));
    }

    #[test]
    fn without_a_clock_a_month_is_the_longest() {
        let now = Instant::now();
        let expiry = |ttl| Lifetime::new(Some(ttl)).expiry(None, now);
        assert_eq!(expiry(LONGEST_COUNTED), Ok(Expiry::Seconds(LONGEST_COUNT)));
        assert_eq!(expiry(LONGEST_COUNTED + SECOND), Err(LONGEST_COUNTED));
        assert_eq!(Lifetime::of_copy(3_000_000).expiry(None, now), Err(LONGEST_COUNTED));
    }

    #[test]
    fn a_clock_that_was_read_long_ago_is_not_relied_upon() {
        let asked = Instant::now();
        let clock = Clock::new(2_000_000_000, asked);
        assert!(clock.is_fresh(asked));
        assert!(!clock.is_fresh(asked + Duration::from_secs(601)));
        // As if this machine had slept meanwhile.
        let slept = Clock { asked_at_time: clock.asked_at_time.checked_sub(10 * SECOND).unwrap(), ..clock };
        assert!(!slept.is_fresh(asked));
        let set_back = Clock { asked_at_time: clock.asked_at_time + 10 * SECOND, ..clock };
        assert!(!set_back.is_fresh(asked));
    }

    #[test]
    fn a_clock_is_slow_if_the_server_took_long_to_tell_its_time() {
        let clock = |took| Clock { took, ..Clock::new(2_000_000_000, Instant::now()) };
        assert!(!clock(QUICK).is_slow());
        assert!(clock(QUICK + SECOND / 1000).is_slow());
    }

    #[test]
    fn the_longest_is_in_whole_days_and_never_less_than_a_month() {
        let last = u64::from(LAST_SECOND);
        let at = |seconds| longest_at(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(last - 100 * DAY - 3), Duration::from_secs(100 * DAY));
        assert_eq!(at(last - 100 * DAY - 2), Duration::from_secs(99 * DAY));
        for late in [last - 5, last, last + DAY] {
            assert_eq!(at(late), LONGEST_COUNTED);
        }
    }
}
