//! The requests that wait for a connection, and the connections that take them.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Times;
use super::making::{Making, NAME};
use super::queues::Settings;
use super::state::{Before, Job, Next, State, Work};
use super::wire::{Answer, Exchange};
use crate::protocol::fault::Fault;

/// How often a request of which nothing was sent is tried, if new connections prove dead.
const TRIES: u32 = 3;

/// A request, as its caller has it.
pub(crate) trait Ask: Sync {
    /// Whether it is sent together with others.
    fn is_short(&self) -> bool;

    /// The same with keys and values of its own, to be sent once.
    fn exchange(&self) -> Exchange;
}

/// Where the answer to a request comes.
type Receiver = oneshot::Receiver<Result<Answer, Fault>>;

/// The requests of a runtime that wait for a connection to a server. Connections take them: each is owned by a task, which asks for
/// more when it has nothing to do. So a caller that is not polled, or has gone, holds up nobody (A1).
pub(super) struct Queue {
    pub(super) settings: Arc<Settings>,
    state: Mutex<State>,
}

impl Queue {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        Self { settings: Arc::clone(settings), state: Mutex::new(State::new()) }
    }

    /// The state stays consistent when a thread panics.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request on one of the connections, and receives its replies. If a connection proves dead, the request is sent once more,
    /// unless it is a write of which something was sent (N5).
    pub(super) async fn exchange(self: &Arc<Self>, request: &impl Ask, runtime: &Runtime) -> Result<Answer, Fault> {
        if let Some(silent) = self.settings.health.breaker.silence() {
            return Err(Fault::Silent(silent));
        }
        let is_long = !request.is_short();
        let (number, mut answer) = self.put(request.exchange(), is_long, runtime);
        // Short requests wait for one batch before them, which ends by its deadline; long ones may wait for many others.
        if is_long && self.is_waiting(number) {
            // If there is no time any longer, the runtime has ended.
            let ended = |()| runtime_ended(!self.take_back(number));
            if let Some(answer) = within(self.settings.times.pool, &mut answer).await.map_err(ended)? {
                return answered(answer);
            }
            // A connection that is being made for it has its own limit.
            if self.is_making()
                && self.is_waiting(number)
                && let Some(answer) = within(self.settings.times.connect, &mut answer).await.map_err(ended)?
            {
                return answered(answer);
            }
            if self.take_back(number) {
                return Err(Fault::PoolExhausted);
            }
        }
        answered(answer.await)
    }

    /// Puts a request into the queue. Returns its number, and where the answer will be.
    fn put(self: &Arc<Self>, exchange: Exchange, is_long: bool, runtime: &Runtime) -> (u64, Receiver) {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.lock();
        let number = state.add(exchange, is_long, reply);
        let left = if state.is_full() { state.take_those_who_left() } else { Vec::new() };
        self.serve(state, runtime);
        // Not under the lock: dropping a request may take long.
        drop(left);
        (number, receiver)
    }

    /// Lets idle connections take what waits, and makes more if there may be more.
    pub(super) fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>, runtime: &Runtime) {
        let is_in_question = self.settings.health.breaker.is_in_question();
        let together =
            usize::from(!state.short.is_empty()).min(self.settings.most_together.saturating_sub(state.together));
        let alone = state.long.len().min(self.settings.most_alone.saturating_sub(state.alone));
        let wanted = together + alone;
        // A server that is in question is asked by a new connection, which may be one too many until an idle one has gone.
        let (woken, room, wanted) = if is_in_question {
            (Vec::new(), usize::from(state.making == 0), wanted.min(1))
        } else {
            let first = state.idle.len().saturating_sub(wanted.saturating_sub(state.ready));
            let room = self.settings.most.saturating_sub(state.connections + state.making);
            (state.idle.split_off(first), room, wanted)
        };
        let made =
            if state.is_closed { 0 } else { room.min(wanted.saturating_sub(woken.len() + state.ready + state.making)) };
        state.making += made;
        state.ready += woken.len();
        let since = state.next;
        drop(state);
        for (_, waker) in woken {
            waker.wake();
        }
        for _ in 0..made {
            let making = Making::new(self, runtime, since);
            // If the thread cannot be started, `making` is dropped, and tells those who wait.
            let _ = thread::Builder::new().name(NAME.into()).spawn(move || drop(making.make()));
        }
    }

    /// Notes that a connection has done something, before its callers learn it: what they do next does not make another connection.
    pub(super) fn note_done(&self, done: Work) {
        let mut state = self.lock();
        state.note_no_longer(done);
        state.ready += 1;
    }

    /// Takes what is to be done next by a connection, which has done something just before. If there is nothing to do, its waker is woken
    /// when there is.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, before: Before, connection: u64, waker: &Waker) -> Next {
        let mut state = self.lock();
        state.note_looking(before, connection);
        state.drop_first_of_those_who_left();
        let may_do_short = !state.short.is_empty() && state.together < self.settings.most_together;
        let may_do_long = !state.long.is_empty() && state.alone < self.settings.most_alone;
        if state.is_closed || !(may_do_short || may_do_long) {
            // One too many was made to ask a server that was in question.
            if state.is_closed || state.connections > self.settings.most {
                return Next::Close;
            }
            state.idle.push((connection, waker.clone()));
            return Next::Nothing;
        }
        // In turn, if there is only one connection for both.
        if may_do_short && !(may_do_long && before == Before::Done(Work::Together)) {
            let other = state.take_short(jobs, self.settings.most_together);
            drop(state);
            if let Some(other) = other {
                other.wake();
            }
            return Next::Do(Work::Together);
        }
        jobs.extend(state.long.pop_front());
        state.alone += 1;
        Next::Do(Work::Alone)
    }

    /// A connection has ended. Requests that may be sent again wait for another one; those that may not, and those that nobody will take,
    /// fail.
    ///
    /// `was_kept` says whether the connection has answered anything, or waited for requests. If not, it is the server that failed, and what was
    /// sent is not sent again (N5).
    pub(super) fn end(
        self: &Arc<Self>,
        connection: u64,
        (before, unfinished): (Before, Vec<(Job, Fault)>),
        was_kept: bool,
        runtime: Option<&Runtime>,
    ) {
        let mut failed = Vec::new();
        let mut state = self.lock();
        state.connections -= 1;
        state.note_looking(before, connection);
        for (mut job, fault) in unfinished.into_iter().rev() {
            let sent = fault.was_sent();
            let may_be_sent_again = fault.is_dead_connection() && !(sent && (job.exchange.writes() || job.was_sent));
            // Nothing of it was sent, and what failed may be a connection that was dead while it was idle.
            job.tries += u32::from(!was_kept);
            let may_be_tried_again = was_kept || (!sent && job.tries < TRIES);
            if may_be_sent_again && may_be_tried_again && runtime.is_some() && !job.has_left() {
                job.exchange.begin_again();
                job.was_sent |= sent;
                if before == Before::Doing(Work::Alone) {
                    state.long.push_front(job);
                } else {
                    state.short.push_front(job);
                }
            } else {
                failed.push((job, fault));
            }
        }
        if let Some(runtime) = runtime {
            self.serve(state, runtime);
        } else {
            // The runtime has ended, and with it perhaps all connections. Those that are being made will not live, either.
            let dropped = (state.connections == 0).then(|| state.take_all());
            State::wake_idle(state);
            drop(dropped);
        }
        for (job, fault) in failed {
            job.fail(fault);
        }
    }

    fn is_making(&self) -> bool {
        self.lock().making > 0
    }

    fn is_waiting(&self, number: u64) -> bool {
        self.lock().is_waiting(number)
    }

    /// Takes a request back. Returns whether it was still there.
    fn take_back(&self, number: u64) -> bool {
        // Not under the lock: dropping a request may take long.
        let job = self.lock().take_back(number);
        job.is_some()
    }

    /// Closes the connections when they have nothing left to do.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        State::wake_idle(state);
    }
}

impl Times {
    /// When an idle connection is closed.
    pub(super) fn expiry(&self, last_used: Instant, use_until: Instant) -> Instant {
        if self.idle_timeout.is_zero() { use_until } else { use_until.min(last_used + self.idle_timeout) }
    }
}

/// What a connection has answered; an error if it has ended with its runtime before anything was sent.
fn answered(answer: Result<Result<Answer, Fault>, oneshot::error::RecvError>) -> Result<Answer, Fault> {
    answer.unwrap_or_else(|_| Err(runtime_ended(false)))
}

/// The output of a future, unless it takes longer. An error if the runtime of the caller has no time, or has ended: tokio panics then, where
/// the limit is set or where it is looked at.
async fn within<F: Future>(limit: Duration, future: F) -> Result<Option<F::Output>, ()> {
    let timed = catch_unwind(AssertUnwindSafe(|| timeout(limit, future))).map_err(drop)?;
    let mut timed = pin!(timed);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| timed.as_mut().poll(context))) {
        Ok(polled) => polled.map(|output| Ok(output.ok())),
        Err(_) => Poll::Ready(Err(())),
    })
    .await
}

pub(super) fn no_runtime() -> Fault {
    let cause = "an async store makes its connections on a runtime of tokio, and there is none here";
    Fault::NotConnected(io::Error::other(cause))
}

/// The fault of a connection whose task was dropped.
pub(super) fn runtime_ended(sent: bool) -> Fault {
    let cause = "the runtime of the connection was shut down, or lacks I/O or time (`enable_all`)";
    Fault::Broken { cause: io::Error::new(io::ErrorKind::ConnectionAborted, cause), sent }
}
