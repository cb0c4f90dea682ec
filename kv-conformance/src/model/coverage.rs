//! What the steps of random sequences have tried: each class of keys, values and TTLs with each operation, on each handle.

use std::collections::{BTreeMap, BTreeSet};

use super::step::Step;

/// What a step may be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dimension {
    Operation,
    Keys,
    Value,
    Ttl,
    Handle,
    /// How many keys a batch has.
    Size,
}

/// One class of a dimension.
pub(crate) type Class = (Dimension, &'static str);

/// How often each class was tried, and which pairs of classes were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    steps: BTreeMap<&'static str, u64>,
    pairs: BTreeSet<(Class, Class)>,
}

impl Coverage {
    /// Notes a step, and those in it.
    pub(crate) fn add(&mut self, step: &Step) {
        for &(dimension, class) in &step.covers {
            if dimension == Dimension::Operation {
                *self.steps.entry(class).or_default() += 1;
            }
        }
        self.pairs.extend(pairs(&step.covers));
        step.steps().iter().for_each(|step| self.add(step));
    }

    /// How many pairs of classes of a step were not tried yet.
    pub(super) fn new_pairs(&self, covers: &[Class]) -> usize {
        pairs(covers).filter(|pair| !self.pairs.contains(pair)).count()
    }

    /// For each operation: how many steps did it, and with how many classes of each other dimension.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, u64, BTreeMap<Dimension, usize>)> + '_ {
        self.steps.iter().map(|(&operation, &steps)| {
            let mut classes = BTreeMap::<_, usize>::new();
            for (one, other) in &self.pairs {
                if *one == (Dimension::Operation, operation) {
                    *classes.entry(other.0).or_default() += 1;
                }
            }
            (operation, steps, classes)
        })
    }
}

/// The pairs of classes of different dimensions, each in one order.
fn pairs(covers: &[Class]) -> impl Iterator<Item = (Class, Class)> + '_ {
    covers
        .iter()
        .flat_map(move |&one| covers.iter().filter(move |&&other| one.0 < other.0).map(move |&other| (one, other)))
}
