//! The connections to a server: how many may be used at a time, and those that nobody uses.
//!
//! A connection is made by the caller who needs it. No thread is needed to make one or to use one: so an error comes at once, with
//! its cause, and everything works in a process that was forked.
//!
//! This file is the same in kv-redis and kv-memcache, as a backend depends on `kv-core` alone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};
use std::{process, thread};

use crate::upkeep::{Connection, Sweep, Sweeper, Upkeep};

/// Permits to use a connection, and the connections that nobody uses.
///
/// A permit comes with the connection that was used last, or with none: then whoever has it makes one. There are never more
/// connections than permits, since a permit that goes back brings at most one.
pub(crate) struct Pool<C> {
    size: u32,
    state: Mutex<State<C>>,
    is_free: Condvar,
    sweeping: Option<Sweeping>,
}

/// How connections that nobody uses are closed.
struct Sweeping {
    upkeep: Upkeep,
    sweeper: Arc<Sweeper>,
    this: Weak<dyn Sweep>,
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.sweeper.stop();
    }
}

struct State<C> {
    /// Permits that nobody has.
    left: u32,
    /// How many threads wait for a permit.
    waiting: u32,
    /// The one that was used last comes last.
    idle: Vec<C>,
    /// Whether the sweeper knows of this pool.
    is_swept: bool,
}

impl<C: Connection + Send + 'static> Pool<C> {
    /// A pool whose idle connections are closed when they have expired.
    pub(crate) fn swept(permits: u32, upkeep: Upkeep, sweeper: &Arc<Sweeper>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let sweeping = Sweeping { upkeep, sweeper: Arc::clone(sweeper), this: this.clone() };
            let expires = !(upkeep.idle_timeout.is_zero() && upkeep.max_lifetime.is_zero());
            Self { sweeping: expires.then_some(sweeping), ..Self::new(permits) }
        })
    }
}

impl<C: Connection + Send> Sweep for Pool<C> {
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let upkeep = &self.sweeping.as_ref()?.upkeep;
        let mut state = self.lock();
        let expired: Vec<C> = state.idle.extract_if(.., |connection| upkeep.expiry(connection) <= now).collect();
        let next = state.idle.iter().map(|connection| upkeep.expiry(connection)).min();
        // One that is in use will come back. Not to be swept for that moment would mean a thread for each time that it comes.
        let next = next.or_else(|| (state.left < self.size).then(|| now + upkeep.pause()));
        state.is_swept = next.is_some();
        drop(state);
        drop(expired);
        next
    }
}

impl<C> Pool<C> {
    pub(crate) fn new(permits: u32) -> Self {
        let state = State { left: permits, waiting: 0, idle: Vec::new(), is_swept: false };
        Self { size: permits, state: Mutex::new(state), is_free: Condvar::new(), sweeping: None }
    }

    /// A permit, if that takes no waiting at all.
    pub(crate) fn try_take(&self) -> Option<Permit<'_, C>> {
        match self.state.try_lock() {
            Ok(state) => self.permit(state),
            Err(TryLockError::Poisoned(poisoned)) => self.permit(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A permit, once there is one; `None` if there is none for so long.
    pub(crate) fn take(&self, limit: Duration) -> Option<Permit<'_, C>> {
        let mut state = self.lock();
        if state.left == 0 {
            state.waiting += 1;
            let waited = self.is_free.wait_timeout_while(state, limit, |state| state.left == 0);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        self.permit(state)
    }

    fn permit(&self, mut state: MutexGuard<'_, State<C>>) -> Option<Permit<'_, C>> {
        state.left = state.left.checked_sub(1)?;
        Some(Permit { pool: self, connection: state.idle.pop() })
    }

    /// Closes the connections that nobody uses and of which this is true.
    pub(crate) fn close_idle(&self, mut is_to_go: impl FnMut(&C) -> bool) {
        let closed: Vec<C> = self.lock().idle.extract_if(.., |connection| is_to_go(connection)).collect();
        // Not while others wait for the lock: to close a connection is a system call.
        drop(closed);
    }

    /// Closes the connections here of a process that was forked and inherited them, and whose they are not. Nothing is sent.
    pub(crate) fn disown(&self) {
        // If a thread of the parent had the lock, nobody will ever have it here.
        if let Ok(mut state) = self.state.try_lock() {
            state.idle.clear();
        }
    }

    /// What is locked here stays whole when a thread panics.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// May use one connection. Goes back to the pool when it is dropped, with the connection unless that was taken out.
///
/// Whoever uses the connection takes it out, and puts it back after an exchange that came to its end: so whatever else happens, a
/// panic included, closes it (N2).
pub(crate) struct Permit<'a, C> {
    pool: &'a Pool<C>,
    pub(crate) connection: Option<C>,
}

impl<C> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.idle.extend(self.connection.take());
        state.left += 1;
        let sweeping = self.pool.sweeping.as_ref().filter(|_| !state.is_swept && !state.idle.is_empty());
        state.is_swept |= sweeping.is_some();
        let is_awaited = state.waiting > 0;
        drop(state);
        // To wake nobody is a system call, too.
        if is_awaited {
            self.pool.is_free.notify_one();
        }
        if let Some(Sweeping { sweeper, this, .. }) = sweeping {
            sweeper.start(Weak::clone(this));
        }
    }
}

/// What a process must not share with the one that it was forked from: connections, and locks that a thread may have held that does not
/// exist here.
///
/// To ask which process this is takes a system call. So that is done where another system call is made anyway.
pub(crate) struct PerProcess<T> {
    process: u32,
    here: T,
    /// That of a child process, which is the only one in which there is one. The second is for a child of it that was forked while another
    /// thread stored the first.
    child: [Slot<T>; 2],
}

/// Where a child process stores what it has. `OnceLock` alone would make a process wait for ever that was forked meanwhile.
struct Slot<T> {
    /// The process that stores something here, or has.
    process: AtomicU32,
    stored: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(here: T) -> Self {
        let slot = || Slot { process: AtomicU32::new(0), stored: OnceLock::new() };
        Self { process: process::id(), here, child: [slot(), slot()] }
    }

    /// What this process has; after a fork that of its parent, until somebody [asks](Self::own).
    pub(crate) fn get(&self) -> &T {
        &self.last().here
    }

    /// Whether what [`get`](Self::get) gave, and `is_it` knows again, is this process's and not that of its parent. A system call.
    pub(crate) fn is_own(&self, is_it: impl FnOnce(&T) -> bool) -> bool {
        let last = self.last();
        is_it(&last.here) && last.process == process::id()
    }

    /// What this process has. In a child that has nothing yet it is made, of what it inherited; perhaps by several threads, of which one
    /// stores it. A system call.
    pub(crate) fn own(&self, make: impl FnOnce(&T) -> T) -> &T {
        let (last, process) = (self.last(), process::id());
        if last.process == process {
            return &last.here;
        }
        let stored = Box::new(Self::new(make(&last.here)));
        for slot in &last.child {
            match slot.process.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return &slot.stored.get_or_init(|| stored).here,
                // Another thread of this process stores it just now.
                Err(other) if other == process => loop {
                    match slot.stored.get() {
                        Some(stored) => return &stored.here,
                        None => thread::yield_now(),
                    }
                },
                // A thread of the process that this one was forked from was about to.
                Err(_) => {}
            }
        }
        // Both times within a few nanoseconds. Memory is lost then, and nobody waits.
        &Box::leak(stored).here
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(child) = last.child.iter().find_map(|slot| slot.stored.get()) {
            last = child;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a child of a process that has this.
    fn inherited() -> PerProcess<u32> {
        PerProcess { process: process::id() + 1, ..PerProcess::new(0) }
    }

    #[test]
    fn the_threads_of_a_child_have_the_same() {
        let inherited = inherited();
        assert_eq!(*inherited.get(), 0);
        let made = AtomicU32::new(0);
        let all: Vec<_> = thread::scope(|scope| {
            let own = || *inherited.own(|_| made.fetch_add(1, Ordering::Relaxed) + 1);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(own)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|own| own == inherited.get() && *own > 0), "{all:?}");
    }

    #[test]
    fn a_child_does_not_wait_for_a_thread_of_its_parent_that_was_about_to_store() {
        for stuck in [1, 2] {
            let inherited = inherited();
            for slot in &inherited.child[..stuck] {
                slot.process.store(process::id() + 1, Ordering::Relaxed);
            }
            assert_eq!(*inherited.own(|inherited| inherited + 1), 1);
            // Where it could be stored it is.
            assert_eq!(*inherited.own(|_| 2), if stuck == 1 { 1 } else { 2 });
        }
    }
}
