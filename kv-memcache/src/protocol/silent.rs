//! What callers learn about a server that did not answer a short time ago.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The server did not answer a short time ago, so nothing was sent. `F` is the earlier fault.
#[derive(Debug)]
pub(crate) struct Silent<F> {
    /// How long ago.
    pub(crate) ago: Duration,
    /// When it is asked again; `None` while it is being asked.
    pub(crate) asked_in: Option<Duration>,
    /// The time-out that showed it. It is never a `Silent` itself, so the chain does not grow.
    pub(crate) cause: Option<Arc<F>>,
}

impl<F> Clone for Silent<F> {
    fn clone(&self) -> Self {
        Self { cause: self.cause.clone(), ..*self }
    }
}

impl<F> fmt::Display for Silent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Less than a millisecond is shown as one.
        let millis = |time: Duration| Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
        write!(f, "the server did not answer {:?} ago, so nothing was sent; ", millis(self.ago))?;
        match self.asked_in {
            Some(time) => write!(f, "it is asked again in {:?} (`retry_after`)", millis(time)),
            None => f.write_str("it is being asked again (`retry_after`)"),
        }
    }
}
