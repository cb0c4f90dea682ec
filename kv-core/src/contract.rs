#![doc = include_str!("../CONTRACT.md")]

/// The text of this page, so that a test-suite or a report can quote the clauses.
pub const TEXT: &str = include_str!("../CONTRACT.md");

/// The version of this crate, and with it of the contract, so that a report can say what a store was checked against.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
