//! The task that owns a connection.
//!
//! It sends the requests that it takes as one batch, receives all replies to it, and then hands them out: so a reply that nobody has
//! asked for is noticed before anybody gets another caller's reply (N2). Requests that come meanwhile are in the next batch.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle as Runtime;
use tokio::time::{Sleep, sleep_until};

use super::queue::{Queue, runtime_ended};
use super::queues::Settings;
use super::state::{Before, Job, Next};
use super::stream::Stream;
use super::wire::{Connection, Wire};
use crate::connection::channel::Channel;
use crate::connection::permits::TRUSTED_FOR;
use crate::connection::pool_settings::Reusable as _;
use crate::connection::resolve::HostName;
use crate::connection::socket::{LATE, PER_BYTE};
use crate::protocol::fault::Fault;
use crate::protocol::incoming::Incoming;

/// What the task has.
pub(super) struct Driver {
    /// The number by which the queue knows the connection.
    number: u64,
    queue: Arc<Queue>,
    settings: Arc<Settings>,
    /// Until the task begins.
    channel: Option<Channel>,
    /// The host name of the server, and its generation when this was connected.
    name: Option<(Arc<HostName>, u64)>,
    use_until: Instant,
    last_used: Instant,
    /// Whether it has answered anything, or waited for requests.
    was_kept: bool,
    /// What it does, or did last.
    state: Before,
    batch: Batch,
    /// Why the connection ended; nothing if the task was dropped.
    end: Option<Fault>,
}

/// What was taken out of the queue.
struct Batch {
    jobs: Vec<Job>,
    wire: Wire,
    written: usize,
    is_flushed: bool,
    begun: Instant,
    deadline: Instant,
    /// Whether the deadline has passed, and what had come by then is read.
    is_late: bool,
    /// Whether the connection had been idle before.
    had_been_idle: bool,
}

/// What there is to send.
pub(super) struct Prepared {
    /// The requests that the server does not take, which are not sent.
    pub(super) refused: Vec<(Job, Fault)>,
    /// Whether the connection can be used for the others.
    pub(super) is_usable: bool,
}

/// The timer of a connection. It is set to an earlier time only, and set again when it goes off: most of the time it is not touched.
struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Whether the time is over.
    fn poll_until(&mut self, context: &mut Context<'_>, time: Instant) -> Poll<()> {
        if self.0.deadline().into_std() > time {
            self.0.as_mut().reset(time.into());
        }
        while self.0.as_mut().poll(context).is_ready() {
            if self.0.deadline().into_std() >= time {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(time.into());
        }
        Poll::Pending
    }
}

impl Driver {
    pub(super) fn new(connection: Connection, number: u64, queue: Arc<Queue>) -> Self {
        let settings = Arc::clone(&queue.settings);
        let (use_until, now) = (connection.use_until(), Instant::now());
        let (channel, wire) = Wire::new(connection, &settings.health);
        let batch = Batch {
            jobs: Vec::new(),
            wire,
            written: 0,
            is_flushed: true,
            begun: now,
            deadline: now,
            is_late: false,
            had_been_idle: false,
        };
        let name = channel.socket().name();
        let channel = Some(channel);
        Self {
            number,
            queue,
            settings,
            channel,
            name,
            use_until,
            last_used: now,
            was_kept: false,
            state: Before::New,
            batch,
            end: None,
        }
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        // If it cannot be watched, neither can another one: as if the runtime had ended.
        let Some(Ok(mut stream)) = self.channel.take().map(Stream::new) else { return };
        let expiry = self.settings.times.expiry(self.last_used, self.use_until);
        let (mut incoming, mut timer) = (Incoming::default(), Timer(Box::pin(sleep_until(expiry.into()))));
        let end = poll_fn(|context| self.poll(context, &mut stream, &mut incoming, &mut timer)).await;
        if self.batch.had_been_idle && self.batch.written > 0 && (end.is_silence() || end.is_dead_connection()) {
            self.settings.health.distrust(self.batch.begun);
        }
        if end.is_silence() {
            self.settings.health.breaker.note_time_out(self.batch.begun, &end);
        }
        self.end = Some(end);
    }

    /// Goes on until it has to wait. Ready at the end of the connection.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        incoming: &mut Incoming,
        timer: &mut Timer,
    ) -> Poll<Fault> {
        loop {
            if self.batch.jobs.is_empty() {
                if !self.may_be_used() {
                    return Poll::Ready(closed());
                }
                let next = self.queue.take(&mut self.batch.jobs, self.state, self.number, context.waker());
                match next {
                    Next::Do(work) => self.state = Before::Doing(work),
                    Next::Nothing => {
                        (self.state, self.was_kept) = (Before::Idle, true);
                        return self.poll_idle(context, stream, incoming, timer);
                    }
                    Next::Close => {
                        self.state = Before::Closing;
                        return Poll::Ready(closed());
                    }
                }
                let had_been_idle = self.last_used.elapsed() >= TRUSTED_FOR;
                if had_been_idle && !stream.is_quiet() {
                    // Others may have been closed with it.
                    self.settings.health.distrust(Instant::now());
                    return Poll::Ready(closed());
                }
                let now = Instant::now();
                if !self.prepare(now) {
                    return Poll::Ready(closed());
                }
                if self.batch.jobs.is_empty() {
                    continue;
                }
                self.batch.had_been_idle = had_been_idle;
                self.batch.begin(now, self.settings.times.response);
            }
            match self.poll_exchange(context, stream, incoming) {
                Poll::Ready(Ok(())) => {
                    if self.batch.goes_on(self.settings.times.response) {
                        continue;
                    }
                    if !self.hand_out() {
                        return Poll::Ready(closed());
                    }
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(fault),
                Poll::Pending if timer.poll_until(context, self.batch.deadline).is_pending() => return Poll::Pending,
                // The runtime has not been told yet what has come: the process may have stood still.
                Poll::Pending if !self.batch.is_late && !stream.is_quiet() => {
                    (self.batch.is_late, self.batch.deadline) = (true, Instant::now() + LATE);
                }
                Poll::Pending => {
                    return Poll::Ready(Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true });
                }
            }
        }
    }

    /// Whether the connection is not too old, trusted, and leads to the server for which its host name stands now.
    fn may_be_used(&self) -> bool {
        // The task of a new connection may begin late.
        (!self.was_kept || Instant::now() < self.settings.times.expiry(self.last_used, self.use_until))
            && self.settings.health.trusts(self.last_used)
            && self.name.as_ref().is_none_or(|(name, generation)| name.is_current(*generation))
    }

    /// Prepares what was taken. Returns whether the connection can be used for it.
    fn prepare(&mut self, now: Instant) -> bool {
        let Batch { wire, jobs, .. } = &mut self.batch;
        let Prepared { refused, is_usable } = wire.prepare(jobs, now, self.was_kept, &self.settings.health);
        if jobs.is_empty() {
            self.note_done();
        }
        for (job, fault) in refused {
            job.fail(fault);
        }
        is_usable
    }

    /// Tells the queue, before callers learn it, that the connection is about to look for more to do.
    fn note_done(&mut self) {
        if let Before::Doing(work) = self.state {
            self.queue.note_done(work);
            self.state = Before::Done(work);
        }
    }

    /// Watches a connection on which nothing was asked.
    fn poll_idle(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        incoming: &mut Incoming,
        timer: &mut Timer,
    ) -> Poll<Fault> {
        match stream.poll_read(context, incoming.room()) {
            Poll::Ready(Ok(1..)) => Poll::Ready(Fault::Desynchronized),
            Poll::Ready(_) => Poll::Ready(closed()),
            Poll::Pending => {
                timer.poll_until(context, self.settings.times.expiry(self.last_used, self.use_until)).map(|()| closed())
            }
        }
    }

    /// Sends the batch, and receives its replies.
    fn poll_exchange(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        incoming: &mut Incoming,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let sent = self.batch.poll_send(context, stream);
            if let Poll::Ready(Err(cause)) = sent {
                return Poll::Ready(Err(self.batch.broken(cause)));
            }
            if self.batch.wire.receive(&mut self.batch.jobs, incoming)? && sent.is_ready() {
                // The replies may belong to other requests.
                let is_all = incoming.is_empty() && !stream.has_more();
                return Poll::Ready(if is_all { Ok(()) } else { Err(Fault::Desynchronized) });
            }
            // A server may answer, with an error, before it has received everything.
            match stream.poll_read(context, incoming.room()) {
                Poll::Ready(Ok(0)) => {
                    let cause = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
                    return Poll::Ready(Err(self.batch.broken(cause)));
                }
                Poll::Ready(Ok(bytes)) => {
                    incoming.received(bytes);
                    self.batch.grant(bytes);
                }
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(self.batch.broken(cause))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Gives each caller its replies. Returns whether the connection may be used again.
    fn hand_out(&mut self) -> bool {
        self.note_done();
        let mut is_usable = true;
        for job in self.batch.jobs.drain(..) {
            is_usable &= self.batch.wire.answer(job);
        }
        // Nothing of the next requests was sent.
        self.batch.written = 0;
        (self.last_used, self.was_kept) = (Instant::now(), true);
        is_usable
    }
}

impl Batch {
    /// Begins to send what was prepared.
    fn begin(&mut self, now: Instant, response: Duration) {
        (self.written, self.is_flushed) = (0, false);
        (self.begun, self.deadline, self.is_late) = (now, now + response, false);
    }

    /// Goes on with what is sent after the replies. Returns whether there is something.
    fn goes_on(&mut self, response: Duration) -> bool {
        let goes_on = self.wire.goes_on(&mut self.jobs);
        if goes_on {
            self.begin(Instant::now(), response);
        }
        goes_on
    }

    fn poll_send(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self.wire.after(self.written, &self.jobs) {
            match stream.poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.grant(bytes);
                }
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.is_flushed {
            match stream.poll_flush(context) {
                Poll::Ready(Ok(())) => self.is_flushed = true,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the exchange the time that these bytes take.
    fn grant(&mut self, bytes: usize) {
        self.deadline += PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The fault of a connection that failed. A server that refuses a request before it has received all of it says why.
    fn broken(&mut self, cause: io::Error) -> Fault {
        self.wire.refusal(&mut self.jobs, self.written).unwrap_or(Fault::Broken { cause, sent: true })
    }
}

fn closed() -> Fault {
    let cause = io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was closed");
    Fault::Broken { cause, sent: false }
}

/// At the end of the connection, of the runtime as well, nobody waits for it any longer.
impl Drop for Driver {
    fn drop(&mut self) {
        let (end, runtime) = match self.end.take() {
            Some(end) => (end, Runtime::try_current().ok()),
            None => (runtime_ended(true), None),
        };
        let Batch { jobs, wire, written, .. } = &mut self.batch;
        let mut begin = 0;
        let unfinished = mem::take(jobs).into_iter().map(|job| {
            let sent = *written > begin || job.exchange.is_begun();
            begin += job.exchange.len();
            let fault = match end.copy() {
                Fault::Broken { cause, .. } => Fault::Broken { cause, sent },
                fault if sent => fault,
                _ => closed(),
            };
            (job, wire.at_server(fault))
        });
        let unfinished = (self.state, unfinished.collect());
        self.queue.end(self.number, unfinished, self.was_kept, runtime.as_ref());
    }
}
