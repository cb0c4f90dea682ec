#![doc = include_str!("../CONTRACT.md")]

/// The text of this page, so that a test-suite or a report can quote the clauses.
pub const TEXT: &str = include_str!("../CONTRACT.md");
