//! The checks of suites as the tests of a test target.

use std::collections::BTreeSet;
use std::mem;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libtest_mimic::{Completion, Failed, Trial};

use super::builder::Suite;
use super::{filters, reproduce};
use crate::checks::Check;
use crate::report::{self, CheckResult, Verdict};

/// How many checks run at a time unless `--test-threads` says otherwise: they mostly wait for entries to expire.
const THREADS: usize = 24;

/// How the process ends when the first failure ends it.
const FAILED: i32 = 101;

/// Whether the run ends with the first failure: for mutation testing, where one is enough.
fn ends_at_failure() -> bool {
    std::env::var_os("KV_CONFORMANCE_FAIL_FAST").is_some()
}

/// The results of a suite so far.
type Found = Arc<Mutex<Vec<CheckResult>>>;

/// The names of the checks that the arguments left out, as soon as they are known.
type LeftOut = Arc<OnceLock<BTreeSet<String>>>;

/// Runs the checks of several suites as one test target, as [`Suite::main`] does for one.
///
/// If the environment variable `KV_CONFORMANCE_REPORT` names a folder, the [report](crate::Report::write_to) of each suite is
/// written there afterwards, unless the arguments left out all its checks. That it cannot be written fails the run.
pub fn main(suites: impl IntoIterator<Item = Suite>) -> ExitCode {
    let (mut arguments, filters) = filters::arguments();
    let threads = arguments.test_threads.get_or_insert(THREADS);
    *threads = (*threads).max(1);
    let seed = reproduce::seed();
    let runs = suites.into_iter().map(|suite| (Arc::new(suite), Arc::default())).collect::<Vec<_>>();
    let left_out = LeftOut::default();
    let trials = runs.iter().flat_map(|(suite, found)| suite.trials(seed, found, &left_out)).collect::<Vec<_>>();
    filters::select(&mut arguments, filters, &trials);
    let names = trials.iter().filter(|trial| arguments.is_filtered_out(trial)).map(|trial| trial.name().to_owned());
    left_out.get_or_init(|| names.collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let (folder, mut unseen) = (report::folder(), false);
    for (suite, found) in runs {
        let mut results = mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        let failures = suite.unseen_failures_of_fixtures(&results);
        unseen |= !failures.is_empty();
        results.extend(failures);
        if let Some(folder) = &folder {
            let written = if results.is_empty() { Ok(()) } else { suite.report(seed, results).write_to(folder) };
            if let Err(error) = written {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if unseen && !conclusion.has_failed() { ExitCode::FAILURE } else { conclusion.exit_code() }
}

impl Suite {
    /// The checks as tests, whose results are kept in `found` too.
    ///
    /// `left_out` are the names of the checks that do not run. If the check of a broken fixture is among them, another check fails with its
    /// message. Otherwise the run would look like a success.
    fn trials(self: &Arc<Self>, seed: u64, found: &Found, left_out: &LeftOut) -> Vec<Trial> {
        let is_told = Arc::<AtomicBool>::default();
        let trial = |check: Check| {
            let (suite, found) = (Arc::clone(self), Arc::clone(found));
            let (left_out, is_told) = (Arc::clone(left_out), Arc::clone(&is_told));
            let name = format!("{}::{}", suite.name, check.name());
            Trial::ignorable_test(name, move || {
                let result = suite.run_check(&check, seed);
                found.lock().unwrap_or_else(PoisonError::into_inner).push(result.clone());
                let unseen = suite.unseen_failures_of_fixtures(std::slice::from_ref(&result)).into_iter();
                let mut unseen = unseen.filter(|failure| {
                    let name = format!("{}::{}", suite.name, failure.name);
                    left_out.get().is_some_and(|left_out| left_out.contains(&name))
                });
                if let Some(CheckResult { name, verdict: Verdict::Failed(message), .. }) = unseen.next()
                    && !is_told.swap(true, Ordering::Relaxed)
                {
                    return Err(Failed::from(format!("{name}, which the arguments left out:\n{message}")));
                }
                match result.verdict {
                    Verdict::Passed => Ok(Completion::Completed),
                    Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
                    Verdict::Failed(message) if ends_at_failure() => {
                        eprintln!("{message}");
                        std::process::exit(FAILED);
                    }
                    Verdict::Failed(message) => Err(Failed::from(message)),
                }
            })
        };
        let mut checks = self.checks();
        // The longest checks begin first, so that the run does not wait for them at its end.
        checks.sort_by_key(|check| !check.clauses.contains(&"B6") && !check.is_random());
        checks.into_iter().map(trial).collect()
    }
}
