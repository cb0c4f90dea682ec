//! A store behind a proxy: what is done to it there, and what may come of that.

use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kv_core::{Error, KeyValueStore, KeyValueStoreExt};

use crate::Durability;
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_that, kind_of, show_error};
use crate::fixture::{Fixture, ServerControl};
use crate::panics;
use crate::proxy::{Cut, Proxy};

/// What an operation may take longer than its limit on a machine that does much else.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// How long it takes at most until the other side of a connection of this machine knows that it was closed.
pub(crate) const NOTICED: Duration = Duration::from_millis(50);

/// How long a connection is idle when it has to be looked at before it is used (N4): a second, and a bit.
pub(crate) const IDLE: Duration = Duration::from_millis(1200);

/// How often a write may fail because of one more connection of the pool that was cut and has not been looked at since.
const CONNECTIONS: usize = 50;

/// A store behind a proxy, from a fixture of [`Suite::with_faults`](crate::Suite::with_faults).
pub(crate) struct Rig<'a> {
    pub(crate) store: &'a dyn KeyValueStore,
    /// Another handle on the same data, that no fault concerns.
    pub(crate) direct: &'a dyn KeyValueStore,
    pub(crate) proxy: &'a Proxy,
    /// The longest time that an operation may take.
    pub(crate) limit: Duration,
    /// How long the store may take a server that is back for silent (N6).
    pub(crate) retry_after: Duration,
    server: Option<(&'a dyn ServerControl, Durability)>,
    cases: AtomicUsize,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(fixture: &'a Fixture) -> Outcome<Self> {
        let lacking = |what: &str| NotPassed::Ignored(format!("the fixture of `with_faults` has no {what}"));
        Ok(Self {
            store: &*fixture.store,
            direct: fixture.second_handle.as_deref().ok_or_else(|| lacking("second handle"))?,
            proxy: fixture.proxy.as_deref().ok_or_else(|| lacking("proxy"))?,
            limit: fixture.limit.ok_or_else(|| lacking("limit"))?,
            retry_after: fixture.retry_after,
            server: fixture.server.as_ref().map(|(server, durability)| (&**server, *durability)),
            cases: AtomicUsize::new(0),
        })
    }

    /// The server, and what it keeps.
    pub(crate) fn server(&self) -> Outcome<(&'a dyn ServerControl, Durability)> {
        self.server.ok_or_else(|| NotPassed::Ignored("the fixture of `with_faults` has no server to kill".into()))
    }

    /// The beginning of keys that nothing has used before: what an earlier write that was held up still does cannot be seen there.
    pub(crate) fn fresh_prefix(&self) -> String {
        format!("{:04}/", self.cases.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) -> Outcome {
        self.proxy.pass();
        Ok(self.proxy.accept()?)
    }

    /// Ends all faults, and drops what has been held back.
    pub(crate) fn heal_without_what_was_held(&self) -> Outcome {
        self.proxy.cut_now(Cut::Reset)?;
        self.heal()
    }

    /// Does something, which has to end within the limit (N1).
    pub(crate) fn within<T>(
        &self,
        what: impl Display,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Outcome<Result<T, Error>> {
        let (result, took) = self.timed(act);
        self.expect_in_time(what, &result, took)?;
        Ok(result)
    }

    /// Does something under a fault, and tells how long it took. If it does not end by itself long after its limit, the fault does, so that
    /// a store that waits without limit is rejected, and not waited for.
    pub(crate) fn timed<T>(&self, act: impl FnOnce() -> T) -> (T, Duration) {
        self.timed_for(self.limit, act)
    }

    /// As [`timed`](Self::timed), of something that may take longer than an operation.
    pub(crate) fn timed_for<T>(&self, limit: Duration, act: impl FnOnce() -> T) -> (T, Duration) {
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            scope.spawn(move || {
                if is_done.recv_timeout(limit + MARGIN + MARGIN / 4) == Err(mpsc::RecvTimeoutError::Timeout) {
                    // What cannot be ended so is waited for.
                    let _ = self.heal_without_what_was_held();
                }
            });
            let result = timed(act);
            drop(done);
            result
        })
    }

    /// What took so long has to have ended within the limit (N1).
    pub(crate) fn expect_in_time<T>(&self, what: impl Display, result: &Result<T, Error>, took: Duration) -> Outcome {
        let error = result.as_ref().err().map(|error| format!(", {}", show_error(error))).unwrap_or_default();
        let want = format!("the limit, {:?}, and a bit (N1)", self.limit);
        let what = format_args!("how long it took: {what}{error}");
        // Or the machine was busy: then it is so no longer when it is tried again.
        expect_that(what, took <= self.limit + MARGIN, &want, took).map_err(|failed| failed.timed_out_if(true))
    }

    /// Reads until the store takes its server for silent no longer, for as long as it may (N6).
    fn wait_for_retry(&self, read: &str, key: &str) -> Outcome {
        let begin = Instant::now();
        while begin.elapsed() < self.retry_after {
            match timed(|| self.store.get(key)) {
                (Err(Error::Unavailable(_)), _) => thread::sleep(Duration::from_millis(5)),
                // The store asked, and takes the server for silent again.
                (Err(error @ Error::Timeout(_)), took) => {
                    return judge_undisturbed::<(), ()>(read, Err(error), took, ());
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Now that all faults have ended, everything has to work: at once, but for a server that the store takes for silent yet; and nobody may
    /// get another one's reply.
    pub(crate) fn works_again(&self, after: impl Display) -> Outcome {
        let key = self.fresh_prefix() + "after";
        let old = value(&key, 0, 20);
        self.direct.put(&key, &old)?;
        let read = format!("get({key:?}), with nothing in its way any more (N2, N6), {after}");
        self.wait_for_retry(&read, &key)?;
        expect_undisturbed(read, || self.store.get(&key), Some(old.into()))?;
        let new = value(&key, 1, 30);
        let mut tries = 0;
        loop {
            let (result, took) = timed(|| self.store.put(&key, &new));
            match result {
                Ok(()) => break,
                // One more connection that was cut: a younger one than a second need not be looked at before (N4).
                Err(error) if error.outcome_unknown() && tries < CONNECTIONS => tries += 1,
                Err(error) => {
                    let what = format!("put of {key:?}, with nothing in its way any more (N6), {after}");
                    return judge_undisturbed::<(), ()>(what, Err(error), took, ());
                }
            }
        }
        let read = format!("get({key:?}) after it was put, with nothing in its way any more (N2, N6), {after}");
        expect_undisturbed(read, || self.store.get(&key), Some(new.into()))?;
        let absent = format!("{key}/absent");
        let read = format!("get of an absent key, with nothing in its way any more (N2), {after}");
        expect_undisturbed(read, || self.store.get(&absent), None)
    }
}

/// An operation that nothing is in the way of.
#[track_caller]
pub(crate) fn expect_undisturbed<T, W>(what: impl Display, act: impl FnOnce() -> Result<T, Error>, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    let (result, took) = timed(act);
    judge_undisturbed(what, result, took, want)
}

/// Does something, and tells how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (act(), begin.elapsed())
}

/// How long an operation takes that waits for something.
pub(crate) const WAITING: Duration = Duration::from_millis(100);

/// What came of an operation that nothing was in the way of. If it failed because it had to wait too long, the machine may have been slow.
#[track_caller]
pub(crate) fn judge_undisturbed<T, W>(what: impl Display, got: Result<T, Error>, took: Duration, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    let waited = matches!(got, Err(Error::Timeout(_) | Error::Unavailable(_))) && took >= WAITING;
    expect(what, got, want).map_err(|failed| failed.timed_out_if(waited))
}

/// A value that says which key and which write it belongs to, and where it ends, and that can be recognised in a message.
pub(crate) fn value(key: &str, write: u64, length: usize) -> String {
    format!("{key}|{write}|{}|end", SECRET.chars().cycle().take(length).collect::<String>())
}

/// What values are filled with: it must not come up in errors.
const SECRET: &str = "x7q";

/// Which write of which key a value is, if it is whole.
pub(crate) fn parse(value: &[u8]) -> Option<(&str, u64)> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('|');
    let (key, write, filling, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole =
        end == "end" && parts.next().is_none() && filling.chars().eq(SECRET.chars().cycle().take(filling.len()));
    Some((key, write.parse().ok()?)).filter(|_| whole)
}

/// What every error that a fault brings has to be like (E1, E2, E3, E5). Of an operation on one key, it names the key.
pub(crate) fn check_error(what: &str, error: &Error, store: &str, keys: &[&str]) -> Outcome {
    let kinds = "Unavailable, Timeout or Backend (E1)";
    let is_one = matches!(error, Error::Unavailable(_) | Error::Timeout(_) | Error::Backend(_));
    expect_that(format_args!("the kind of the error of {what}"), is_one, kinds, show_error(error))?;
    expect_eq(format_args!("the store in the error of {what} (E1): {error}"), error.store(), Some(store))?;
    if !keys.is_empty() {
        let named = error.key().is_some_and(|key| keys.contains(&key));
        let want = keys.join(" or ");
        expect_that(format_args!("the key in the error of {what} (E1): {error}"), named, &want, error.key())?;
    }
    let shown = error.to_string();
    let mut told = format!("{shown} {error:?}");
    let mut cause = error.source();
    if let Some(cause) = cause {
        let text = cause.to_string();
        let what = format!("whether the message of the error of {what} repeats its cause, {text:?} (E2): {shown}");
        expect_eq(what, text.len() > 3 && shown.contains(&text), false)?;
    }
    while let Some(error) = cause {
        told = format!("{told} {error} {error:?}");
        cause = error.source();
    }
    expect_eq(format_args!("whether the error of {what} shows the value (E3): {told}"), told.contains("x7qx7q"), false)
}

/// As [`check_error`], and trying again may help (E5).
pub(crate) fn check_transient(what: &str, error: &Error, store: &str, keys: &[&str]) -> Outcome {
    check_error(what, error, store, keys)?;
    let what = format!("is_transient() of the error of {what} (E5): {}: {error}", kind_of(error));
    expect_eq(what, error.is_transient(), true)
}

/// Does the same for each of several, at the same time, and brings the first failure.
pub(crate) fn in_lanes<T: Sync>(items: &[T], run: impl Fn(&T) -> Outcome + Sync) -> Outcome {
    let run = &run;
    let outcomes = thread::scope(|scope| {
        let lanes = items.iter().map(|item| scope.spawn(move || panics::catch(|| run(item)))).collect::<Vec<_>>();
        lanes.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let failures = outcomes
        .into_iter()
        .filter_map(|outcome| panics::joined(outcome).map_err(NotPassed::from).and_then(|found| found).err());
    // What one lane has found for certain is not to be hidden by a time-out in another.
    failures.min_by_key(|failure| !matches!(failure, NotPassed::Failed(_))).map_or(Ok(()), Err)
}

/// How many fixtures a check has at the same time.
const FIXTURES: usize = 5;

/// Does the same with each of several, in some fixtures of [`Suite::with_faults`](crate::Suite::with_faults), each of which takes its share, one
/// after the other. Brings the first failure.
pub(crate) fn in_fixtures_of_their_own<T: Sync>(
    context: &Context<'_>,
    items: &[T],
    run: impl Fn(&Context<'_>, &Rig<'_>, &T) -> Outcome + Sync,
) -> Outcome {
    let (suite, seed) = (context.suite, &context.seed);
    in_lanes(&(0..FIXTURES.min(items.len())).collect::<Vec<_>>(), |&first| {
        let fixture = suite.open_with_faults()?;
        let context = Context::new(suite, &fixture, 0, seed.of_part(first));
        let rig = Rig::new(&fixture)?;
        items.iter().skip(first).step_by(FIXTURES).try_for_each(|item| run(&context, &rig, item))
    })
}
