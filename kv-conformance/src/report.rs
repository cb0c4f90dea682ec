//! What a run of the suite has found.

use std::fmt;
use std::time::Duration;

/// What [`Suite::run`](crate::Suite::run) has found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The name of the suite.
    pub suite: String,
    /// The seed of the properties.
    pub seed: u64,
    /// One result for each check, in the order of the contract.
    pub results: Vec<CheckResult>,
}

/// The result of one check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckResult {
    /// The name of the check, which is that of a function in [`checks`](crate::checks) or, for the verification of an
    /// opt-out, begins with `o3_opt_out_of_`.
    pub name: String,
    /// The clauses of the contract that it checks.
    pub clauses: &'static [&'static str],
    /// What it found.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The store keeps the clause, as far as the check can tell.
    Passed,
    /// The store breaks it, in this way.
    Failed(String),
    /// The check was not run, for this reason.
    Ignored(String),
}

impl Report {
    /// Whether no check has failed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The results of the checks that have failed.
    pub fn failures(&self) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(|result| matches!(result.verdict, Verdict::Failed(_)))
    }
}

/// The failures, and how many checks there were.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures() {
            if let Verdict::Failed(message) = &failure.verdict {
                writeln!(f, "{}::{}\n{message}\n", self.suite, failure.name)?;
            }
        }
        let count = |which: fn(&Verdict) -> bool| self.results.iter().filter(|r| which(&r.verdict)).count();
        write!(
            f,
            "{}: {} passed; {} failed; {} ignored; seed {}",
            self.suite,
            count(|verdict| matches!(verdict, Verdict::Passed)),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Ignored(_))),
            self.seed
        )
    }
}
