//! Sections 6 and 7, with several threads that could wait for each other.

use kv_core::{Bytes, Capability, Error, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::checks::threads::at_once::at_once;
use crate::running::expect;

checks![
    b2_batches_in_opposite_orders_do_not_wait_for_each_other,
    c2_renames_in_opposite_directions_do_not_wait_for_each_other,
];

/// How often the threads repeat their operations.
const ROUNDS: usize = 50;

/// Lets four threads write, read and delete the same keys in batches, two of them in one order and two in the other. A store that
/// locks the keys of a batch one after the other hangs.
pub fn b2_batches_in_opposite_orders_do_not_wait_for_each_other() -> Check {
    about(&["B2", "B3"]).run(|context| {
        let store = context.store();
        let forwards = (0..20).map(|n| format!("k{n}")).collect::<Vec<_>>();
        let backwards = forwards.iter().rev().cloned().collect::<Vec<_>>();
        at_once(4, |thread| {
            let keys = if thread % 2 == 0 { &forwards } else { &backwards };
            for round in 0..ROUNDS {
                store.put_many(keys.iter().map(|key| (key, "v")))?;
                match round % 5 {
                    0 => drop(store.delete_many(keys)?),
                    1 => drop(store.get_many(keys)?),
                    _ => {}
                }
            }
            Ok(())
        })?;
        store.put_many(forwards.iter().map(|key| (key, "last")))?;
        let want = vec![Some(Bytes::from("last")); forwards.len()];
        expect("get_many after batches in opposite orders", store.get_many(&forwards), want)
    })
}

/// Lets two threads rename and copy in opposite directions. A store that locks first one key and then the other hangs.
pub fn c2_renames_in_opposite_directions_do_not_wait_for_each_other() -> Check {
    about(&["C2"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        store.put_many([("a", "v"), ("b", "v")])?;
        at_once(4, |thread| {
            let (from, to) = if thread % 2 == 0 { ("a", "b") } else { ("b", "a") };
            for round in 0..ROUNDS {
                let moved = if round % 3 == 0 { store.copy(from, to) } else { store.rename(from, to) };
                match moved {
                    Err(Error::NotFound { .. }) => store.put(from, "v")?,
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
