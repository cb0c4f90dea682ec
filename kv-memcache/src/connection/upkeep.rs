//! How connections are maintained, and the thread that closes idle ones.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

use super::per_process::PerProcess;

/// Longer times are cut to this one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Settings. Zero turns each of them off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upkeep {
    /// After this idle time the operating system probes the peer.
    pub(crate) tcp_keepalive: Duration,
    /// An idle connection is closed after this.
    pub(crate) idle_timeout: Duration,
    /// A connection is not used for longer than this.
    pub(crate) max_lifetime: Duration,
    /// A server that did not answer is asked again after this.
    pub(crate) retry_after: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            tcp_keepalive: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(2 * 60),
            max_lifetime: Duration::from_secs(30 * 60),
            retry_after: Duration::from_millis(500),
        }
    }
}

impl Upkeep {
    /// What is wrong with a setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (second, short) = (Duration::from_secs(1), Duration::from_millis(10));
        for (name, time, least) in [
            ("tcp_keepalive", self.tcp_keepalive, second),
            ("idle_timeout", self.idle_timeout, short),
            ("max_lifetime", self.max_lifetime, short),
            ("retry_after", self.retry_after, short),
        ] {
            if !time.is_zero() && time < least {
                return Err(format!("`{name}` is {time:?}, and has to be zero (off), or {least:?} or more"));
            }
        }
        Ok(())
    }

    /// The same with times that can be added to any moment.
    pub(crate) fn ready(mut self) -> Self {
        let Self { tcp_keepalive, idle_timeout, max_lifetime, retry_after } = &mut self;
        for time in [tcp_keepalive, idle_timeout, max_lifetime, retry_after] {
            *time = (*time).min(LONGEST);
        }
        self
    }

    /// Until when a connection that is made now may be used. This is up to a tenth less than the setting, so that connections that were
    /// made together do not expire together.
    pub(crate) fn use_until(&self, now: Instant) -> Instant {
        if self.max_lifetime.is_zero() {
            return now + LONGEST;
        }
        // Each `RandomState` has different keys, so this is a random number.
        let random = RandomState::new().build_hasher().finish();
        let less = self.max_lifetime / 10_000 * u32::try_from(random % 1000).unwrap_or(0);
        now + self.max_lifetime.saturating_sub(less)
    }

    /// When to look next whether connections that are in use now have expired.
    pub(crate) fn pause(&self) -> Duration {
        let both = [self.idle_timeout, self.max_lifetime];
        both.into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default()
    }

    /// Until when an idle connection may be used.
    pub(crate) fn expiry(&self, connection: &impl Reusable) -> Instant {
        if self.idle_timeout.is_zero() {
            return connection.use_until();
        }
        connection.use_until().min(connection.last_used() + self.idle_timeout)
    }
}

/// What a pool has to know of a connection that it keeps.
pub(crate) trait Reusable {
    fn last_used(&self) -> Instant;
    fn use_until(&self) -> Instant;
    /// Whether it is open and has received nothing unrequested. Nothing is sent.
    fn is_quiet(&self) -> bool;
}

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
    /// Whether a pool came or went since the thread looked.
    has_changed: bool,
}

impl Sweeper {
    pub(crate) fn new() -> Self {
        Self(PerProcess::new(Arc::default()))
    }

    /// Looks after a pool that has idle connections.
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

    /// Tells the thread that a pool is gone.
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
