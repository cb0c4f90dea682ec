//! The requests that wait for a connection, and the connections that take them.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::making::{Making, NAME};
use super::state::{Before, Job, Next, Number, State, Work};
use super::wire::{Answer, Connection, Exchange};
use super::{Health, Times};
use crate::connection::socket::PER_BYTE;
use crate::protocol::fault::Fault;

/// How often a request of which nothing was sent is tried, if the runtime of the connections ends, or new connections prove dead.
const TRIES: u32 = 3;

/// A request, as its caller has it.
pub(crate) trait Ask: Sync {
    /// Whether it is sent together with others.
    fn is_short(&self) -> bool;

    /// About how many bytes it has.
    fn length(&self) -> usize;

    /// The same with keys and values of its own, to be sent once.
    fn exchange(&self) -> Exchange;
}

/// Where the answer to a request comes.
type Receiver = oneshot::Receiver<Result<Answer, Fault>>;

/// Makes a connection; blocks.
type Connect = Box<dyn Fn() -> Result<Connection, Fault> + Send + Sync>;

/// The requests that wait for a connection to a server. Connections take them: each is owned by a task, which asks for more when it has
/// nothing to do. So a caller that is not polled, or has gone, holds up nobody (A1).
pub(crate) struct Queue {
    pub(super) connect: Connect,
    pub(super) health: Arc<Health>,
    pub(super) times: Times,
    /// How many connections there may be.
    most: usize,
    /// How many of them may send short requests together at a time, and how many long ones, one each.
    most_together: usize,
    most_alone: usize,
    state: Mutex<State>,
}

/// Why a request has no answer.
enum Unanswered {
    Fault(Fault),
    /// It was dropped before anything was sent.
    Dropped,
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<oneshot::error::RecvError> for Unanswered {
    fn from(_: oneshot::error::RecvError) -> Self {
        Self::Dropped
    }
}

impl Queue {
    /// A queue for this number of connections; `together` of them may send short requests at a time. While that is less than all, one
    /// is left for short requests, however many long ones there are.
    pub(crate) fn new(
        most: usize,
        together: usize,
        times: Times,
        health: Arc<Health>,
        connect: impl Fn() -> Result<Connection, Fault> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            connect: Box::new(connect),
            health,
            times,
            most,
            most_together: together.clamp(1, most),
            most_alone: most.saturating_sub(1).max(1),
            state: Mutex::new(State::new()),
        })
    }

    /// The state stays consistent when a thread panics.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request on one of the connections, and receives its replies. If a connection proves dead, the request is sent once more,
    /// unless it is a write of which something was sent (N5).
    pub(crate) async fn exchange(self: &Arc<Self>, request: &impl Ask) -> Result<Answer, Fault> {
        for _ in 0..TRIES {
            match self.try_exchange(request).await {
                // The runtime of the connection has ended before anything was sent. This one may make another.
                Err(Unanswered::Dropped) => {}
                Err(Unanswered::Fault(fault)) => return Err(fault),
                Ok(answer) => return answer,
            }
        }
        Err(runtime_ended(false))
    }

    async fn try_exchange(self: &Arc<Self>, request: &impl Ask) -> Result<Result<Answer, Fault>, Unanswered> {
        if let Some(silent) = self.health.breaker.silence() {
            return Err(Fault::Silent(silent).into());
        }
        let runtime = Runtime::try_current().map_err(|_| no_runtime())?;
        let is_long = !request.is_short();
        let (number, mut answer, elsewhere) = self.put(request.exchange(), is_long, &runtime);
        if let Some(activity) = elsewhere {
            // The runtime of the connection may stand still, and nothing there watches over the time.
            let limit =
                self.times.longest() + PER_BYTE.saturating_mul(u32::try_from(request.length()).unwrap_or(u32::MAX));
            let Some(answer) = within(limit, &mut answer).await? else {
                let sent = !self.take_back(number);
                self.abandon_unless_active(activity);
                return Err(Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent }.into());
            };
            return Ok(answer?);
        }
        // Short requests wait for one batch before them, which ends by its deadline; long ones may wait for many others.
        if is_long && self.is_waiting(number) {
            if let Some(answer) = within(self.times.pool, &mut answer).await? {
                return Ok(answer?);
            }
            // A connection that is being made for it has its own limit.
            if self.is_making()
                && self.is_waiting(number)
                && let Some(answer) = within(self.times.connect, &mut answer).await?
            {
                return Ok(answer?);
            }
            if self.take_back(number) {
                return Err(Fault::PoolExhausted.into());
            }
        }
        Ok(answer.await?)
    }

    /// Puts a request into the queue. Returns its number, where the answer will be, and what the connections have done so far if one of them
    /// is on another runtime.
    fn put(self: &Arc<Self>, exchange: Exchange, is_long: bool, runtime: &Runtime) -> (u64, Receiver, Option<u64>) {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.lock();
        let number = state.add(exchange, is_long, reply);
        let left = if state.is_full() { state.take_those_who_left() } else { Vec::new() };
        let is_elsewhere = state.runtimes.iter().any(|(id, _)| *id != runtime.id());
        let elsewhere = is_elsewhere.then_some(state.activity);
        self.serve(state, runtime);
        // Not under the lock: dropping a request may take long.
        drop(left);
        (number, receiver, elsewhere)
    }

    /// Lets idle connections take what waits, and makes more if there may be more.
    pub(super) fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>, runtime: &Runtime) {
        let is_in_question = self.health.breaker.is_in_question();
        let together = usize::from(!state.short.is_empty()).min(self.most_together.saturating_sub(state.together));
        let alone = state.long.len().min(self.most_alone.saturating_sub(state.alone));
        let wanted = together + alone;
        // A server that is in question is asked by a new connection, which may be one too many until an idle one has gone.
        let (woken, room, wanted) = if is_in_question {
            (Vec::new(), usize::from(state.making == 0), wanted.min(1))
        } else {
            let first = state.idle.len().saturating_sub(wanted.saturating_sub(state.ready));
            let room = self.most.saturating_sub(state.connections + state.making);
            (state.idle.split_off(first), room, wanted)
        };
        let made =
            if state.is_closed { 0 } else { room.min(wanted.saturating_sub(woken.len() + state.ready + state.making)) };
        state.making += made;
        state.ready += woken.len();
        state.enter(runtime.id(), made);
        let (epoch, since) = (state.epoch, state.next);
        drop(state);
        for (_, waker) in woken {
            waker.wake();
        }
        for _ in 0..made {
            let making = Making::new(self, runtime, (epoch, since));
            // If the thread cannot be started, `making` is dropped, and tells those who wait.
            let _ = thread::Builder::new().name(NAME.into()).spawn(move || drop(making.make()));
        }
    }

    /// Notes that a connection has done something, before its callers learn it: what they do next does not make another connection.
    pub(super) fn note_done(&self, done: Work, connection: Number) {
        let mut state = self.lock();
        if state.epoch == connection.epoch {
            state.activity += 1;
            state.note_no_longer(done);
            state.ready += 1;
        }
    }

    /// Takes what is to be done next by a connection, which has done something just before. If there is nothing to do, its waker is woken
    /// when there is.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, before: Before, connection: Number, waker: &Waker) -> Next {
        let mut state = self.lock();
        if state.epoch != connection.epoch {
            return Next::Close;
        }
        state.activity += 1;
        state.note_looking(before, connection.of_all);
        state.drop_first_of_those_who_left();
        let may_do_short = !state.short.is_empty() && state.together < self.most_together;
        let may_do_long = !state.long.is_empty() && state.alone < self.most_alone;
        if state.is_closed || !(may_do_short || may_do_long) {
            // One too many was made to ask a server that was in question.
            if state.is_closed || state.connections > self.most {
                return Next::Close;
            }
            state.idle.push((connection.of_all, waker.clone()));
            return Next::Nothing;
        }
        // In turn, if there is only one connection for both.
        if may_do_short && !(may_do_long && before == Before::Done(Work::Together)) {
            let other = state.take_short(jobs, self.most_together);
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
        connection: Number,
        (before, unfinished): (Before, Vec<(Job, Fault)>),
        was_kept: bool,
        runtime: Option<&Runtime>,
    ) {
        let mut failed = Vec::new();
        let mut state = self.lock();
        if state.epoch == connection.epoch {
            state.connections -= 1;
            state.leave(connection.runtime);
            state.note_looking(before, connection.of_all);
        }
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
            // The runtime has ended, and with it perhaps all connections. Callers of other runtimes try again.
            let dropped = (state.connections == 0 && state.making == 0).then(|| state.take_all());
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

    /// Gives up all connections if they have done nothing since then: they are on a runtime that stands still. They close when it goes on.
    fn abandon_unless_active(&self, activity: u64) {
        let mut state = self.lock();
        if state.activity != activity {
            return;
        }
        state.epoch += 1;
        (state.connections, state.ready, state.together, state.alone) = (0, 0, 0, 0);
        state.runtimes.clear();
        let idle = mem::take(&mut state.idle);
        drop(state);
        for (_, waker) in idle {
            waker.wake();
        }
    }

    /// Closes the connections when they have nothing left to do.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        State::wake_idle(state);
    }
}

impl Times {
    /// The longest time that an exchange may take from its beginning.
    fn longest(&self) -> Duration {
        self.pool + self.connect + 2 * self.response
    }

    /// When an idle connection is closed.
    pub(super) fn expiry(&self, last_used: Instant, use_until: Instant) -> Instant {
        if self.idle_timeout.is_zero() { use_until } else { use_until.min(last_used + self.idle_timeout) }
    }
}

/// The output of a future, unless it takes longer. An error if the runtime of the caller has no time: tokio would panic.
async fn within<F: Future>(limit: Duration, future: F) -> Result<Option<F::Output>, Fault> {
    let timed = catch_unwind(AssertUnwindSafe(|| timeout(limit, future))).map_err(|_| runtime_ended(false))?;
    Ok(timed.await.ok())
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
