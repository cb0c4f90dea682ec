//! The task that owns a connection.
//!
//! It sends the requests that it takes as one batch, receives all replies to it, and then hands them out: so a reply that nobody has
//! asked for is noticed before anybody gets another caller's reply (N2). Requests that come meanwhile are in the next batch.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle as Runtime;
use tokio::time::{Sleep, sleep_until};

use super::queue::{Before, Job, Next, Number, Queue, runtime_ended};
use super::stream::Stream;
use super::{Health, Times};
use crate::connection::channel::Channel;
use crate::connection::exchange::Connection;
use crate::connection::permits::TRUSTED_FOR;
use crate::connection::pool_settings::Reusable as _;
use crate::connection::resolve::HostName;
use crate::connection::socket::PER_BYTE;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::ServerInfo;
use crate::protocol::incoming::Incoming;
use crate::protocol::owned::Outgoing;
use crate::protocol::reply::{Reply, are_refused};
use crate::protocol::ttl::Moment;

/// What the task has.
pub(super) struct Driver {
    /// The number by which the queue knows the connection.
    number: Number,
    queue: Arc<Queue>,
    health: Arc<Health>,
    times: Times,
    /// Until the task begins.
    channel: Option<Channel>,
    server: ServerInfo,
    /// Whether dates are made with the server's clock even if that is slow.
    accepts_slow_clock: bool,
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
    outgoing: Outgoing,
    written: usize,
    is_flushed: bool,
    /// The request whose replies are received.
    current: usize,
    begun: Instant,
    deadline: Instant,
    /// Whether the connection had been idle before.
    had_been_idle: bool,
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
    pub(super) fn new(
        connection: Connection,
        number: Number,
        queue: Arc<Queue>,
        health: Arc<Health>,
        times: Times,
    ) -> Self {
        let (use_until, now) = (connection.use_until(), Instant::now());
        let Connection { channel, server, .. } = connection;
        let batch = Batch {
            jobs: Vec::new(),
            outgoing: Outgoing::new(channel.has_records()),
            written: 0,
            is_flushed: true,
            current: 0,
            begun: now,
            deadline: now,
            had_been_idle: false,
        };
        let name = channel.socket().name();
        let channel = Some(channel);
        let accepts_slow_clock = health.had_slow_clock.swap(false, Ordering::Relaxed);
        Self {
            number,
            queue,
            health,
            times,
            channel,
            server,
            accepts_slow_clock,
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
        let expiry = self.times.expiry(self.last_used, self.use_until);
        let (mut incoming, mut timer) = (Incoming::default(), Timer(Box::pin(sleep_until(expiry.into()))));
        let end = poll_fn(|context| self.poll(context, &mut stream, &mut incoming, &mut timer)).await;
        if self.batch.had_been_idle && self.batch.written > 0 && (end.is_silence() || end.is_dead_connection()) {
            self.health.distrust(self.batch.begun);
        }
        if end.is_silence() {
            self.health.breaker.note_time_out(self.batch.begun, &end);
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
                    self.health.distrust(Instant::now());
                    return Poll::Ready(closed());
                }
                let now = Instant::now();
                if !self.has_clock_for_batch(now) {
                    return Poll::Ready(closed());
                }
                self.encode(now);
                if self.batch.jobs.is_empty() {
                    continue;
                }
                self.batch.begin(now, self.times.response, had_been_idle);
            }
            match self.poll_exchange(context, stream, incoming) {
                Poll::Ready(Ok(())) => {
                    if !self.hand_out() {
                        return Poll::Ready(closed());
                    }
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(fault),
                Poll::Pending => {
                    return match timer.poll_until(context, self.batch.deadline) {
                        Poll::Ready(()) => {
                            Poll::Ready(Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true })
                        }
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Whether the connection is not too old, trusted, and leads to the server for which its host name stands now.
    fn may_be_used(&self) -> bool {
        // The task of a new connection may begin late.
        (!self.was_kept || Instant::now() < self.times.expiry(self.last_used, self.use_until))
            && self.health.trusts(self.last_used)
            && self.name.as_ref().is_none_or(|(name, generation)| name.is_current(*generation))
    }

    /// Whether dates can be made with the server's clock now, if a request needs that. What a new connection says is taken as it is.
    fn has_clock_for_batch(&mut self, now: Instant) -> bool {
        if !self.batch.jobs.iter().any(|job| job.request.needs_clock()) {
            return true;
        }
        if !self.was_kept {
            return true;
        }
        let is_slow = self.server.has_slow_clock() && !self.accepts_slow_clock;
        if is_slow {
            self.health.had_slow_clock.store(true, Ordering::Relaxed);
        }
        !is_slow && self.server.has_fresh_clock(Moment { instant: now, time: SystemTime::now() })
    }

    /// Encodes the requests for the server. Those that it does not take are not sent.
    fn encode(&mut self, now: Instant) {
        let Batch { jobs, outgoing, .. } = &mut self.batch;
        outgoing.clear();
        let mut faults = Vec::new();
        let is_refused = |job: &mut Job| match outgoing.add(&job.request, &self.server, now) {
            Ok(length) => {
                job.length = length;
                false
            }
            Err(fault) => {
                faults.push(fault);
                true
            }
        };
        let refused = jobs.extract_if(.., is_refused).collect::<Vec<_>>();
        if self.batch.jobs.is_empty() {
            self.note_done();
        }
        for (job, fault) in refused.into_iter().zip(faults) {
            job.fail(fault);
        }
    }

    /// Tells the queue, before callers learn it, that the connection is about to look for more to do.
    fn note_done(&mut self) {
        if let Before::Doing(work) = self.state {
            self.queue.note_done(work, self.number);
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
                timer.poll_until(context, self.times.expiry(self.last_used, self.use_until)).map(|()| closed())
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
            if self.batch.receive(incoming, &self.server)? && sent.is_ready() {
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

    /// Gives each caller its replies. Returns whether the connection may be used again: an error of the server does not say to which command
    /// it belongs, so the next reply may belong to any command.
    fn hand_out(&mut self) -> bool {
        self.note_done();
        let mut is_usable = true;
        for job in self.batch.jobs.drain(..) {
            is_usable &= !are_refused(&job.replies);
            job.answer();
        }
        // Nothing of the next requests was sent.
        self.batch.written = 0;
        (self.last_used, self.was_kept) = (Instant::now(), true);
        is_usable
    }
}

impl Batch {
    /// Begins to send what was taken.
    fn begin(&mut self, now: Instant, response: Duration, had_been_idle: bool) {
        (self.written, self.is_flushed, self.current) = (0, false, 0);
        (self.begun, self.deadline, self.had_been_idle) = (now, now + response, had_been_idle);
    }

    fn poll_send(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.after(self.written) {
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

    /// Takes the replies that are complete. Returns whether these were the last ones.
    fn receive(&mut self, incoming: &mut Incoming, server: &ServerInfo) -> Result<bool, Fault> {
        let count = self.jobs.len();
        while let Some(job) = self.jobs.get_mut(self.current) {
            let Some(reply) = job.request.receive(job.replies.len(), incoming, server)? else {
                if job.replies.len() < job.request.count() {
                    return Ok(false);
                }
                self.current += 1;
                continue;
            };
            let is_in_doubt = server.dialect.doubts_what_follows(&reply);
            job.replies.push(reply);
            if is_in_doubt && (job.replies.len() < job.request.count() || self.current + 1 < count) {
                return Err(Fault::Desynchronized);
            }
        }
        Ok(true)
    }

    /// The fault of a connection that failed. A server that refuses a request before it has received all of it says why.
    fn broken(&mut self, cause: io::Error) -> Fault {
        let is_half_sent = self.outgoing.after(self.written).is_some();
        if let [job] = self.jobs.as_mut_slice()
            && is_half_sent
            && job.request.count() == 1
            && let Some(Reply::Refused(refusal)) = job.replies.pop()
        {
            return Fault::Refused(refusal);
        }
        Fault::Broken { cause, sent: true }
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
        let mut begin = 0;
        let unfinished = mem::take(&mut self.batch.jobs).into_iter().map(|job| {
            let sent = self.batch.written > begin;
            begin += job.length;
            let fault = match end.copy() {
                Fault::Broken { cause, .. } => Fault::Broken { cause, sent },
                fault if sent => fault,
                _ => closed(),
            };
            (job, fault)
        });
        let unfinished = (self.state, unfinished.collect());
        self.queue.end(self.number, unfinished, self.was_kept, runtime.as_ref());
    }
}
