//! Reports for the tests of this module, of a suite of three checks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::result::opted_out;
use super::{CheckResult, CoverageRow, Package, Report, StoreInfo, Verdict};

const REASON: &str = "the protocol | has no way";

fn result(name: &str, clauses: &[&str], verdict: Verdict) -> CheckResult {
    let clauses = clauses.iter().map(|&clause| clause.to_owned()).collect();
    CheckResult { name: name.into(), clauses, verdict, failure: None, took: Duration::from_micros(12_345) }
}

/// The report of a store that supports everything, in its process.
pub(super) fn memory() -> Report {
    let store = StoreInfo {
        name: "memory".into(),
        capabilities: BTreeMap::from([("create".into(), true), ("listing".into(), true)]),
        ttl_resolution: Duration::ZERO,
        longest_ttl: None,
        largest_value: None,
    };
    Report {
        suite: "memory".into(),
        package: Some(Package { name: "kv-memory".into(), version: "1.2.3".into() }),
        server: None,
        store: Some(store),
        contract: "0.0.2".into(),
        conformance: "0.0.1".into(),
        seed: u64::MAX,
        opt_outs: BTreeMap::new(),
        weaknesses: BTreeMap::new(),
        left_out: Vec::new(),
        coverage: vec![CoverageRow { operation: "put".into(), steps: 3, keys: 2, values: 1, ttls: 4, handles: 2 }],
        results: vec![
            result("g1_absent", &["G1", "P1"], Verdict::Passed),
            result("l5_foreign", &["L5"], Verdict::Passed),
            result("n1_limits", &["N1"], Verdict::Ignored("the fixture has no proxy".into())),
        ],
    }
}

/// The report of a store without listings.
pub(super) fn cannot_list() -> Report {
    let store = StoreInfo {
        name: "a store".into(),
        capabilities: BTreeMap::from([("create".into(), true), ("listing".into(), false)]),
        ttl_resolution: Duration::from_millis(1),
        longest_ttl: Some(Duration::from_secs(60)),
        largest_value: Some(1024),
    };
    let [absent, mut foreign, limits] = three(memory());
    foreign.verdict = Verdict::Ignored(opted_out("listing", REASON));
    Report {
        suite: "cannot_list".into(),
        package: Some(Package { name: "kv-example".into(), version: "1.2.3".into() }),
        server: Some("server 4.5.6".into()),
        store: Some(store),
        opt_outs: BTreeMap::from([("listing".into(), REASON.into())]),
        results: vec![absent, foreign, limits],
        ..memory()
    }
}

/// The report of a store that evicts.
pub(super) fn evicting() -> Report {
    let [absent, foreign, limits] = three(memory());
    let history = result("p1_histories_are_linearizable", &["P1"], Verdict::Passed);
    let weaknesses = BTreeMap::from([("an entry may be evicted at any time".into(), "it is small".into())]);
    Report { suite: "evicting".into(), weaknesses, results: vec![absent, foreign, limits, history], ..memory() }
}

/// The report of a store that breaks G1.
pub(super) fn broken() -> Report {
    let [mut absent, foreign, limits] = three(memory());
    absent.verdict = Verdict::Failed("expected: None | got: Some\n```".into());
    Report { suite: "broken".into(), results: vec![absent, foreign, limits], ..memory() }
}

/// The report of a run with a filter.
pub(super) fn partial() -> Report {
    let [absent, foreign, limits] = three(memory());
    Report { left_out: vec![foreign.name, limits.name], results: vec![absent], ..memory() }
}

fn three(report: Report) -> [CheckResult; 3] {
    report.results.try_into().unwrap()
}
