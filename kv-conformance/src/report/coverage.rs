//! What random sequences have tried.

use serde::{Deserialize, Serialize};

/// What random sequences have tried of one operation: see
/// [`p1_random_operations_do_what_a_plain_map_does`](crate::checks::random::p1_random_operations_do_what_a_plain_map_does).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoverageRow {
    /// The operation, as callers name it.
    pub operation: String,
    /// How many steps did it.
    pub steps: u64,
    /// With how many classes of keys: such as the longest, those that one hash maps to the same number, those that differ in case.
    pub keys: usize,
    /// With how many classes of values: such as empty ones, a protocol's text, those about 2¹⁶ bytes.
    pub values: usize,
    /// With how many classes of TTLs: such as zero, about 30 days, the longest.
    pub ttls: usize,
    /// Through how many handles.
    pub handles: usize,
}

/// The rows as a table of Markdown.
pub(super) fn table(rows: &[CoverageRow]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let head = [
        "",
        "## What random sequences tried",
        "",
        "How many classes of each kind were tried with each operation. An operation without a value or a TTL has none.",
        "",
        "| operation | steps | keys | values | TTLs | handles |",
        "|---|---:|---:|---:|---:|---:|",
    ];
    let row = |row: &CoverageRow| {
        let CoverageRow { operation, steps, keys, values, ttls, handles } = row;
        format!("| {operation} | {steps} | {keys} | {values} | {ttls} | {handles} |")
    };
    head.iter().map(|&line| line.to_owned()).chain(rows.iter().map(row)).collect()
}
