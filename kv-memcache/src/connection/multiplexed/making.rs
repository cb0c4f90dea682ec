//! A connection that is being made.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle as Runtime;

use super::driver::Driver;
use super::queue::Queue;
use super::state::State;
use crate::protocol::fault::Fault;

/// The name of the threads that make connections. They are not threads of the runtime: those are for the application, and a runtime that
/// ends waits for them.
pub(crate) const NAME: &str = "kv-connect";

/// A connection that is being made, on a thread. If that panics, those who wait for it learn it.
pub(super) struct Making {
    queue: Arc<Queue>,
    /// Where its task is to run.
    runtime: Runtime,
    /// Requests with this number and higher ones came after it began: its failure is none of theirs.
    since: u64,
    /// Why there is none; `None` once there is one.
    fault: Option<Fault>,
}

impl Making {
    pub(super) fn new(queue: &Arc<Queue>, runtime: &Runtime, since: u64) -> Self {
        let fault = Fault::NotConnected(panicked());
        Self { queue: Arc::clone(queue), runtime: runtime.clone(), since, fault: Some(fault) }
    }

    /// Makes it, and gives it to a task, which takes what waits.
    pub(super) fn make(mut self) -> Result<(), Fault> {
        let connection = (self.queue.settings.connect)().inspect_err(|fault| self.fault = Some(fault.copy()))?;
        self.fault = None;
        let queue = &self.queue;
        let number = {
            let mut state = queue.lock();
            state.making -= 1;
            state.connections += 1;
            state.ready += 1;
            state.next += 1;
            state.next
        };
        let driver = Driver::new(connection, number, Arc::clone(queue));
        self.runtime.spawn(driver.run());
        // Others take the rest.
        queue.serve(queue.lock(), &self.runtime);
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let Some(fault) = self.fault.take() else { return };
        let mut state = self.queue.lock();
        state.making -= 1;
        // Others may serve what waits, unless the server does not answer.
        if state.connections > 0 && !fault.is_no_answer() {
            return State::wake_idle(state);
        }
        let failed = state.take_before(self.since, fault.is_of_all());
        self.queue.serve(state, &self.runtime);
        for job in failed {
            job.fail(fault.copy());
        }
    }
}

/// The error of a thread that has no outcome.
pub(crate) fn panicked() -> io::Error {
    io::Error::other("the thread that makes the connection panicked")
}
