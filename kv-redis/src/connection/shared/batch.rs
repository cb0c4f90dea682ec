//! The batch in which requests of several callers are sent, and its leader.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use redis::Value as Reply;

use crate::connection::pool::Pool;
use crate::protocol::fault::Fault;
use crate::protocol::info::RunId;
use crate::protocol::request::Request;
use crate::protocol::server_name::ServerName;

pub(super) struct Batches {
    pub(super) open: Mutex<Open>,
    /// How many batches may be sent at the same time. A leader that waits for a permit has the open batch, so there is one at a time.
    pub(super) permits: Pool<()>,
    /// How many requests the last batch had.
    pub(super) last_size: AtomicUsize,
}

/// The batch that can be joined. It has a leader, which waits for a connection.
pub(super) struct Open {
    pub(super) batch: Option<Arc<Batch>>,
    /// The requests of the callers that joined, a command each.
    pub(super) joined: Request<'static>,
    pub(super) members: usize,
}

/// What the callers that joined wait for.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) outcome: Mutex<Outcome>,
    pub(super) is_over: Condvar,
}

#[derive(Default)]
pub(super) enum Outcome {
    #[default]
    Pending,
    /// The replies; each caller takes its own.
    Answered {
        replies: Vec<Reply>,
        run_id: RunId,
        server: Option<ServerName>,
    },
    Failed(Failed),
    /// Nothing was sent, because the batch was one of the parent process.
    Inherited,
}

/// Why a batch has no replies.
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// Whether any request of the batch is a write. Then nothing was sent again, not even the reads.
    pub(super) writes: bool,
}

/// The callers of a batch are threads of the process from which this one was forked.
pub(super) struct Inherited;

impl Batches {
    pub(super) fn new(connections: u32) -> Self {
        let open = Open { batch: None, joined: Request::empty(), members: 0 };
        Self { open: Mutex::new(open), permits: Pool::new(connections), last_size: AtomicUsize::new(0) }
    }
}

/// The caller that leads a batch. If it panics, the requests of the other callers fail.
pub(super) struct Leader<'a> {
    pub(super) batches: &'a Batches,
    pub(super) batch: &'a Batch,
    pub(super) is_open: bool,
    pub(super) is_followed: bool,
}

impl Leader<'_> {
    /// Closes the batch. Returns the requests that joined, and how many they are.
    pub(super) fn close(&mut self) -> (Request<'static>, usize) {
        let mut open = lock(&self.batches.open);
        self.is_open = false;
        self.is_followed = open.members > 0;
        open.batch = None;
        (mem::replace(&mut open.joined, Request::empty()), mem::take(&mut open.members))
    }

    pub(super) fn conclude(&mut self, outcome: Outcome) {
        self.is_followed = false;
        *lock(&self.batch.outcome) = outcome;
        self.batch.is_over.notify_all();
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.close();
        }
        if self.is_followed {
            let cause = io::Error::other("the thread that was to send this panicked");
            self.conclude(Outcome::Failed(Failed { fault: Fault::Broken { cause, sent: true }, writes: true }));
        }
    }
}

impl Failed {
    pub(super) fn copy(&self) -> Self {
        Self { fault: self.fault.copy(), writes: self.writes }
    }
}

/// The state stays consistent when a thread panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
