//! The thread that closes idle connections.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

use super::per_process::PerProcess;

/// A pool with idle connections.
pub(crate) trait Sweep: Send + Sync {
    /// Closes the connections that have expired, and returns when the next one expires. After `None` the pool
    /// [starts](Sweeper::start) the sweeper again as soon as it has an idle connection.
    fn sweep(&self, now: Instant) -> Option<Instant>;
}

/// A thread that closes idle connections when they expire. It exists while there are idle connections, and sleeps until the next one
/// expires. If the thread cannot be started, the next operation closes them, or the server does.
pub(crate) struct Sweeper(PerProcess<Arc<Pools>>);

#[derive(Default)]
struct Pools {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    is_running: bool,
    /// The pools with idle connections.
    swept: Vec<Weak<dyn Sweep>>,
    /// Whether a pool was added or dropped since the thread looked.
    has_changed: bool,
}

impl Sweeper {
    pub(crate) fn new() -> Self {
        Self(PerProcess::new(Arc::default()))
    }

    /// Sweeps a pool that has idle connections from now on.
    pub(crate) fn start(&self, pool: Weak<dyn Sweep>) {
        let pools = self.0.own(|_| Arc::default());
        let mut state = pools.lock();
        // The thread is not woken: the connections of other pools, for which it waits, expire before any of this pool.
        state.swept.push(pool);
        state.has_changed = true;
        if !state.is_running {
            let own = Arc::clone(pools);
            let thread = thread::Builder::new().name("kv-idle".into()).stack_size(128 * 1024);
            state.is_running = thread.spawn(move || own.run()).is_ok();
        }
    }

    /// Tells the thread that a pool was dropped.
    pub(crate) fn stop(&self) {
        let pools = self.0.get();
        // In a child process the lock may stay locked for ever, and there is no thread.
        let state = match pools.state.try_lock() {
            Ok(state) => Some(state),
            Err(_) => self.0.is_own(|own| Arc::ptr_eq(own, pools)).then(|| pools.lock()),
        };
        if let Some(mut state) = state {
            state.has_changed = true;
            drop(state);
            pools.wake.notify_one();
        }
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sweeper")
    }
}

impl Pools {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let swept = mem::take(&mut state.swept);
            state.has_changed = false;
            drop(state);
            // Without the lock: closing a connection takes a system call, and a pool that is dropped here takes the lock.
            let now = Instant::now();
            let (mut left, mut next) = (Vec::new(), None::<Instant>);
            for pool in swept {
                if let Some(expiry) = pool.upgrade().and_then(|pool| pool.sweep(now)) {
                    next = Some(next.map_or(expiry, |next| next.min(expiry)));
                    left.push(pool);
                }
            }
            state = self.lock();
            state.swept.append(&mut left);
            if state.swept.is_empty() {
                state.is_running = false;
                return;
            }
            let wait = next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
            let waited = self.wake.wait_timeout_while(state, wait, |state| !state.has_changed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
