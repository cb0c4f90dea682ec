//! A circuit breaker: what is remembered of a server that did not answer (N6).
//!
//! After a time-out the server is in question. The next caller asks it by making a connection, and the other callers wait for the outcome.
//! Usually the server answers: a firewall had dropped old connections, or one command took long. Then all callers go on. If it does not
//! answer, it is silent: operations on it fail at once for a time, and then one caller at a time asks again.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::fault::Fault;
use crate::protocol::silent::Silent;

pub(crate) struct CircuitBreaker {
    /// How long operations fail at once. If it is zero, nothing is remembered.
    retry_after: Duration,
    /// Whether the phase is not [`Phase::Answers`]. An operation on a server that answers looks at nothing else.
    is_in_question: AtomicBool,
    state: Mutex<State>,
    has_changed: Condvar,
}

struct State {
    phase: Phase,
    /// When the server last answered after it had been in question.
    answered: Option<Instant>,
    /// The last time-out, while the server is in question or silent.
    cause: Option<Arc<Fault>>,
}

enum Phase {
    Answers,
    /// There was a time-out at `since`. The next caller asks, and while it does the other callers wait.
    InQuestion {
        since: Instant,
        is_asked: bool,
    },
    /// It was asked and had not answered by `since`. From `until` on, one caller at a time asks again.
    Silent {
        since: Instant,
        until: Instant,
        is_asked: bool,
    },
}

/// The task to ask whether the server answers. If it is dropped without an answer, the next caller asks.
pub(crate) struct Probe<'a> {
    breaker: &'a CircuitBreaker,
    is_over: bool,
}

impl CircuitBreaker {
    pub(crate) fn new(retry_after: Duration) -> Self {
        let state = State { phase: Phase::Answers, answered: None, cause: None };
        Self {
            retry_after,
            is_in_question: AtomicBool::new(false),
            state: Mutex::new(state),
            has_changed: Condvar::new(),
        }
    }

    pub(crate) fn is_in_question(&self) -> bool {
        self.is_in_question.load(Relaxed)
    }

    /// Lets an operation go on; with a probe if it has to ask the server first. While another caller asks a server that is in question,
    /// this waits up to the limit.
    pub(crate) fn enter(&self, limit: Duration) -> Result<Option<Probe<'_>>, Silent<Fault>> {
        if !self.is_in_question() {
            return Ok(None);
        }
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let silent = |state: &State, since: Instant, asked_in: Option<Duration>| {
                Err(Silent { ago: now.saturating_duration_since(since), asked_in, cause: state.cause.clone() })
            };
            match &mut state.phase {
                Phase::Answers => return Ok(None),
                Phase::Silent { since, until, is_asked } => {
                    if *is_asked || now < *until {
                        let asked_in = (!*is_asked).then(|| until.saturating_duration_since(now));
                        let since = *since;
                        return silent(&state, since, asked_in);
                    }
                    *is_asked = true;
                    return Ok(Some(Probe { breaker: self, is_over: false }));
                }
                Phase::InQuestion { is_asked: is_asked @ false, .. } => {
                    *is_asked = true;
                    return Ok(Some(Probe { breaker: self, is_over: false }));
                }
                Phase::InQuestion { since, .. } => {
                    let left = limit.saturating_sub(begin.elapsed());
                    if left.is_zero() {
                        let since = *since;
                        return silent(&state, since, None);
                    }
                    state = self.has_changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Why operations fail at once now, if they do.
    #[allow(dead_code, reason = "async stores ask for it before they wait")]
    pub(crate) fn silence(&self) -> Option<Silent<Fault>> {
        if !self.is_in_question() {
            return None;
        }
        let (state, now) = (self.lock(), Instant::now());
        match state.phase {
            Phase::Silent { since, until, is_asked } if is_asked || now < until => Some(Silent {
                ago: now.saturating_duration_since(since),
                asked_in: (!is_asked).then(|| until.saturating_duration_since(now)),
                cause: state.cause.clone(),
            }),
            _ => None,
        }
    }

    /// Notes whether the server answered a caller that made a connection. It began at `begun`, perhaps after it had waited for another
    /// caller's probe.
    pub(crate) fn note_connect<T>(
        &self,
        probe: Option<Probe<'_>>,
        (begun, has_waited): (Instant, bool),
        result: &Result<T, Fault>,
    ) {
        let time_out = result.as_ref().err().filter(|fault| fault.is_silence());
        match (probe, time_out) {
            (Some(probe), Some(time_out)) => probe.was_not_answered(time_out),
            // Without credentials nobody knows whether the server answers: the next caller asks.
            (Some(probe), None) if matches!(result, Err(Fault::NoCredentials(_))) => drop(probe),
            (Some(probe), None) => probe.was_answered(),
            // A caller that waited for a probe has less than the limit left: its time-out says nothing about the server.
            (None, Some(time_out)) if !has_waited => self.note_time_out(begun, time_out),
            (None, _) => {}
        }
    }

    /// Notes a time-out of an operation that began at `begun`.
    pub(crate) fn note_time_out(&self, begun: Instant, cause: &Fault) {
        if self.retry_after.is_zero() {
            return;
        }
        let mut state = self.lock();
        // The server has answered since.
        if state.answered.is_some_and(|answered| answered > begun) {
            return;
        }
        if let Phase::Answers = state.phase {
            state.phase = Phase::InQuestion { since: Instant::now(), is_asked: false };
            state.cause = Some(Arc::new(cause.copy()));
            self.is_in_question.store(true, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the callers that wait for it.
    fn change(&self, next: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        next(&mut state);
        if let Phase::Answers = state.phase {
            state.answered = Some(Instant::now());
            state.cause = None;
        }
        self.is_in_question.store(!matches!(state.phase, Phase::Answers), Relaxed);
        drop(state);
        self.has_changed.notify_all();
    }
}

impl Probe<'_> {
    /// The server or its machine answered, whatever it said.
    pub(crate) fn was_answered(self) {
        self.end(|state| state.phase = Phase::Answers);
    }

    /// The server did not answer in time; this was the time-out.
    pub(crate) fn was_not_answered(self, cause: &Fault) {
        let since = Instant::now();
        let until = since + self.breaker.retry_after;
        let cause = Arc::new(cause.copy());
        self.end(|state| {
            state.phase = Phase::Silent { since, until, is_asked: false };
            state.cause = Some(cause);
        });
    }

    fn end(mut self, next: impl FnOnce(&mut State)) {
        self.is_over = true;
        self.breaker.change(next);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.breaker.change(|state| match &mut state.phase {
            Phase::Answers => {}
            Phase::InQuestion { is_asked, .. } | Phase::Silent { is_asked, .. } => *is_asked = false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{io, thread};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn time_out() -> Fault {
        Fault::NotConnected(io::ErrorKind::TimedOut.into())
    }

    fn in_question(retry_after: Duration) -> CircuitBreaker {
        let breaker = CircuitBreaker::new(retry_after);
        breaker.note_time_out(Instant::now(), &time_out());
        breaker
    }

    #[test]
    fn a_server_that_answers_is_not_asked() {
        let breaker = CircuitBreaker::new(MINUTE);
        assert!(breaker.enter(MINUTE).unwrap().is_none());
    }

    #[test]
    fn one_caller_asks_and_the_others_wait_for_the_answer() {
        let breaker = in_question(MINUTE);
        let probe = breaker.enter(MINUTE).unwrap().unwrap();
        thread::scope(|scope| {
            let others: Vec<_> = (0..8).map(|_| scope.spawn(|| breaker.enter(MINUTE).unwrap().is_none())).collect();
            thread::sleep(Duration::from_millis(50));
            assert!(!others.iter().any(thread::ScopedJoinHandle::is_finished));
            probe.was_answered();
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
        assert!(!breaker.is_in_question());
    }

    #[test]
    fn a_caller_that_waits_too_long_for_the_answer_gets_an_error() {
        let breaker = in_question(MINUTE);
        let _probe = breaker.enter(MINUTE).unwrap().unwrap();
        let silent = breaker.enter(Duration::from_millis(20)).err().unwrap();
        assert!(silent.asked_in.is_none());
    }

    #[test]
    fn operations_on_a_silent_server_fail_at_once_until_one_caller_asks_again() {
        let breaker = in_question(Duration::from_millis(200));
        breaker.enter(MINUTE).unwrap().unwrap().was_not_answered(&time_out());
        let begin = Instant::now();
        let silent = breaker.enter(MINUTE).err().unwrap();
        assert!(
            begin.elapsed() >= Duration::from_millis(200) || silent.asked_in.unwrap() <= Duration::from_millis(200)
        );
        thread::sleep(Duration::from_millis(200));
        let probe = breaker.enter(MINUTE).unwrap().unwrap();
        assert!(breaker.enter(MINUTE).err().unwrap().asked_in.is_none());
        probe.was_not_answered(&time_out());
        assert!(breaker.enter(MINUTE).err().unwrap().asked_in.is_some());
        thread::sleep(Duration::from_millis(200));
        breaker.enter(MINUTE).unwrap().unwrap().was_answered();
        assert!(breaker.enter(MINUTE).unwrap().is_none());
    }

    #[test]
    fn a_probe_that_is_dropped_is_left_to_the_next_caller() {
        let breaker = in_question(Duration::from_millis(1));
        drop(breaker.enter(MINUTE).unwrap().unwrap());
        breaker.enter(MINUTE).unwrap().unwrap().was_not_answered(&time_out());
        thread::sleep(Duration::from_millis(5));
        drop(breaker.enter(MINUTE).unwrap().unwrap());
        assert!(breaker.enter(MINUTE).unwrap().is_some());
    }

    #[test]
    fn a_time_out_of_an_operation_that_began_before_the_last_answer_is_ignored() {
        let breaker = CircuitBreaker::new(MINUTE);
        let begun = Instant::now();
        breaker.note_time_out(begun, &time_out());
        breaker.enter(MINUTE).unwrap().unwrap().was_answered();
        breaker.note_time_out(begun, &time_out());
        assert!(breaker.enter(MINUTE).unwrap().is_none());
        breaker.note_time_out(Instant::now(), &time_out());
        assert!(breaker.enter(MINUTE).unwrap().is_some());
    }

    #[test]
    fn the_last_time_out_is_the_cause_until_the_server_answers() {
        let breaker = CircuitBreaker::new(MINUTE);
        let time_out = |text: &str| Fault::NotConnected(io::Error::new(io::ErrorKind::TimedOut, text));
        let told = |breaker: &CircuitBreaker, limit| match breaker
            .enter(limit)
            .err()
            .and_then(|silent| silent.cause)
            .as_deref()
        {
            Some(Fault::NotConnected(cause)) => Some(cause.to_string()),
            _ => None,
        };
        breaker.note_time_out(Instant::now(), &time_out("one"));
        let probe = breaker.enter(MINUTE).unwrap().unwrap();
        assert_eq!(told(&breaker, Duration::from_millis(1)).unwrap(), "one");
        // The server is in question already: the first time-out stays.
        breaker.note_time_out(Instant::now(), &time_out("two"));
        assert_eq!(told(&breaker, Duration::from_millis(1)).unwrap(), "one");
        probe.was_not_answered(&time_out("three"));
        for _ in 0..3 {
            assert_eq!(told(&breaker, MINUTE).unwrap(), "three");
        }
        let breaker = in_question(MINUTE);
        breaker.enter(MINUTE).unwrap().unwrap().was_answered();
        assert!(breaker.lock().cause.is_none());
    }

    #[test]
    fn with_zero_nothing_is_remembered() {
        assert!(in_question(Duration::ZERO).enter(MINUTE).unwrap().is_none());
    }
}
