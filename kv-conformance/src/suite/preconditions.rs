//! What has to hold before a check runs: it was not opted out of, and its fixture is not broken.

use std::sync::OnceLock;

use super::builder::Suite;
use crate::checks::{Check, fixture};
use crate::report::{self, CheckResult, Verdict};

impl Suite {
    /// The result of the check of the fixture, or of the fixture with faults. These run before all others.
    pub(super) fn fixture_result(&self, has_faults: bool, seed: u64) -> &CheckResult {
        let (result, check) = if has_faults {
            (&self.fixture_with_faults, fixture::of_store_with_faults())
        } else {
            (&self.fixture, fixture::of_store())
        };
        result.get_or_init(|| self.run_watched(&check, seed))
    }

    /// The failures of the fixtures that are not among these results. Checks that were ignored because of them must not count as a success.
    pub(super) fn unseen_failures_of_fixtures(&self, results: &[CheckResult]) -> Vec<CheckResult> {
        let failures = [&self.fixture, &self.fixture_with_faults].into_iter().filter_map(OnceLock::get);
        let unseen = failures.filter(|failure| {
            let because = Verdict::Ignored(does_not_hold(&failure.name));
            let is_seen = results.iter().any(|result| result.name == failure.name);
            failure.has_failed() && !is_seen && results.iter().any(|result| result.verdict == because)
        });
        unseen.cloned().collect()
    }

    /// Why a check must not run: it needs a capability that was opted out of or is missing, or its fixture is broken.
    pub(super) fn ignored_because(&self, check: &Check, seed: u64) -> Option<String> {
        if let Some((capability, reason)) = self.scope.opt_outs.iter().find(|(of, _)| check.needs.contains(of)) {
            return Some(report::opted_out(&capability.to_string(), reason));
        }
        let fixture = self.fixture_result(check.has_faults, seed);
        if fixture.has_failed() {
            return Some(does_not_hold(&fixture.name));
        }
        let lacking = check.needs.iter().find(|&&of| self.scope.is_lacking(of))?;
        let of_o1 = "o1_capabilities_are_those_that_were_not_opted_out_of";
        Some(format!("capabilities() lacks {lacking}, which is not opted out of: see {of_o1}"))
    }
}

/// Why checks are ignored if their fixture is broken.
fn does_not_hold(check: &str) -> String {
    format!("the fixture does not hold: see {check}")
}
