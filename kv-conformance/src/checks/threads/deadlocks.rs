//! Sections 6 and 7, with several threads that could wait for each other.

use std::time::{Duration, Instant};

use kv_core::{Bytes, Capability, Error, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, Result};

use crate::checks::check::{Check, about, checks};
use crate::checks::threads::at_once::at_once;
use crate::checks::threads::histories::handles;
use crate::running::{Budget, expect, part_for_effort};

checks![
    b2_batches_in_opposite_orders_do_not_wait_for_each_other,
    c2_renames_in_opposite_directions_do_not_wait_for_each_other,
];

/// For how long threads that could wait for each other use the store, how often at least, and how often if that takes no more than four times
/// the time.
const TIME: Duration = Duration::from_millis(700);
const LEAST: usize = 12;
const ENOUGH: usize = 1000;

/// What is counted while it goes on.
fn rounds() -> impl Iterator<Item = usize> {
    let (begun, budget, enough) = (Instant::now(), Budget::new(TIME, LEAST), part_for_effort(ENOUGH));
    (0..).take_while(move |round| budget.allows_another() || *round < enough && begun.elapsed() < 4 * TIME)
}

/// How many keys there are in a batch. Longer ones follow where the shorter ones do not [take long](LONG).
const LENGTHS: &[usize] = &[3, 20, 200];
const LONG: Duration = Duration::from_millis(20);

/// Lets four threads write, read and delete the same keys in batches, through both handles, two of them in one order and two in the
/// other. A store that locks the keys of a batch one after the other hangs.
pub fn b2_batches_in_opposite_orders_do_not_wait_for_each_other() -> Check {
    about(&["B2", "B3"]).run(|context| {
        let longest = LENGTHS.last().copied().unwrap_or_default();
        let forwards = (0..longest).map(|n| KeyBuf::new(format!("k{n}"))).collect::<Result<Vec<_>, _>>()?;
        let (store, handles) = (context.store(), handles(context));
        at_once(4, |thread| {
            let store = handles.get(thread / 2).copied().unwrap_or(store);
            let mut length = 0;
            for round in rounds() {
                let count = LENGTHS.get(length % LENGTHS.len()).copied().unwrap_or(1);
                let mut keys = forwards.iter().take(count).map(KeyBuf::as_key).collect::<Vec<_>>();
                if thread % 2 == 0 {
                    keys.reverse();
                }
                let begun = Instant::now();
                // For some time all do the same, and then not.
                let which = if round / 32 % 2 == 0 { round / 64 } else { round + thread };
                use_batch(store, which % 6, &keys)?;
                length = if begun.elapsed() < LONG { length + 1 } else { 0 };
            }
            Ok(())
        })?;
        let few = forwards.iter().take(20).collect::<Vec<_>>();
        store.put_many(few.iter().map(|key| (*key, "last")))?;
        let want = vec![Some(Bytes::from("last")); few.len()];
        expect("get_many after batches in opposite orders", store.get_many(&few), want)
    })
}

/// One batch, mostly of writes.
fn use_batch(store: &dyn KeyValueStore, which: usize, keys: &[Key<'_>]) -> Result<()> {
    match which {
        0 => store.delete_many(keys).map(drop),
        1 => store.get_many(keys).map(drop),
        2 => store.get_each(keys).into_iter().try_for_each(|outcome| outcome.map(drop)),
        _ => store.put_many(keys.iter().map(|key| (*key, "v"))),
    }
}

/// Lets four threads rename and copy three keys in opposite directions, through both handles, and use the same keys in batches and alone.
/// A store that locks first the one key and then the other hangs.
pub fn c2_renames_in_opposite_directions_do_not_wait_for_each_other() -> Check {
    about(&["C2"]).needs(&[Capability::Copy]).run(|context| {
        const KEYS: [&str; 3] = ["a", "b", "c"];
        let (store, handles) = (context.store(), handles(context));
        store.put_many(KEYS.map(|key| (key, "v")))?;
        let value = vec![b'v'; context.size(9000)];
        at_once(4, |thread| {
            let store = handles.get(thread / 2).copied().unwrap_or(store);
            for round in rounds() {
                // One thread of each handle goes round in the one direction, and one in the other.
                let at = |n: usize| if thread % 2 == 0 { n % 3 } else { (300 - n % 3) % 3 };
                let [from, to] = [at(round), at(round + 1)].map(|at| KEYS.get(at).copied().unwrap_or("a"));
                // For some time all do the same, and then not.
                let which = if round / 32 % 2 == 0 { round / 64 % 4 } else { round % 7 };
                let moved = match which {
                    0 | 2 => store.copy(from, to),
                    5 => store.put_many([(from, value.as_slice()), (to, value.as_slice())]),
                    6 => store.delete_many([to, from]).map(drop),
                    _ => store.rename(from, to),
                };
                match moved {
                    Err(Error::NotFound { .. }) => store.put(from, value.as_slice())?,
                    other => other?,
                }
            }
            Ok(())
        })?;
        store.put_many([("a", "1"), ("b", "2")])?;
        expect("rename after renames in opposite directions", store.rename("a", "b"), ())?;
        expect("get_many after that", store.get_many(["a", "b"]), vec![None, Some(Bytes::from("1"))])
    })
}
