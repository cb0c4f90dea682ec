//! Sections 4 and 12, with several threads at the moment at which entries expire.
//!
//! Like the other [races](super::races), these find a mistake only by chance.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::threads::at_once::{Over, THREADS, at_once, keys_of, rounds};
use crate::running::{Context, Outcome, expect, expect_eq, expect_that, panics};

checks![
    t5_reading_an_expired_entry_does_not_remove_a_new_one,
    t5_of_creators_at_expiry_one_wins,
    t5_a_touch_at_expiry_answers_truthfully,
    u5_a_counter_that_expires_between_increments_expires_again,
];

/// Lets 7 threads read expired entries in every way while one thread overwrites them. The new entries have to stay: a store that removes an
/// expired entry when it meets one must check that it is still the same.
pub fn t5_reading_an_expired_entry_does_not_remove_a_new_one() -> Check {
    about(&["T5", "P1"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let rounds = (0..rounds(context)).map(keys_of).collect::<Vec<_>>();
        let ttl = Duration::from_millis(5);
        let entries = || rounds.iter().flatten().map(|key| (key, "expired", ttl));
        let ((), end) = context.expiring(ttl, || store.put_many_with_ttl(entries()))?;
        context.wait_for(end);
        let (contains, ttl) = (context.has(Capability::Contains), context.has(Capability::TtlReading));
        for keys in &rounds {
            at_once(THREADS, |thread| {
                keys.iter().try_for_each(|key| match thread {
                    0 => store.put(key, "new"),
                    1 if contains => store.contains(key).map(drop),
                    2 if ttl => store.ttl(key).map(drop),
                    3 => store.get_many([key]).map(drop),
                    _ => store.get(key).map(drop),
                })
            })?;
            for key in keys {
                let what =
                    format!("get({key:?}), which was written while others read the expired entry that was there");
                expect(what, store.get(key), Some("new".into()))?;
            }
        }
        Ok(())
    })
}

/// The TTL of the entries around whose expiry the threads race, in real time.
const TTL: Duration = Duration::from_millis(150);

/// Puts entries with one TTL, and lets 8 threads act on each of them around its expiry. When they are done, the TTL has passed. Returns
/// each thread's answer for each key.
fn around_the_end(
    context: &Context<'_>,
    keys: &[String],
    act: impl Fn(usize, &str) -> Result<bool, Error> + Sync,
) -> Outcome<Vec<Vec<bool>>> {
    let store = context.store();
    let ((), end) = context.expiring(TTL, || store.put_many_with_ttl(keys.iter().map(|key| (key, "old", TTL))))?;
    let by_hand = context.time.is_advanced_by_hand();
    if !by_hand {
        context.time.wait_until(end.earliest.saturating_sub(TTL / 5));
    }
    // In real time, the threads act on the keys one after the other, during twice the time that is left.
    let pause = TTL / 5 * 2 / u32::try_from(keys.len()).unwrap_or(u32::MAX);
    let (barrier, acted) = (Barrier::new(THREADS + 1), AtomicUsize::new(0));
    let told = thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let (act, barrier, acted) = (&act, &barrier, &acted);
            scope.spawn(move || {
                barrier.wait();
                let act = |key: &String| {
                    let told = act(thread, key);
                    acted.fetch_add(1, Ordering::Relaxed);
                    if !by_hand {
                        thread::sleep(pause);
                    }
                    told
                };
                panics::catch(|| keys.iter().map(act).collect::<Result<Vec<_>, _>>())
            })
        });
        let threads = threads.collect::<Vec<_>>();
        barrier.wait();
        // Time that is advanced by hand ends the TTL when the threads have acted on a part of the keys.
        let in_time = || acted.load(Ordering::Relaxed) < keys.len() * THREADS / 3;
        while by_hand && in_time() && threads.iter().any(|thread| !thread.is_finished()) {
            thread::yield_now();
        }
        context.wait_for(end);
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    told.into_iter().map(|told| Ok(panics::joined(told)??)).collect()
}

/// 500 keys, or fewer for a slow store.
fn keys(context: &Context<'_>) -> Vec<String> {
    (0..rounds(context)).flat_map(keys_of).collect()
}

/// Lets 8 threads create 500 keys while the old entries expire. For each key, at most one thread is told that it created the entry. Then
/// its value is there; otherwise the key is absent.
pub fn t5_of_creators_at_expiry_one_wins() -> Check {
    about(&["T5", "P4"]).needs(&[Capability::Ttls, Capability::Create]).run(|context| {
        let (store, keys) = (context.store(), keys(context));
        let told = around_the_end(context, &keys, |thread, key| store.create(key, thread.to_string()))?;
        for (at, key) in keys.iter().enumerate() {
            let winners = (0..THREADS).filter(|&thread| told.get(thread).and_then(|told| told.get(at)) == Some(&true));
            let winners = winners.collect::<Vec<_>>();
            let what =
                format!("which of {THREADS} threads were told that they created {key:?}, when its entry expired");
            expect_that(what, winners.len() <= 1, "at most one", &winners)?;
            let value = winners.first().map(|thread| thread.to_string().into());
            expect(
                format_args!("get({key:?}) after that: the winner's value, if there is one"),
                store.get(key),
                value,
            )?;
        }
        Ok(())
    })
}

/// Lets 8 threads touch 500 keys with `Forever` while their entries expire. If a thread was told that a key was there, the key stays; all
/// other keys are absent.
pub fn t5_a_touch_at_expiry_answers_truthfully() -> Check {
    about(&["T5", "T6"]).needs(&[Capability::Ttls, Capability::Touch]).run(|context| {
        let (store, keys) = (context.store(), keys(context));
        let told = around_the_end(context, &keys, |_, key| store.touch(key, Ttl::Forever))?;
        for (at, key) in keys.iter().enumerate() {
            let touched = told.iter().any(|told| told.get(at) == Some(&true));
            let got = store.get(key)?.is_some();
            let what = format!("whether {key:?} is there, of which a touch said at its expiry: {touched}");
            expect_eq(what, got, touched)?;
        }
        Ok(())
    })
}

/// The TTL of a counter that expires over and over, how often it does, and how many threads increment it.
const COUNTER_TTL: Duration = Duration::from_millis(2);
const COUNTER_EXPIRES: u32 = 500;
const COUNTING: usize = 4;

/// Lets 4 threads increment one counter without a pause, for as long as it may expire 500 times. Each new one begins with its TTL, so in the end it
/// expires, too: a store that looks whether there is a counter, and then adds to it in a second step, may begin one for ever if it expires in
/// between.
pub fn u5_a_counter_that_expires_between_increments_expires_again() -> Check {
    about(&["U5", "T5", "T2"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let store = context.store();
        let is_over = AtomicBool::new(false);
        let incremented = thread::scope(|scope| {
            let threads = [(); COUNTING].map(|()| {
                scope.spawn(|| {
                    let increments = || -> Result<(), Error> {
                        while !is_over.load(Ordering::Relaxed) {
                            store.increment("k", 1, COUNTER_TTL)?;
                        }
                        Ok(())
                    };
                    panics::catch(increments)
                })
            });
            let over = Over(&is_over);
            for _ in 0..COUNTER_EXPIRES {
                context.time.wait(COUNTER_TTL);
                thread::yield_now();
            }
            drop(over);
            threads.map(thread::ScopedJoinHandle::join)
        });
        for incremented in incremented {
            panics::joined(incremented)??;
        }
        let (_sum, end) = context.expiring(COUNTER_TTL, || store.increment("k", 1, COUNTER_TTL))?;
        context.wait_for(end);
        expect("get of a counter after its TTL, which had expired often between increments", store.get("k"), None)
    })
}
