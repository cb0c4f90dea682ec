//! The settings of a store.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::TimeSource;
use crate::store::NAME;
use crate::{Clock, KeyValueStore as _, MemoryStore, Result};

/// Configures a [`MemoryStore`]; made by [`MemoryStore::builder`].
///
/// ```
/// use std::time::Duration;
/// use kv_memory::{KeyValueStoreExt, MemoryStore, Remaining};
///
/// let minute = Duration::from_secs(60);
/// let store = MemoryStore::builder().default_ttl(minute).build()?;
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
    /// The TTL of writes that name none, such as `put` ([T1](kv_core::contract#4-ttls)). Default: for ever.
    ///
    /// It is a TTL like any other: at most about 292 years, and with zero such a write leaves the key absent
    /// ([T3](kv_core::contract#4-ttls)).
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// The clock of the store. Default: the monotonic clock of the system.
    ///
    /// For tests, give it a [`ManualClock`](crate::ManualClock).
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = TimeSource::Custom(Arc::new(clock));
        self
    }

    /// Makes an empty store.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if [`default_ttl`](Self::default_ttl) is longer than the store can express.
    pub fn build(self) -> Result<MemoryStore> {
        let store = MemoryStore::with(self.clock, self.default_ttl);
        store.capabilities().check_default_ttl(NAME, self.default_ttl)?;
        Ok(store)
    }
}
