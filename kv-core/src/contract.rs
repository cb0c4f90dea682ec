#![doc = include_str!("../CONTRACT.md")]

/// The text of this page. Test suites and reports quote the clauses from it.
pub const TEXT: &str = include_str!("../CONTRACT.md");

/// The version of this crate, which is also the version of the contract. Reports name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
