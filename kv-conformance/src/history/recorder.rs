//! One clock for several recordings.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kv_core::{KeyValueStore, Ttl};

use super::Recording;

/// Gives several threads one clock, so that each can record what it does.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    threads: AtomicUsize,
    default_ttl: Ttl,
    ttl_tolerance: Option<Duration>,
}

impl Recorder {
    /// A recorder whose time begins now.
    #[expect(clippy::new_without_default, reason = "a default does not begin to run")]
    pub fn new() -> Self {
        Self { start: Instant::now(), threads: AtomicUsize::new(0), default_ttl: Ttl::Default, ttl_tolerance: None }
    }

    /// The TTL that the store gives where none is asked for: `None` is for ever. If it is not known, `ttl` may tell anything of such
    /// entries.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.default_ttl = ttl.map_or(Ttl::Forever, Ttl::After);
        self
    }

    /// The error with which the store tells TTLs, up or down: twice the resolution of the store unless it is set, and each copy
    /// may add another one.
    #[must_use]
    pub fn ttl_tolerance(mut self, tolerance: Duration) -> Self {
        self.ttl_tolerance = Some(tolerance);
        self
    }

    /// A recording for one more thread, which uses this store or this handle.
    pub fn thread<'s>(&self, store: &'s dyn KeyValueStore) -> Recording<'s> {
        let thread = self.threads.fetch_add(1, Ordering::Relaxed);
        let tolerance = self.ttl_tolerance.unwrap_or_else(|| store.capabilities().ttl_resolution().saturating_mul(2));
        Recording::new(store, self.start, thread, self.default_ttl, tolerance)
    }
}
