//! How long a store takes, so that checks of many operations do fewer of them where each takes long.

use std::time::{Duration, Instant};

use kv_core::{Error, KeyValueStore, KeyValueStoreExt};

/// How long an operation takes, and what one more key of a batch adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) operation: Duration,
    pub(crate) key: Duration,
}

/// How long the many operations of a check may take. A store in memory, or on the same machine, takes less for all of them.
pub(crate) const ENOUGH: Duration = Duration::from_secs(8);

/// How the keys begin that are written to measure it.
pub(super) const KEY: &str = "kv-conformance/pace";

/// How many keys a batch has, and how often everything is done. The quickest counts, because the machine may be busy.
const BATCH: u32 = 16;
const TRIES: usize = 3;

impl Pace {
    /// Measures a store that nothing else uses.
    pub(crate) fn of(store: &dyn KeyValueStore) -> Result<Self, Error> {
        let keys = (0..BATCH).map(|n| format!("{KEY}/{n}")).collect::<Vec<_>>();
        let put = quickest(|| store.put(KEY, "v"))?;
        let get = quickest(|| store.get(KEY).map(drop))?;
        let put_many = quickest(|| store.put_many(keys.iter().map(|key| (key, "v"))))?;
        let get_many = quickest(|| store.get_many(&keys).map(drop))?;
        let more = |batch: Duration, one: Duration| batch.saturating_sub(one) / (BATCH - 1);
        Ok(Self { operation: put.max(get), key: more(put_many, put).max(more(get_many, get)) })
    }

    /// What a number of operations takes.
    pub(crate) fn operations(self, count: usize) -> Duration {
        self.operation.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// What a number of batches of this many keys takes.
    pub(crate) fn batches(self, count: usize, keys: usize) -> Duration {
        let one = self.operation.saturating_add(self.key.saturating_mul(u32::try_from(keys).unwrap_or(u32::MAX)));
        one.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn quickest(mut run: impl FnMut() -> Result<(), Error>) -> Result<Duration, Error> {
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let begun = Instant::now();
        run()?;
        quickest = quickest.min(begun.elapsed());
    }
    Ok(quickest)
}

/// How many of so many items can be done in this time, if all of them take `all`: one at least.
pub(super) fn fitting(items: usize, all: Duration, time: Duration) -> usize {
    if all <= time {
        return items;
    }
    let each = all.as_nanos() / items.max(1) as u128;
    usize::try_from(time.as_nanos() / each.max(1)).unwrap_or(items).clamp(items.min(1), items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_store_does_all_and_a_slow_one_what_fits() {
        let pace = |micros| Pace { operation: Duration::from_micros(micros), key: Duration::ZERO };
        let many = |pace: Pace| fitting(1000, pace.operations(4000), ENOUGH);
        assert_eq!(many(pace(100)), 1000);
        assert_eq!(many(pace(50_000)), 40);
        assert_eq!(many(pace(60_000_000)), 1);
        assert_eq!(fitting(0, Duration::from_secs(20), ENOUGH), 0);
    }

    #[test]
    fn a_batch_takes_what_an_operation_does_and_more_for_each_key() {
        let pace = Pace { operation: Duration::from_millis(50), key: Duration::from_millis(1) };
        assert_eq!(pace.batches(2, 100), Duration::from_millis(300));
    }
}
