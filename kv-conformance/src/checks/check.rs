//! The parts of a check.

use std::fmt;

use kv_core::Capability;

use crate::running::{Context, Outcome};

/// A check of the suite: its clauses, what it needs, and its body. [`Suite`](crate::Suite) runs it.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    /// The path of the module that documents it.
    module: &'static str,
    /// The clauses of the contract that it checks.
    pub(crate) clauses: &'static [&'static str],
    /// The capabilities that the store must have.
    pub(crate) needs: &'static [Capability],
    /// Whether its store is from a fixture of [`Suite::with_faults`](crate::Suite::with_faults).
    pub(crate) has_faults: bool,
    pub(crate) run: fn(&Context<'_>) -> Outcome,
}

/// Begins a check that is about the first of these clauses, and also sees the others.
pub(super) const fn about(clauses: &'static [&'static str]) -> About {
    About { clauses, needs: &[], has_faults: false }
}

/// A check without its body.
pub(super) struct About {
    clauses: &'static [&'static str],
    needs: &'static [Capability],
    has_faults: bool,
}

impl About {
    /// The capabilities that the store must have.
    pub(super) const fn needs(self, needs: &'static [Capability]) -> Self {
        Self { needs, ..self }
    }

    /// Its store is behind a proxy, from a fixture of [`Suite::with_faults`](crate::Suite::with_faults).
    pub(super) const fn under_faults(self) -> Self {
        Self { has_faults: true, ..self }
    }

    /// What the check does. The list of its module gives it its name.
    pub(super) const fn run(self, run: fn(&Context<'_>) -> Outcome) -> Check {
        let Self { clauses, needs, has_faults } = self;
        Check { name: "", module: "", clauses, needs, has_faults, run }
    }
}

impl Check {
    pub(super) const fn named(self, name: &'static str, module: &'static str) -> Self {
        Self { name, module, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it goes on for as long as there is time for it.
    pub(crate) fn is_random(&self) -> bool {
        self.module.ends_with("::random")
    }

    /// The name as a sentence.
    pub(crate) fn title(&self) -> String {
        let name = self.name.split_once('_').map_or(self.name, |(_clause, name)| name);
        // A name has no apostrophes.
        name.replace("_s_", "'s_").replace('_', " ")
    }

    /// The path of the function that documents it, from the module `checks` on.
    #[cfg(test)]
    pub(super) fn path(&self) -> String {
        let (_, module) = self.module.split_once("::checks").unwrap();
        format!("{}::{}", module, self.name).trim_start_matches("::").to_owned()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("module", &self.module).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The checks of a module, in the order in which they run: each is a function of that name.
macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn checks() -> Vec<$crate::checks::check::Check> {
            vec![$($name().named(stringify!($name), module_path!())),+]
        }
    };
}
pub(super) use checks;

/// The checks of several modules, in this order.
macro_rules! checks_of {
    ($($module:ident),+ $(,)?) => {
        pub(crate) fn checks() -> Vec<$crate::checks::check::Check> {
            [$($module::checks()),+].concat()
        }
    };
}
pub(super) use checks_of;
