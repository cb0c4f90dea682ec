//! Every check of the suite, one function each: what it does, and why it matters.
//!
//! The name of a check begins with the clause of the [contract](kv_core::contract) that it is about. What a check says
//! when it fails is written for the author of a backend: what was done, what was expected, what came, the clauses that
//! this breaks, and how to run just that check again.
//!
//! The functions are public so that they are documented; [`Suite`](crate::Suite) is what runs them.
//!
#![doc = include_str!("../../CHECKS.md")]
#![allow(clippy::missing_errors_doc, reason = "what a check returns as an error is what it has found")]

pub mod batches;
pub mod capabilities;
pub mod closing;
pub mod connections;
pub mod copies;
pub mod creating;
pub mod errors;
pub mod exchanges;
pub mod expired;
pub mod expiry_races;
pub mod histories;
pub mod keys;
pub mod lifetimes;
pub mod listing;
pub mod long_lifetimes;
pub mod model;
pub mod outages;
pub mod partial_reads;
pub mod prefixes;
pub mod races;
pub mod reading_and_writing;
pub mod reopening;
pub mod repeated;
pub mod restarts;
pub mod runtimes;
pub mod sequences;
pub mod streams;
#[cfg(test)]
mod table;
pub mod ttls;
pub mod values;
pub mod visibility;

use kv_core::{Capability, KeyValueStore, KeyValueStoreExt};

use crate::context::Context;
use crate::failure::{Outcome, expect};
use crate::time::End;

pub(crate) use capabilities::opt_out_of;

/// One check.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    name: &'static str,
    /// The path of the module that documents it.
    #[cfg(test)]
    module: &'static str,
    /// The clauses of the contract that it checks.
    pub(crate) clauses: &'static [&'static str],
    /// What the store has to be able to do.
    pub(crate) needs: &'static [Capability],
    /// Whether it has a fixture of [`Suite::with_faults`](crate::Suite::with_faults).
    pub(crate) has_faults: bool,
    pub(crate) run: fn(&Context<'_>) -> Outcome,
}

impl Check {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A check of the fixture, or of that with faults, which is about no clause.
    pub(crate) const fn of_fixture(name: &'static str, has_faults: bool, run: fn(&Context<'_>) -> Outcome) -> Self {
        Self {
            name,
            #[cfg(test)]
            module: "",
            clauses: &[],
            needs: &[],
            has_faults,
            run,
        }
    }

    /// The name as a sentence.
    pub(crate) fn what(&self) -> String {
        let name = self.name.split_once('_').map_or(self.name, |(_clause, name)| name);
        // An apostrophe is none of a name's characters.
        let name = name.strip_suffix("_s").map_or_else(|| name.to_owned(), |name| format!("{name}'s"));
        name.replace("_s_", "'s_").replace('_', " ")
    }
}

/// Names the checks of a module, the clauses that each is about, and what it needs of the store; `faults:` before them, if their
/// stores are behind a proxy.
macro_rules! checks {
    (faults: $($checks:tt)+) => {
        checks! { @true $($checks)+ }
    };
    (@$faults:literal $($name:ident [$($clause:ident)+] $(needs $($need:ident)+)?;)+) => {
        pub(crate) const CHECKS: &[$crate::checks::Check] = &[$(
            $crate::checks::Check {
                name: stringify!($name),
                #[cfg(test)]
                module: module_path!(),
                clauses: &[$(stringify!($clause)),+],
                needs: &[$($(kv_core::Capability::$need),+)?],
                has_faults: $faults,
                run: $name,
            }
        ),+];
    };
    ($($checks:tt)+) => {
        checks! { @false $($checks)+ }
    };
}
use checks;

/// The checks of every module, in the order of the contract.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    let modules = [
        keys::CHECKS,
        values::CHECKS,
        reading_and_writing::CHECKS,
        reopening::CHECKS,
        visibility::CHECKS,
        creating::CHECKS,
        races::CHECKS,
        histories::CHECKS,
        lifetimes::CHECKS,
        expired::CHECKS,
        expiry_races::CHECKS,
        long_lifetimes::CHECKS,
        ttls::CHECKS,
        listing::CHECKS,
        prefixes::CHECKS,
        batches::CHECKS,
        copies::CHECKS,
        streams::CHECKS,
        errors::CHECKS,
        runtimes::CHECKS,
        repeated::CHECKS,
        exchanges::CHECKS,
        connections::CHECKS,
        closing::CHECKS,
        partial_reads::CHECKS,
        sequences::CHECKS,
        restarts::CHECKS,
        outages::CHECKS,
        capabilities::CHECKS,
        model::CHECKS,
    ];
    modules.into_iter().flatten()
}

/// A clause of the contract: its name and its text.
pub(crate) fn clause_text(clause: &str) -> String {
    let begin = format!("- **{clause}** ");
    let text = kv_core::contract::TEXT.split_once(&begin).map_or("", |(_, rest)| rest);
    let text = text.split("\n- ").next().unwrap_or_default().split("\n\n").next().unwrap_or_default();
    format!("{clause}: {}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The keys of a listing, sorted.
pub(crate) fn listed(context: &Context<'_>, prefix: &str) -> Result<Vec<String>, kv_core::Error> {
    listed_by(context.store(), prefix)
}

/// The keys of a listing of this store, sorted.
pub(crate) fn listed_by(store: &dyn KeyValueStore, prefix: &str) -> Result<Vec<String>, kv_core::Error> {
    sorted(store.keys(prefix)?)
}

/// What a listing yields, sorted.
pub(crate) fn sorted(keys: kv_core::Keys<'_>) -> Result<Vec<String>, kv_core::Error> {
    let mut keys = keys.map(|key| Ok(key?.into())).collect::<Result<Vec<String>, kv_core::Error>>()?;
    keys.sort_unstable();
    Ok(keys)
}

/// An entry with nothing special about it, to be found unharmed afterwards.
pub(crate) const BYSTANDER: (&str, &str) = ("bystander", "unharmed");

/// An entry, with a lifetime if the store has them, that a refused operation has to leave as it is.
pub(crate) struct OldEntry<'k> {
    key: &'k str,
    end: Option<End>,
}

impl<'k> OldEntry<'k> {
    pub(crate) fn put(context: &Context<'_>, key: &'k str) -> Outcome<Self> {
        if context.has(Capability::Lifetimes) {
            return Ok(Self { key, end: Some(context.put_for(key, "old", context.long())?) });
        }
        context.store().put(key, "old")?;
        Ok(Self { key, end: None })
    }

    #[track_caller]
    pub(crate) fn expect_unchanged(&self, context: &Context<'_>, after: &str) -> Outcome {
        let Self { key, end } = self;
        expect(format_args!("get({key:?}) {after}"), context.store().get(key), Some("old".into()))?;
        match end {
            Some(end) if context.has(Capability::TtlReading) => ttls::expect_remaining(context, after, key, *end),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_of_a_check_is_a_sentence() {
        for check in all() {
            let what = check.what();
            assert!(!what.contains(" s ") && !what.ends_with(" s"), "{what}");
        }
        let late = all().find(|check| check.name.starts_with("n2_a_reply_that_is_late")).unwrap();
        assert_eq!(late.what(), "a reply that is late is nobody's");
    }

    #[test]
    fn a_clause_is_quoted_up_to_its_end() {
        assert_eq!(clause_text("G1"), "G1: Reading an absent key is `Ok(None)`, never an error.");
        let clause = clause_text("T4");
        assert!(clause.starts_with("T4: A lifetime that the backend cannot express is `InvalidTtl` (with the longest"));
        assert!(clause.ends_with("another one."), "{clause}");
    }

    #[test]
    fn a_check_is_named_after_its_first_clause_and_names_are_unique() {
        let mut names = all().map(|check| check.name).collect::<Vec<_>>();
        for check in all() {
            let clause = check.clauses[0].to_lowercase();
            assert!(check.name.starts_with(&format!("{clause}_")), "{} is about {clause}", check.name);
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
