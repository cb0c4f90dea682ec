//! Section 5, with several threads at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kv_core::{Capability, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{listed_by, sorted};
use crate::checks::threads::at_once::{Over, THREADS, at_once, expect_nothing};

checks![
    l1_keys_that_stay_are_listed_once_while_others_come_and_go,
    l1_a_listing_beside_others_has_what_was_written_before_it,
];

/// Lists 500 keys that stay, several times, while two threads overwrite some of them, and create and delete others with the same
/// prefix, before, between and behind them. Each that stays has to come exactly once, and nothing that was never written may come.
pub fn l1_keys_that_stay_are_listed_once_while_others_come_and_go() -> Check {
    about(&["L1", "L2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let stay = (0..STAY).map(|n| format!("k/{n:03}/stay")).collect::<Vec<_>>();
        store.put_many(stay.iter().map(|key| (key, "v")))?;
        let (written, deleted, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let wrong = at_once(3, |thread| {
            let _over = Over(&done);
            if thread == 0 {
                // Until enough keys have been created and deleted. (Another check finds a store whose `delete` always returns `false`.)
                let is_enough = || deleted.load(Ordering::Relaxed) >= 200 || written.load(Ordering::Relaxed) >= 2000;
                let more = |n: &u32| *n < 10 || !is_enough() && !done.load(Ordering::Relaxed);
                let wrong = (0..).take_while(more).find_map(|_| match store.keys("k/").and_then(sorted) {
                    Ok(listed) => wrong_listing(&listed, &stay),
                    Err(error) => Some(format!("an error: {error}")),
                });
                return Ok(wrong);
            }
            let comes = |n: usize| format!("k/{:03}/come{thread}", n * 7 % STAY);
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                store.put(format!("k/{:03}/stay", n % STAY), "overwritten")?;
                store.put(comes(n), "v")?;
                written.fetch_add(1, Ordering::Relaxed);
                if n >= 20 && store.delete(comes(n - 20))? {
                    deleted.fetch_add(1, Ordering::Relaxed);
                }
                n += 1;
            }
            Ok(None)
        })?;
        expect_nothing("a listing while other keys come and go", "each key that stays, once", wrong)
    })
}

/// Lets each of 8 threads write three keys of its own, list them through the second handle, if there is one, and delete them, over and
/// over. Each listing has to have the three.
///
/// Rejects a store that lists from a snapshot which it made for the listing of another thread, as KeyDB does with large pages.
pub fn l1_a_listing_beside_others_has_what_was_written_before_it() -> Check {
    about(&["L1", "P1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let other = context.second_handle().unwrap_or(store);
        let wrong = at_once(THREADS, |thread| {
            for round in 0..25 {
                let prefix = format!("{thread}/{round}/");
                let keys = ["a", "b", "c"].map(|name| format!("{prefix}{name}"));
                for key in &keys {
                    store.put(key, "v")?;
                }
                let listed = listed_by(other, &prefix)?;
                if listed != keys {
                    return Ok(Some(format!("keys({prefix:?}) gave {listed:?}, not {keys:?}")));
                }
                store.delete_many(&keys)?;
            }
            Ok(None)
        })?;
        expect_nothing("what 8 threads list that each wrote just before", "the keys of each", wrong)
    })
}

/// How many keys stay.
const STAY: usize = 500;

fn wrong_listing(listed: &[String], stay: &[String]) -> Option<String> {
    let staying = listed.iter().filter(|key| key.ends_with("/stay")).collect::<Vec<_>>();
    if let Some(missing) = stay.iter().find(|key| !staying.contains(key)) {
        return Some(format!("{missing:?} did not come"));
    }
    if staying.len() > stay.len() {
        return Some(format!("{} keys that stay came, and there are {}", staying.len(), stay.len()));
    }
    let foreign = listed.iter().find(|key| !["/stay", "/come1", "/come2"].iter().any(|end| key.ends_with(end)));
    foreign.map(|key| format!("{key:?} came, which was never written"))
}
