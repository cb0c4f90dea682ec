//! One check of a run: its attempts, and its result with the clauses that it breaks.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::builder::Suite;
use super::reproduce;
use crate::checks::{Check, clause_text};
use crate::report::{CheckResult, FailureDetails, Verdict};
use crate::running::{
    Broken, Context, Finding, NotPassed, Outcome, Scope, Seed, Watchdog, check_effort, panics, trace,
};

/// How often a check is repeated, in real time with longer TTLs, before it is said to have been too slow.
const REPEATS: u32 = 3;

/// The checks on which all others rely: a written value is read, a deleted key is absent, and an entry expires when it should.
const BASICS: &[&str] = &[
    "g1_an_absent_key_reads_as_none",
    "p1_what_was_written_is_read",
    "p1_many_entries_are_all_there",
    "d1_delete_tells_whether_it_removed_an_entry",
    "t2_an_entry_expires_neither_early_nor_late",
];

/// A check in a run.
#[derive(Clone)]
pub(super) struct Run {
    /// The name of the suite.
    suite: String,
    scope: Scope,
    check: Check,
    seed: Seed,
    started: Instant,
}

impl Run {
    pub(super) fn of(suite: &Suite, check: &Check, seed: u64) -> Self {
        Self {
            suite: suite.name.clone(),
            scope: suite.scope.clone(),
            check: *check,
            seed: Seed::new(seed),
            started: Instant::now(),
        }
    }

    /// The same run, whose operations are watched.
    pub(super) fn watched_by(self, watchdog: &Arc<Watchdog>) -> Self {
        Self { scope: self.scope.watched_by(watchdog), ..self }
    }

    /// Runs the check on this thread, and again if the machine was too slow.
    pub(super) fn attempt(&self) -> Outcome {
        check_effort()?;
        let Self { scope, check, seed, .. } = self;
        let mut last = None;
        let cannot_tell = RefCell::new(None);
        for patience in 0..=REPEATS {
            trace::forget();
            let run = || {
                let fixture = if check.has_faults { scope.open_with_faults()? } else { scope.open()? };
                if !check.has_faults {
                    scope.remember(&fixture);
                }
                let context = Context::new(scope, &fixture, patience, seed.clone());
                let outcome = (check.run)(&context);
                if matches!(outcome, Err(NotPassed::TooSlow)) {
                    *cannot_tell.borrow_mut() = context.cannot_tell();
                }
                outcome
            };
            match panics::catch(run).unwrap_or_else(|panic| Err(panic.into())) {
                Err(NotPassed::TooSlow) => {}
                Err(timed_out @ NotPassed::TimedOut(_)) => last = Some(timed_out),
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| cannot_tell.take().map_or_else(|| self.too_slow(), NotPassed::Ignored)))
    }

    /// The failure of a check that could not tell early from late, however long its TTLs were. It breaks no clause.
    fn too_slow(&self) -> NotPassed {
        let slowest =
            self.scope.slowest().map(|(what, time)| format!(" The slowest was {what}, which took {time:.1?}."));
        NotPassed::failed_beside_the_store(format_args!(
            "this check could not tell early from late, in {} attempts with longer and longer TTLs: the machine is too slow for it, or \
             the operations of the store are.{}",
            REPEATS + 1,
            slowest.unwrap_or_default(),
        ))
    }

    /// The result of this outcome, for the report.
    pub(super) fn result(&self, outcome: Outcome) -> CheckResult {
        let Self { check, started, .. } = self;
        let (verdict, failure) = match outcome {
            Ok(()) => (Verdict::Passed, None),
            Err(NotPassed::Ignored(reason)) => (Verdict::Ignored(reason), None),
            Err(NotPassed::TooSlow) => (Verdict::Failed(NotPassed::TooSlow.to_string()), None),
            Err(NotPassed::Failed(finding) | NotPassed::TimedOut(finding)) => {
                let (message, details) = self.explain(*finding);
                (Verdict::Failed(message), Some(details))
            }
        };
        let clauses = check.clauses.iter().map(|&clause| clause.to_owned()).collect();
        CheckResult { name: check.name().to_owned(), clauses, verdict, failure, took: started.elapsed() }
    }

    /// A finding, with the clauses that it breaks and how to see it again.
    fn explain(&self, finding: Finding) -> (String, FailureDetails) {
        let Self { suite, check, seed, .. } = self;
        let is_sure = match &finding.broken {
            Broken::Check => BASICS.contains(&check.name()),
            Broken::Clauses(several) => several.len() == 1,
            Broken::Unsupported(_) | Broken::Nothing => true,
        };
        let relies_on = if is_sure { Vec::new() } else { BASICS.iter().map(|&name| name.into()).collect() };
        let broken = self.broken_clauses(finding.broken);
        let message = finding.text;
        // The property over all operations names the clauses itself.
        let quoted = if message.contains("\nclauses: ") && broken.len() > 1 { &[][..] } else { &broken };
        let quoted = quoted.iter().map(|clause| format!("clause {}", clause_text(clause)));
        let quoted = quoted.collect::<Vec<_>>().join("\nor ");
        let quoted = if quoted.is_empty() { quoted } else { format!("\n{quoted}") };
        // Properties already show a sequence or an input, and the last operations belong to a simpler one.
        let traced = !check.has_faults && !message.contains("\nsimplest: ");
        let sequence = if traced { trace::sequence() } else { String::new() };
        let (title, name) = (check.title(), check.name());
        let random = if seed.is_used() { reproduce::random_input(seed) } else { String::new() };
        let again = format!("{random}{} -- --exact {suite}::{name}", reproduce::command());
        let message = format!("{title}{quoted}\n{message}{sequence}\nagain:    {again}");
        let Finding { expected, got, panicked_at, .. } = finding;
        (message, FailureDetails { broken, relies_on, expected, got, again, panicked_at })
    }

    /// The clauses of which a failure breaks at least one.
    fn broken_clauses(&self, broken: Broken) -> Vec<String> {
        match broken {
            Broken::Clauses(clauses) => clauses,
            Broken::Nothing => Vec::new(),
            // Either the store said that it can, or the suite did not say that it cannot.
            Broken::Unsupported(capability) if !self.scope.is_opted_out(capability) => {
                vec![if self.scope.is_lacking(capability) { "O3" } else { "O1" }.into()]
            }
            Broken::Check | Broken::Unsupported(_) => {
                self.check.clauses.first().map(|&first| first.into()).into_iter().collect()
            }
        }
    }
}
