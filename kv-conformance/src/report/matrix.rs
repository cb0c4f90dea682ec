//! Several reports side by side.

mod column;

use kv_core::Capability;

use super::Report;
use super::cell::Cell;
use super::markdown::cell;
use crate::error::BoxError;
use column::Column;

/// The title of the section that is not in the contract.
const CAPABILITIES: &str = "Capabilities";

/// The lines between which the matrix stands in a file.
const BEGIN: &str = "<!-- kv-conformance matrix -->";
const END: &str = "<!-- end of kv-conformance matrix -->";

/// The feature matrix: what several stores can do and which clauses of the contract they keep, as their reports say.
///
/// Each report has a column. Each capability, the resolution of TTLs, and each clause have a row; neighbours that are the same in every
/// column share a row. A cell says:
///
/// | | |
/// |---|---|
/// | ✓ | a check of the clause has passed, and no failure breaks it |
/// | – | opted out, for the reason in the note |
/// | · | not checked, or not decided, for the reason in the note |
/// | ✗ | broken, as the checks in the note have found |
///
/// A failure breaks the clauses that it [names](crate::FailureDetails::broken), not all that its check would have seen. Some checks [rely
/// on](crate::FailureDetails::relies_on) plain ones, such as that a written value is read. If such a plain check has failed, the clauses of
/// the checks that rely on it are not decided. A clause that was opted out of completely shows no failure.
///
/// A check is about the first of its clauses. If the checks that are about a clause were not run because of an opt-out, the clause is opted
/// out of, even if a check of another clause sees something of it.
///
/// Nothing in it changes from run to run, so that it can be compared with a file.
#[derive(Clone, Debug)]
pub struct Matrix {
    columns: Vec<Column>,
}

/// Neighbours in a section that have the same cells.
struct Row {
    section: String,
    of: Vec<String>,
    cells: Vec<Cell>,
}

impl Matrix {
    /// The matrix of these reports, each with the title of its column.
    ///
    /// # Errors
    /// A report is [partial](Report::is_partial), or no check got a store. Such a report does not say what the store supports.
    pub fn new<T: Into<String>>(reports: impl IntoIterator<Item = (T, Report)>) -> Result<Self, BoxError> {
        let columns = reports.into_iter().map(|(title, report)| Column::new(title.into(), report));
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    /// The matrix as a table in Markdown, with what its signs mean and its notes below.
    pub fn to_markdown(&self) -> String {
        let titles = self.columns.iter().map(|column| cell(&column.title)).collect::<Vec<_>>().join(" | ");
        let mut lines = vec![format!("| | | {titles} |"), format!("|---|---|{}", ":---:|".repeat(self.columns.len()))];
        let (mut notes, mut section) = (Vec::new(), String::new());
        for Row { section: in_section, of, cells } in self.rows() {
            let cells = cells.into_iter().map(|cell| cell.numbered(&mut notes)).collect::<Vec<_>>().join(" | ");
            let title = if in_section == section { "" } else { &in_section };
            lines.push(format!("| {} | {} | {cells} |", cell(title), cell(&of.join(", "))));
            section = in_section;
        }
        lines.push("\n✓ checked and kept, – opted out, · not checked, ✗ broken".into());
        if !notes.is_empty() {
            lines.push(String::new());
        }
        lines.extend((1..).zip(&notes).map(|(number, note)| format!("{number}. {}", cell(note))));
        lines.join("\n") + "\n"
    }

    /// Returns a text, such as a README, in which the matrix replaces what is between these two lines:
    ///
    /// ```text
    /// <!-- kv-conformance matrix -->
    /// <!-- end of kv-conformance matrix -->
    /// ```
    ///
    /// # Errors
    /// One of the lines is missing.
    pub fn insert_into(&self, text: &str) -> Result<String, BoxError> {
        let missing = |line| format!("there is no line {line}");
        let (before, rest) = text.split_once(&format!("{BEGIN}\n")).ok_or_else(|| missing(BEGIN))?;
        let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
        Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.to_markdown()))
    }

    /// The clauses of one report as rows of a table: section, clause, cell and note.
    pub(super) fn clauses_of(report: &Report) -> Vec<String> {
        let Ok(matrix) = Self::new([("", report.clone())]) else { return Vec::new() };
        let (mut lines, mut last) = (Vec::new(), String::new());
        for row in matrix.rows().into_iter().filter(|row| row.section != CAPABILITIES) {
            let [Cell { text, note }] = &*row.cells else { continue };
            let note = cell(note.as_deref().unwrap_or_default());
            for of in row.of {
                let section = if row.section == last { "" } else { &row.section };
                lines.push(format!("| {section} | {of} | {text} | {note} |"));
                last.clone_from(&row.section);
            }
        }
        lines
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::<Row>::new();
        let mut add = |section: &str, of: &str, fill: &dyn Fn(&Column) -> Cell| {
            let cells = self.columns.iter().map(fill).collect();
            match rows.last_mut() {
                Some(last) if last.section == section && last.cells == cells => last.of.push(of.into()),
                _ => rows.push(Row { section: section.into(), of: vec![of.into()], cells }),
            }
        };
        for capability in Capability::ALL {
            let capability = capability.to_string();
            add(CAPABILITIES, &capability, &|column| column.capability(&capability));
        }
        add(CAPABILITIES, "resolution of TTLs", &|column| Cell { text: column.store.resolution(), note: None });
        let mut section = "";
        for line in kv_core::contract::TEXT.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                section = title;
            } else if let Some((clause, _)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("** ")) {
                add(section, clause, &|column| column.clause(clause));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::{CheckResult, FailureDetails, Verdict, example};

    fn all() -> Matrix {
        let reports =
            [("memory", example::memory()), ("no list", example::cannot_list()), ("broken", example::broken())];
        Matrix::new(reports).unwrap()
    }

    /// The row with this beginning.
    fn row(markdown: &str, begin: &str) -> String {
        let row = markdown.lines().find(|line| line.starts_with(begin));
        row.unwrap_or_else(|| panic!("{begin} is not in {markdown}")).to_owned()
    }

    #[test]
    fn a_weaker_promise_is_a_note() {
        let matrix = Matrix::new([("memory", example::memory()), ("evicting", example::evicting())]).unwrap();
        let shown = matrix.to_markdown();
        let row = shown.lines().find(|line| line.contains("| P1 |")).unwrap();
        assert!(row.starts_with("|  | P1 | ✓ | ✓") && !row.ends_with("| ✓ |"), "{shown}");
        assert!(shown.contains(". weaker: an entry may be evicted at any time: it is small\n"), "{shown}");
        assert!(example::evicting().to_markdown().contains("## Weaker than the contract\n\n- an entry may be evicted"));
    }

    #[test]
    fn a_cell_says_what_the_checks_found() {
        let markdown = all().to_markdown();
        assert!(markdown.starts_with("| | | memory | no list | broken |\n|---|---|:---:|:---:|:---:|\n"), "{markdown}");
        assert_eq!(row(&markdown, "| Capabilities | listing "), "| Capabilities | listing | ✓ | –¹ | ✓ |");
        assert_eq!(row(&markdown, "|  | resolution of"), "|  | resolution of TTLs | exact | 1ms | exact |");
        assert_eq!(row(&markdown, "| 3 Read, write, delete | G1"), "| 3 Read, write, delete | G1 | ✓ | ✓ | ✗⁴ |");
        assert_eq!(row(&markdown, "|  | P1 |"), "|  | P1 | ✓ | ✓ | ·⁵ |");
        assert_eq!(row(&markdown, "|  | L5 "), "|  | L5 | ✓ | –¹ | ✓ |");
        assert_eq!(row(&markdown, "| 10 Connections | N1 "), "| 10 Connections | N1 | ·⁶ | ·⁶ | ·⁶ |");
        let notes = "
1. opted out of listing: the protocol \\| has no way
2. not in `capabilities()`, and not opted out of
3. no check of this run is about it
4. failed: `g1_absent`
5. not decided: `g1_absent` failed
6. the fixture has no proxy
7. nothing is opted out of
";
        assert!(markdown.ends_with(notes), "{markdown}");
    }

    #[test]
    fn neighbours_that_are_alike_share_a_row() {
        let markdown = all().to_markdown();
        assert_eq!(row(&markdown, "| 1 Keys "), "| 1 Keys | K1, K2, K3, K4, K5 | ·³ | ·³ | ·³ |");
        assert_eq!(row(&markdown, "|  | N2"), "|  | N2, N3, N4, N5, N6 | ·³ | ·³ | ·³ |");
    }

    #[test]
    fn every_clause_and_every_capability_is_in_it() {
        let markdown = all().to_markdown();
        let words = markdown.split([' ', ',', '\n']).collect::<BTreeSet<_>>();
        let clauses = ["K1", "V3", "G1", "D1", "T6", "L1", "B6", "C4", "S4", "E5", "N6", "O3"];
        assert!(clauses.iter().all(|clause| words.contains(clause)), "{markdown}");
        assert!(Capability::ALL.iter().all(|capability| markdown.contains(&capability.to_string())), "{markdown}");
    }

    #[test]
    fn what_another_check_sees_by_the_way_does_not_make_up_for_an_opt_out() {
        let mut report = example::cannot_list();
        report.results[0].clauses.push("L5".into());
        let markdown = Matrix::new([("store", report.clone())]).unwrap().to_markdown();
        assert_eq!(row(&markdown, "|  | L5 "), "|  | L5 | –¹ |");
        // Its failure does not count either.
        report.results[0] = failed(report.results[0].clone(), &["L5"]);
        let markdown = Matrix::new([("store", report)]).unwrap().to_markdown();
        assert!(row(&markdown, "|  | L5 ").starts_with("|  | L5 | –"), "{markdown}");
    }

    fn failed(result: CheckResult, broken: &[&str]) -> CheckResult {
        let broken = broken.iter().map(|&clause| clause.into()).collect();
        let failure = Some(FailureDetails { broken, ..FailureDetails::default() });
        CheckResult { verdict: Verdict::Failed("in some way".into()), failure, ..result }
    }

    /// The matrix of a report with failures of checks: the clauses of each check, and the clauses that its failure breaks.
    fn with_failures(failures: &[(&[&str], &[&str])]) -> String {
        let mut report = example::memory();
        for (number, (clauses, broken)) in failures.iter().enumerate() {
            let clauses = clauses.iter().map(|&clause| clause.into()).collect();
            let result = CheckResult { name: format!("fails_{number}"), clauses, ..report.results[0].clone() };
            report.results.push(failed(result, broken));
        }
        Matrix::new([("store", report)]).unwrap().to_markdown()
    }

    #[test]
    fn a_failure_breaks_what_it_says_and_leaves_the_rest_undecided() {
        let markdown = with_failures(&[(&["K1", "P1", "V1"], &["K1"])]);
        assert!(row(&markdown, "| 1 Keys | K1 ").contains('✗'), "{markdown}");
        // Another check has seen that P1 is kept; no check has seen that of V1.
        assert!(row(&markdown, "| 3 Read, write, delete | G1, P1 ").ends_with("| ✓ |"), "{markdown}");
        assert!(row(&markdown, "| 2 Values | V1 ").contains('·'), "{markdown}");
        assert!(markdown.contains(". not decided: `fails_0` failed\n"), "{markdown}");
        // A failure may break a clause that its check is not about, or no clause.
        let markdown = with_failures(&[(&["K1"], &["E4"]), (&["K2"], &[])]);
        assert!(row(&markdown, "|  | E4 ").contains('✗'), "{markdown}");
        assert!(
            row(&markdown, "| 1 Keys | K1 ").contains('·') && row(&markdown, "|  | K2 ").contains('·'),
            "{markdown}"
        );
    }

    #[test]
    fn what_a_check_relies_on_explains_its_failure() {
        let mut report = example::memory();
        let result = CheckResult { name: "k1_fails".into(), clauses: vec!["K1".into()], ..report.results[0].clone() };
        let mut relying = failed(result, &["K1"]);
        relying.failure.as_mut().unwrap().relies_on = vec!["g1_absent".into()];
        report.results.push(relying);
        let markdown = Matrix::new([("store", report.clone())]).unwrap().to_markdown();
        assert!(row(&markdown, "| 1 Keys | K1 ").contains('✗'), "{markdown}");
        report.results[0] = failed(report.results[0].clone(), &["G1"]);
        let markdown = Matrix::new([("store", report)]).unwrap().to_markdown();
        assert!(row(&markdown, "| 1 Keys | K1 ").contains('·'), "{markdown}");
        assert!(markdown.contains(". not decided: `k1_fails` failed, perhaps because of `g1_absent`\n"), "{markdown}");
        assert!(row(&markdown, "| 3 Read, write, delete | G1 ").contains('✗'), "{markdown}");
    }

    #[test]
    fn a_clause_whose_failure_another_one_explains_is_not_broken() {
        let markdown = with_failures(&[(&["P1"], &["K1", "V1"])]);
        assert!(row(&markdown, "| 1 Keys | K1 ").contains('✗'), "{markdown}");
        assert!(row(&markdown, "| 2 Values | V1 ").contains('✗'), "{markdown}");
        let markdown = with_failures(&[(&["P1", "K1", "V1"], &["K1", "V1"]), (&["V1"], &["V1"])]);
        assert!(row(&markdown, "| 1 Keys | K1 ").contains('·'), "{markdown}");
        assert!(row(&markdown, "| 2 Values | V1 ").contains('✗'), "{markdown}");
    }

    #[test]
    fn what_another_check_sees_counts_where_the_check_of_the_clause_had_nothing_to_do() {
        let mut report = example::memory();
        report.results[0].clauses.push("N1".into());
        let markdown = Matrix::new([("store", report)]).unwrap().to_markdown();
        assert_eq!(row(&markdown, "| 10 Connections | N1 "), "| 10 Connections | N1 | ✓ |");
    }

    #[test]
    fn o3_says_so_if_nothing_was_opted_out_of() {
        let markdown = all().to_markdown();
        assert_eq!(row(&markdown, "|  | O3 "), "|  | O3 | ·⁷ | ·³ | ·⁷ |");
        assert!(markdown.contains("\n7. nothing is opted out of\n"), "{markdown}");
    }

    #[test]
    fn a_report_that_is_partial_or_has_no_store_is_refused() {
        let error = Matrix::new([("memory", example::memory()), ("redis", example::partial())]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the report of redis is partial: a filter left out 2 checks; run the suite as a whole"
        );
        let error = Matrix::new([("redis", Report { store: None, ..example::memory() })]).unwrap_err();
        assert_eq!(error.to_string(), "the report of redis tells nothing of a store: no check got one");
    }

    #[test]
    fn it_replaces_what_stands_between_its_lines() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let matrix = all();
        let inserted = matrix.insert_into(&text).unwrap();
        assert_eq!(inserted, format!("before\n{BEGIN}\n\n{}\n{END}\nafter\n", matrix.to_markdown()));
        assert_eq!(matrix.insert_into(&inserted).unwrap(), inserted);
        for missing in ["before\nafter\n", &text.replace(END, "")] {
            let error = matrix.insert_into(missing).unwrap_err();
            assert!(error.to_string().starts_with("there is no line <!-- "), "{error}");
        }
    }
}
