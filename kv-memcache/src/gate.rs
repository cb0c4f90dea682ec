//! Who may use a connection to a server, and which: the pool, what is remembered of a silent server, and what a fork leaves of both.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::pool::{PerProcess, Permit, Pool};
use crate::silence::{Probe, Silence, Silent};
use crate::upkeep::{Connection, Sweeper, Upkeep};

/// From when on a connection that nobody used is looked at before it is trusted. The contract has a second (N4); but to look
/// is two system calls, and a write on a connection that has just been closed could not be repeated (N5). It is also less than a fork
/// takes (46 µs for the smallest program there can be), so that no child uses what it inherited without a look.
const IDLE: Duration = Duration::from_micros(30);

pub(crate) struct Gate<C> {
    size: u32,
    upkeep: Upkeep,
    sweeper: Arc<Sweeper>,
    here: PerProcess<Here<C>>,
}

/// What is known and kept in a process.
struct Here<C> {
    pool: Arc<Pool<C>>,
    silence: Silence,
}

/// May use one connection, which nobody else does until it is dropped.
pub(crate) struct Entry<'a, C> {
    here: &'a Here<C>,
    permit: Permit<'a, C>,
    /// Has to make a new connection, for which others wait.
    probe: Option<Probe<'a>>,
    /// How long it waited for others to find out whether the server answers.
    asked: Duration,
}

/// Why nobody may use a connection now. Nothing was sent.
#[derive(Clone, Debug)]
pub(crate) enum Closed {
    /// Others use all connections.
    Exhausted,
    Silent(Silent),
}

/// How long an operation may wait: for a connection that others use, and for a new one.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) pool: Duration,
    pub(crate) connect: Duration,
}

impl<C: Connection + Send + 'static> Gate<C> {
    pub(crate) fn new(size: u32, upkeep: Upkeep, sweeper: Arc<Sweeper>) -> Self {
        let here = PerProcess::new(Here::new(size, upkeep, &sweeper));
        Self { size, upkeep, sweeper, here }
    }

    /// Whether the server did not answer in time, and has not answered since.
    #[allow(dead_code, reason = "for callers who share connections: redis has such")]
    pub(crate) fn is_in_question(&self) -> bool {
        self.here.get().silence.is_in_question()
    }

    /// Waits until a connection may be used.
    pub(crate) fn enter(&self, patience: Patience) -> Result<Entry<'_, C>, Closed> {
        let here = self.here.get();
        if !here.silence.is_in_question()
            && let Some(permit) = here.pool.try_take()
        {
            return Ok(Entry { here, permit, probe: None, asked: Duration::ZERO });
        }
        self.wait(patience)
    }

    fn wait(&self, patience: Patience) -> Result<Entry<'_, C>, Closed> {
        let here = self.here.own(|inherited| {
            inherited.pool.disown();
            Here::new(self.size, self.upkeep, &self.sweeper)
        });
        let (mut asked, mut waited) = (Duration::ZERO, Duration::ZERO);
        loop {
            let begin = Instant::now();
            let probe = here.silence.enter(patience.connect.saturating_sub(asked)).map_err(Closed::Silent)?;
            let then = Instant::now();
            asked += then - begin;
            let permit = here.pool.take(patience.pool.saturating_sub(waited)).ok_or(Closed::Exhausted)?;
            waited += then.elapsed();
            // Or else it became silent while this one waited for a permit.
            if probe.is_some() || !here.silence.is_in_question() {
                return Ok(Entry { here, permit, probe, asked });
            }
        }
    }

    /// An idle connection that may be used: it serves the purpose and has not expired; and it was used just before, or it is this
    /// process's, has not been closed, and has brought nothing that nobody asked for (N4). In a process that was forked the entry becomes
    /// one of its own.
    pub(crate) fn trusted<'a>(
        &'a self,
        entry: &mut Entry<'a, C>,
        serves: impl FnOnce(&C) -> bool,
        now: Instant,
        patience: Patience,
    ) -> Result<Option<C>, Closed> {
        let idle = entry.permit.connection.take();
        if entry.probe.is_some() {
            return Ok(None);
        }
        let idle = idle.filter(|idle| serves(idle) && now < self.upkeep.expiry(idle));
        if idle.as_ref().is_some_and(|idle| now.saturating_duration_since(idle.last_used()) < IDLE) {
            return Ok(idle);
        }
        // Either way a system call follows: a look at the connection, or many to make one.
        if !self.here.is_own(|own| ptr::eq(own, entry.here)) {
            *entry = self.wait(patience)?;
            return Ok(None);
        }
        Ok(idle.filter(C::is_quiet))
    }

    /// Makes a connection, within what is left of the limit for that.
    pub(crate) fn dial(
        entry: &mut Entry<'_, C>,
        limit: Duration,
        dial: impl FnOnce(Duration) -> Result<C, Fault>,
    ) -> Result<C, Fault> {
        let begun = Instant::now();
        let result = dial(limit.saturating_sub(entry.asked));
        let time_out = result.as_ref().err().filter(|fault| fault.is_silence());
        match (entry.probe.take(), time_out) {
            (Some(probe), Some(time_out)) => probe.was_not_answered(time_out),
            // Whether it answers is not known: the next one asks.
            (Some(probe), None) if matches!(result, Err(Fault::NoCredentials(_))) => drop(probe),
            (Some(probe), None) => probe.was_answered(),
            // Whoever has waited for an answer has less than the limit left: that it is not enough says nothing of the server.
            (None, Some(time_out)) if entry.asked.is_zero() => entry.here.silence.question(begun, time_out),
            (None, _) => {}
        }
        result
    }
}

impl<C: Connection + Send + 'static> Here<C> {
    fn new(size: u32, upkeep: Upkeep, sweeper: &Arc<Sweeper>) -> Self {
        Self { pool: Pool::swept(size, upkeep, sweeper), silence: Silence::new(upkeep.retry_after) }
    }
}

impl<C: Connection> Entry<'_, C> {
    /// Keeps a connection for the next operation.
    pub(crate) fn keep(&mut self, connection: C) {
        self.permit.connection = Some(connection);
    }

    /// Notes that what began then was not answered in time, as this fault says. Where it was sent on a connection that had been idle, the path may have forgotten all
    /// that were idle then: they are closed.
    pub(crate) fn was_not_answered(&self, begun: Instant, had_been_idle: bool, fault: &Fault) {
        if had_been_idle {
            self.here.pool.close_idle(|idle| idle.last_used() < begun);
        }
        self.here.silence.question(begun, fault);
    }
}

impl From<Closed> for Fault {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Exhausted => Self::PoolExhausted,
            Closed::Silent(silent) => Self::Silent(silent),
        }
    }
}
