//! Every check of the suite, by sections of the contract. Each is one function, which says what the check is about, what it needs, what it
//! does, and why it matters.
//!
//! The name of a check begins with the clause of the [contract](kv_core::contract) that it is about. What a check says
//! when it fails is written for the author of a backend: what was done, what was expected, what came, the clauses that
//! this breaks, and how to run just that check again.
//!
//! The functions are public so that they are documented; [`Suite`](crate::Suite) is what runs them.
//!
#![doc = include_str!("../../CHECKS.md")]

pub mod asynchronous;
pub mod batches;
pub mod capabilities;
mod check;
mod clauses;
pub mod copies;
mod entries;
pub mod errors;
pub mod faults;
pub(crate) mod fixture;
pub mod keys;
pub mod listing;
pub mod random;
pub mod reading_and_writing;
pub mod streams;
#[cfg(test)]
mod table;
pub mod threads;
pub mod ttl;
pub mod updates;
pub mod values;

pub(crate) use capabilities::opt_out_of;
pub use check::Check;
pub(crate) use clauses::clause_text;

use check::checks_of;

checks_of![
    keys,
    values,
    reading_and_writing,
    threads,
    ttl,
    listing,
    batches,
    copies,
    streams,
    errors,
    updates,
    faults,
    asynchronous,
    capabilities,
    random,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_of_a_check_is_a_sentence() {
        for check in checks() {
            let what = check.title();
            assert!(!what.contains(" s ") && !what.ends_with(" s"), "{what}");
        }
        let late = checks().into_iter().find(|check| check.name().starts_with("n2_under_random_faults")).unwrap();
        assert_eq!(late.title(), "under random faults no operation gets another one's reply");
    }

    #[test]
    fn a_check_is_named_after_its_first_clause_and_names_are_unique() {
        let mut names = checks().into_iter().map(|check| check.name()).collect::<Vec<_>>();
        for check in checks() {
            let clause = check.clauses[0].to_lowercase();
            assert!(check.name().starts_with(&format!("{clause}_")), "{} is about {clause}", check.name());
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
