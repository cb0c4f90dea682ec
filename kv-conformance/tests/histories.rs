//! The search for an order: histories written by hand, right and wrong, one recorded from a real race, and random ones compared
//! with a search through all orders.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says so where it cannot go on")]

#[path = "histories/brute_force.rs"]
mod brute_force;
#[path = "histories/by_hand.rs"]
mod by_hand;
#[path = "histories/recorded.rs"]
mod recorded;
#[path = "histories/transfers.rs"]
mod transfers;
#[path = "histories/ttls.rs"]
mod ttls;
#[path = "histories/updates.rs"]
mod updates;

use std::time::Duration;

use kv_conformance::history::{Action, Held, History, Operation, Weakness};
use kv_core::{Bytes, Ttl};

const MAY_EVICT: &[Weakness] = &[Weakness::MayEvict];
const STALE_READS: &[Weakness] = &[Weakness::StaleReads];
const BOTH: &[Weakness] = &[Weakness::MayEvict, Weakness::StaleReads];

/// An operation of thread 0, 1, … from one microsecond to another.
fn op(thread: usize, began: u64, ended: u64, action: Action) -> Operation {
    Operation::new(thread, Duration::from_micros(began), Some(Duration::from_micros(ended)), action)
}

/// An operation whose outcome is unknown.
fn unanswered(thread: usize, began: u64, action: Action) -> Operation {
    Operation::new(thread, Duration::from_micros(began), None, action)
}

fn put(value: &'static str) -> Action {
    Action::Put(value.into(), Ttl::Forever)
}

/// A write with a TTL of so many seconds.
fn put_for(value: &'static str, seconds: u64) -> Action {
    Action::Put(value.into(), after(seconds))
}

fn after(seconds: u64) -> Ttl {
    Ttl::After(Duration::from_secs(seconds))
}

fn create(value: &'static str, created: bool) -> Action {
    Action::Create(value.into(), Ttl::Forever, created)
}

fn get(value: &'static str) -> Action {
    Action::Get(held(value))
}

const NOTHING: Action = Action::Get(None);

#[expect(clippy::unnecessary_wraps, reason = "a key may as well hold nothing")]
fn held(value: &'static str) -> Held {
    Some(Bytes::from(value))
}

fn history(operations: impl IntoIterator<Item = Operation>) -> History {
    History::new(kv_core::key!("k").into(), operations)
}
