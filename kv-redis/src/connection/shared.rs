//! Connections that callers share: requests of several callers are sent together.
//!
//! With a pool alone, each operation costs a packet in each direction. Here the first caller leads a batch: it waits for a connection, and
//! other callers join until it has one. Then it sends all requests together and distributes the replies. Callers that come meanwhile are in
//! the next batch, which has a leader of its own. So no caller works for others longer than for itself, and no thread is needed besides the
//! callers'. A single caller does the same as with the pool.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

use redis::Value as Reply;

use super::known_commands::KnownCommands;
use super::per_process::PerProcess;
use super::socket::LATE;
use super::transport::{Acquire, Transport};
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::info::RunId;
use crate::protocol::request::Request;
use crate::protocol::server_name::ServerName;
use crate::protocol::timeouts::Timeouts;
use batch::{Batch, Batches, Failed, Inherited, Leader, Outcome, lock};

mod batch;
#[cfg(test)]
mod tests;

/// A batch is full with this number of bytes.
const FULL: usize = 256 * 1024;

/// A batch is full with this number of requests.
const MANY: usize = 1024;

/// A caller that has waited this long for a batch checks that the other thread exists: in a process that was forked it does not.
const SOON: Duration = Duration::from_millis(10);

/// A transport, some of whose connections are shared.
pub(crate) struct Shared<T> {
    transport: T,
    timeouts: Timeouts,
    connections: u32,
    batches: PerProcess<Batches>,
}

impl<T: Acquire> Shared<T> {
    /// Sends at most this number of batches at the same time, each on a connection of the pool.
    pub(crate) fn new(transport: T, connections: u32, timeouts: Timeouts) -> Self {
        Self { transport, timeouts, connections, batches: PerProcess::new(Batches::new(connections)) }
    }

    /// The transport, for requests that are not shared.
    pub(crate) fn transport(&self) -> &T {
        &self.transport
    }

    /// Sends a request together with those of other callers. `Err` if the other callers are threads of the parent process.
    fn exchange_with_others(
        &self,
        batches: &Batches,
        request: &Request<'_>,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let mut open = self.lock_here(batches, &batches.open)?;
        if let Some(batch) = open.batch.clone() {
            if open.members + 1 >= MANY || open.joined.len() + request.len() > FULL {
                drop(open);
                return Ok(self
                    .transport
                    .exchange(request)
                    .map_err(|fault| Failed { fault, writes: request.writes() }));
            }
            let index = open.members;
            open.joined.append(request);
            open.members += 1;
            drop(open);
            self.follow(batches, &batch, index, begun)
        } else {
            let batch = Arc::new(Batch::default());
            open.batch = Some(Arc::clone(&batch));
            drop(open);
            self.lead(batches, &batch, request, begun)
        }
    }

    /// Sends the requests that joined, and the leader's own request as the last one.
    fn lead(
        &self,
        batches: &Batches,
        batch: &Batch,
        own: &Request<'_>,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let mut lead = Leader { batches, batch, is_open: true, is_followed: false };
        let batch_permit = match batches.permits.try_take() {
            None => {
                if let Err(Inherited) = self.check_process(batches) {
                    // Threads of this process may have joined meanwhile.
                    lead.close();
                    lead.conclude(Outcome::Inherited);
                    return Err(Inherited);
                }
                batches.permits.take(self.timeouts.pool)
            }
            permit => permit,
        };
        let permit = match batch_permit {
            Some(_) => self.transport.acquire(self.timeouts.pool.saturating_sub(begun.elapsed())),
            None => Err(Fault::PoolExhausted),
        };
        // With many callers, those that have just got their replies are about to ask again and can join this batch.
        if batches.last_size.load(Relaxed) > 2 {
            thread::yield_now();
        }
        let (mut request, members) = lead.close();
        batches.last_size.store(members + 1, Relaxed);
        if members == 0 {
            let result = permit.and_then(|mut permit| self.transport.exchange_with(&mut permit, own));
            return Ok(result.map_err(|fault| Failed { fault, writes: own.writes() }));
        }
        request.append(own);
        let result = permit.and_then(|mut permit| self.transport.exchange_with(&mut permit, &request));
        // The next batch can be sent before the callers of this one have their replies.
        drop(batch_permit);
        Ok(match result {
            Ok(Answer { mut replies, run_id, server, .. }) => {
                let reply = replies.pop();
                lead.conclude(Outcome::Answered { replies, run_id, server: server.clone() });
                answer(reply, run_id, server)
            }
            Err(fault) => {
                let failed = Failed { fault: of_several(fault), writes: request.writes() };
                lead.conclude(Outcome::Failed(failed.copy()));
                Err(failed)
            }
        })
    }

    /// Waits for the reply to a request that joined a batch, up to the sum of the time-outs of its leader.
    fn follow(
        &self,
        batches: &Batches,
        batch: &Batch,
        index: usize,
        begun: Instant,
    ) -> Result<Result<Answer, Failed>, Inherited> {
        let Timeouts { pool, connect, response } = self.timeouts;
        let mut deadline = begun + pool + connect + 2 * response;
        let (mut is_checked, mut is_late) = (false, false);
        let mut outcome = self.lock_here(batches, &batch.outcome)?;
        loop {
            match &mut *outcome {
                Outcome::Answered { replies, run_id, server } => {
                    return Ok(answer(replies.get_mut(index).map(mem::take), *run_id, server.clone()));
                }
                Outcome::Failed(failed) => return Ok(Err(failed.copy())),
                Outcome::Inherited => return Err(Inherited),
                Outcome::Pending => {}
            }
            let waited = begun.elapsed();
            if waited >= SOON && !is_checked {
                self.check_process(batches)?;
                is_checked = true;
            }
            let left = deadline.saturating_duration_since(begun + waited);
            // If the process stood still, the leader is about to read what has come.
            if left.is_zero() && !is_late {
                (is_late, deadline) = (true, Instant::now() + 2 * LATE);
                continue;
            }
            if left.is_zero() {
                let fault = Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true };
                return Ok(Err(Failed { fault, writes: true }));
            }
            let wait = if is_checked { left } else { left.min(SOON) };
            outcome = batch.is_over.wait_timeout(outcome, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes a lock that a thread of the parent process may hold for ever.
    fn lock_here<'a, S>(&self, batches: &Batches, mutex: &'a Mutex<S>) -> Result<MutexGuard<'a, S>, Inherited> {
        match mutex.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.check_process(batches).map(|()| lock(mutex)),
        }
    }

    fn check_process(&self, batches: &Batches) -> Result<(), Inherited> {
        if self.batches.is_own(|own| ptr::eq(own, batches)) { Ok(()) } else { Err(Inherited) }
    }
}

impl<T: Acquire> Transport for Shared<T> {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        // While the server is in question, each caller waits by itself: see `CircuitBreaker`.
        if !request.is_short() || self.transport.is_in_question() {
            return self.transport.exchange(request);
        }
        let begun = Instant::now();
        let result = self.exchange_with_others(self.batches.get(), request, begun).or_else(|Inherited| {
            let own = self.batches.own(|_| Batches::new(self.connections));
            self.exchange_with_others(own, request, begun)
        });
        let Ok(result) = result else { return self.transport.exchange(request) };
        match result {
            Ok(answer) => Ok(answer),
            // A read is sent again (N5), although the batch was not because another request of it was a write.
            Err(Failed { fault, writes: true })
                if !request.writes() && fault.is_dead_connection() && begun.elapsed() < self.timeouts.response =>
            {
                self.transport.exchange(request)
            }
            // The server lacks what another request of the batch needed. Nothing was sent.
            Err(Failed { fault: Fault::Lacks(commands), .. }) if commands.has(request.needs()) => {
                self.transport.exchange(request)
            }
            Err(Failed { fault, .. }) => Err(fault),
        }
    }

    fn known_commands(&self) -> &KnownCommands {
        self.transport.known_commands()
    }
}

fn answer(reply: Option<Reply>, run_id: RunId, server: Option<ServerName>) -> Result<Answer, Failed> {
    match reply {
        Some(reply) => Ok(Answer { replies: vec![reply], page: None, run_id, server }),
        None => Err(Failed { fault: Fault::Desynchronized, writes: true }),
    }
}

/// What a fault of several requests means for one of them. A refusal of the whole batch may be about another request.
fn of_several(fault: Fault) -> Fault {
    match fault {
        Fault::At(server, fault) => of_several(*fault).at(Some(&server)),
        Fault::Refused(_) => {
            let cause = io::Error::new(io::ErrorKind::ConnectionAborted, "the server refused what was sent together");
            Fault::Broken { cause, sent: true }
        }
        fault => fault,
    }
}
