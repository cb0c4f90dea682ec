//! Running the checks of a suite, and the report.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::builder::Suite;
use super::one_check::Run;
use super::reproduce;
use super::trials::main;
use crate::checks::{self, Check};
use crate::report::{CheckResult, Package, Report};
use crate::running::NotPassed;

impl Suite {
    /// Runs the checks as tests, as `cargo test` does: with its arguments (`--list`, a filter, `--exact`,
    /// `--test-threads`, …) and its output. For the `main` of a test target with `harness = false`. Writes a report as
    /// [`main`] does.
    pub fn main(self) -> ExitCode {
        main([self])
    }

    /// Runs all checks, one after the other, and prints nothing.
    pub fn run(&self) -> Report {
        self.run_matching("")
    }

    /// The names of the checks, those that verify opt-outs included.
    pub fn check_names(&self) -> Vec<String> {
        self.checks().iter().map(|check| check.name().to_owned()).collect()
    }

    /// Runs the checks whose name contains `filter`, as [`run`](Self::run) does.
    pub fn run_matching(&self, filter: &str) -> Report {
        let seed = reproduce::seed();
        let checks = self.checks();
        let matching = checks.iter().filter(|check| check.name().contains(filter));
        let mut results = matching.map(|check| self.run_check(check, seed)).collect::<Vec<_>>();
        results.extend(self.unseen_failures_of_fixtures(&results));
        self.report(seed, results)
    }

    /// The check of the fixture, those of the contract, and those of the opt-outs.
    pub(super) fn checks(&self) -> Vec<Check> {
        let opt_outs = self.scope.opt_outs.keys().map(|&capability| checks::opt_out_of(capability));
        let of_faults = self.scope.open_with_faults.is_some().then(checks::fixture::of_store_with_faults);
        [checks::fixture::of_store()].into_iter().chain(of_faults).chain(checks::checks()).chain(opt_outs).collect()
    }

    pub(super) fn run_check(&self, check: &Check, seed: u64) -> CheckResult {
        let of_fixtures = [checks::fixture::of_store(), checks::fixture::of_store_with_faults()];
        if of_fixtures.iter().any(|of_fixture| of_fixture.name() == check.name()) {
            return self.fixture_result(check.has_faults, seed).clone();
        }
        match self.ignored_because(check, seed) {
            Some(reason) => Run::of(self, check, seed).result(Err(NotPassed::Ignored(reason))),
            None => self.run_watched(check, seed),
        }
    }

    /// The report of a run with these results, in any order.
    pub(super) fn report(&self, seed: u64, results: Vec<CheckResult>) -> Report {
        let mut found = results.into_iter().map(|result| (result.name.clone(), result)).collect::<BTreeMap<_, _>>();
        let (mut results, mut left_out) = (Vec::new(), Vec::new());
        for name in self.check_names() {
            match found.remove(&name) {
                Some(result) => results.push(result.without_passwords()),
                None => left_out.push(name),
            }
        }
        Report {
            suite: self.name.clone(),
            package: Package::under_test(),
            server: self.server.clone(),
            store: self.scope.store().cloned(),
            contract: kv_core::contract::VERSION.into(),
            conformance: env!("CARGO_PKG_VERSION").into(),
            seed,
            opt_outs: self.scope.opt_outs.iter().map(|(of, reason)| (of.to_string(), reason.clone())).collect(),
            weaknesses: self.scope.weaknesses.iter().map(|(what, reason)| (what.to_string(), reason.clone())).collect(),
            left_out,
            coverage: self.scope.coverage(),
            results,
        }
    }
}
