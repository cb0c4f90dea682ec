//! What a run of the suite found, and how it is written to files.

mod cell;
mod coverage;
#[cfg(test)]
mod example;
mod markdown;
mod matrix;
mod result;
mod servers;
mod writing;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kv_core::{Capability, KeyValueStore};
use serde::{Deserialize, Serialize};

pub use coverage::CoverageRow;
pub use matrix::Matrix;
pub(crate) use result::opted_out;
pub use result::{CheckResult, FailureDetails, Verdict};
pub use servers::ServerTable;
pub(crate) use writing::folder;

/// What a report says of a store whose counters take more than digits.
pub(crate) const LENIENT_COUNTERS: &str = "a counter may be more than digits";

/// What [`Suite::run`](crate::Suite::run) has found.
///
/// It contains no password: of a URL that has one, the text before the `@` is left out. The only values in it are those that a check wrote
/// into its own fresh store, in the message of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the suite.
    pub suite: String,
    /// The crate whose tests ran the suite, if cargo ran them.
    pub package: Option<Package>,
    /// What the store runs on, from [`Suite::server`](crate::Suite::server).
    pub server: Option<String>,
    /// What the store says about itself; `None` if no check got a store.
    pub store: Option<StoreInfo>,
    /// The version of `kv-core`, whose contract was checked.
    pub contract: String,
    /// The version of `kv-conformance`, which checked it.
    pub conformance: String,
    /// The seed of the properties.
    pub seed: u64,
    /// What was opted out of, by the name of the capability, and why.
    pub opt_outs: BTreeMap<String, String>,
    /// Where the store promises less than the contract, from [`Suite::weaker`](crate::Suite::weaker), and why.
    pub weaknesses: BTreeMap<String, String>,
    /// The names of the checks that were left out by a filter. If there are any, this report is [partial](Self::is_partial).
    pub left_out: Vec<String>,
    /// What random sequences have tried, by operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<CoverageRow>,
    /// One result for each check that was not left out, in the order of the contract.
    pub results: Vec<CheckResult>,
}

/// A crate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a store says about itself: its name and its [`Capabilities`](kv_core::Capabilities).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreInfo {
    /// The name that the first store of the run reports.
    pub name: String,
    /// Every capability, by its name, and whether the store has it.
    pub capabilities: BTreeMap<String, bool>,
    /// How late an entry may expire.
    pub ttl_resolution: Duration,
    /// The longest TTL; `None` if there is no limit.
    pub longest_ttl: Option<Duration>,
    /// The length in bytes of the largest value; `None` if there is no limit.
    pub largest_value: Option<u64>,
}

impl StoreInfo {
    pub(crate) fn of(store: &dyn KeyValueStore) -> Self {
        let capabilities = store.capabilities();
        let longest_ttl = capabilities.longest_ttl();
        Self {
            name: without_passwords(store.name()),
            capabilities: Capability::ALL.iter().map(|&of| (of.to_string(), capabilities.supports(of))).collect(),
            ttl_resolution: capabilities.ttl_resolution(),
            longest_ttl: (longest_ttl < Duration::MAX).then_some(longest_ttl),
            largest_value: capabilities.largest_value(),
        }
    }
}

impl Package {
    /// The crate whose tests these are. Cargo names it in the environment.
    pub(crate) fn under_test() -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        Some(Self { name: variable("CARGO_PKG_NAME")?, version: variable("CARGO_PKG_VERSION")? })
    }
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

    /// Whether a filter left out checks. Such a report does not describe the store as a whole.
    pub fn is_partial(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// How many checks have passed, have failed, were ignored.
    fn counts(&self) -> [usize; 3] {
        let count = |which: fn(&Verdict) -> bool| self.results.iter().filter(|r| which(&r.verdict)).count();
        [
            count(|verdict| matches!(verdict, Verdict::Passed)),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Ignored(_))),
        ]
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
        let [passed, failed, ignored] = self.counts();
        write!(f, "{}: {passed} passed; {failed} failed; {ignored} ignored; seed {}", self.suite, self.seed)
    }
}

/// A text in which user and password of each URL (`scheme://user:password@host`) are replaced by an ellipsis.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(part.len());
        let (url, rest) = part.split_at(end);
        shown.push_str("://");
        match url.rsplit_once('@') {
            Some((_, host)) => shown.extend(["…@", host]),
            None => shown.push_str(url),
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out_of_urls() {
        let text = "from redis://u:se@cr/et@host:1/2 to \"tcp://host:3\": see a@b";
        assert_eq!(without_passwords(text), "from redis://…@host:1/2 to \"tcp://host:3\": see a@b");
        assert_eq!(without_passwords("://"), "://");
    }
}
