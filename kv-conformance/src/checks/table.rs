//! The table of clauses and their checks, `CHECKS.md`: made from the code, so that it cannot go stale.

use std::fmt::Write;
use std::path::Path;

use kv_core::Capability;
use kv_core::contract::TEXT;

use super::capabilities::opt_out_of;
use super::check::Check;
use super::clauses::clause_text;

const INTRODUCTION: &str = "\
# Clauses and their checks

Each clause of the [contract](kv_core::contract) with the checks that are about it, in the order in which they run. The checks
`o3_opt_out_of_…` run where a store opts out of something, in place of those that it is then excused from.

<!-- Made from the code by the test `checks::table`. To make it anew: UPDATE=1 cargo test -p kv-conformance --lib checks::table -->
";

/// The checks of the contract and of every opt-out.
fn checks() -> Vec<Check> {
    super::checks().into_iter().chain(Capability::ALL.iter().map(|&capability| opt_out_of(capability))).collect()
}

/// The clause that a line of the contract begins, if it begins one.
fn clause_of(line: &str) -> Option<&str> {
    line.strip_prefix("- **")?.split_once("**").map(|(clause, _)| clause)
}

/// The check as a link to its documentation. Checks of opt-outs have no function of their own.
fn link(check: &Check) -> String {
    let name = check.name();
    if name.starts_with("o3_") { format!("`{name}`") } else { format!("[`{name}`]({})", check.path()) }
}

/// A row of the table.
fn row(clause: &str) -> String {
    let text = clause_text(clause);
    let text = text.strip_prefix(&format!("{clause}: ")).unwrap().replace('|', "\\|");
    let links = checks().iter().filter(|check| check.clauses.contains(&clause)).map(link).collect::<Vec<_>>();
    format!("| **{clause}** | {text} | {} |\n", links.join("<br>"))
}

/// The page, section by section.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for line in TEXT.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            write!(page, "\n## {title}\n\n| clause | what it says | checks |\n|---|---|---|\n").unwrap();
        } else if let Some(clause) = clause_of(line) {
            page.push_str(&row(clause));
        }
    }
    page
}

#[test]
fn the_table_of_clauses_is_what_the_code_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHECKS.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let same = written == page();
    assert!(same, "CHECKS.md is not what the code gives: UPDATE=1 cargo test -p kv-conformance --lib checks::table");
}

#[test]
fn every_clause_has_a_check_and_every_check_a_clause() {
    let clauses = TEXT.lines().filter_map(clause_of).collect::<Vec<_>>();
    assert!(clauses.len() > 50, "{clauses:?}");
    for clause in &clauses {
        assert!(checks().iter().any(|check| check.clauses.contains(clause)), "no check is about {clause}");
    }
    for check in checks() {
        let unknown = check.clauses.iter().find(|clause| !clauses.contains(clause));
        assert_eq!(unknown, None, "the contract has no such clause, which {} is about", check.name());
    }
}

/// The names of the functions below this folder that are checks.
fn functions(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(functions(&path));
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("pub fn ")?.strip_suffix("() -> Check {"));
            names.extend(lines.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_check_is_listed_by_its_module() {
    let mut written = functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checks"));
    let mut listed = super::checks().iter().map(|check| check.name().to_owned()).collect::<Vec<_>>();
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(written, listed);
}
