//! Sections 3, 5 and 7, with several threads at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kv_core::{Error, KeyValueStore, KeyValueStoreExt};

use super::checks;
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_that};

checks! {
    p1_threads_on_keys_of_their_own_do_not_disturb_each_other [P1 D1];
    p3_a_reader_sees_the_old_or_the_new_value_whole [P3];
    p4_of_many_creators_one_wins [P4] needs Create;
    d1_of_many_deleters_one_removes_the_entry [D1];
    l1_keys_that_stay_are_listed_once_while_others_come_and_go [L1 L2] needs Listing;
}

const THREADS: usize = 8;

/// Runs the same with a number for each thread, at the same time, and gathers what comes of it.
fn at_once<T: Send>(threads: usize, act: impl Fn(usize) -> Result<T, Error> + Sync) -> Outcome<Vec<T>> {
    let barrier = Barrier::new(threads);
    let results = thread::scope(|scope| {
        let threads = (0..threads).map(|thread| {
            let (act, barrier) = (&act, &barrier);
            scope.spawn(move || {
                barrier.wait();
                act(thread)
            })
        });
        threads.collect::<Vec<_>>().into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let joined = results.into_iter().map(|result| match result {
        Ok(result) => Ok(result?),
        Err(_) => Err(NotPassed::failed("a thread that used the store panicked")),
    });
    joined.collect()
}

/// Lets each of 8 threads write, read and delete its own 50 keys, over and over. What one does must not be seen at the keys
/// of another.
pub fn p1_threads_on_keys_of_their_own_do_not_disturb_each_other(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let wrong = at_once(THREADS, |thread| {
        for round in 0..5 {
            for n in 0..50 {
                let (key, value) = (format!("{thread}/{n}"), format!("{thread}/{n}/{round}"));
                store.put(&key, &value)?;
                let got = store.get(&key)?;
                if got != Some(value.clone().into()) {
                    return Ok(Some(format!("get({key:?}) after put of {value:?} gave {got:?}")));
                }
                if n % 3 == 0 && (!store.delete(&key)? || store.get(&key)?.is_some()) {
                    return Ok(Some(format!("delete({key:?}) did not remove it")));
                }
            }
        }
        Ok(None)
    })?;
    expect_eq("what 8 threads saw at keys of their own", wrong.into_iter().flatten().next(), None)
}

/// Lets two threads overwrite one key with values of one repeated byte, of different lengths, while others read it, whole, in a
/// batch and as a stream. Each read has to give one of the values that were written: no mixture, no piece, not nothing.
pub fn p3_a_reader_sees_the_old_or_the_new_value_whole(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let value = |n: usize| vec![b'a' + u8::try_from(n % 26).unwrap_or_default(); 1 + (n % 7) * 3000];
    store.put("k", value(0))?;
    let done = AtomicBool::new(false);
    let wrong = at_once(6, |thread| {
        if thread < 2 {
            let written = (0..150).try_for_each(|n| store.put("k", value(n * 2 + thread)));
            done.store(true, Ordering::Relaxed);
            return written.map(|()| None);
        }
        while !done.load(Ordering::Relaxed) {
            let got = match thread {
                2 => store.get_many(["k"])?.pop().flatten(),
                3 => read_stream(store, "k")?,
                _ => store.get("k")?,
            };
            let whole = got.as_ref().is_some_and(|got| {
                got.first().is_some_and(|first| got.iter().all(|byte| byte == first)) && (got.len() - 1) % 3000 == 0
            });
            if !whole {
                return Ok(Some(
                    got.map_or("nothing".into(), |got| format!("{} bytes, which were never written", got.len())),
                ));
            }
        }
        Ok(None)
    })?;
    expect_eq("what was read while the value was overwritten", wrong.into_iter().flatten().next(), None)
}

fn read_stream(store: &dyn KeyValueStore, key: &str) -> Result<Option<kv_core::Bytes>, Error> {
    let mut read = Vec::new();
    match store.get_into(key, &mut read) {
        Ok(_) => Ok(Some(read.into())),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets 8 threads create each of 50 keys at the same time. Exactly one has to be told that it did, and its value has to be
/// the one that is there. A create that is a get and then a put fails here.
pub fn p4_of_many_creators_one_wins(context: &Context<'_>) -> Outcome {
    let store = context.store();
    for round in 0..50 {
        let key = format!("k{round}");
        let won = at_once(THREADS, |thread| store.create(&key, thread.to_string()))?;
        let winners = (0..THREADS).filter(|&thread| won.get(thread) == Some(&true)).collect::<Vec<_>>();
        let what =
            format!("which of {THREADS} threads that created the same key at the same time were told that they did");
        expect_that(what, winners.len() == 1, "exactly one", &winners)?;
        let value = winners.first().map(|thread| thread.to_string().into());
        expect("the value after that, which has to be the winner's", store.get(&key), value)?;
    }
    Ok(())
}

/// Lets 8 threads delete each of 50 entries at the same time. Exactly one has to be told that it did.
pub fn d1_of_many_deleters_one_removes_the_entry(context: &Context<'_>) -> Outcome {
    let store = context.store();
    for round in 0..50 {
        let key = format!("k{round}");
        store.put(&key, "v")?;
        let removed = at_once(THREADS, |_| store.delete(&key))?;
        let count = removed.iter().filter(|removed| **removed).count();
        let what = format!(
            "how many of {THREADS} threads that deleted the same entry at the same time were told that they did"
        );
        expect_eq(what, count, 1)?;
    }
    Ok(())
}

/// Lists 500 keys that stay, several times, while two threads create and delete others with the same prefix. Each that stays
/// has to come exactly once, and nothing that was never written may come.
pub fn l1_keys_that_stay_are_listed_once_while_others_come_and_go(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let stay = (0..500).map(|n| format!("k/stay/{n:03}")).collect::<Vec<_>>();
    store.put_many(stay.iter().map(|key| (key, "v")))?;
    let done = AtomicBool::new(false);
    let wrong = at_once(3, |thread| {
        if thread == 0 {
            let wrong = (0..10).find_map(|_| match store.keys("k/").and_then(super::sorted) {
                Ok(listed) => wrong_listing(&listed, &stay),
                Err(error) => Some(format!("an error: {error}")),
            });
            done.store(true, Ordering::Relaxed);
            return Ok(wrong);
        }
        let mut n = 0;
        while !done.load(Ordering::Relaxed) {
            n = (n + 1) % 1000;
            store.put(format!("k/come/{thread}/{n}"), "v")?;
            store.delete(format!("k/come/{thread}/{}", (n + 500) % 1000))?;
        }
        Ok(None)
    })?;
    expect_eq("a listing while other keys come and go", wrong.into_iter().flatten().next(), None)?;
    expect("get of a key that stayed", store.get("k/stay/000"), Some("v".into()))
}

fn wrong_listing(listed: &[String], stay: &[String]) -> Option<String> {
    let staying = listed.iter().filter(|key| key.starts_with("k/stay/")).collect::<Vec<_>>();
    if let Some(missing) = stay.iter().find(|key| !staying.contains(key)) {
        return Some(format!("{missing:?} did not come"));
    }
    if staying.len() > stay.len() {
        return Some(format!("{} keys that stay came, and there are {}", staying.len(), stay.len()));
    }
    let foreign = listed.iter().find(|key| !key.starts_with("k/stay/") && !key.starts_with("k/come/"));
    foreign.map(|key| format!("{key:?} came, which was never written"))
}
