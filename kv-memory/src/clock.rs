//! The clock of a store.

use std::fmt::Debug;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::monotonic;

/// A clock for a store: [`MemoryStoreBuilder::clock`](crate::MemoryStoreBuilder::clock).
///
/// The store reads it only if a TTL is involved, and while it has locked a part of itself. So a clock must not use the
/// store.
pub trait Clock: Debug + Send + Sync {
    /// The time that has passed since any fixed moment. It must never go back.
    ///
    /// If it does go back, entries expire later by as much; there is no other harm. The store counts in nanoseconds. It treats
    /// times beyond `u64::MAX` nanoseconds, about 584 years, as the end of time.
    fn now(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Duration {
        (**self).now()
    }
}

/// A clock that stands still until it is advanced, so that tests of TTLs need not wait.
///
/// A clone is another handle to the same clock.
///
/// ```
/// use std::time::Duration;
/// use kv_memory::{KeyValueStoreExt, ManualClock, MemoryStore};
///
/// let clock = ManualClock::new();
/// let store = MemoryStore::builder().clock(clock.clone()).build()?;
/// store.put_with_ttl("session", "token", Duration::from_secs(1800))?;
/// clock.advance(Duration::from_secs(1799));
/// assert!(store.contains("session")?);
/// clock.advance(Duration::from_secs(1));
/// assert!(!store.contains("session")?);
/// # Ok::<(), kv_memory::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Advances the time, for every handle of this clock. It stops at the end of time, `u64::MAX` nanoseconds.
    pub fn advance(&self, by: Duration) {
        let by = nanos(by);
        let mut now = self.0.load(Ordering::SeqCst);
        while let Err(other) =
            self.0.compare_exchange_weak(now, now.saturating_add(by), Ordering::SeqCst, Ordering::SeqCst)
        {
            now = other;
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The clock of a store. The default clock is its own variant, so that reading it needs no dynamic call.
#[derive(Clone, Debug, Default)]
pub(crate) enum TimeSource {
    #[default]
    Monotonic,
    Custom(Arc<dyn Clock>),
}

impl TimeSource {
    /// The time in nanoseconds. Not inlined, so that operations that do not need it stay short.
    #[inline(never)]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Monotonic => monotonic::now(),
            Self::Custom(clock) => nanos(clock.now()),
        }
    }

    /// Whether a time is in the future. It gives the same result as comparing it with [`now`](Self::now), but is cheaper for a time
    /// far in the future.
    #[inline]
    pub(crate) fn is_before(&self, time: NonZeroU64) -> bool {
        let time = time.get();
        match self {
            Self::Monotonic => monotonic::is_before(time),
            Self::Custom(_) => self.now() < time,
        }
    }
}

/// A time in nanoseconds, or the end of time.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stop_at_the_end_of_time() {
        assert_eq!(nanos(Duration::new(3, 7)), 3_000_000_007);
        assert_eq!(nanos(Duration::from_nanos(u64::MAX)), u64::MAX);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
        let clock = ManualClock::new();
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_clone_is_a_handle_to_the_same_clock() {
        let clock = ManualClock::new();
        clock.clone().advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_secs(1));
    }
}
