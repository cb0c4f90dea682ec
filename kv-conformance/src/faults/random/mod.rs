//! Random sequences of calls and disturbances, of everything that a store can be asked.
//!
//! Each key is known by what it can hold, value and TTL, so that each answer is possible or not: see [`entries`].

mod calls;
mod case;
mod disturbance;
mod entries;
mod keys;
mod player;
mod reads;
mod streams;
mod updates;
mod writes;

pub(crate) use calls::{LISTING, Stream, calls, writes, writes_of_short_lives};
pub(crate) use case::{Case, cases, pairs};
pub(crate) use player::Player;
pub(crate) use streams::{Breaking, caught};
