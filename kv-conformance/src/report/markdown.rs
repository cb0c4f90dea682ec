//! A report as Markdown.

use std::time::Duration;

use super::{Report, StoreInfo, Verdict};

impl Report {
    /// The report as Markdown, for people: what was checked, the failures, every check.
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
        lines.extend(["", "| | |", "|---|---|"].map(str::to_owned));
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
        for result in &self.results {
            if let Verdict::Failed(message) = &result.verdict {
                lines.extend([String::new(), format!("### `{}`", result.name), String::new(), block(message)]);
            }
        }
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

    /// What was checked, by what.
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
        facts.push(("resolution of lifetimes".into(), self.resolution()));
        let longest = self.longest_ttl.map_or("no limit".into(), |longest| format!("{longest:?}"));
        facts.push(("longest lifetime".into(), longest));
        let largest = self.largest_value.map_or("no limit".into(), |largest| format!("{largest} bytes"));
        facts.push(("largest value".into(), largest));
        facts
    }

    /// How late an entry may go, in words.
    pub(super) fn resolution(&self) -> String {
        if self.ttl_resolution == Duration::ZERO { "exact".into() } else { format!("{:?}", self.ttl_resolution) }
    }
}

/// A text in one line that ends no cell of a table and begins no tag.
pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

/// A text of several lines as it is: indented, since there is no fence that could not be in it.
fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use crate::report::example;

    #[test]
    fn everything_is_in_it() {
        let markdown = example::cannot_list().to_markdown();
        let expected = "\
# cannot_list

1 passed; 0 failed; 2 ignored.

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
| resolution of lifetimes | 1ms |
| longest lifetime | 60s |
| largest value | 1024 bytes |

## Opted out

- listing: the protocol \\| has no way

## Checks

| check | clauses | result | seconds |
|---|---|---|---:|
| `g1_absent` | G1 P1 | passed | 0.012 |
| `l5_foreign` | L5 | ignored: opted out of listing: the protocol \\| has no way | 0.012 |
| `n1_limits` | N1 | ignored: the fixture has no proxy | 0.012 |
";
        assert_eq!(markdown, expected);
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
    fn a_run_with_a_filter_says_that_it_is_partial() {
        let partial = example::partial().to_markdown();
        assert!(partial.contains("\n**Partial: 1 of 3 checks were run, 2 were left out by a filter.**\n"), "{partial}");
        assert!(!example::memory().to_markdown().contains("Partial"));
    }
}
