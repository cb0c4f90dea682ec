//! The seed of the random input of a check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The seed of a check. It remembers whether it was used: only then is it needed to see a failure again.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    number: u64,
    is_used: Arc<AtomicBool>,
}

impl Seed {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, is_used: Arc::default() }
    }

    /// Another seed, for a part of the check that runs beside others.
    pub(crate) fn of_part(&self, part: usize) -> Self {
        Self { number: self.number.wrapping_add(part as u64), is_used: Arc::clone(&self.is_used) }
    }

    /// The number from which random input is made.
    pub(crate) fn used(&self) -> u64 {
        self.is_used.store(true, Ordering::Relaxed);
        self.number
    }

    /// Whether random input was made from it, or from one of its parts.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }
}
