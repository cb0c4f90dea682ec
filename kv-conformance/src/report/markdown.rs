//! A report as Markdown.

use std::time::Duration;

use super::coverage::table;
use super::{Matrix, Report, StoreInfo, Verdict};

impl Report {
    /// The report as Markdown, for people: the clauses as in a [matrix](super::Matrix), unless the report is partial; what was checked; the
    /// failures, in the order of the clauses that they break; every check.
    pub fn to_markdown(&self) -> String {
        let [passed, failed, ignored] = self.counts();
        let mut lines = vec![format!("# {}", cell(&self.suite)), String::new()];
        if self.is_partial() {
            let (run, left_out) = (self.results.len(), self.left_out.len());
            let all = run + left_out;
            lines.push(format!("**Partial: {run} of {all} checks were run, {left_out} were left out by a filter.**"));
            lines.push(String::new());
        }
        lines.push(format!("{passed} passed; {failed} failed; {ignored} ignored."));
        let clauses = Matrix::clauses_of(self);
        if !clauses.is_empty() {
            lines.extend(
                ["", "## Clauses", "", "✓ checked and kept, – opted out, · not checked or not decided, ✗ broken"]
                    .map(str::to_owned),
            );
            lines.extend(["", "| | clause | | |", "|---|---|:---:|---|"].map(str::to_owned));
            lines.extend(clauses);
        }
        lines.extend(["", "## What was checked", "", "| | |", "|---|---|"].map(str::to_owned));
        lines.extend(self.facts().into_iter().map(|(what, value)| format!("| {} | {} |", cell(&what), cell(&value))));
        if !self.opt_outs.is_empty() {
            lines.extend(["", "## Opted out", ""].map(str::to_owned));
        }
        lines.extend(self.opt_outs.iter().map(|(of, reason)| format!("- {}: {}", cell(of), cell(reason))));
        if !self.weaknesses.is_empty() {
            lines.extend(["", "## Weaker than the contract", ""].map(str::to_owned));
        }
        lines.extend(self.weaknesses.iter().map(|(what, reason)| format!("- {}: {}", cell(what), cell(reason))));
        if failed > 0 {
            lines.extend(["", "## Failures"].map(str::to_owned));
        }
        let mut failures = self.failures().collect::<Vec<_>>();
        failures.sort_by_key(|failure| failure.broken().first().map(|clause| place(clause)));
        for result in failures {
            if let Verdict::Failed(message) = &result.verdict {
                lines.extend([String::new(), format!("### `{}`", result.name), String::new(), block(message)]);
            }
        }
        lines.extend(table(&self.coverage));
        let head = ["", "## Checks", "", "| check | clauses | result | seconds |", "|---|---|---|---:|"];
        lines.extend(head.map(str::to_owned));
        for result in &self.results {
            let verdict = match &result.verdict {
                Verdict::Passed => "passed".into(),
                Verdict::Failed(_) => "**FAILED**".into(),
                Verdict::Ignored(reason) => format!("ignored: {}", cell(reason)),
            };
            let (name, clauses, seconds) = (&result.name, result.clauses.join(" "), result.took.as_secs_f64());
            lines.push(format!("| `{name}` | {clauses} | {verdict} | {seconds:.3} |"));
        }
        lines.join("\n") + "\n"
    }

    /// The store that was checked, and the versions that checked it.
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut add = |what: &str, value: String| facts.push((what.to_owned(), value));
        if let Some(package) = &self.package {
            add("crate", format!("{} {}", package.name, package.version));
        }
        if let Some(server) = &self.server {
            add("server", server.clone());
        }
        add("checked by", format!("kv-conformance {}", self.conformance));
        add("contract", format!("kv-core {}", self.contract));
        add("seed", self.seed.to_string());
        match &self.store {
            Some(store) => facts.extend(store.facts()),
            None => add("store", "no check got one".into()),
        }
        facts
    }
}

impl StoreInfo {
    fn facts(&self) -> Vec<(String, String)> {
        let yes_or_no = |has: bool| if has { "yes" } else { "no" }.to_owned();
        let mut facts = vec![("store".to_owned(), self.name.clone())];
        facts.extend(self.capabilities.iter().map(|(capability, &has)| (capability.clone(), yes_or_no(has))));
        facts.push(("resolution of TTLs".into(), self.resolution()));
        let longest = self.longest_ttl.map_or("no limit".into(), |longest| format!("{longest:?}"));
        facts.push(("longest TTL".into(), longest));
        let largest = self.largest_value.map_or("no limit".into(), |largest| format!("{largest} bytes"));
        facts.push(("largest value".into(), largest));
        facts
    }

    /// How late an entry may expire, in words.
    pub(super) fn resolution(&self) -> String {
        if self.ttl_resolution == Duration::ZERO { "exact".into() } else { format!("{:?}", self.ttl_resolution) }
    }
}

/// The position of a clause in the contract.
fn place(clause: &str) -> Option<usize> {
    kv_core::contract::TEXT.find(&format!("- **{clause}** "))
}

/// A text on one line, escaped so that it ends no cell of a table and begins no tag.
pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

/// A text of several lines, unchanged. It is indented, because it could contain any fence.
fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use crate::report::{FailureDetails, example};

    #[test]
    fn everything_is_in_it() {
        let markdown = example::cannot_list().to_markdown();
        let begin = "\
# cannot_list

1 passed; 0 failed; 2 ignored.

## Clauses

✓ checked and kept, – opted out, · not checked or not decided, ✗ broken

| | clause | | |
|---|---|:---:|---|
| 1 Keys | K1 | · | no check of this run is about it |
|  | K2 | · | no check of this run is about it |
";
        assert!(markdown.starts_with(begin), "{markdown}");
        for row in [
            "| 3 Read, write, delete | G1 | ✓ |  |",
            "|  | L5 | – | opted out of listing: the protocol \\| has no way |",
        ] {
            assert!(markdown.contains(&format!("\n{row}\n")), "{markdown}");
        }
        let end = "\n## What was checked

| | |
|---|---|
| crate | kv-example 1.2.3 |
| server | server 4.5.6 |
| checked by | kv-conformance 0.0.1 |
| contract | kv-core 0.0.2 |
| seed | 18446744073709551615 |
| store | a store |
| create | yes |
| listing | no |
| resolution of TTLs | 1ms |
| longest TTL | 60s |
| largest value | 1024 bytes |

## Opted out

- listing: the protocol \\| has no way

## What random sequences tried

How many classes of each kind were tried with each operation. An operation without a value or a TTL has none.

| operation | steps | keys | values | TTLs | handles |
|---|---:|---:|---:|---:|---:|
| put | 3 | 2 | 1 | 4 | 2 |

## Checks

| check | clauses | result | seconds |
|---|---|---|---:|
| `g1_absent` | G1 P1 | passed | 0.012 |
| `l5_foreign` | L5 | ignored: opted out of listing: the protocol \\| has no way | 0.012 |
| `n1_limits` | N1 | ignored: the fixture has no proxy | 0.012 |
";
        assert!(markdown.ends_with(end), "{markdown}");
    }

    #[test]
    fn a_failure_is_shown_as_it_was_printed() {
        let markdown = example::broken().to_markdown();
        assert!(
            markdown.contains("\n## Failures\n\n### `g1_absent`\n\n    expected: None | got: Some\n    ```\n"),
            "{markdown}"
        );
        assert!(markdown.contains("\n| `g1_absent` | G1 P1 | **FAILED** | 0.012 |\n"), "{markdown}");
        assert!(!example::memory().to_markdown().contains("Failures"));
    }

    #[test]
    fn failures_are_in_the_order_of_the_contract() {
        let mut report = example::broken();
        let [first, second, _] = &mut *report.results else { panic!("it has three results") };
        second.verdict = first.verdict.clone();
        first.failure = Some(FailureDetails { broken: vec!["N1".into()], ..FailureDetails::default() });
        let markdown = report.to_markdown();
        let place = |name: &str| markdown.find(&format!("\n### `{name}`\n")).unwrap();
        assert!(place("l5_foreign") < place("g1_absent"), "{markdown}");
    }

    #[test]
    fn a_run_with_a_filter_says_that_it_is_partial() {
        let partial = example::partial().to_markdown();
        assert!(
            !partial.contains("## Clauses")
                && partial.contains("\n**Partial: 1 of 3 checks were run, 2 were left out by a filter.**\n"),
            "{partial}"
        );
        assert!(!example::memory().to_markdown().contains("Partial"));
    }
}
