//! State that each process has of its own, also one that was forked.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{process, thread};

/// What a process must not share with the one that it was forked from: connections, and locks that a thread of the parent may have held.
///
/// It takes a system call to ask which process this is. So the question is asked where another system call follows anyway.
pub(crate) struct PerProcess<T> {
    process: u32,
    state: T,
    /// The state of a child process; it exists in that process alone. The second slot is for a child of the child that was forked while
    /// another thread filled the first slot.
    child: [ChildSlot<T>; 2],
}

/// Where a child process stores its state. With `OnceLock` alone, a process that was forked meanwhile would wait for ever.
struct ChildSlot<T> {
    /// The process that stores something here, or has stored it.
    process: AtomicU32,
    stored: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(state: T) -> Self {
        let slot = || ChildSlot { process: AtomicU32::new(0), stored: OnceLock::new() };
        Self { process: process::id(), state, child: [slot(), slot()] }
    }

    /// The state of this process. After a fork it is the parent's until [`own`](Self::own) is called.
    pub(crate) fn get(&self) -> &T {
        &self.last().state
    }

    /// Whether the state that `is_it` recognises belongs to this process and not to its parent. A system call.
    pub(crate) fn is_own(&self, is_it: impl FnOnce(&T) -> bool) -> bool {
        let last = self.last();
        is_it(&last.state) && last.process == process::id()
    }

    /// The state of this process. A child process makes it from what it inherited; several threads may make it, and one of them stores it.
    /// A system call.
    pub(crate) fn own(&self, make: impl FnOnce(&T) -> T) -> &T {
        let (last, process) = (self.last(), process::id());
        if last.process == process {
            return &last.state;
        }
        let stored = Box::new(Self::new(make(&last.state)));
        for slot in &last.child {
            match slot.process.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return &slot.stored.get_or_init(|| stored).state,
                // Another thread of this process is storing it.
                Err(other) if other == process => loop {
                    match slot.stored.get() {
                        Some(stored) => return &stored.state,
                        None => thread::yield_now(),
                    }
                },
                // A thread of the parent was about to fill it.
                Err(_) => {}
            }
        }
        // Both slots were taken within a few nanoseconds. The state is leaked, and nobody waits.
        &Box::leak(stored).state
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

    /// The state as a child of the process that owns it inherits it.
    fn inherited() -> PerProcess<u32> {
        PerProcess { process: process::id() + 1, ..PerProcess::new(0) }
    }

    #[test]
    fn all_threads_of_a_child_share_its_value() {
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
            // If it could be stored, it is stored.
            assert_eq!(*inherited.own(|_| 2), if stuck == 1 { 1 } else { 2 });
        }
    }
}
