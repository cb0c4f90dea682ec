//! The pool of connections to a server: how many may be used at a time, and the idle ones.
//!
//! The caller that needs a connection makes it; the pool has no thread for that. So an error comes at once, with its cause, and the pool
//! works in a process that was forked.
//!
//! This file is the same in kv-redis and kv-memcache, because a backend depends on `kv-core` alone.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::pool_settings::{PoolSettings, Reusable};
use super::sweeper::{Sweep, Sweeper};

/// The permits, and the idle connections.
///
/// A permit comes with the connection that was used last. If there is none, the owner of the permit makes one. There are never more
/// connections than permits, because a permit that is given back brings at most one.
pub(crate) struct Pool<C> {
    size: u32,
    state: Mutex<State<C>>,
    is_free: Condvar,
    sweeping: Option<Sweeping>,
}

/// How idle connections are closed.
struct Sweeping {
    pool_settings: PoolSettings,
    sweeper: Arc<Sweeper>,
    this: Weak<dyn Sweep>,
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.sweeper.stop();
    }
}

struct State<C> {
    /// How many permits are free.
    free: u32,
    /// How many threads wait for a permit.
    waiting: u32,
    /// The connection that was used last is at the end.
    idle: Vec<C>,
    /// Whether the sweeper looks after this pool.
    is_swept: bool,
}

impl<C: Reusable + Send + 'static> Pool<C> {
    /// A pool whose idle connections are closed when they expire.
    pub(crate) fn with_sweeper(permits: u32, pool_settings: PoolSettings, sweeper: &Arc<Sweeper>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let sweeping = Sweeping { pool_settings, sweeper: Arc::clone(sweeper), this: this.clone() };
            let expires = !(pool_settings.idle_timeout.is_zero() && pool_settings.max_lifetime.is_zero());
            Self { sweeping: expires.then_some(sweeping), ..Self::new(permits) }
        })
    }
}

impl<C: Reusable + Send> Sweep for Pool<C> {
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let pool_settings = &self.sweeping.as_ref()?.pool_settings;
        let mut state = self.lock();
        let expired: Vec<C> = state.idle.extract_if(.., |connection| pool_settings.expiry(connection) <= now).collect();
        let next = state.idle.iter().map(|connection| pool_settings.expiry(connection)).min();
        // A connection in use will come back. If the sweeper forgot this pool until then, each return would start a thread.
        let next = next.or_else(|| (state.free < self.size).then(|| now + pool_settings.pause()));
        state.is_swept = next.is_some();
        drop(state);
        drop(expired);
        next
    }
}

impl<C> Pool<C> {
    pub(crate) fn new(permits: u32) -> Self {
        let state = State { free: permits, waiting: 0, idle: Vec::new(), is_swept: false };
        Self { size: permits, state: Mutex::new(state), is_free: Condvar::new(), sweeping: None }
    }

    /// A permit, if there is one without any waiting.
    pub(crate) fn try_take(&self) -> Option<PoolPermit<'_, C>> {
        match self.state.try_lock() {
            Ok(state) => self.permit(state),
            Err(TryLockError::Poisoned(poisoned)) => self.permit(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits for a permit; `None` if there is none within the limit. Waiting threads have no order: any of them may get the next permit, or a
    /// thread that has just come.
    pub(crate) fn take(&self, limit: Duration) -> Option<PoolPermit<'_, C>> {
        let mut state = self.lock();
        if state.free == 0 {
            state.waiting += 1;
            let waited = self.is_free.wait_timeout_while(state, limit, |state| state.free == 0);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        self.permit(state)
    }

    fn permit(&self, mut state: MutexGuard<'_, State<C>>) -> Option<PoolPermit<'_, C>> {
        state.free = state.free.checked_sub(1)?;
        Some(PoolPermit { pool: self, connection: state.idle.pop() })
    }

    /// Closes the idle connections for which this is true.
    pub(crate) fn close_idle(&self, mut is_to_go: impl FnMut(&C) -> bool) {
        let closed: Vec<C> = self.lock().idle.extract_if(.., |connection| is_to_go(connection)).collect();
        // After the lock was released: closing a connection is a system call.
        drop(closed);
    }

    /// Closes, in a forked process, the connections that it inherited. Nothing is sent on them.
    pub(crate) fn disown(&self) {
        // If a thread of the parent held the lock at the fork, it stays locked for ever.
        if let Ok(mut state) = self.state.try_lock() {
            state.idle.clear();
        }
    }

    /// The state stays consistent when a thread panics.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Allows the use of one connection. When it is dropped, it goes back to the pool with its connection, unless that was taken out.
///
/// A caller takes the connection out to use it, and puts it back after a complete exchange. So anything else that happens, a panic
/// included, closes it (N2).
pub(crate) struct PoolPermit<'a, C> {
    pool: &'a Pool<C>,
    pub(crate) connection: Option<C>,
}

impl<C> Drop for PoolPermit<'_, C> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.idle.extend(self.connection.take());
        state.free += 1;
        let sweeping = self.pool.sweeping.as_ref().filter(|_| !state.is_swept && !state.idle.is_empty());
        state.is_swept |= sweeping.is_some();
        let is_awaited = state.waiting > 0;
        drop(state);
        // `notify_one` is a system call even if nobody waits.
        if is_awaited {
            self.pool.is_free.notify_one();
        }
        if let Some(Sweeping { sweeper, this, .. }) = sweeping {
            sweeper.start(Weak::clone(this));
        }
    }
}
