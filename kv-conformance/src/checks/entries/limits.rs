//! Values and TTLs that are too large for a store.

use std::time::Duration;

use crate::running::{Context, NotPassed, Outcome};

/// The largest size of values that are checked. Larger ones would only test memory and time.
const LARGEST_TRIED: u64 = 64 << 20;

/// The limit of the store, if it has one and it can be tested.
pub(crate) fn largest_value(context: &Context<'_>) -> Outcome<u64> {
    match context.capabilities().largest_value() {
        Some(limit) if limit <= LARGEST_TRIED => Ok(limit),
        Some(_) => Err(NotPassed::Ignored("the largest value is larger than what is tried here, 64 MiB".into())),
        None => Err(NotPassed::Ignored("the store says that only memory limits its values".into())),
    }
}

/// The limit of the store, for a value that is too large. Only its length counts, so the operating system never has to provide the memory.
pub(crate) fn largest_length(context: &Context<'_>) -> Outcome<u64> {
    match context.capabilities().largest_value() {
        Some(limit) if limit <= 1 << 30 => Ok(limit),
        _ => largest_value(context),
    }
}

/// A TTL that the store refuses, if there is one.
pub(crate) fn refused_ttl(context: &Context<'_>) -> Outcome<Duration> {
    if context.capabilities().longest_ttl() < Duration::MAX {
        Ok(Duration::MAX)
    } else {
        Err(NotPassed::Ignored("the store says that it takes TTLs of any length".into()))
    }
}
