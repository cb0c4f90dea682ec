//! The requests that wait for a connection, and the connections that take them.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::runtime::{Handle as Runtime, Id as RuntimeId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::driver::Driver;
use super::{Health, Times};
use crate::connection::exchange::Connection;
use crate::protocol::fault::Fault;
use crate::protocol::owned::OwnedRequest;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;

/// With this number of requests it is looked whether their callers have gone (A3).
const MANY: usize = 1024;

/// The name of the threads that make connections. They are not threads of the runtime: those are for the application, and a runtime that
/// ends waits for them.
const NAME: &str = "kv-connect";

/// Makes a connection; blocks.
type Connect = Box<dyn Fn() -> Result<Connection, Fault> + Send + Sync>;

/// The requests that wait for a connection to a server. Connections take them: each is owned by a task, which asks for more when it has
/// nothing to do. So a caller that is not polled, or has gone, holds up nobody (A1).
pub(crate) struct Queue {
    connect: Connect,
    health: Arc<Health>,
    times: Times,
    /// How many connections there may be.
    most: usize,
    /// How many of them may send short requests together at a time, and how many long ones, one each.
    most_together: usize,
    most_alone: usize,
    state: Mutex<State>,
}

struct State {
    /// The requests that are sent together with others, and those that have a connection to themselves.
    short: VecDeque<Job>,
    long: VecDeque<Job>,
    /// With this number of them, those whose callers have gone are taken out.
    full: usize,
    /// The number by which a request is known.
    next: u64,
    /// The connections that have nothing to do, and those that were woken and have not come yet.
    idle: Vec<(u64, Waker)>,
    woken: Vec<u64>,
    /// How many connections there are, and how many are being made.
    connections: usize,
    making: usize,
    /// How many connections are busy with short requests, and how many with a long one.
    together: usize,
    alone: usize,
    /// How many are about to look for more to do.
    ready: usize,
    /// The runtime of the newest connection, and the one that ended last.
    runtime: Option<RuntimeId>,
    ended: Option<RuntimeId>,
    is_closed: bool,
}

/// A request, and where its replies go.
pub(super) struct Job {
    number: u64,
    pub(super) request: OwnedRequest,
    /// How many bytes it has for the server of the connection that has taken it.
    pub(super) length: usize,
    pub(super) replies: Vec<Reply>,
    /// Whether it was sent on a connection that proved dead.
    was_sent: bool,
    reply: oneshot::Sender<Result<Vec<Reply>, Fault>>,
}

/// What a connection is busy with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Together,
    Alone,
}

/// What there is to do for a connection.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Do(Work),
    Nothing,
    /// It is not needed any longer.
    Close,
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
        let state = State {
            short: VecDeque::new(),
            long: VecDeque::new(),
            full: MANY,
            next: 0,
            idle: Vec::new(),
            woken: Vec::new(),
            connections: 0,
            making: 0,
            together: 0,
            alone: 0,
            ready: 0,
            runtime: None,
            ended: None,
            is_closed: false,
        };
        Arc::new(Self {
            connect: Box::new(connect),
            health,
            times,
            most,
            most_together: together.clamp(1, most),
            most_alone: most.saturating_sub(1).max(1),
            state: Mutex::new(state),
        })
    }

    /// The state stays consistent when a thread panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request on one of the connections, and receives its replies. If a connection proves dead, the request is sent once more,
    /// unless it is a write of which something was sent (N5).
    pub(crate) async fn exchange(self: &Arc<Self>, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        if let Some(silent) = self.health.breaker.silence() {
            return Err(Fault::Silent(silent));
        }
        let runtime = Runtime::try_current().map_err(|_| no_runtime())?;
        let is_long = !request.is_short();
        let (number, mut answer, is_elsewhere) = self.put(OwnedRequest::new(request), is_long, &runtime);
        let answered = |answer: Result<_, _>| answer.unwrap_or_else(|_| Err(runtime_ended(true)));
        if is_elsewhere {
            // The runtime of the connection may stand still, and nothing there watches over the time.
            let Ok(answer) = timeout(self.times.longest(), &mut answer).await else {
                let sent = !self.take_back(number);
                return Err(Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent });
            };
            return answered(answer);
        }
        // Short requests wait for one batch before them, which ends by its deadline; long ones may wait for many others.
        if is_long && self.is_waiting(number) {
            if let Ok(answer) = timeout(self.times.pool, &mut answer).await {
                return answered(answer);
            }
            // A connection that is being made for it has its own limit.
            if self.is_making()
                && self.is_waiting(number)
                && let Ok(answer) = timeout(self.times.connect, &mut answer).await
            {
                return answered(answer);
            }
            if self.take_back(number) {
                return Err(Fault::PoolExhausted);
            }
        }
        answered(answer.await)
    }

    /// Puts a request into the queue. Returns its number, where the answer will be, and whether the connections are on another runtime.
    fn put(
        self: &Arc<Self>,
        request: OwnedRequest,
        is_long: bool,
        runtime: &Runtime,
    ) -> (u64, oneshot::Receiver<Result<Vec<Reply>, Fault>>, bool) {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let waiting = if is_long { &mut state.long } else { &mut state.short };
        waiting.push_back(Job {
            number,
            replies: Vec::with_capacity(request.count()),
            request,
            length: 0,
            was_sent: false,
            reply,
        });
        let is_full = state.short.len() + state.long.len() >= state.full;
        let left = if is_full { state.take_those_who_left() } else { Vec::new() };
        let is_elsewhere = state.connections > 0 && state.runtime.is_some_and(|id| id != runtime.id());
        self.serve(state, runtime);
        // Not under the lock: dropping a request may take long.
        drop(left);
        (number, receiver, is_elsewhere)
    }

    /// Lets idle connections take what waits, and makes more if there may be more.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>, runtime: &Runtime) {
        let is_in_question = self.health.breaker.is_in_question();
        let together = usize::from(!state.short.is_empty()).min(self.most_together.saturating_sub(state.together));
        let alone = state.long.len().min(self.most_alone.saturating_sub(state.alone));
        // Those of another runtime may never come.
        let coming = if state.runtime == Some(runtime.id()) { state.woken.len() } else { 0 };
        let wanted = (together + alone).saturating_sub(coming);
        // A server that is in question is asked by a new connection, which may be one too many until an idle one has gone.
        let (woken, room, wanted) = if is_in_question {
            (Vec::new(), usize::from(state.making == 0), wanted.min(1))
        } else {
            let first = state.idle.len().saturating_sub(wanted);
            let room = self.most.saturating_sub(state.connections + state.making);
            (state.idle.split_off(first), room, wanted)
        };
        let made =
            if state.is_closed { 0 } else { room.min(wanted.saturating_sub(woken.len() + state.ready + state.making)) };
        state.making += made;
        state.woken.extend(woken.iter().map(|(number, _)| *number));
        drop(state);
        for (_, waker) in woken {
            waker.wake();
        }
        for _ in 0..made {
            let making = Making { queue: Arc::clone(self), runtime: runtime.clone(), outcome: None };
            // If the thread cannot be started, `making` is dropped, and tells those who wait.
            let _ = thread::Builder::new().name(NAME.into()).spawn(move || making.make());
        }
    }

    /// Notes that a connection has done something, before its callers learn it: what they do next does not make another connection.
    pub(super) fn note_done(&self, done: Work) {
        let mut state = self.lock();
        state.note_done(Some(done));
        state.ready += 1;
    }

    /// Takes what is to be done next by a connection, which has done something just before. If there is nothing to do, its waker is woken
    /// when there is.
    pub(super) fn take(&self, jobs: &mut Vec<Job>, done: Option<Work>, number: u64, waker: &Waker) -> Next {
        let mut state = self.lock();
        state.ready -= usize::from(done.is_some());
        state.woken.retain(|known| *known != number);
        let may_do_short = !state.short.is_empty() && state.together < self.most_together;
        let may_do_long = !state.long.is_empty() && state.alone < self.most_alone;
        if state.is_closed || !(may_do_short || may_do_long) {
            // One too many was made to ask a server that was in question.
            if state.is_closed || state.connections > self.most {
                return Next::Close;
            }
            match state.idle.iter_mut().find(|(known, _)| *known == number) {
                Some((_, known)) => known.clone_from(waker),
                None => state.idle.push((number, waker.clone())),
            }
            return Next::Nothing;
        }
        state.idle.retain(|(known, _)| *known != number);
        // In turn, if there is only one connection for both.
        if may_do_short && !(may_do_long && done == Some(Work::Together)) {
            jobs.extend(state.short.drain(..));
            state.together += 1;
            state.full = MANY;
            return Next::Do(Work::Together);
        }
        jobs.extend(state.long.pop_front());
        state.alone += 1;
        Next::Do(Work::Alone)
    }

    /// A connection has ended. Requests that may be sent again wait for another one; those that may not, and those that nobody will take,
    /// fail.
    ///
    /// `was_kept` says whether the connection has answered anything, or waited for requests. If not, it is the server that failed, and nothing
    /// is sent again (N5).
    pub(super) fn end(
        self: &Arc<Self>,
        number: u64,
        (doing, done, unfinished): (Option<Work>, Option<Work>, Vec<(Job, Fault)>),
        was_kept: bool,
        runtime: Result<&Runtime, RuntimeId>,
    ) {
        let mut failed = Vec::new();
        let mut state = self.lock();
        state.idle.retain(|(known, _)| *known != number);
        state.woken.retain(|known| *known != number);
        state.connections -= 1;
        state.note_done(doing);
        state.ready -= usize::from(done.is_some());
        for (mut job, fault) in unfinished.into_iter().rev() {
            let sent = fault.was_sent();
            let may_be_sent_again = fault.is_dead_connection() && !(sent && (job.request.writes() || job.was_sent));
            if may_be_sent_again && was_kept && runtime.is_ok() && !job.reply.is_closed() {
                job.begin_again();
                job.was_sent |= sent;
                if doing == Some(Work::Alone) {
                    state.long.push_front(job);
                } else {
                    state.short.push_front(job);
                }
            } else {
                failed.push((job, fault));
            }
        }
        match runtime {
            Ok(runtime) => self.serve(state, runtime),
            // The runtime has ended, and with it perhaps all connections.
            Err(id) => {
                state.ended = Some(id);
                if state.connections == 0 && state.making == 0 {
                    failed.extend(state.take_all().map(|job| (job, runtime_ended(false))));
                }
            }
        }
        for (job, fault) in failed {
            job.fail(fault);
        }
    }

    fn is_making(&self) -> bool {
        self.lock().making > 0
    }

    fn is_waiting(&self, number: u64) -> bool {
        position(&self.lock().long, number).is_some()
    }

    /// Takes a request back. Returns whether it was still there.
    fn take_back(&self, number: u64) -> bool {
        let mut state = self.lock();
        let State { short, long, .. } = &mut *state;
        let job = [long, short].into_iter().find_map(|jobs| position(jobs, number).and_then(|at| jobs.remove(at)));
        drop(state);
        job.is_some()
    }

    /// Closes the connections when they have nothing left to do.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let idle = mem::take(&mut state.idle);
        drop(state);
        for (_, waker) in idle {
            waker.wake();
        }
    }
}

impl State {
    fn note_done(&mut self, done: Option<Work>) {
        match done {
            Some(Work::Together) => self.together -= 1,
            Some(Work::Alone) => self.alone -= 1,
            None => {}
        }
    }

    fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        mem::take(&mut self.short).into_iter().chain(mem::take(&mut self.long))
    }

    /// Takes out the requests whose callers have gone.
    fn take_those_who_left(&mut self) -> Vec<Job> {
        let mut left = Vec::new();
        for jobs in [&mut self.short, &mut self.long] {
            let (gone, waiting): (Vec<_>, Vec<_>) = mem::take(jobs).into_iter().partition(|job| job.reply.is_closed());
            *jobs = waiting.into();
            left.extend(gone);
        }
        self.full = MANY.max(2 * (self.short.len() + self.long.len()));
        left
    }
}

/// Where a request stands. Those that are sent once more stand before all others, out of order.
fn position(jobs: &VecDeque<Job>, number: u64) -> Option<usize> {
    jobs.iter().rposition(|job| job.number == number)
}

impl Job {
    fn begin_again(&mut self) {
        self.replies.clear();
    }

    /// Hands out what came. The caller may have gone.
    pub(super) fn answer(self) {
        let _ = self.reply.send(Ok(self.replies));
    }

    pub(super) fn fail(self, fault: Fault) {
        let _ = self.reply.send(Err(fault));
    }
}

/// A connection that is being made, on a thread. If that panics, those who wait for it learn it.
struct Making {
    queue: Arc<Queue>,
    /// Where its task is to run.
    runtime: Runtime,
    outcome: Option<Result<(), Fault>>,
}

impl Making {
    /// Makes it, and gives it to a task.
    fn make(mut self) {
        let made = (self.queue.connect)();
        self.outcome = Some(made.map(|connection| {
            let queue = &self.queue;
            let number = {
                let mut state = queue.lock();
                state.connections += 1;
                // It is about to look for something to do.
                state.ready += 1;
                state.runtime = Some(self.runtime.id());
                state.next += 1;
                state.next
            };
            let health = Arc::clone(&queue.health);
            let driver = Driver::new(connection, (number, self.runtime.id()), Arc::clone(queue), health, queue.times);
            self.runtime.spawn(driver.run());
        }));
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.making -= 1;
        let fault = match self.outcome.take() {
            // It takes what waits, or a part of it.
            // Unless its runtime has ended.
            Some(Ok(())) if state.ended != Some(self.runtime.id()) => return self.queue.serve(state, &self.runtime),
            Some(Ok(())) => runtime_ended(false),
            Some(Err(fault)) => fault,
            None => Fault::NotConnected(io::Error::other("the thread that was to make a connection failed")),
        };
        // Others may serve what waits, unless the server does not answer.
        if state.connections > 0 && !fault.is_no_answer() {
            return;
        }
        let failed = state.take_all();
        drop(state);
        for job in failed {
            job.fail(fault.copy());
        }
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

fn no_runtime() -> Fault {
    let cause = "an async store makes its connections on a runtime of tokio, and there is none here";
    Fault::NotConnected(io::Error::other(cause))
}

/// The fault of a connection whose task was dropped.
pub(super) fn runtime_ended(sent: bool) -> Fault {
    let cause = "the runtime of the connection was shut down, or lacks I/O or time (`enable_all`)";
    Fault::Broken { cause: io::Error::new(io::ErrorKind::ConnectionAborted, cause), sent }
}
