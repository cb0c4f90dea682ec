//! A model of a store, and random operations for both.

mod map;
mod operations;

pub(crate) use map::Model;
pub(crate) use operations::{Operation, TtlChoices, operations};
