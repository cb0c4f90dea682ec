//! A limit for the lookups that a process has under way.

use std::sync::atomic::{AtomicU64, Ordering};

/// Limits how many lookups are under way in this process. The state of another process, which a `fork` has copied, does not count.
pub(super) struct Bound {
    /// The id of the process in the upper half, the count in the lower.
    state: AtomicU64,
    pub(super) most: u32,
}

pub(super) static BOUND: Bound = Bound::new(16);

impl Bound {
    pub(super) const fn new(most: u32) -> Self {
        Self { state: AtomicU64::new(0), most }
    }

    pub(super) fn permit(&'static self, process: u32) -> Option<Permit> {
        self.add(process, |count| (count < self.most).then_some(count + 1)).then(|| Permit { bound: self, process })
    }

    fn add(&self, process: u32, change: impl Fn(u32) -> Option<u32>) -> bool {
        let change = |state: u64| {
            let is_ours = state >> u32::BITS == u64::from(process);
            let count = if is_ours { u32::try_from(state & u64::from(u32::MAX)).ok()? } else { 0 };
            Some(u64::from(process) << u32::BITS | u64::from(change(count)?))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

/// Permits one lookup.
pub(super) struct Permit {
    bound: &'static Bound,
    process: u32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.bound.add(self.process, |count| Some(count.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_permits_than_that_and_those_of_another_process_do_not_count() {
        static BOUND: Bound = Bound::new(2);
        let (first, _second) = (BOUND.permit(7).unwrap(), BOUND.permit(7).unwrap());
        assert!(BOUND.permit(7).is_none());
        drop(first);
        let _third = BOUND.permit(7).unwrap();
        assert!(BOUND.permit(7).is_none());
        // A fork has the count, and not the threads.
        let _child = [BOUND.permit(8).unwrap(), BOUND.permit(8).unwrap()];
        assert!(BOUND.permit(8).is_none());
    }
}
