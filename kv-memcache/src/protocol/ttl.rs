//! TTLs, as memcached takes them: its clock ticks once a second.
//!
//! An entry with `n` seconds expires at the `n`th tick from now on. Ticks are a second apart, so that is after more than `n - 1` seconds
//! and at most `n`. But the timer is a little slow, so now and then one tick counts two seconds, and the entry has a second less. So that
//! no entry expires early (T2), a TTL is rounded up to whole seconds, and two seconds are added.
//!
//! memcached takes a number of more than 30 days for a Unix time, a signed 32-bit number, by its own clock ([protocol.txt], "Expiration
//! times"). So longer TTLs are sent as a Unix time. It is made from the time that the server told when the connection was made, and from
//! how long ago that was.
//!
//! [protocol.txt]: https://github.com/memcached/memcached/blob/1.6.18/doc/protocol.txt

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_core::Remaining;

/// How many seconds are added to a TTL that was rounded up.
const ADDED: u32 = 2;

/// A server that takes longer to tell its time has a slow clock: a date that is made with it is late by as much.
const QUICK: Duration = Duration::from_millis(300);

/// How late an entry may expire. This adds up: the added seconds; the fraction by which its TTL was rounded up; a second, because the tick
/// moves within its second while the entry lives (with 1.6.18 by 0.7 ms each second); the delay of a tick on a busy machine, which was
/// measured as several milliseconds; and the time that the server took to tell its time.
pub(crate) const RESOLUTION: Duration =
    Duration::from_millis(ADDED as u64 * 1000 + 1000 + 1000 + 100).saturating_add(QUICK);

/// The largest number that memcached takes for a number of seconds.
const LARGEST_COUNT: u32 = 60 * 60 * 24 * 30;

/// The longest TTL on a server that does not tell its time: the longest that can be sent in seconds.
pub(crate) const LONGEST_WITHOUT_CLOCK: Duration = Duration::from_secs((LARGEST_COUNT - ADDED) as u64);

/// The last second of a signed 32-bit Unix time: 2038-01-19 03:14:07 UTC.
const LAST_SECOND: u32 = i32::MAX as u32;

const DAY: u64 = 60 * 60 * 24;

/// A moment by both clocks of this machine: the second goes on while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) time: SystemTime,
}

/// When an entry has to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// At once: the key has to be absent.
    Now,
    /// After this many seconds, which the server counts.
    Seconds(u32),
    /// After this time: too long to be counted, so that it needs the server's clock.
    After(Duration),
    /// After this many seconds, together with the original of a copy. It is too long to be counted; at the latest it is the last second
    /// that can be expressed.
    WithOriginal(u32),
}

impl Expiry {
    /// The expiry of an entry with this TTL; `None` is for ever.
    pub(crate) fn new(ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return Self::Never };
        match u32::try_from(whole_seconds(ttl)).ok().and_then(|seconds| seconds.checked_add(ADDED)) {
            _ if ttl.is_zero() => Self::Now,
            Some(count @ ..=LARGEST_COUNT) => Self::Seconds(count),
            _ => Self::After(ttl),
        }
    }

    /// The expiry of a copy whose original has this many seconds left, as the server says.
    pub(crate) fn of_copy(seconds_left: i64) -> Self {
        match u32::try_from(seconds_left) {
            Err(_) => Self::Never,
            Ok(count @ ..=LARGEST_COUNT) => Self::Seconds(count.max(1)),
            Ok(count) => Self::WithOriginal(count),
        }
    }

    /// Whether it is sent as a date, which is made of the server's clock.
    pub(crate) fn needs_clock(self) -> bool {
        matches!(self, Self::After(_) | Self::WithOriginal(_))
    }

    /// How it is sent to a server with this clock; `None` if the server does not tell its time. The error is the longest TTL that can be sent.
    pub(crate) fn exptime(self, clock: Option<&Clock>, now: Instant) -> Result<Exptime, Duration> {
        match (self, clock) {
            (Self::Never, _) => Ok(Exptime::Number(0)),
            (Self::Now, _) => Ok(Exptime::Past),
            (Self::Seconds(seconds), _) => Ok(Exptime::Number(seconds)),
            (Self::After(_) | Self::WithOriginal(_), None) => Err(LONGEST_WITHOUT_CLOCK),
            (Self::After(ttl), Some(clock)) => clock.end_of(ttl, now).map(Exptime::Number),
            (Self::WithOriginal(seconds), Some(clock)) => Ok(Exptime::Number(clock.end_of_original(seconds, now))),
        }
    }
}

/// The expiry in a command: `exptime` in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exptime {
    /// It has expired when it arrives.
    Past,
    /// A number of seconds, a Unix time, or never (0).
    Number(u32),
}

impl fmt::Display for Exptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Past => f.write_str("-1"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// In seconds, rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// What remains of the TTL of an entry that has this many seconds left, as the server says.
pub(crate) fn remaining(seconds_left: i64) -> Remaining {
    match u32::try_from(seconds_left) {
        Err(_) => Remaining::Forever,
        Ok(seconds) => Remaining::For(Duration::from_secs(u64::from(seconds.saturating_sub(ADDED)))),
    }
}

/// The longest TTL that can be expressed at this time: in whole days up to the last second, and at least what can be counted.
pub(crate) fn longest(now: SystemTime) -> Duration {
    // One second for the second that has begun.
    let left = longest_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_add(1));
    let days = Duration::from_secs(left.as_secs() / DAY * DAY);
    days.max(LONGEST_WITHOUT_CLOCK)
}

/// The longest TTL from this Unix time on.
fn longest_from(now: u64) -> Duration {
    let left = u64::from(LAST_SECOND).saturating_sub(now.saturating_add(ADDED.into()));
    Duration::from_secs(left).max(LONGEST_WITHOUT_CLOCK)
}

/// The time that a server told at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    told: u64,
    asked_at: Instant,
    /// How long the server took to tell it.
    took: Duration,
    /// When it was asked, by the clock that runs while the machine sleeps.
    asked_at_time: SystemTime,
}

impl Clock {
    /// The clock of a server that was asked for its time at `asked_at`, and whose answer, a Unix time, came at `now`.
    pub(crate) fn new(told: u64, asked_at: Instant, now: Moment) -> Self {
        let took = now.instant.saturating_duration_since(asked_at);
        Self { told, asked_at, took, asked_at_time: now.time.checked_sub(took).unwrap_or(UNIX_EPOCH) }
    }

    /// Whether the server took long to tell its time. It read its clock at any moment of these.
    pub(crate) fn is_slow(&self) -> bool {
        self.took > QUICK
    }

    /// Whether it is still reliable. Clocks of two machines drift apart, and `Instant` stands still while its machine sleeps.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        const LONG: Duration = Duration::from_secs(600);
        const APART: Duration = Duration::from_secs(1);
        let age = now.instant.saturating_duration_since(self.asked_at);
        let age_by_time = now.time.duration_since(self.asked_at_time);
        age <= LONG && age_by_time.is_ok_and(|age_by_time| age_by_time.abs_diff(age) <= APART)
    }

    /// The Unix time at which an entry with this TTL is to expire. The error is the longest TTL that can be expressed.
    fn end_of(&self, ttl: Duration, now: Instant) -> Result<u32, Duration> {
        let end = self.after(ttl, now).saturating_add(ADDED.into());
        match u32::try_from(end) {
            Ok(end @ ..=LAST_SECOND) => Ok(end),
            _ => Err(longest_from(self.after(Duration::ZERO, now))),
        }
    }

    /// The Unix time at which a copy expires whose original has this many seconds left; at the latest the last one.
    fn end_of_original(&self, seconds: u32, now: Instant) -> u32 {
        u32::try_from(self.after(Duration::from_secs(seconds.into()), now)).unwrap_or(LAST_SECOND).min(LAST_SECOND)
    }

    /// The time after this duration from now, rounded up.
    fn after(&self, duration: Duration, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.asked_at);
        self.told.saturating_add(whole_seconds(age.saturating_add(duration)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MONTH: Duration = Duration::from_secs(LARGEST_COUNT as u64);
    const LONGEST_COUNTED: Duration = Duration::from_secs((LARGEST_COUNT - ADDED) as u64);

    fn now() -> Moment {
        Moment { instant: Instant::now(), time: SystemTime::now() }
    }

    #[test]
    fn a_ttl_is_rounded_up_and_two_seconds_are_added() {
        let sent = |ttl| Expiry::new(Some(ttl));
        assert_eq!(sent(Duration::from_nanos(1)), Expiry::Seconds(3));
        assert_eq!(sent(Duration::from_millis(999)), Expiry::Seconds(3));
        assert_eq!(sent(SECOND), Expiry::Seconds(3));
        assert_eq!(sent(Duration::from_millis(1001)), Expiry::Seconds(4));
        assert_eq!(sent(Duration::ZERO), Expiry::Now);
        assert_eq!(Expiry::new(None), Expiry::Never);
    }

    #[test]
    fn a_ttl_that_would_be_taken_for_a_unix_time_is_sent_as_one() {
        let sent = |ttl| Expiry::new(Some(ttl));
        assert_eq!(sent(LONGEST_COUNTED), Expiry::Seconds(LARGEST_COUNT));
        for ttl in [LONGEST_COUNTED + SECOND, MONTH, MONTH + SECOND, Duration::MAX] {
            assert_eq!(sent(ttl), Expiry::After(ttl));
        }
    }

    #[test]
    fn a_copy_expires_when_its_original_does() {
        assert_eq!(Expiry::of_copy(-1), Expiry::Never);
        assert_eq!(Expiry::of_copy(0), Expiry::Seconds(1));
        assert_eq!(Expiry::of_copy(7), Expiry::Seconds(7));
        let now = now();
        let asked = now.instant;
        let clock = Clock::new(2_000_000_000, asked, now);
        assert_eq!(Expiry::of_copy(3_000_000).exptime(Some(&clock), asked), Ok(Exptime::Number(2_003_000_000)));
        assert_eq!(Expiry::of_copy(200_000_000).exptime(Some(&clock), asked), Ok(Exptime::Number(LAST_SECOND)));
    }

    #[test]
    fn the_end_is_by_the_servers_clock_and_not_beyond_2038() {
        let now = now();
        let asked = now.instant;
        let clock = Clock::new(2_100_000_000, asked, now);
        let end = |ttl, now| clock.end_of(ttl, now);
        let longest = Duration::from_secs(47_483_645);
        assert_eq!(end(longest, asked), Ok(2_147_483_647));
        assert_eq!(end(longest + SECOND, asked), Err(longest));
        assert_eq!(end(longest, asked + SECOND / 2), Err(Duration::from_secs(47_483_644)));
        assert_eq!(end(Duration::MAX, asked), Err(longest));
        assert_eq!(end(SECOND * 3 / 2, asked + SECOND / 2), Ok(2_100_000_004));
        assert_eq!(end(SECOND * 3 / 2, asked + SECOND), Ok(2_100_000_005));
        let late = Clock::new(LAST_SECOND.into(), asked, now);
        assert_eq!(late.end_of(MONTH, asked), Err(LONGEST_COUNTED));
    }

    #[test]
    fn without_a_clock_a_month_is_the_longest() {
        let now = Instant::now();
        let exptime = |ttl| Expiry::new(Some(ttl)).exptime(None, now);
        assert_eq!(exptime(LONGEST_COUNTED), Ok(Exptime::Number(LARGEST_COUNT)));
        assert_eq!(exptime(LONGEST_COUNTED + SECOND), Err(LONGEST_COUNTED));
        assert_eq!(Expiry::of_copy(3_000_000).exptime(None, now), Err(LONGEST_COUNTED));
    }

    #[test]
    fn a_clock_that_was_read_long_ago_is_not_relied_upon() {
        let now = now();
        let clock = Clock::new(2_000_000_000, now.instant, now);
        assert!(clock.is_fresh(now));
        let later = 601 * SECOND;
        assert!(!clock.is_fresh(Moment { instant: now.instant + later, time: now.time + later }));
        // This machine slept meanwhile.
        let slept = Clock { asked_at_time: clock.asked_at_time.checked_sub(10 * SECOND).unwrap(), ..clock };
        assert!(!slept.is_fresh(now));
        let set_back = Clock { asked_at_time: clock.asked_at_time + 10 * SECOND, ..clock };
        assert!(!set_back.is_fresh(now));
    }

    #[test]
    fn a_clock_is_slow_if_the_server_took_long_to_tell_its_time() {
        let now = now();
        let clock = |took| Clock::new(2_000_000_000, now.instant.checked_sub(took).unwrap(), now);
        assert!(!clock(QUICK).is_slow());
        assert!(clock(QUICK + SECOND / 1000).is_slow());
    }

    #[test]
    fn the_longest_is_in_whole_days_and_never_less_than_a_month() {
        let last = u64::from(LAST_SECOND);
        let at = |seconds| longest(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(last - 100 * DAY - 3), Duration::from_secs(100 * DAY));
        assert_eq!(at(last - 100 * DAY - 2), Duration::from_secs(99 * DAY));
        for late in [last - 5, last, last + DAY] {
            assert_eq!(at(late), LONGEST_COUNTED);
        }
    }
}
