//! Sections 3 and 4, with several threads at once.
//!
//! These find mistakes by chance. A failure is always a mistake, but it may take several runs to see it again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{ways_of_writing, write};
use crate::checks::threads::at_once::{Over, THREADS, at_once, expect_nothing, keys_of, rounds};
use crate::running::{Outcome, expect, expect_eq, expect_that};

checks![
    p1_threads_on_keys_of_their_own_do_not_disturb_each_other,
    p3_a_reader_sees_the_old_or_the_new_value_whole,
    p4_of_many_creators_one_wins,
    p4_of_many_creators_over_an_expired_entry_one_wins,
    p4_creates_and_deletes_of_one_key_take_turns,
    d1_of_many_deleters_one_removes_the_entry,
    t6_a_touch_does_not_undo_a_write,
];

/// Lets each of 8 threads write, read and delete its own 50 keys, over and over, in every way of writing. No thread may see or undo
/// anything at the keys of another one.
pub fn p1_threads_on_keys_of_their_own_do_not_disturb_each_other() -> Check {
    about(&["P1", "D1"]).run(|context| {
        let store = context.store();
        let ways =
            ways_of_writing(context).into_iter().filter(|way| !matches!(*way, "copy" | "rename")).collect::<Vec<_>>();
        let rounds = context.items(5, 200);
        let wrong = at_once(THREADS, |thread| {
            for round in 0..rounds {
                for (n, way) in (0..50).zip(ways.iter().cycle().skip(round)) {
                    let (key, value) = (format!("{thread}/{n}"), format!("{thread}/{n}/{round}"));
                    write(store, way, &key, &value)?;
                    let got = store.get(&key)?;
                    if got != Some(value.clone().into()) {
                        return Ok(Some(format!("get({key:?}) after {way} of {value:?} gave {got:?}")));
                    }
                    if n % 3 == 0 && (!store.delete(&key)? || store.get(&key)?.is_some()) {
                        return Ok(Some(format!("delete({key:?}) did not remove it")));
                    }
                }
                for n in 0..50 {
                    let key = format!("{thread}/{n}");
                    let want = (n % 3 != 0).then(|| Bytes::from(format!("{key}/{round}")));
                    let got = store.get(&key)?;
                    if got != want {
                        return Ok(Some(format!("get({key:?}) at the end of a round gave {got:?}, not {want:?}")));
                    }
                }
            }
            Ok(None)
        })?;
        expect_nothing("what 8 threads saw at keys of their own", "what each of them did there", wrong)
    })
}

/// How often a value is read at least while it is overwritten.
const READS: usize = 50;

/// Lets two threads overwrite one key, in each way of writing, by version, and by copying and renaming onto it, with values of one repeated
/// byte and of different lengths, while others read it, alone, in a batch and as a stream. Each read has to give one of the
/// values that were written: no mixture, no piece, not nothing.
pub fn p3_a_reader_sees_the_old_or_the_new_value_whole() -> Check {
    about(&["P3"]).run(|context| {
        let store = context.store();
        let unit = (context.size(18_001) / 6).max(1);
        let value = |n: usize| vec![b'a' + u8::try_from(n % 26).unwrap_or_default(); 1 + (n % 6) * unit];
        let mut ways = vec!["put", "put_many", "put_from"];
        if context.has(Capability::Copy) {
            ways.extend(["copy", "rename"]);
        }
        if context.has(Capability::Versions) {
            ways.push("put_if");
        }
        store.put("k", value(0))?;
        for way in ways {
            let (reads, done) = (AtomicUsize::new(0), AtomicBool::new(false));
            let wrong = at_once(5, |thread| {
                let _over = Over(&done);
                if thread < 2 {
                    let from = format!("from/{thread}");
                    // Continues until enough was read meanwhile, or something wrong was read.
                    let more =
                        |n: &usize| *n < 50 || reads.load(Ordering::Relaxed) < READS && !done.load(Ordering::Relaxed);
                    return (0..)
                        .take_while(more)
                        .try_for_each(|n| {
                            let value = value(n * 2 + thread);
                            match way {
                                "put" => store.put("k", value),
                                "put_many" => store.put_many([("k", value)]),
                                "put_from" => store.put_from("k", value.as_slice()),
                                "put_if" => match store.get_versioned("k")? {
                                    Some((_, version)) => store.put_if("k", value, Ttl::Default, &version).map(drop),
                                    None => Ok(()),
                                },
                                "copy" => store.put(&from, value).and_then(|()| store.copy(&from, "k")),
                                _ => store.put(&from, value).and_then(|()| store.rename(&from, "k")),
                            }
                        })
                        .map(|()| None);
                }
                while !done.load(Ordering::Relaxed) {
                    let got = match thread {
                        2 => store.get_many(["k"])?.pop().flatten(),
                        3 => read_stream(store, "k")?,
                        _ => store.get("k")?,
                    };
                    let Some(got) = got else { return Ok(Some("nothing, as if the key were absent".to_owned())) };
                    let same = got.first().is_some_and(|first| got.iter().all(|byte| byte == first));
                    if !same || !(got.len() - 1).is_multiple_of(unit) {
                        return Ok(Some(format!("{} bytes that were never written so", got.len())));
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None)
            })?;
            let what = format!("what was read while the value was overwritten by {way}");
            expect_nothing(what, "always one of the values that were written, whole", wrong)?;
        }
        Ok(())
    })
}

fn read_stream(store: &dyn KeyValueStore, key: &str) -> Result<Option<Bytes>, Error> {
    let mut read = Vec::new();
    match store.get_into(key, &mut read) {
        Ok(_) => Ok(Some(read.into())),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets 8 threads create the same keys at the same time. For each key, exactly one thread has to be told that it created the entry, and its
/// value has to be there. A create that is a get and then a put fails here.
pub fn p4_of_many_creators_one_wins() -> Check {
    about(&["P4"])
        .needs(&[Capability::Create])
        .run(|context| (0..rounds(context)).try_for_each(|round| race_to_create(context.store(), &keys_of(round))))
}

/// Like [`p4_of_many_creators_one_wins`], over expired entries: removing the old entry and storing the new one has to be one step.
pub fn p4_of_many_creators_over_an_expired_entry_one_wins() -> Check {
    about(&["P4", "T5"]).needs(&[Capability::Create, Capability::Ttls]).run(|context| {
        let rounds = (0..rounds(context)).map(keys_of).collect::<Vec<_>>();
        let mut last = None;
        for key in rounds.iter().flatten() {
            last = Some(context.put_for(key, "expired", Duration::from_millis(5))?);
        }
        if let Some(end) = last {
            context.wait_for(end);
        }
        rounds.iter().try_for_each(|keys| race_to_create(context.store(), keys))
    })
}

fn race_to_create(store: &dyn KeyValueStore, keys: &[String]) -> Outcome {
    let won = at_once(THREADS, |thread| {
        keys.iter().map(|key| store.create(key, thread.to_string())).collect::<Result<Vec<_>, _>>()
    })?;
    for (at, key) in keys.iter().enumerate() {
        let winners = (0..THREADS).filter(|&thread| won.get(thread).and_then(|won| won.get(at)) == Some(&true));
        let winners = winners.collect::<Vec<_>>();
        let what = format!("which of {THREADS} threads that created {key:?} at the same time were told that they did");
        expect_that(what, winners.len() == 1, "exactly one", &winners)?;
        let value = winners.first().map(|thread| thread.to_string().into());
        expect(format_args!("get({key:?}) after that: the winner's value"), store.get(key), value)?;
    }
    Ok(())
}

/// Lets 4 threads create the same keys, while 4 others delete them. At each key, successful creates and deletes take turns: there are as
/// many of one as of the other, or one create more, and then its entry is there. A delete in two steps, which removes an entry that was
/// created in between, fails here.
pub fn p4_creates_and_deletes_of_one_key_take_turns() -> Check {
    about(&["P4", "D1"]).needs(&[Capability::Create]).run(|context| {
        let store = context.store();
        for round in 0..rounds(context) {
            let keys = keys_of(round);
            let done = at_once(THREADS, |thread| {
                let act = |key: &String| if thread % 2 == 0 { store.create(key, "v") } else { store.delete(key) };
                let count = |key| {
                    Ok((0..3).map(|_| act(key)).collect::<Result<Vec<_>, _>>()?.into_iter().filter(|did| *did).count())
                };
                keys.iter().map(count).collect::<Result<Vec<_>, Error>>()
            })?;
            for (at, key) in keys.iter().enumerate() {
                let by =
                    |odd: usize| done.iter().skip(odd).step_by(2).filter_map(|counts| counts.get(at)).sum::<usize>();
                let (created, deleted) = (by(0), by(1));
                let there = store.get(key)?.is_some();
                let what = format!("creates and deletes of {key:?} that did it, and whether it is there afterwards");
                let holds = created == deleted + usize::from(there);
                let want = "as many creates as deletes where it is absent, one more where it is there";
                expect_that(what, holds, want, (created, deleted, there))?;
            }
        }
        Ok(())
    })
}

/// Lets 8 threads delete the same entries at the same time, alone and in batches. For each entry, exactly one thread has to be told that it
/// deleted it.
pub fn d1_of_many_deleters_one_removes_the_entry() -> Check {
    about(&["D1", "B3"]).run(|context| {
        let store = context.store();
        for round in 0..rounds(context) {
            let keys = keys_of(round);
            store.put_many(keys.iter().map(|key| (key, "v")))?;
            let (operation, removed) = if round % 2 == 0 {
                let delete = |_| keys.iter().map(|key| store.delete(key)).collect::<Result<Vec<_>, _>>();
                ("delete", at_once(THREADS, delete)?)
            } else {
                ("delete_many", at_once(THREADS, |_| store.delete_many(&keys))?)
            };
            for (at, key) in keys.iter().enumerate() {
                let count = removed.iter().filter(|removed| removed.get(at) == Some(&true)).count();
                let what = format!("how many of {THREADS} threads were told by {operation} that they removed {key:?}");
                expect_eq(what, count, 1)?;
            }
        }
        Ok(())
    })
}

/// Lets a thread write a key, wait until another thread has touched it twice, and read it back. Each write has to stay: a touch that reads
/// the entry and writes it again undoes a write in between.
pub fn t6_a_touch_does_not_undo_a_write() -> Check {
    about(&["T6", "P1"])
        .needs(&[Capability::Touch])
        .run(|context| expect_no_write_undone(context.store(), |store| store.touch("k", Ttl::Forever).map(drop)))
}

/// Each write of a thread to `k` has to stay while another thread touches it in this way.
#[track_caller]
pub(crate) fn expect_no_write_undone(
    store: &dyn KeyValueStore,
    touch: impl Fn(&dyn KeyValueStore) -> Result<(), Error> + Sync,
) -> Outcome {
    store.put("k", "v")?;
    let (touches, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let touch = || -> Result<(), Error> {
        while !done.load(Ordering::Relaxed) {
            touch(store)?;
            touches.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let write = || -> Result<Option<String>, Error> {
        for n in 0..100 {
            let value = Bytes::from(n.to_string());
            store.put("k", &value)?;
            let before = touches.load(Ordering::Relaxed);
            while touches.load(Ordering::Relaxed) < before + 2 && !done.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let got = store.get("k")?;
            if got.as_ref() != Some(&value) {
                return Ok(Some(format!("{got:?} after put of {value:?}")));
            }
        }
        Ok(None)
    };
    let wrong = at_once(2, |thread| {
        let _over = Over(&done);
        if thread == 0 { write() } else { touch().map(|()| None) }
    })?;
    let what = "what a thread reads at a key that it alone writes, and another thread touches";
    expect_nothing(what, "what it wrote last", wrong)
}
