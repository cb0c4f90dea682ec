//! Which checks reject which wrong store: `rejected_by.txt`.
//!
//! A wrong store is given to these checks alone, and to all if none of them rejects it. That proves the same: each wrong store is rejected,
//! and each check rejects one. A new wrong store needs no line. `UPDATE=1` gives each wrong store to all checks, which takes eleven minutes
//! on two cores, and writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use crate::checks::SLOW;
use crate::mutant::{Caught, Mutant};

/// The checks that are known to reject this wrong store. None, if all are to be asked.
pub(crate) fn known(mutant: &str) -> &'static [&'static str] {
    static KNOWN: OnceLock<BTreeMap<&str, Vec<&str>>> = OnceLock::new();
    let is_set = |name| std::env::var_os(name).is_some();
    if is_update() || is_set("MUTANTS_ALL") || is_set("MUTANTS_CHECKS") {
        return &[];
    }
    let lines = || include_str!("rejected_by.txt").lines().filter_map(|line| line.split_once(": "));
    let known = KNOWN.get_or_init(|| lines().map(|(mutant, checks)| (mutant, checks.split(' ').collect())).collect());
    known.get(mutant).map_or(&[], Vec::as_slice)
}

/// Whether the file is to be written anew.
pub(crate) fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Writes for each wrong store the checks that it proves, or else the one that rejects the fewest others, and not by chance if there is one.
pub(crate) fn write(caught: &[(Mutant, &Caught)], proofs: &BTreeMap<String, Option<String>>) {
    let mut rejections = BTreeMap::<&str, usize>::new();
    for check in caught.iter().flat_map(|(_, caught)| caught.by.keys()) {
        *rejections.entry(check).or_default() += 1;
    }
    let mut text = String::new();
    for (mutant, caught) in caught {
        let name = mutant.name();
        let proven = proofs.iter().filter(|(_, by)| by.as_ref() == Some(&name)).map(|(check, _)| check.as_str());
        let mut checks = proven.collect::<Vec<_>>();
        if checks.is_empty() {
            let by_chance = |check: &&str| SLOW.contains(check);
            let all = caught.by.keys().map(String::as_str);
            checks.extend(all.min_by_key(|check| (by_chance(check), rejections.get(check))));
        }
        if !checks.is_empty() {
            writeln!(text, "{name}: {}", checks.join(" ")).expect("a string takes all");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutants/rejected_by.txt");
    std::fs::write(path, text).expect("the file is written");
}
