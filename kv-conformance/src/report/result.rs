//! The result of one check.

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
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Details of a failure, besides its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureDetails>,
    /// How long it took.
    pub took: Duration,
}

/// Details of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureDetails {
    /// The clauses of the contract that it breaks; if there are several, at least one of them is broken. They need not be those that the
    /// check is about: a store that panics breaks E4. If the list is empty, something other than the store failed.
    pub broken: Vec<String>,
    /// The checks that this one relies on, if it did not see itself which clause is broken, and so names the clause that it is about, or
    /// several. If one of these checks failed, too, that may be the whole cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relies_on: Vec<String>,
    /// What was expected, if the message says so.
    pub expected: Option<String>,
    /// What came instead.
    pub got: Option<String>,
    /// The command that runs this check again.
    pub again: String,
    /// File, line and column of the panic, if it was one.
    pub panicked_at: Option<String>,
}

impl CheckResult {
    /// Whether the check is about this clause, and does not only see it by the way.
    pub(crate) fn is_about(&self, clause: &str) -> bool {
        self.clauses.first().is_some_and(|first| first == clause)
    }

    /// The result in the form that is written to files.
    pub(crate) fn without_passwords(mut self) -> Self {
        if let Verdict::Failed(text) | Verdict::Ignored(text) = &mut self.verdict {
            *text = without_passwords(text);
        }
        if let Some(FailureDetails { expected, got, .. }) = &mut self.failure {
            [expected, got].into_iter().flatten().for_each(|text| *text = without_passwords(text));
        }
        self
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }

    /// The checks that this one relies on, if one of them may be the cause.
    pub(crate) fn relies_on(&self) -> &[String] {
        self.failure.as_ref().map_or(&[], |failure| &failure.relies_on)
    }

    /// The clauses of which a failure breaks at least one. In the report of an earlier version these are the clauses of the check.
    pub(crate) fn broken(&self) -> &[String] {
        match &self.failure {
            Some(failure) => &failure.broken,
            None if self.has_failed() => self.clauses.get(..1).unwrap_or_default(),
            None => &[],
        }
    }
}

/// The verdict of a check.
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

/// Why a check that needs an opted-out capability was not run.
pub(crate) fn opted_out(capability: &str, reason: &str) -> String {
    format!("opted out of {capability}: {reason}")
}
