//! What is remembered of a server that did not answer (N6).
//!
//! After a time-out the server is in question: the next caller asks it by making a connection, and the others wait for that. Most often
//! it answers, as when a firewall has forgotten old connections, or when one command took long; then all go on. If it does not it is silent: for a
//! time operations on it fail at once, then one of them at a time asks again.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fault::Fault;

pub(crate) struct Silence {
    /// For so long operations fail at once; if that is zero nothing is remembered.
    retry_after: Duration,
    /// Whether it is anything but [`Phase::Answers`]: all that an operation on a server that is well looks at.
    is_in_question: AtomicBool,
    state: Mutex<State>,
    has_changed: Condvar,
}

struct State {
    phase: Phase,
    /// When it was known to answer, if it was in question before.
    answered: Option<Instant>,
    /// The last time-out, while it is in question or silent.
    cause: Option<Arc<Fault>>,
}

enum Phase {
    Answers,
    /// There was a time-out then. Whoever comes next asks; while somebody does the others wait.
    InQuestion {
        since: Instant,
        is_asked: bool,
    },
    /// It was asked and did not answer by then. It is asked again from `until` on, by one caller at a time.
    Silent {
        since: Instant,
        until: Instant,
        is_asked: bool,
    },
}

/// The server did not answer a short time ago, and nothing was sent.
#[derive(Clone, Debug)]
pub(crate) struct Silent {
    /// How long ago.
    pub(crate) ago: Duration,
    /// When it is asked again; `None` while it is.
    pub(crate) asked_in: Option<Duration>,
    /// The time-out by which that was found out: never a `Silent` itself, so that nothing grows.
    pub(crate) cause: Option<Arc<Fault>>,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        write!(f, "the server did not answer {:?} ago, so nothing was sent; ", millis(self.ago))?;
        match self.asked_in {
            Some(time) => write!(f, "it is asked again in {:?} (`retry_after`)", millis(time)),
            None => f.write_str("it is being asked again (`retry_after`)"),
        }
    }
}

/// Has to ask whether the server answers. If it is dropped without an answer somebody else asks.
pub(crate) struct Probe<'a> {
    of: &'a Silence,
    is_over: bool,
}

impl Silence {
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

    /// Whether an operation may go on, and whether it has to ask the server first. Waits, for so long at most, while another one
    /// asks a server that is in question.
    pub(crate) fn enter(&self, limit: Duration) -> Result<Option<Probe<'_>>, Silent> {
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
                    return Ok(Some(Probe { of: self, is_over: false }));
                }
                Phase::InQuestion { is_asked: is_asked @ false, .. } => {
                    *is_asked = true;
                    return Ok(Some(Probe { of: self, is_over: false }));
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

    /// Notes that there was this time-out in what began then.
    pub(crate) fn question(&self, begun: Instant, cause: &Fault) {
        if self.retry_after.is_zero() {
            return;
        }
        let mut state = self.lock();
        // It has answered since.
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

    /// Changes what is known, and tells those who wait for it.
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
    /// The server, or its machine, answered: whatever it said.
    pub(crate) fn was_answered(self) {
        self.end(|state| state.phase = Phase::Answers);
    }

    /// It did not answer in time, and this is what was seen of that.
    pub(crate) fn was_not_answered(self, cause: &Fault) {
        let since = Instant::now();
        let until = since + self.of.retry_after;
        let cause = Arc::new(cause.copy());
        self.end(|state| {
            state.phase = Phase::Silent { since, until, is_asked: false };
            state.cause = Some(cause);
        });
    }

    fn end(mut self, next: impl FnOnce(&mut State)) {
        self.is_over = true;
        self.of.change(next);
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.of.change(|state| match &mut state.phase {
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

    fn in_question(retry_after: Duration) -> Silence {
        let silence = Silence::new(retry_after);
        silence.question(Instant::now(), &time_out());
        silence
    }

    #[test]
    fn a_server_that_is_well_is_not_asked() {
        let silence = Silence::new(MINUTE);
        assert!(silence.enter(MINUTE).unwrap().is_none());
    }

    #[test]
    fn one_asks_and_the_others_wait_for_the_answer() {
        let silence = in_question(MINUTE);
        let probe = silence.enter(MINUTE).unwrap().unwrap();
        thread::scope(|scope| {
            let others: Vec<_> = (0..8).map(|_| scope.spawn(|| silence.enter(MINUTE).unwrap().is_none())).collect();
            thread::sleep(Duration::from_millis(50));
            assert!(!others.iter().any(thread::ScopedJoinHandle::is_finished));
            probe.was_answered();
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
        assert!(!silence.is_in_question());
    }

    #[test]
    fn who_waits_too_long_for_the_answer_is_told() {
        let silence = in_question(MINUTE);
        let _probe = silence.enter(MINUTE).unwrap().unwrap();
        let silent = silence.enter(Duration::from_millis(20)).err().unwrap();
        assert!(silent.asked_in.is_none());
    }

    #[test]
    fn of_a_silent_server_all_are_told_at_once_until_it_is_asked_again_by_one() {
        let silence = in_question(Duration::from_millis(200));
        silence.enter(MINUTE).unwrap().unwrap().was_not_answered(&time_out());
        let begin = Instant::now();
        let silent = silence.enter(MINUTE).err().unwrap();
        assert!(
            begin.elapsed() >= Duration::from_millis(200) || silent.asked_in.unwrap() <= Duration::from_millis(200)
        );
        thread::sleep(Duration::from_millis(200));
        let probe = silence.enter(MINUTE).unwrap().unwrap();
        assert!(silence.enter(MINUTE).err().unwrap().asked_in.is_none());
        probe.was_not_answered(&time_out());
        assert!(silence.enter(MINUTE).err().unwrap().asked_in.is_some());
        thread::sleep(Duration::from_millis(200));
        silence.enter(MINUTE).unwrap().unwrap().was_answered();
        assert!(silence.enter(MINUTE).unwrap().is_none());
    }

    #[test]
    fn who_does_not_come_to_ask_leaves_it_to_the_next() {
        let silence = in_question(Duration::from_millis(1));
        drop(silence.enter(MINUTE).unwrap().unwrap());
        silence.enter(MINUTE).unwrap().unwrap().was_not_answered(&time_out());
        thread::sleep(Duration::from_millis(5));
        drop(silence.enter(MINUTE).unwrap().unwrap());
        assert!(silence.enter(MINUTE).unwrap().is_some());
    }

    #[test]
    fn a_time_out_of_what_began_before_the_last_answer_says_nothing() {
        let silence = Silence::new(MINUTE);
        let begun = Instant::now();
        silence.question(begun, &time_out());
        silence.enter(MINUTE).unwrap().unwrap().was_answered();
        silence.question(begun, &time_out());
        assert!(silence.enter(MINUTE).unwrap().is_none());
        silence.question(Instant::now(), &time_out());
        assert!(silence.enter(MINUTE).unwrap().is_some());
    }

    #[test]
    fn the_last_time_out_is_told_and_forgotten_when_the_server_answers() {
        let silence = Silence::new(MINUTE);
        let time_out = |text: &str| Fault::NotConnected(io::Error::new(io::ErrorKind::TimedOut, text));
        let told =
            |silence: &Silence, limit| match silence.enter(limit).err().and_then(|silent| silent.cause).as_deref() {
                Some(Fault::NotConnected(cause)) => Some(cause.to_string()),
                _ => None,
            };
        silence.question(Instant::now(), &time_out("one"));
        let probe = silence.enter(MINUTE).unwrap().unwrap();
        assert_eq!(told(&silence, Duration::from_millis(1)).unwrap(), "one");
        // It is in question already.
        silence.question(Instant::now(), &time_out("two"));
        assert_eq!(told(&silence, Duration::from_millis(1)).unwrap(), "one");
        probe.was_not_answered(&time_out("three"));
        for _ in 0..3 {
            assert_eq!(told(&silence, MINUTE).unwrap(), "three");
        }
        let silence = in_question(MINUTE);
        silence.enter(MINUTE).unwrap().unwrap().was_answered();
        assert!(silence.lock().cause.is_none());
    }

    #[test]
    fn with_zero_nothing_is_remembered() {
        assert!(in_question(Duration::ZERO).enter(MINUTE).unwrap().is_none());
    }
}
