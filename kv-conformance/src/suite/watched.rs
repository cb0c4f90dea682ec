//! A check on a thread of its own, which is left behind if it hangs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::builder::Suite;
use super::one_check::Run;
use crate::checks::Check;
use crate::report::CheckResult;
use crate::running::{Hang, NotPassed, Outcome, Watchdog, effort};

/// The variable that says after how many seconds an operation counts as hanging.
const VARIABLE: &str = "KV_CONFORMANCE_HANGS_AFTER";

/// How often the state of a check is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Suite {
    /// Runs a check on a thread of its own.
    pub(super) fn run_watched(&self, check: &Check, seed: u64) -> CheckResult {
        let watchdog = Arc::<Watchdog>::default();
        let run = Run::of(self, check, seed).watched_by(&watchdog);
        let (done, is_done) = mpsc::channel();
        let on_thread = {
            let (run, watchdog) = (run.clone(), Arc::clone(&watchdog));
            move || {
                let outcome = run.attempt();
                let outcome = watchdog.endless().map_or(outcome, |endless| Err(endless.into_failure()));
                // It fails if the check was given up.
                let _ = done.send(run.result(outcome));
            }
        };
        let ended = |what: &str| {
            run.result(Err(NotPassed::failed_beside_the_store(format_args!("the thread of the check {what}"))))
        };
        if let Err(error) = thread::Builder::new().name(check.name().into()).spawn(on_thread) {
            return ended(&format!("could not be made: {error}"));
        }
        loop {
            match is_done.recv_timeout(LOOK.min(self.limit() / 4)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return ended("has ended without a result"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(hang) = watchdog.hang(self.limit(), more_time()) {
                watchdog.give_up();
                return run.result(self.judge(check, hang));
            }
        }
    }

    /// What it means for a check that it hangs. What is wrong with listings and batches is for their own checks to find, not for that
    /// of the fixture.
    fn judge(&self, check: &Check, hang: Hang) -> Outcome {
        if check.clauses.is_empty() && (hang.is_of_listing() || hang.is_of_pace()) {
            return Ok(());
        }
        let limit = self.limit().as_secs() * 4;
        let setting = format!("{VARIABLE}={limit} gives each operation {limit} s, as does `Suite::hangs_after`.");
        let is_of_store = !hang.is_of_fixture();
        let failed = hang.into_failure(check.has_faults, &setting);
        // A check of E4 is about anything that hangs in it, also a listing.
        Err(if check.clauses == ["E4"] && is_of_store { failed.breaking(["E4"]) } else { failed })
    }

    fn limit(&self) -> Duration {
        let given = std::env::var(VARIABLE).ok().and_then(|given| given.parse().ok());
        given.map_or(self.hangs_after, Duration::from_secs).max(Duration::from_millis(1))
    }
}

/// How much more time a check has, as more random input is tried than by default.
fn more_time() -> Duration {
    const CHECK: Duration = Duration::from_secs(60);
    CHECK.mul_f64((effort() - 1.0).max(0.0))
}
