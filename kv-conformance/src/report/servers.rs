//! The servers on which a backend was tested, and the results.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use super::markdown::cell;
use crate::error::BoxError;

/// The lines between which the table stands in a file.
const BEGIN: &str = "<!-- kv-conformance servers -->";
const END: &str = "<!-- end of kv-conformance servers -->";

const WHOLE: &str = "the whole contract";

/// A table of servers: which suites ran on them, and what they found.
///
/// | server | suites | result |
/// |---|---|---|
/// | redis 7.0.15 | cluster, tcp | the whole contract |
/// | memcached 1.4.39 | classic | without copy and rename, listing |
///
/// A result is one of three: the whole contract; what was opted out of; the clauses that are broken. It does not count checks, so that a
/// row stays true when the suite grows. A server that is not available to a later run keeps its row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTable {
    /// The result of each suite on each server.
    results: BTreeMap<(Server, String), String>,
}

/// The name of a server, such as `redis 7.0.15`, ordered by the numbers in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    order: Vec<(String, u64)>,
    name: String,
}

impl ServerTable {
    /// The table of these reports.
    ///
    /// # Errors
    /// A report is [partial](Report::is_partial), or names no [server](Report::server).
    pub fn new(reports: impl IntoIterator<Item = Report>) -> Result<Self, BoxError> {
        let mut table = Self::default();
        for report in reports {
            let suite = &report.suite;
            if report.is_partial() {
                return Err(format!("the report of {suite} is partial; run the suite as a whole").into());
            }
            let server = report.server.as_deref().ok_or_else(|| format!("the report of {suite} names no server"))?;
            table.results.insert((Server::new(server), suite.clone()), result_of(&report));
        }
        Ok(table)
    }

    /// Returns a text, such as a README, with the results of this table in its table. They replace those of the same suites on the same
    /// servers; all other rows stay.
    ///
    /// # Errors
    /// The text has no such table, or a row of it does not have three cells.
    pub fn insert_into(&self, text: &str) -> Result<String, BoxError> {
        let (before, table, after) = split(text)?;
        let mut merged = Self::parse(table)?;
        merged.results.extend(self.results.clone());
        Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", merged.to_markdown()))
    }

    /// A sentence for each result of this table that contradicts the table in a text, or that breaks a clause. A server that is not in the
    /// text does not contradict it.
    ///
    /// # Errors
    /// The text has no such table, or a row of it does not have three cells.
    pub fn contradictions(&self, text: &str) -> Result<Vec<String>, BoxError> {
        let known = Self::parse(split(text)?.1)?;
        let differs = |(of, found): (&(Server, String), &String)| {
            let (server, suite) = (&of.0.name, &of.1);
            match known.results.get(of) {
                Some(known) if known != found => {
                    Some(format!("{server}, {suite}: the table says {known:?}, and the suite found {found:?}"))
                }
                None if found.starts_with("breaks ") => Some(format!("{server}, {suite}: {found}")),
                _ => None,
            }
        };
        Ok(self.results.iter().filter_map(differs).collect())
    }

    /// The table in Markdown. Suites with the same result on a server share a row.
    pub fn to_markdown(&self) -> String {
        let mut rows = BTreeMap::<(&Server, &str), BTreeSet<&str>>::new();
        for ((server, suite), result) in &self.results {
            rows.entry((server, result)).or_default().insert(suite);
        }
        let mut lines = vec!["| server | suites | result |".to_owned(), "|---|---|---|".to_owned()];
        lines.extend(rows.into_iter().map(|((server, result), suites)| {
            let suites = suites.into_iter().collect::<Vec<_>>().join(", ");
            format!("| {} | {} | {} |", cell(&server.name), cell(&suites), cell(result))
        }));
        lines.join("\n") + "\n"
    }

    /// Reads what [`to_markdown`](Self::to_markdown) wrote.
    fn parse(markdown: &str) -> Result<Self, BoxError> {
        let mut table = Self::default();
        for line in markdown.lines().skip_while(|line| !line.starts_with("|---")).skip(1) {
            let cells = line.split('|').map(str::trim).collect::<Vec<_>>();
            let ["", server, suites, result, ""] = *cells else {
                if line.trim_start().starts_with('|') {
                    return Err(format!("this row of the table does not have three cells: {line}").into());
                }
                continue;
            };
            for suite in suites.split(", ") {
                table.results.insert((Server::new(server), suite.to_owned()), result.to_owned());
            }
        }
        Ok(table)
    }
}

impl Server {
    fn new(name: &str) -> Self {
        let mut order = Vec::new();
        let mut rest = name;
        while !rest.is_empty() {
            let text_ends = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (text, tail) = rest.split_at(text_ends);
            let number_ends = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let (number, tail) = tail.split_at(number_ends);
            order.push((text.to_owned(), number.parse().unwrap_or(0)));
            rest = tail;
        }
        Self { order, name: name.to_owned() }
    }
}

/// The text before the table, the table, and the text after it.
fn split(text: &str) -> Result<(&str, &str, &str), BoxError> {
    let missing = |line| format!("there is no line {line}");
    let (before, rest) = text.split_once(&format!("{BEGIN}\n")).ok_or_else(|| missing(BEGIN))?;
    let (table, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok((before, table, after))
}

fn result_of(report: &Report) -> String {
    let broken = report.failures().flat_map(|failure| match failure.broken() {
        [] => vec![format!("`{}`", failure.name)],
        clauses => clauses.to_vec(),
    });
    let broken = broken.collect::<BTreeSet<_>>();
    if !broken.is_empty() {
        return format!("breaks {}", broken.into_iter().collect::<Vec<_>>().join(" "));
    }
    let left_out = report.opt_outs.keys().map(String::as_str).collect::<Vec<_>>();
    if left_out.is_empty() { WHOLE.into() } else { format!("without {}", left_out.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn report(of: Report, server: &str, suite: &str) -> Report {
        Report { server: Some(server.into()), suite: suite.into(), ..of }
    }

    fn table() -> ServerTable {
        ServerTable::new([
            report(example::memory(), "redis 10.2.0", "tcp"),
            report(example::memory(), "redis 7.0.15", "tcp"),
            report(example::memory(), "redis 7.0.15", "cluster"),
            report(example::cannot_list(), "redis 7.0.15", "narrow"),
            report(example::broken(), "memcached 1.6.18", "tcp"),
        ])
        .unwrap()
    }

    const MARKDOWN: &str = "\
| server | suites | result |
|---|---|---|
| memcached 1.6.18 | tcp | breaks G1 |
| redis 7.0.15 | cluster, tcp | the whole contract |
| redis 7.0.15 | narrow | without listing |
| redis 10.2.0 | tcp | the whole contract |
";

    #[test]
    fn a_row_says_what_the_suites_found_on_a_server() {
        assert_eq!(table().to_markdown(), MARKDOWN);
        assert_eq!(ServerTable::parse(MARKDOWN).unwrap(), table());
    }

    #[test]
    fn rows_of_other_servers_stay() {
        let text = format!("before\n{BEGIN}\n\n{MARKDOWN}\n{END}\nafter\n");
        let news = ServerTable::new([
            report(example::memory(), "memcached 1.6.18", "tcp"),
            report(example::memory(), "redis 7.0.15", "narrow"),
            report(example::cannot_list(), "redis 9.0.0", "tcp"),
        ]);
        let inserted = news.unwrap().insert_into(&text).unwrap();
        let expected = "\
| server | suites | result |
|---|---|---|
| memcached 1.6.18 | tcp | the whole contract |
| redis 7.0.15 | cluster, narrow, tcp | the whole contract |
| redis 9.0.0 | tcp | without listing |
| redis 10.2.0 | tcp | the whole contract |
";
        assert_eq!(inserted, format!("before\n{BEGIN}\n\n{expected}\n{END}\nafter\n"));
        assert_eq!(ServerTable::default().insert_into(&inserted).unwrap(), inserted);
    }

    #[test]
    fn a_row_with_another_number_of_cells_is_an_error() {
        for row in
            ["| redis 8.0.0 | tcp |", "| redis 8.0.0 | tcp | the whole contract | and more |", "| redis 8.0.0", "|"]
        {
            let text = format!("{BEGIN}\n\n{MARKDOWN}{row}\n\n{END}");
            let expected = format!("this row of the table does not have three cells: {row}");
            assert_eq!(table().insert_into(&text).unwrap_err().to_string(), expected);
            assert_eq!(table().contradictions(&text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn contradictions_to_the_table_are_reported() {
        let text = format!("{BEGIN}\n{MARKDOWN}{END}");
        assert_eq!(table().contradictions(&text).unwrap(), Vec::<String>::new());
        let news = ServerTable::new([
            report(example::cannot_list(), "redis 10.2.0", "tcp"),
            report(example::memory(), "redis 11.0.0", "tcp"),
            report(example::broken(), "redis 12.0.0", "tcp"),
        ]);
        assert_eq!(
            news.unwrap().contradictions(&text).unwrap(),
            [
                "redis 10.2.0, tcp: the table says \"the whole contract\", and the suite found \"without listing\"",
                "redis 12.0.0, tcp: breaks G1",
            ]
        );
    }

    #[test]
    fn a_report_that_is_partial_or_names_no_server_is_refused() {
        let error = ServerTable::new([report(example::partial(), "redis 7.0.15", "tcp")]).unwrap_err();
        assert_eq!(error.to_string(), "the report of tcp is partial; run the suite as a whole");
        let error = ServerTable::new([example::memory()]).unwrap_err();
        assert_eq!(error.to_string(), "the report of memory names no server");
        let error = table().insert_into("no table").unwrap_err();
        assert_eq!(error.to_string(), format!("there is no line {BEGIN}"));
    }
}
