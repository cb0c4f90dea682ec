//! A store behind a proxy, and how to use it under faults.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kv_core::{Bytes, Error, KeyValueStore, KeyValueStoreExt};

use super::timing::{MARGIN, expect_undisturbed, judge_undisturbed, timed};
use super::values::value;
use crate::fixture::{Durability, Fixture, ServerControl};
use crate::proxy::{Cut, Proxy};
use crate::running::{NotPassed, Outcome, expect_that, show_error};

/// How often a write may fail because another connection of the pool was cut and not checked since.
const CONNECTIONS: usize = 50;

/// A store behind a proxy, from a fixture of [`Suite::with_faults`](crate::Suite::with_faults).
pub(crate) struct ProxiedStore<'a> {
    pub(crate) store: &'a dyn KeyValueStore,
    /// Another handle on the same data, which no fault affects.
    pub(crate) direct: &'a dyn KeyValueStore,
    pub(crate) proxy: &'a Proxy,
    /// The longest time that an operation may take.
    pub(crate) limit: Duration,
    /// How long the store may still treat a server as silent that answers again (N6).
    pub(crate) retry_after: Duration,
    server: Option<(&'a dyn ServerControl, Durability)>,
    cases: AtomicUsize,
}

impl<'a> ProxiedStore<'a> {
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

    /// A prefix of keys that nothing has used before: a delayed earlier write cannot change them.
    pub(crate) fn fresh_prefix(&self) -> String {
        format!("{:04}/", self.cases.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) -> Outcome {
        self.proxy.pass();
        Ok(self.proxy.accept()?)
    }

    /// Ends all faults, and drops what was held back.
    pub(crate) fn heal_without_what_was_held(&self) -> Outcome {
        self.proxy.cut_now(Cut::Reset)?;
        self.heal()
    }

    /// Runs an operation, which has to end within the limit (N1).
    pub(crate) fn within<T>(
        &self,
        what: impl Display,
        run: impl FnOnce() -> Result<T, Error>,
    ) -> Outcome<Result<T, Error>> {
        let (result, took) = self.timed(run);
        self.expect_in_time(what, &result, took)?;
        Ok(result)
    }

    /// Runs an operation under a fault, and measures how long it took. If the operation has not ended long after its limit, this ends the
    /// fault, so that a store that waits without limit is rejected and does not block the check.
    pub(crate) fn timed<T>(&self, run: impl FnOnce() -> T) -> (T, Duration) {
        self.timed_for(self.limit, run)
    }

    /// Like [`timed`](Self::timed), for something that may take longer than an operation.
    pub(crate) fn timed_for<T>(&self, limit: Duration, run: impl FnOnce() -> T) -> (T, Duration) {
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            scope.spawn(move || {
                if is_done.recv_timeout(limit + MARGIN + MARGIN / 4) == Err(mpsc::RecvTimeoutError::Timeout) {
                    // If that does not end it, this waits for it.
                    let _ = self.heal_without_what_was_held();
                }
            });
            let result = timed(run);
            drop(done);
            result
        })
    }

    /// Checks that an operation that took this long kept the limit (N1).
    pub(crate) fn expect_in_time<T>(&self, what: impl Display, result: &Result<T, Error>, took: Duration) -> Outcome {
        let error = result.as_ref().err().map(|error| format!(", {}", show_error(error))).unwrap_or_default();
        let want = format!("at most its limit, {:?}, and {MARGIN:?} because machines are busy (N1)", self.limit);
        let what = format_args!("how long it took: {what}{error}");
        // The machine may have been busy. Then the next attempt works.
        expect_that(what, took <= self.limit + MARGIN, &want, took).map_err(|failed| failed.timed_out_if(true))
    }

    /// Reads until the store no longer treats its server as silent, for as long as it may (N6).
    fn wait_for_retry(&self, read: &str, key: &str, want: &Bytes) -> Outcome {
        let begin = Instant::now();
        while begin.elapsed() < self.retry_after {
            match timed(|| self.store.get(key)) {
                (Err(Error::Unavailable(_)), _) => thread::sleep(Duration::from_millis(5)),
                // The store has asked the server. The first answer counts: it may be what was left over.
                (result, took) => return judge_undisturbed(read, result, took, Some(want.clone())),
            }
        }
        Ok(())
    }

    /// All faults have ended: every operation has to work, at once or as soon as the store no longer treats its server as silent, and none
    /// may get another one's reply.
    pub(crate) fn works_again(&self, after: impl Display) -> Outcome {
        let key = self.fresh_prefix() + "after";
        let old = value(&key, 0, 20);
        self.direct.put(&key, &old)?;
        let read = format!("get({key:?}), with nothing in its way any more (N2, N6), {after}");
        self.wait_for_retry(&read, &key, &old.clone().into())?;
        expect_undisturbed(read, || self.store.get(&key), Some(old.into()))?;
        let new = value(&key, 1, 30);
        let mut tries = 0;
        loop {
            let (result, took) = timed(|| self.store.put(&key, &new));
            match result {
                Ok(()) => break,
                // The pool had another cut connection. If it was idle for less than a second, it need not be checked before use (N4).
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
