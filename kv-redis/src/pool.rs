//! The connections to a server: how many may be used at a time, and those that nobody uses.
//!
//! A connection is made by the caller who needs it. No thread is needed to make one or to use one: so an error comes at once, with
//! its cause, and everything works in a process that was forked.
//!
//! This file is the same in kv-redis and kv-memcache, as a backend depends on `kv-core` alone.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;
use std::{process, ptr};

/// Permits to use a connection, and the connections that nobody uses.
///
/// A permit comes with the connection that was used last, or with none: then whoever has it makes one. There are never more
/// connections than permits, since a permit that goes back brings at most one.
pub(crate) struct Pool<C> {
    state: Mutex<State<C>>,
    is_free: Condvar,
}

struct State<C> {
    /// Permits that nobody has.
    left: u32,
    /// How many threads wait for a permit.
    waiting: u32,
    /// The one that was used last comes last.
    idle: Vec<C>,
}

impl<C> Pool<C> {
    pub(crate) fn new(permits: u32) -> Self {
        let state = State { left: permits, waiting: 0, idle: Vec::new() };
        Self { state: Mutex::new(state), is_free: Condvar::new() }
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

    /// A pool for a process that was forked and inherited this one. The connections stay the parent's: they are closed here, which
    /// sends nothing.
    pub(crate) fn of_child(&self, permits: u32) -> Self {
        // If a thread of the parent had the lock, nobody will ever have it here.
        if let Ok(mut state) = self.state.try_lock() {
            state.idle.clear();
        }
        Self::new(permits)
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

impl<'a, C> Permit<'a, C> {
    pub(crate) fn pool(&self) -> &'a Pool<C> {
        self.pool
    }
}

impl<C> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.idle.extend(self.connection.take());
        state.left += 1;
        // To wake nobody is a system call, too.
        if state.waiting > 0 {
            drop(state);
            self.pool.is_free.notify_one();
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
    /// That of a child process, which is the only one in which there is one.
    child: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(here: T) -> Self {
        Self { process: process::id(), here, child: OnceLock::new() }
    }

    /// What this process has; after a fork that of its parent, until somebody [asks](Self::own).
    pub(crate) fn get(&self) -> &T {
        &self.last().here
    }

    /// Whether this, which [`get`](Self::get) gave, is this process's and not that of its parent. A system call.
    pub(crate) fn is_own(&self, it: &T) -> bool {
        let last = self.last();
        ptr::eq(&raw const last.here, it) && last.process == process::id()
    }

    /// What this process has. In a child that has nothing yet it is made, of what it inherited. A system call.
    pub(crate) fn own(&self, make: impl FnOnce(&T) -> T) -> &T {
        let last = self.last();
        if last.process == process::id() {
            return &last.here;
        }
        &last.child.get_or_init(|| Box::new(Self::new(make(&last.here)))).here
    }

    fn last(&self) -> &Self {
        let mut last = self;
        while let Some(child) = last.child.get() {
            last = child;
        }
        last
    }
}
