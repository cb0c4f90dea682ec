//! Connections for tasks.
//!
//! A caller puts its request into the [queue](queue) of its [runtime](queues) and waits for the answer. Each connection is owned by a
//! [task](driver), which takes requests out of the queue, sends them and receives the replies. So nothing that a caller does or leaves
//! undone closes a connection or holds one up (A1).

mod driver;
mod making;
mod queue;
mod queues;
mod state;
mod stream;
mod warm_up;
mod wire;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::circuit_breaker::CircuitBreaker;

#[cfg(feature = "cluster")]
pub(crate) use making::{NAME as THREAD, panicked};
pub(crate) use queues::Queues;

/// The time-outs of connections.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) pool: Duration,
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) idle_timeout: Duration,
}

/// What is known of a server that did not answer.
pub(crate) struct Health {
    pub(crate) breaker: CircuitBreaker,
    /// Connections that were not used since then may be dead without showing it.
    distrusted: Mutex<Option<Instant>>,
}

impl Health {
    pub(crate) fn new(retry_after: Duration) -> Self {
        Self { breaker: CircuitBreaker::new(retry_after), distrusted: Mutex::new(None) }
    }

    /// Notes that a connection that had been idle proved dead in an exchange that began then. Something on the path may have dropped all
    /// connections that were idle at that time.
    fn distrust(&self, begun: Instant) {
        *self.distrusted.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }

    fn trusts(&self, last_used: Instant) -> bool {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| last_used >= since)
    }
}
