//! One report in a matrix: what the store supports, and what the checks found about each clause.

use std::collections::BTreeSet;

use super::super::cell::Cell;
use super::super::result::{CheckResult, Verdict, opted_out};
use super::super::{LENIENT_COUNTERS, Report, StoreInfo};
use crate::error::BoxError;

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) title: String,
    report: Report,
    /// What the store says about itself, taken out of the report.
    pub(super) store: StoreInfo,
}

impl Column {
    pub(super) fn new(title: String, mut report: Report) -> Result<Self, BoxError> {
        if report.is_partial() {
            let left_out = report.left_out.len();
            return Err(format!(
                "the report of {title} is partial: a filter left out {left_out} checks; run the suite as a whole"
            )
            .into());
        }
        match report.store.take() {
            Some(store) => Ok(Self { title, report, store }),
            None => Err(format!("the report of {title} tells nothing of a store: no check got one").into()),
        }
    }

    pub(super) fn capability(&self, capability: &str) -> Cell {
        let note = match (self.store.capabilities.get(capability), self.report.opt_outs.get(capability)) {
            (Some(true), _) => return Cell::kept(),
            (_, Some(reason)) => opted_out(capability, reason),
            (_, None) => "not in `capabilities()`, and not opted out of".into(),
        };
        Cell { text: "–".into(), note: Some(note) }
    }

    pub(super) fn clause(&self, clause: &str) -> Cell {
        let of = self.report.results.iter().filter(|result| result.clauses.iter().any(|of| of == clause));
        let (about, others) = of.partition::<Vec<_>, _>(|result| result.is_about(clause));
        let reasons = reasons(if about.is_empty() { &others } else { &about });
        let is_opted_out = self.report.opt_outs.iter().any(|(of, reason)| reasons.contains(&opted_out(of, reason)));
        let ran = |result: &&CheckResult| !matches!(result.verdict, Verdict::Ignored(_));
        let broken = self.failed(|result| self.is_broken_in(clause, result));
        if !broken.is_empty() && (!is_opted_out || about.iter().any(ran)) {
            return Cell { text: "✗".into(), note: Some(format!("failed: {}", broken.join(", "))) };
        }
        let has_passed = |results: &[&CheckResult]| results.iter().any(|result| result.verdict == Verdict::Passed);
        let by_the_way = !is_opted_out && !about.iter().any(|result| result.has_failed()) && has_passed(&others);
        if has_passed(&about) || by_the_way {
            return Cell { note: self.weaknesses_in(clause, &about, &others), ..Cell::kept() };
        }
        let undecided = self.failed(|result| result.clauses.iter().any(|of| of == clause));
        let note = match (reasons.is_empty(), clause) {
            _ if !is_opted_out && !undecided.is_empty() => self.not_decided(clause, &undecided),
            (false, _) => reasons.into_iter().collect::<Vec<_>>().join("; "),
            // Each opt-out has a check of its own.
            (true, "O3") if self.report.opt_outs.is_empty() => "nothing is opted out of".into(),
            (true, _) => "no check of this run is about it".into(),
        };
        Cell { text: if is_opted_out { "–" } else { "·" }.into(), note: Some(note) }
    }

    /// The names of those of these checks that failed.
    fn failed(&self, which: impl Fn(&CheckResult) -> bool) -> Vec<String> {
        let failed = self.report.failures().filter(|result| which(result));
        failed.map(|result| format!("`{}`", result.name)).collect()
    }

    /// Why nothing is known about a clause whose checks have failed.
    fn not_decided(&self, clause: &str, failed: &[String]) -> String {
        let failures = self.report.failures().filter(|result| result.clauses.iter().any(|of| of == clause));
        let because = failures.flat_map(|failure| self.explained_by(failure)).map(|other| format!("`{}`", other.name));
        let because = because.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        let because =
            if because.is_empty() { String::new() } else { format!(", perhaps because of {}", because.join(", ")) };
        format!("not decided: {} failed{because}", failed.join(", "))
    }

    /// The failures of checks that this one relies on. They may be its whole cause.
    fn explained_by<'a>(&'a self, failure: &'a CheckResult) -> impl Iterator<Item = &'a CheckResult> {
        self.report.failures().filter(|other| failure.relies_on().contains(&other.name))
    }

    /// Whether a failure breaks a clause. A failure that breaks one of several clauses is explained by a clause that other failures
    /// certainly break.
    fn is_broken_in(&self, clause: &str, failure: &CheckResult) -> bool {
        let is_explained = |failure| self.explained_by(failure).next().is_some();
        if is_explained(failure) {
            return false;
        }
        let for_certain = |broken: &String| {
            self.report.failures().any(|other| other.broken() == [broken.as_str()] && !is_explained(other))
        };
        match failure.broken() {
            [broken] => broken == clause,
            several => {
                several.iter().any(|broken| broken == clause)
                    && (for_certain(&clause.to_owned()) || !several.iter().any(for_certain))
            }
        }
    }

    /// The weaknesses that the store declares: of the order of operations, if the clause is checked by histories, and of counters at U5.
    fn weaknesses_in(&self, clause: &str, about: &[&CheckResult], others: &[&CheckResult]) -> Option<String> {
        let is_of_history = |result: &&&CheckResult| result.name.starts_with("p1_histories_");
        let has_histories = about.iter().chain(others).any(|result| is_of_history(&result));
        let concerns = |what: &str| if what == LENIENT_COUNTERS { clause == "U5" } else { has_histories };
        let declared = self.report.weaknesses.iter().filter(|(what, _)| concerns(what));
        let weaknesses = declared.map(|(what, reason)| format!("weaker: {what}: {reason}"));
        Some(weaknesses.collect::<Vec<_>>().join("; ")).filter(|note| !note.is_empty())
    }
}

/// Why these checks were not run.
fn reasons(results: &[&CheckResult]) -> BTreeSet<String> {
    let reason = |result: &&CheckResult| match &result.verdict {
        Verdict::Ignored(reason) => Some(reason.clone()),
        _ => None,
    };
    results.iter().filter_map(reason).collect()
}
