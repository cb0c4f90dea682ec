//! What a store can be configured with.

use std::time::Duration;

use crate::clock::TimeSource;
use crate::{Clock, MemoryStore};

/// Configures a [`MemoryStore`]; made by [`MemoryStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use kv_memory::{KeyValueStoreExt, MemoryStore, Remaining};
///
/// let minute = Duration::from_secs(60);
/// let store = MemoryStore::builder().default_ttl(minute).build();
/// store.put("greeting", "hello")?;
/// assert!(matches!(store.ttl("greeting")?, Some(Remaining::For(left)) if left <= minute));
/// # Ok::<(), kv_memory::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "the store is made by `build`"]
pub struct MemoryStoreBuilder {
    default_ttl: Option<Duration>,
    clock: TimeSource,
}

impl MemoryStoreBuilder {
    /// The lifetime of what is written without naming one, as `put` does (T1). Default: for ever.
    ///
    /// It is treated as any other lifetime: zero means that such a write leaves the key absent (T3), and one longer
    /// than about 292 years makes such a write fail with [`InvalidTtl`](crate::Error::InvalidTtl) (T4).
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// What the store reads the time from. Default: the monotonic clock of the system.
    ///
    /// For tests, give it a [`ManualClock`](crate::ManualClock).
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = TimeSource::Custom(Box::new(clock));
        self
    }

    /// Makes the store, empty.
    #[must_use]
    pub fn build(self) -> MemoryStore {
        MemoryStore::with(self.clock, self.default_ttl)
    }
}
