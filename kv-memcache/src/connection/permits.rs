//! Permits to use a connection to a server. They combine the pool with what is remembered of a server that did not answer, and start anew
//! in a process that was forked.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::circuit_breaker::{CircuitBreaker, Probe};
use super::per_process::PerProcess;
use super::pool::{Pool, PoolPermit};
use super::pool_settings::{PoolSettings, Reusable};
use super::sweeper::Sweeper;
use crate::protocol::fault::Fault;
use crate::protocol::silent::Silent;

/// A connection that was used within this time is trusted without a look at it. The contract allows a second (N4). A look is two system
/// calls, but a write on a connection that has just been closed cannot be repeated (N5). A fork takes longer than this (46 µs for the
/// smallest program), so a child process looks at every connection that it inherited.
pub(crate) const TRUSTED_FOR: Duration = Duration::from_micros(30);

/// Gives out the permits for one server.
pub(crate) struct Permits<C> {
    size: u32,
    pool_settings: PoolSettings,
    sweeper: Arc<Sweeper>,
    state: PerProcess<State<C>>,
}

/// What a process has of its own.
struct State<C> {
    pool: Arc<Pool<C>>,
    breaker: CircuitBreaker,
}

/// Allows the use of one connection. No other caller uses that connection until the permit is dropped.
pub(crate) struct Permit<'a, C> {
    state: &'a State<C>,
    of_pool: PoolPermit<'a, C>,
    /// Set if this caller has to make a new connection, and other callers wait for the outcome.
    probe: Option<Probe<'a>>,
    /// How long this caller waited for another one's probe.
    waited_for_probe: Duration,
}

/// Why there is no permit. Nothing was sent.
#[derive(Clone, Debug)]
pub(crate) enum PermitError {
    /// Other callers use all connections.
    Exhausted,
    /// The server did not answer a short time ago.
    Silent(Silent<Fault>),
}

/// How long an operation may wait: for a connection that other callers use, and for a new one.
#[derive(Clone, Copy)]
pub(crate) struct WaitLimits {
    pub(crate) pool: Duration,
    pub(crate) connect: Duration,
}

impl<C: Reusable + Send + 'static> Permits<C> {
    pub(crate) fn new(size: u32, pool_settings: PoolSettings, sweeper: Arc<Sweeper>) -> Self {
        let state = PerProcess::new(State::new(size, pool_settings, &sweeper));
        Self { size, pool_settings, sweeper, state }
    }

    /// Whether the server did not answer in time, and has not answered since.
    #[allow(dead_code, reason = "kv-redis asks for it, where callers share connections")]
    pub(crate) fn is_in_question(&self) -> bool {
        self.state.get().breaker.is_in_question()
    }

    /// Waits until a connection may be used.
    pub(crate) fn acquire(&self, limits: WaitLimits) -> Result<Permit<'_, C>, PermitError> {
        let state = self.state.get();
        if !state.breaker.is_in_question()
            && let Some(permit) = state.pool.try_take()
        {
            return Ok(Permit { state, of_pool: permit, probe: None, waited_for_probe: Duration::ZERO });
        }
        self.wait(limits)
    }

    fn wait(&self, limits: WaitLimits) -> Result<Permit<'_, C>, PermitError> {
        let state = self.state.own(|inherited| {
            inherited.pool.disown();
            State::new(self.size, self.pool_settings, &self.sweeper)
        });
        let (mut waited_for_probe, mut waited_for_pool) = (Duration::ZERO, Duration::ZERO);
        loop {
            let begin = Instant::now();
            let probe =
                state.breaker.enter(limits.connect.saturating_sub(waited_for_probe)).map_err(PermitError::Silent)?;
            let then = Instant::now();
            waited_for_probe += then - begin;
            let permit = state.pool.take(limits.pool.saturating_sub(waited_for_pool)).ok_or(PermitError::Exhausted)?;
            waited_for_pool += then.elapsed();
            // Otherwise the server came into question while this caller waited for a permit.
            if probe.is_some() || !state.breaker.is_in_question() {
                return Ok(Permit { state, of_pool: permit, probe, waited_for_probe });
            }
        }
    }

    /// Takes the idle connection of a permit, if it may be used. It has to serve the purpose and must not have expired. If it was not used
    /// just before, it also has to belong to this process, to be open, and to have received nothing unrequested (N4). In a process that
    /// was forked, the permit is replaced by one of that process.
    pub(crate) fn take_idle<'a>(
        &'a self,
        permit: &mut Permit<'a, C>,
        serves: impl FnOnce(&C) -> bool,
        now: Instant,
        limits: WaitLimits,
    ) -> Result<Option<C>, PermitError> {
        let idle = permit.of_pool.connection.take();
        if permit.probe.is_some() {
            return Ok(None);
        }
        let idle = idle.filter(|idle| serves(idle) && now < self.pool_settings.expiry(idle));
        if idle.as_ref().is_some_and(|idle| now.saturating_duration_since(idle.last_used()) < TRUSTED_FOR) {
            return Ok(idle);
        }
        // A system call follows in any case: a look at the connection, or several to make a new one.
        if !self.state.is_own(|own| ptr::eq(own, permit.state)) {
            *permit = self.wait(limits)?;
            return Ok(None);
        }
        Ok(idle.filter(C::is_quiet))
    }

    /// Makes a connection, within what is left of the limit for that, and notes whether the server answered.
    pub(crate) fn connect(
        permit: &mut Permit<'_, C>,
        limit: Duration,
        connect: impl FnOnce(Duration) -> Result<C, Fault>,
    ) -> Result<C, Fault> {
        let begun = Instant::now();
        let result = connect(limit.saturating_sub(permit.waited_for_probe));
        let has_waited = !permit.waited_for_probe.is_zero();
        permit.state.breaker.note_connect(permit.probe.take(), (begun, has_waited), &result);
        result
    }
}

impl<C: Reusable + Send + 'static> State<C> {
    fn new(size: u32, pool_settings: PoolSettings, sweeper: &Arc<Sweeper>) -> Self {
        Self {
            pool: Pool::with_sweeper(size, pool_settings, sweeper),
            breaker: CircuitBreaker::new(pool_settings.retry_after),
        }
    }
}

impl<C: Reusable> Permit<'_, C> {
    /// Keeps a connection for the next operation.
    pub(crate) fn keep(&mut self, connection: C) {
        self.of_pool.connection = Some(connection);
    }

    /// Notes that what began then timed out. If its connection had been idle, something on the path may have dropped all connections that
    /// were idle at that time: they are closed.
    pub(crate) fn note_time_out(&self, begun: Instant, had_been_idle: bool, fault: &Fault) {
        if had_been_idle {
            self.state.pool.close_idle(|idle| idle.last_used() < begun);
        }
        self.state.breaker.note_time_out(begun, fault);
    }
}

impl From<PermitError> for Fault {
    fn from(error: PermitError) -> Self {
        match error {
            PermitError::Exhausted => Self::PoolExhausted,
            PermitError::Silent(silent) => Self::Silent(silent),
        }
    }
}
