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
    /// What is known of a failure beside its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureDetails>,
    /// How long it took.
    pub took: Duration,
}

/// What is known of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureDetails {
    /// The clauses of the contract that it breaks: if there are several, one of them at least. They need not be among those that
    /// the check is about: a store that panics breaks E4. If the list is empty, something else than the store failed.
    pub broken: Vec<String>,
    /// The checks of what this one relies on, where it has not seen itself which clause is broken: it names the one that it is about, or
    /// several. If one of them has failed too, that may be all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relies_on: Vec<String>,
    /// What was expected, if the message says so.
    pub expected: Option<String>,
    /// What came in its place.
    pub got: Option<String>,
    /// The command that runs this check again.
    pub again: String,
    /// File, line and column of the panic, if it was one.
    pub panicked_at: Option<String>,
}

impl CheckResult {
    /// Whether the check is about this clause, and does not merely see it too.
    pub(crate) fn is_about(&self, clause: &str) -> bool {
        self.clauses.first().is_some_and(|first| first == clause)
    }

    /// The result as it may be written down.
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

    /// The checks of what this one relies on, if that may be what has failed.
    pub(crate) fn relies_on(&self) -> &[String] {
        self.failure.as_ref().map_or(&[], |failure| &failure.relies_on)
    }

    /// The clauses of which a failure breaks one at least. A report of an earlier version says of a failure only what the check is
    /// about.
    pub(crate) fn broken(&self) -> &[String] {
        match &self.failure {
            Some(failure) => &failure.broken,
            None if self.has_failed() => self.clauses.get(..1).unwrap_or_default(),
            None => &[],
        }
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
