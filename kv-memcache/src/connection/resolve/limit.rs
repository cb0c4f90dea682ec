//! A limit for the number of lookups that run in a process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Limits how many lookups run in this process. The count of another process, which a `fork` has copied, is ignored.
pub(super) struct LookupLimit {
    /// The id of the process in the upper half, the count in the lower.
    state: AtomicU64,
    pub(super) most: u32,
}

pub(super) static LOOKUPS: LookupLimit = LookupLimit::new(16);

impl LookupLimit {
    pub(super) const fn new(most: u32) -> Self {
        Self { state: AtomicU64::new(0), most }
    }

    pub(super) fn permit(&'static self, process: u32) -> Option<LookupPermit> {
        self.add(process, |count| (count < self.most).then_some(count + 1))
            .then(|| LookupPermit { limit: self, process })
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
pub(super) struct LookupPermit {
    limit: &'static LookupLimit,
    process: u32,
}

impl Drop for LookupPermit {
    fn drop(&mut self) {
        self.limit.add(self.process, |count| Some(count.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_permits_is_limited_and_those_of_another_process_do_not_count() {
        static LOOKUPS: LookupLimit = LookupLimit::new(2);
        let (first, _second) = (LOOKUPS.permit(7).unwrap(), LOOKUPS.permit(7).unwrap());
        assert!(LOOKUPS.permit(7).is_none());
        drop(first);
        let _third = LOOKUPS.permit(7).unwrap();
        assert!(LOOKUPS.permit(7).is_none());
        // A fork copies the count, but not the threads.
        let _child = [LOOKUPS.permit(8).unwrap(), LOOKUPS.permit(8).unwrap()];
        assert!(LOOKUPS.permit(8).is_none());
    }
}
