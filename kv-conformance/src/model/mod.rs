//! A model of a store, and random sequences of operations for both.
//!
//! `pools` has the keys, values and TTLs that hurt; `step` is one operation on one handle; `sequence` makes sequences, those first that try a
//! pair of classes (an operation with a kind of value, a kind of key with a TTL) that was not tried, and makes those that fail simpler;
//! `state` is what the store can hold; `play` does the steps and compares; `coverage` counts what was tried.

mod abilities;
mod coverage;
mod play;
mod pools;
mod sequence;
mod shrinking;
mod state;
mod step;
mod sweeps;

pub(crate) use abilities::Abilities;
pub(crate) use coverage::{Coverage, Dimension};
pub(crate) use play::{FAR, Handles, Model};
pub(crate) use sequence::Sequences;
pub(crate) use step::Step;
pub(crate) use sweeps::sweeps;
