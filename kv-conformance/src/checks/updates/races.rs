//! Section 12, with several threads at once.
//!
//! These find mistakes by chance. A failure is always a mistake, but it may take several runs to see it again.

use std::sync::atomic::{AtomicUsize, Ordering};

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::version_of;
use crate::checks::threads::{THREADS, at_once, expect_no_write_undone, expect_nothing, keys_of, rounds};
use crate::running::{Context, Outcome, expect, expect_eq, expect_that};

checks![
    u1_of_many_updates_with_one_version_one_succeeds,
    u1_no_update_is_lost,
    u1_a_lock_that_is_released_by_version_has_one_holder,
    u1_of_many_that_create_a_version_one_wins,
    u4_of_many_takers_one_gets_the_value,
    u5_no_increment_is_lost,
    t6_a_get_and_touch_does_not_undo_a_write,
];

/// The store and, for every other thread, its second handle if there is one.
fn handles<'a>(context: &Context<'a>) -> [&'a dyn KeyValueStore; 2] {
    let store = context.store();
    [store, context.second_handle().unwrap_or(store)]
}

/// The handle of a thread.
fn of(handles: [&dyn KeyValueStore; 2], thread: usize) -> &dyn KeyValueStore {
    let [first, second] = handles;
    if thread.is_multiple_of(2) { first } else { second }
}

/// What the threads of a race do to each key with the version that it has.
#[derive(Clone, Copy, Debug)]
enum Race {
    Writes,
    Removals,
    Both,
}

/// Lets 8 threads write and remove the same entries by the same versions, at the same time. For each entry, exactly one thread has to be told
/// that it did, and what it did is there.
pub fn u1_of_many_updates_with_one_version_one_succeeds() -> Check {
    about(&["U1", "U2"]).needs(&[Capability::Versions]).run(|context| {
        let handles = handles(context);
        for (round, race) in (0..rounds(context)).zip([Race::Writes, Race::Removals, Race::Both].into_iter().cycle()) {
            race_with_one_version(handles, &keys_of(round), race)?;
        }
        Ok(())
    })
}

fn race_with_one_version(handles: [&dyn KeyValueStore; 2], keys: &[String], race: Race) -> Outcome {
    let [store, _] = handles;
    store.put_many(keys.iter().map(|key| (key, "old")))?;
    let versions = keys.iter().map(|key| version_of(store, key, "old")).collect::<Outcome<Vec<_>>>()?;
    let removes = |thread: usize| match race {
        Race::Writes => false,
        Race::Removals => true,
        Race::Both => thread.is_multiple_of(2),
    };
    let done = at_once(THREADS, |thread| {
        let store = of(handles, thread / 2);
        let act = |(key, version)| {
            if removes(thread) {
                return store.delete_if(key, version);
            }
            Ok(store.put_if(key, thread.to_string(), Ttl::Default, version)?.is_some())
        };
        keys.iter().zip(&versions).map(act).collect::<Result<Vec<_>, Error>>()
    })?;
    for (at, key) in keys.iter().enumerate() {
        let winners = (0..THREADS).filter(|&thread| done.get(thread).and_then(|done| done.get(at)) == Some(&true));
        let winners = winners.collect::<Vec<_>>();
        let what = format!("which of {THREADS} threads were told that they changed {key:?} by one version ({race:?})");
        expect_that(what, winners.len() == 1, "exactly one", &winners)?;
        let value = winners.first().filter(|&&winner| !removes(winner)).map(|winner| winner.to_string().into());
        expect(format_args!("get({key:?}) after that: what the winner left"), store.get(key), value)?;
    }
    Ok(())
}

/// How many threads change one entry over and over.
const WRITERS: usize = 4;

/// Lets 4 threads append to the same entries by `update`, over and over. In the end everything is there that was appended, once, and what each
/// thread appended is in its order.
pub fn u1_no_update_is_lost() -> Check {
    about(&["U1"]).needs(&[Capability::Versions, Capability::Create]).run(|context| {
        let handles = handles(context);
        // The value has all of it in the end.
        let count = context.items(100, 6 * WRITERS).min(context.size(1000) / WRITERS);
        for key in ["one", "two"] {
            let letter = |thread: usize, n: usize| {
                let letters = if n.is_multiple_of(2) { b"abcd" } else { b"ABCD" };
                letters.get(thread % WRITERS).copied().unwrap_or_default()
            };
            let updated = at_once(WRITERS, |thread| {
                let append = |n: usize| {
                    let appended = move |old: Option<Bytes>| {
                        let mut new = old.unwrap_or_default().to_vec();
                        new.push(letter(thread, n));
                        Some(new)
                    };
                    of(handles, thread).update(key, Ttl::Default, appended)
                };
                (0..count).map(append).collect::<Result<Vec<_>, Error>>()
            })?;
            let stored = updated.iter().flatten().filter(|stored| **stored).count();
            expect_eq("how many updates said that they stored something", stored, WRITERS * count)?;
            let [store, _] = handles;
            let got = store.get(key)?.unwrap_or_default();
            expect_eq(
                format_args!("how many of {} updates are in the value", WRITERS * count),
                got.len(),
                WRITERS * count,
            )?;
            for thread in 0..WRITERS {
                let mine = got.iter().filter(|byte| [letter(thread, 0), letter(thread, 1)].contains(*byte)).copied();
                let want = (0..count).map(|n| letter(thread, n)).collect::<Vec<_>>();
                let what = format!("whether what thread {thread} appended is there in its order");
                expect_eq(what, mine.eq(want), true)?;
            }
        }
        Ok(())
    })
}

/// Lets 8 threads take a lock by `create_versioned` and release it by `delete_if`, all with the same value, as often as they get it. At no
/// time do two hold it, and each release succeeds.
pub fn u1_a_lock_that_is_released_by_version_has_one_holder() -> Check {
    about(&["U1", "P4"]).needs(&[Capability::Versions, Capability::Create]).run(|context| {
        let handles = handles(context);
        let holders = AtomicUsize::new(0);
        let count = context.items(200, 2 * THREADS);
        let wrong = at_once(THREADS, |thread| {
            let store = of(handles, thread);
            for _ in 0..count {
                let Some(mut version) = store.create_versioned("lock", "held", Ttl::Default)? else { continue };
                let others = holders.fetch_add(1, Ordering::SeqCst);
                let renewed = store.put_if("lock", "held", Ttl::Default, &version)?;
                let is_renewed = renewed.is_some();
                if let Some(renewed) = renewed {
                    version = renewed;
                }
                holders.fetch_sub(1, Ordering::SeqCst);
                let is_released = store.delete_if("lock", &version)?;
                if others > 0 || !is_renewed || !is_released {
                    let found = format!(
                        "{others} others held it; its put_if succeeded: {is_renewed}; its delete_if succeeded: {is_released}"
                    );
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })?;
        let want = "no other holder, and it renews and releases the lock";
        expect_nothing("what a holder of a lock by create_versioned meets", want, wrong)?;
        let [store, _] = handles;
        expect("get of the lock after all holders have released it", store.get("lock"), None)
    })
}

/// Lets 8 threads create the same keys by `create_versioned` at the same time. For each key exactly one gets a version, which is that of its
/// value.
pub fn u1_of_many_that_create_a_version_one_wins() -> Check {
    about(&["U1", "P4", "U2"]).needs(&[Capability::Versions, Capability::Create]).run(|context| {
        let handles = handles(context);
        let [store, _] = handles;
        for round in 0..rounds(context) {
            let keys = keys_of(round);
            let created = at_once(THREADS, |thread| {
                let store = of(handles, thread);
                let create = |key| store.create_versioned(key, thread.to_string(), Ttl::Default);
                keys.iter().map(create).collect::<Result<Vec<_>, Error>>()
            })?;
            for (at, key) in keys.iter().enumerate() {
                let won = created.iter().enumerate().filter_map(|(thread, all)| Some((thread, all.get(at)?.as_ref()?)));
                let won = won.collect::<Vec<_>>();
                let what = format!("how many of {THREADS} threads that created {key:?} at the same time got a version");
                let winners = won.iter().map(|(thread, _)| *thread).collect::<Vec<_>>();
                expect_that(what, won.len() == 1, "exactly one", &winners)?;
                let Some((thread, version)) = won.first() else { continue };
                let value = Some(Bytes::from(thread.to_string()));
                expect(format_args!("get({key:?}) after that: the winner's value"), store.get(key), value)?;
                expect("delete_if with the version of the winner", store.delete_if(key, version), true)?;
            }
        }
        Ok(())
    })
}

/// Lets 8 threads take the same entries at the same time. For each entry, exactly one thread gets its value.
pub fn u4_of_many_takers_one_gets_the_value() -> Check {
    about(&["U4"]).needs(&[Capability::Take]).run(|context| {
        let handles = handles(context);
        let [store, _] = handles;
        for round in 0..rounds(context) {
            let keys = keys_of(round);
            store.put_many(keys.iter().map(|key| (key, key.as_str())))?;
            let taken = at_once(THREADS, |thread| {
                let store = of(handles, thread);
                // Some delete it instead.
                let take = |key: &String| {
                    if thread == 0 && round % 2 == 1 {
                        return Ok(store.delete(key)?.then(|| Bytes::from(key.clone())));
                    }
                    store.take(key)
                };
                keys.iter().map(take).collect::<Result<Vec<_>, Error>>()
            })?;
            for (at, key) in keys.iter().enumerate() {
                let got = taken.iter().filter_map(|taken| taken.get(at)?.clone()).collect::<Vec<_>>();
                let what = format!("what {THREADS} threads got that took {key:?} at the same time");
                expect_eq(what, got, vec![Bytes::from(key.clone())])?;
                expect(format_args!("get({key:?}) after that"), store.get(key), None)?;
            }
        }
        Ok(())
    })
}

/// Lets 8 threads increment the same counters at the same time, from when they are absent. Every sum comes once, and in the end all are
/// counted.
pub fn u5_no_increment_is_lost() -> Check {
    about(&["U5"]).needs(&[Capability::Counters]).run(|context| {
        let handles = handles(context);
        let [store, _] = handles;
        for round in 0..rounds(context) {
            let keys = keys_of(round);
            let sums = at_once(THREADS, |thread| {
                let store = of(handles, thread);
                keys.iter().map(|key| store.increment(key, 1, Ttl::Default)).collect::<Result<Vec<_>, Error>>()
            })?;
            for (at, key) in keys.iter().enumerate() {
                let mut got = sums.iter().filter_map(|sums| sums.get(at).copied()).collect::<Vec<_>>();
                got.sort_unstable();
                let what = format!("the sums that {THREADS} threads got that incremented {key:?} at the same time");
                expect_eq(what, got, (1..=THREADS as u64).collect::<Vec<_>>())?;
                let all = Some(Bytes::from(THREADS.to_string()));
                expect(format_args!("get({key:?}) after that"), store.get(key), all)?;
            }
        }
        Ok(())
    })
}

/// Lets a thread write a key, wait until another thread has read and touched it twice, and read it back. Each write has to stay.
pub fn t6_a_get_and_touch_does_not_undo_a_write() -> Check {
    about(&["T6", "P1"]).needs(&[Capability::TouchingReads]).run(|context| {
        expect_no_write_undone(context.store(), |store| store.get_and_touch("k", Ttl::Forever).map(drop))
    })
}
