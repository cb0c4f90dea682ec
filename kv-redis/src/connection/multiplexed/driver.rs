//! The task that owns a connection.
//!
//! It sends the requests that it takes as one batch, receives all replies to it, and then hands them out: so a reply that nobody has
//! asked for is noticed before anybody gets another caller's reply (N2). Requests that come meanwhile are in the next batch.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use redis::Value as Reply;
use tokio::runtime::Handle as Runtime;
use tokio::time::{Sleep, sleep_until};

use super::queue::{Before, Job, Next, Number, Queue, runtime_ended};
use super::stream::Stream;
use super::{Health, Times};
use crate::connection::Connection;
use crate::connection::channel::Channel;
use crate::connection::permits::TRUSTED_FOR;
use crate::connection::pool_settings::Reusable as _;
use crate::connection::resolve::HostName;
use crate::connection::socket::PER_BYTE;
use crate::protocol::answer::{Answer, leave_connection_usable};
use crate::protocol::fault::Fault;
use crate::protocol::incoming::{Incoming, Received};
use crate::protocol::info::ServerInfo;
use crate::protocol::reply::has_shape;
use crate::protocol::request::Shape;
use crate::protocol::server_name::ServerName;

/// A buffer for requests that has grown beyond this is given back.
const LARGE: usize = 1 << 20;

/// What the task has.
pub(super) struct Driver {
    /// The number by which the queue knows the connection.
    number: Number,
    queue: Arc<Queue>,
    health: Arc<Health>,
    times: Times,
    /// Until the task begins.
    channel: Option<Channel>,
    server_info: ServerInfo,
    /// The name of the server, if it is one of several.
    server: Option<ServerName>,
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
    /// The requests, if they are several.
    joined: Vec<u8>,
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
        let Connection { channel, server_info, server, .. } = connection;
        let batch = Batch {
            jobs: Vec::new(),
            joined: Vec::new(),
            written: 0,
            is_flushed: true,
            current: 0,
            begun: now,
            deadline: now,
            had_been_idle: false,
        };
        let name = channel.socket().name();
        let channel = Some(channel);
        Self {
            number,
            queue,
            health,
            times,
            channel,
            server_info,
            server,
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
                self.refuse_what_is_lacking();
                if self.batch.jobs.is_empty() {
                    continue;
                }
                self.batch.begin(self.times.response, had_been_idle);
            }
            match self.poll_exchange(context, stream, incoming) {
                Poll::Ready(Ok(())) => {
                    if self.batch.goes_on(self.times.response) {
                        continue;
                    }
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

    /// Requests that need commands that the server lacks are not sent.
    fn refuse_what_is_lacking(&mut self) {
        let commands = self.server_info.commands;
        let lacking = self.batch.jobs.extract_if(.., |job| !commands.has(job.request.needs())).collect::<Vec<_>>();
        if self.batch.jobs.is_empty() {
            self.note_done();
        }
        for job in lacking {
            job.fail(Fault::Lacks(commands));
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
            if self.batch.receive(incoming)? && sent.is_ready() {
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
        self.batch.written = 0;
        let (run_id, server) = (self.server_info.run_id, &self.server);
        for job in self.batch.jobs.drain(..) {
            is_usable &= leave_connection_usable(&job.replies);
            job.answer(|replies, page| Answer { replies, page, run_id, server: server.clone() });
        }
        (self.last_used, self.was_kept) = (Instant::now(), true);
        is_usable
    }
}

impl Batch {
    /// Begins to send what was taken.
    fn begin(&mut self, response: Duration, had_been_idle: bool) {
        self.joined.clear();
        if self.joined.capacity() > LARGE {
            self.joined = Vec::new();
        }
        if self.jobs.len() > 1 {
            for job in &self.jobs {
                job.request.copy_to(&mut self.joined);
            }
        }
        self.had_been_idle = had_been_idle;
        self.restart(response);
    }

    fn restart(&mut self, response: Duration) {
        (self.written, self.is_flushed, self.current) = (0, false, 0);
        self.begun = Instant::now();
        self.deadline = self.begun + response;
    }

    /// Goes on with what a request says is sent after its replies. Returns whether there is something. Only a request that has the
    /// connection to itself has that.
    fn goes_on(&mut self, response: Duration) -> bool {
        let [job] = self.jobs.as_mut_slice() else { return false };
        if job.is_continued {
            return false;
        }
        job.is_continued = true;
        if job.request.next(&job.replies).is_none() {
            return false;
        }
        job.replies_before = job.replies.len();
        self.restart(response);
        true
    }

    /// All bytes to send.
    fn bytes(&self) -> &[u8] {
        match self.jobs.as_slice() {
            [job] => job.part().in_one_piece().unwrap_or_default(),
            _ => &self.joined,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes().get(self.written..).filter(|rest| !rest.is_empty()) {
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
    fn receive(&mut self, incoming: &mut Incoming) -> Result<bool, Fault> {
        while let Some(job) = self.jobs.get_mut(self.current) {
            let Some(shape) = job.next_shape() else {
                self.current += 1;
                continue;
            };
            match incoming.next(shape)? {
                None => return Ok(false),
                Some(Received::Page(page)) => job.page = Some(page),
                Some(Received::Reply(reply)) if has_shape(&reply, shape) => job.replies.push(reply),
                Some(Received::Reply(_)) => return Err(Fault::Desynchronized),
            }
        }
        Ok(true)
    }

    /// The fault of a connection that failed. A server that refuses a request before it has received all of it says why.
    fn broken(&mut self, cause: io::Error) -> Fault {
        let is_half_sent = self.written < self.bytes().len();
        if let [job] = self.jobs.as_mut_slice()
            && is_half_sent
            && let Some(Reply::ServerError(error)) = job.replies.pop()
        {
            return Fault::Refused(error.into());
        }
        Fault::Broken { cause, sent: true }
    }
}

impl Job {
    /// The part of the request that is sent now.
    fn part(&self) -> &crate::protocol::request::Request<'static> {
        let before = self.replies.get(..self.replies_before).unwrap_or_default();
        let next = if before.is_empty() { None } else { self.request.next(before) };
        next.unwrap_or(&self.request)
    }

    /// The shape of the next reply; `None` if there is none left.
    fn next_shape(&self) -> Option<Shape> {
        let received = self.replies.len() - self.replies_before + usize::from(self.page.is_some());
        let shapes = self.part().shapes();
        // A page among other replies is parsed like any other reply.
        let shape = shapes.get(received).copied()?;
        Some(if shape == Shape::Page && shapes.len() > 1 { Shape::Any } else { shape })
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
        let (mut begin, alone) = (0, self.batch.jobs.len() == 1);
        let unfinished = mem::take(&mut self.batch.jobs).into_iter().map(|job| {
            let sent = self.batch.written > begin || (alone && job.replies_before > 0);
            begin += job.request.len();
            let fault = match end.copy() {
                Fault::Broken { cause, .. } => Fault::Broken { cause, sent },
                fault if sent => fault,
                _ => closed(),
            };
            (job, fault.at(self.server.as_ref()))
        });
        let unfinished = (self.state, unfinished.collect());
        self.queue.end(self.number, unfinished, self.was_kept, runtime.as_ref());
    }
}
