//! What one check has found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::without_passwords;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// The name of the check, which is that of a function in [`checks`](crate::checks) or, for the verification of an
    /// opt-out, begins with `o3_opt_out_of_`.
    pub name: String,
    /// The clauses of the contract that it checks. The first is the one that it is about.
    pub clauses: Vec<String>,
    /// What it found.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

impl CheckResult {
    /// Whether this clause is the one that the check is about, not one that it sees by the way.
    pub(crate) fn is_about(&self, clause: &str) -> bool {
        self.clauses.first().is_some_and(|first| first == clause)
    }

    /// The result as it may be written down.
    pub(crate) fn without_passwords(mut self) -> Self {
        if let Verdict::Failed(text) | Verdict::Ignored(text) = &mut self.verdict {
            *text = without_passwords(text);
        }
        self
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "message", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The store keeps the clause, as far as the check can tell.
    Passed,
    /// The store breaks it, in this way.
    Failed(String),
    /// The check was not run, for this reason.
    Ignored(String),
}

/// Why a check was not run that needs what was opted out of.
pub(crate) fn opted_out(capability: &str, reason: &str) -> String {
    format!("opted out of {capability}: {reason}")
}
