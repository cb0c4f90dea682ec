//! A check on a thread of its own, which is left behind if it hangs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::Check;
use crate::failure::{NotPassed, Outcome};
use crate::fixture::{BoxError, Fixture};
use crate::panics;
use crate::property::Seed;
use crate::report::CheckResult;
use crate::suite::Suite;
use crate::trace;
use crate::watch::{Hang, Watch};

/// After how long an operation that has not returned is taken for one that never will.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(60);

/// The variable that says otherwise, in seconds.
const VARIABLE: &str = "KV_CONFORMANCE_HANGS_AFTER";

/// How often a check is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a fixture is doing when it panics.
const MADE: &str = "it was made";

impl Suite {
    /// After how long an operation that has not returned is taken for one that never will. Default: 60 s.
    ///
    /// The check fails then, and names the operation; its thread, which nothing can end, is left behind, and the other checks
    /// go on. A batch has a millisecond more for each of its keys, and a check as a whole ten times this. Where the
    /// environment variable `KV_CONFORMANCE_HANGS_AFTER` is a number of seconds, that holds.
    #[must_use]
    pub fn hangs_after(mut self, time: Duration) -> Self {
        self.hangs_after = time;
        self
    }

    /// Makes a fixture, which may hang, too.
    pub(super) fn make(&self, open: impl FnOnce() -> Result<Fixture, BoxError>) -> Outcome<Fixture> {
        let _making = self.watch.begin("the fixture, while it was made,", 1);
        Ok(panics::in_fixture(MADE, open)?)
    }

    /// The same fixture with its store closed and opened again.
    pub(crate) fn reopen(&self, fixture: Fixture) -> Outcome<Fixture> {
        let _reopening = self.watch.begin("the fixture, while its store was reopened,", 1);
        match panics::in_fixture("its store was reopened", || fixture.reopened()) {
            Some(reopened) => Ok(self.follow(reopened?)),
            None => Err(NotPassed::Ignored("the fixture has no way to reopen its store (`Fixture::reopen`)".into())),
        }
    }

    /// Watches what is done with a fixture.
    pub(super) fn follow(&self, fixture: Fixture) -> Fixture {
        if let Some(proxy) = &fixture.proxy {
            self.watch.add_proxy(proxy);
        }
        trace::follow(fixture, &self.watch)
    }

    /// Does something that is no operation of a store, and that may hang or panic like one: it is told like one.
    #[cfg(feature = "tokio")]
    pub(crate) fn doing<T>(&self, what: &str, act: impl FnOnce() -> T) -> T {
        let what = trace::placed(what);
        let _under_way = self.watch.begin(what.as_str(), 1);
        trace::doing(what, act)
    }

    /// The same suite for another thread of the check.
    #[cfg(feature = "tokio")]
    pub(crate) fn lent(&self) -> Self {
        self.lent_to(&self.watch)
    }

    /// Runs a check on a thread of its own.
    pub(super) fn run_watched(&self, check: &Check, seed: u64) -> CheckResult {
        let (started, seed, watch) = (Instant::now(), Seed::new(seed), Arc::<Watch>::default());
        let (done, is_done) = mpsc::channel();
        let run = {
            let (suite, check, seed, watch) = (self.lent_to(&watch), *check, seed.clone(), Arc::clone(&watch));
            move || {
                let outcome = suite.try_check(&check, &seed);
                let outcome = watch.endless().map_or(outcome, Err);
                // If nobody waits for it any more, it was given up.
                let _ = done.send(suite.result_of(&check, started, &seed, outcome));
            }
        };
        let ended = |what: &str| {
            let outcome = Err(NotPassed::failed_beside_the_store(format_args!("the thread of the check {what}")));
            self.result_of(check, started, &seed, outcome)
        };
        if let Err(error) = thread::Builder::new().name(check.name().into()).spawn(run) {
            return ended(&format!("could not be made: {error}"));
        }
        loop {
            match is_done.recv_timeout(LOOK.min(self.limit() / 4)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return ended("has ended without a result"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(hang) = watch.hang(self.limit(), soak()) {
                watch.give_up();
                return self.result_of(check, started, &seed, self.judge(check, hang));
            }
        }
    }

    /// What it means for a check that it hangs. What is wrong with listings is for their own checks to find, not for that of the
    /// fixture.
    fn judge(&self, check: &Check, hang: Hang) -> Outcome {
        if check.clauses.is_empty() && hang.is_of_listing() {
            return Ok(());
        }
        let limit = self.limit().as_secs() * 4;
        let setting = format!("{VARIABLE}={limit} gives each operation {limit} s, as does `Suite::hangs_after`.");
        let failed = hang.into_failure(check.has_faults, &setting);
        // A check of E4 is about whatever hangs in it, a listing as well.
        Err(if check.clauses == ["E4"] { failed.breaking(["E4"]) } else { failed })
    }

    fn limit(&self) -> Duration {
        let given = std::env::var(VARIABLE).ok().and_then(|given| given.parse().ok());
        given.map_or(self.hangs_after, Duration::from_secs).max(Duration::from_millis(1))
    }

    /// The same suite for a check that is watched.
    fn lent_to(&self, watch: &Arc<Watch>) -> Self {
        Self {
            name: self.name.clone(),
            open: Arc::clone(&self.open),
            open_with_default_ttl: self.open_with_default_ttl.clone(),
            open_with_faults: self.open_with_faults.clone(),
            opt_outs: self.opt_outs.clone(),
            server: self.server.clone(),
            store: Arc::clone(&self.store),
            weaknesses: self.weaknesses.clone(),
            ground: Arc::clone(&self.ground),
            ground_of_faults: Arc::clone(&self.ground_of_faults),
            hangs_after: self.hangs_after,
            watch: Arc::clone(watch),
        }
    }
}

/// How long the outages of the server are told to go on.
fn soak() -> Duration {
    let given = std::env::var("KV_CONFORMANCE_SOAK").ok().and_then(|given| given.parse().ok());
    given.map_or(Duration::ZERO, Duration::from_secs)
}
