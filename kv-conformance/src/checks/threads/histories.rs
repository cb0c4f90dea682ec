//! Section 3, with several threads at once whose [histories](crate::history) are recorded and searched for an order.
//!
//! The operations of the threads are random, from the seed; their order is chance. A store that is wrong only now and then may pass, and
//! fail another time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kv_core::{Capability, Error, Key, KeyBuf, KeyValueStore, KeyValueStoreExt};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::strategy::Strategy;

use crate::checks::check::{Check, about, checks};
use crate::checks::threads::at_once::at_once;
use crate::history::{Contradiction, History, Recorder, Recording, Weakness};
use crate::property::Inputs;
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_that, trace};

checks![
    p1_histories_of_random_operations_are_linearizable,
    p1_histories_of_create_and_delete_are_linearizable,
    p1_no_increment_under_a_lock_is_lost,
    p1_creates_minus_deletes_are_what_is_left,
];

/// Lets 2 to 8 threads run random operations, alone and in batches, on 1 to 3 keys, and reads the keys at the end. For each history of a
/// key there has to be an order that explains every answer. This finds a write that is lost, that is seen and later not seen, or that is
/// seen too late, and answers that contradict each other.
pub fn p1_histories_of_random_operations_are_linearizable() -> Check {
    about(&["P1", "P3", "P4", "D1"]).run(|context| {
        use Kind::{Contains, Create, Delete, DeleteMany, Get, GetMany, Put, PutMany};
        let mut kinds = vec![Put, Put, Put, PutMany, Delete, Delete, DeleteMany, Get, Get, Get, GetMany];
        if context.has(Capability::Create) {
            kinds.extend([Create, Create]);
        }
        if context.has(Capability::Contains) {
            kinds.push(Contains);
        }
        check_histories(context, &kinds)
    })
}

/// Like [`p1_histories_of_random_operations_are_linearizable`], with mostly create and delete. Of creates without a delete in between only
/// one succeeds, and of deletes without a create in between, too.
pub fn p1_histories_of_create_and_delete_are_linearizable() -> Check {
    about(&["P1", "P3", "P4", "D1"]).needs(&[Capability::Create]).run(|context| {
        check_histories(context, &[Kind::Create, Kind::Create, Kind::Create, Kind::Delete, Kind::Delete, Kind::Get])
    })
}

/// The number of threads, operations and keys, and the number of repetitions.
struct Plan {
    threads: usize,
    keys: usize,
    operations: usize,
    rounds: usize,
}

/// From small ones, whose histories are easy to read, to large ones: about 15 000 operations in all, which takes a store over
/// a socket a second or two.
const PLANS: &[Plan] = &[
    Plan { threads: 2, keys: 1, operations: 3, rounds: 200 },
    Plan { threads: 2, keys: 2, operations: 6, rounds: 200 },
    Plan { threads: 3, keys: 1, operations: 8, rounds: 150 },
    Plan { threads: 4, keys: 2, operations: 8, rounds: 80 },
    Plan { threads: 8, keys: 1, operations: 6, rounds: 40 },
    Plan { threads: 8, keys: 3, operations: 12, rounds: 40 },
];

/// One operation of a plan.
#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    /// The key. Batches use all keys.
    key: usize,
    /// How often to let other threads go first.
    yields: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    PutMany,
    Create,
    Delete,
    DeleteMany,
    Get,
    GetMany,
    Contains,
}

fn check_histories(context: &Context<'_>, kinds: &[Kind]) -> Outcome {
    let weaknesses = weaknesses(context)?;
    let mut inputs = Inputs::of(&context.seed);
    for (size, plan) in PLANS.iter().enumerate() {
        let step = (select(kinds.to_vec()), 0..plan.keys, 0..3_usize);
        let step = step.prop_map(|(kind, key, yields)| Step { kind, key, yields });
        let threads = vec(vec(step, plan.operations), plan.threads);
        for round in 0..plan.rounds {
            let steps = inputs.next(&threads)?;
            // Fresh keys, so that each history begins with nothing.
            let names = (0..plan.keys).map(|key| KeyBuf::new(format!("{size}/{round}/{key}")));
            let names = names.collect::<Result<Vec<_>, _>>()?;
            let keys = names.iter().map(KeyBuf::as_key).collect::<Vec<_>>();
            for history in record(context, &steps, &keys)? {
                history.check(&weaknesses).map_err(|contradiction| explain(&contradiction))?;
            }
        }
    }
    Ok(())
}

/// Lets each thread do its steps at the same time, then reads all keys through every handle.
fn record(context: &Context<'_>, threads: &[Vec<Step>], keys: &[Key<'_>]) -> Outcome<Vec<History>> {
    let (recorder, ready) = (Recorder::new(), AtomicUsize::new(0));
    let [even, odd] = handles(context);
    let mut recordings = at_once(threads.len(), |thread| {
        let mut recording = recorder.thread(if thread % 2 == 0 { even } else { odd });
        // A barrier wakes one thread after the other, which takes longer than all the work of a store in memory.
        ready.fetch_add(1, Ordering::Relaxed);
        while ready.load(Ordering::Relaxed) < threads.len() {
            thread::yield_now();
        }
        for step in threads.get(thread).into_iter().flatten() {
            (0..step.yields).for_each(|_| thread::yield_now());
            do_step(&mut recording, step, keys)?;
        }
        Ok(recording)
    })?;
    for handle in [even, odd] {
        let mut last = recorder.thread(handle);
        for &key in keys {
            last.get(key)?;
        }
        recordings.push(last);
    }
    Ok(History::of(recordings))
}

/// The handles that threads use in turn. If there is a second handle, half of the threads use it.
fn handles<'a>(context: &Context<'a>) -> [&'a dyn KeyValueStore; 2] {
    [context.store(), context.second_handle().unwrap_or_else(|_| context.store())]
}

fn do_step(recording: &mut Recording<'_>, step: &Step, keys: &[Key<'_>]) -> Result<(), Error> {
    let Some(&key) = keys.get(step.key) else { return Ok(()) };
    match step.kind {
        Kind::Put => {
            let value = recording.fresh_value();
            recording.put(key, value)
        }
        Kind::PutMany => {
            let entries = keys.iter().map(|&key| (key, recording.fresh_value())).collect::<Vec<_>>();
            recording.put_many(&entries)
        }
        Kind::Create => {
            let value = recording.fresh_value();
            recording.create(key, value).map(drop)
        }
        Kind::Delete => recording.delete(key).map(drop),
        Kind::DeleteMany => recording.delete_many(keys).map(drop),
        Kind::Get => recording.get(key).map(drop),
        Kind::GetMany => recording.get_many(keys).map(drop),
        Kind::Contains => recording.contains(key).map(drop),
    }
}

/// The declared weaknesses. One without a reason does not count.
fn weaknesses(context: &Context<'_>) -> Outcome<Vec<Weakness>> {
    let declared = &context.scope.weaknesses;
    for (weakness, reason) in declared {
        let what = format!("the reason for weaker(Weakness::{weakness:?}, reason)");
        expect_that(what, !reason.trim().is_empty(), "a reason that a reader of the report understands", reason)?;
    }
    Ok(declared.keys().copied().collect())
}

/// Without an order, neither a lock nor a counter is reliable.
fn needs_order(context: &Context<'_>) -> Outcome {
    weaknesses(context)?;
    match &context.scope.weaknesses.iter().next() {
        Some((weakness, reason)) => Err(NotPassed::Ignored(format!("declared to be weaker, {weakness}: {reason}"))),
        None => Ok(()),
    }
}

fn explain(contradiction: &Contradiction) -> NotPassed {
    // This thread's operations say nothing about it.
    trace::forget();
    NotPassed::failed(format_args!(
        "{contradiction}\nchance:   the seed below gives the same operations; whether they fail again is chance"
    ))
    .breaking(contradiction.clauses().iter().copied())
}

/// Lets 8 threads increment a counter under a lock, as often as they get it. They take the lock with `create`, and release it with
/// `delete`. At the end the counter has to equal the number of increments, and each `delete` of the lock has to return `true`.
pub fn p1_no_increment_under_a_lock_is_lost() -> Check {
    about(&["P1", "P4", "D1"]).needs(&[Capability::Create]).run(|context| {
        needs_order(context)?;
        let [store, odd] = handles(context);
        store.put("counter", "0")?;
        let holders = AtomicUsize::new(0);
        let counted = at_once(THREADS, |thread| {
            let store = if thread % 2 == 0 { store } else { odd };
            let mut done = Increments::default();
            for _ in 0..ATTEMPTS {
                if store.create("lock", thread.to_string())? {
                    done.not_alone += usize::from(holders.fetch_add(1, Ordering::SeqCst) > 0);
                    let count =
                        store.get("counter")?.and_then(|count| str::from_utf8(&count).ok()?.parse::<usize>().ok());
                    thread::yield_now();
                    store.put("counter", count.map_or_else(|| "lost".to_owned(), |count| (count + 1).to_string()))?;
                    done.count += 1;
                    holders.fetch_sub(1, Ordering::SeqCst);
                    done.not_given_back += usize::from(!store.delete("lock")?);
                }
                thread::yield_now();
            }
            Ok(done)
        })?;
        let not_alone = counted.iter().map(|done| done.not_alone).sum::<usize>();
        let what = "how often create gave a thread the lock that another one had";
        expect_eq(what, not_alone, 0).map_err(|failed| failed.breaking(["P4"]))?;
        let not_given_back = counted.iter().map(|done| done.not_given_back).sum::<usize>();
        let what = "how often delete told the thread that held the lock that there was no lock";
        expect_eq(what, not_given_back, 0).map_err(|failed| failed.breaking(["D1", "P4"]))?;
        let count = counted.iter().map(|done| done.count).sum::<usize>();
        expect_that(
            format_args!("how often {THREADS} threads got a lock that each gives back, in {ATTEMPTS} attempts each"),
            count > 0,
            "at least once",
            count,
        )
        .map_err(|failed| failed.breaking(["P4", "D1"]))?;
        let what = format!("get(\"counter\") after {count} increments under a lock, made of create and delete");
        expect(what, store.get("counter"), Some(count.to_string().into()))?;
        expect("get(\"lock\") after everybody gave it back", store.get("lock"), None)
    })
}

const THREADS: usize = 8;

/// How often each thread tries to get the lock.
const ATTEMPTS: usize = 100;

/// What a thread did under a lock.
#[derive(Default)]
struct Increments {
    count: usize,
    not_alone: usize,
    not_given_back: usize,
}

/// Lets 8 threads create and delete two keys, over and over. For each key, the number of successful creates minus the number of successful
/// deletes has to be one if the key is there at the end, and zero if it is not.
pub fn p1_creates_minus_deletes_are_what_is_left() -> Check {
    about(&["P1", "P4", "D1"]).needs(&[Capability::Create]).run(|context| {
        needs_order(context)?;
        let [even, odd] = handles(context);
        for key in ["a", "b"] {
            let counted = at_once(THREADS, |thread| {
                let store = if thread % 2 == 0 { even } else { odd };
                let (mut created, mut deleted) = (0_usize, 0_usize);
                for n in 0..ATTEMPTS {
                    // Not alternating by thread, or all creates would use one handle and all deletes the other.
                    if (n + thread / 2) % 2 == 0 {
                        created += usize::from(store.create(key, thread.to_string())?);
                    } else {
                        deleted += usize::from(store.delete(key)?);
                    }
                    if n % 3 == 0 {
                        thread::yield_now();
                    }
                }
                Ok((created, deleted))
            })?;
            let created = counted.iter().map(|(created, _)| created).sum::<usize>();
            let deleted = counted.iter().map(|(_, deleted)| deleted).sum::<usize>();
            let there = usize::from(context.store().get(key)?.is_some());
            let left = if there == 0 { "no entry is left" } else { "an entry is left" };
            let what =
                format!("how many creates of {key:?} succeeded, when so many deletes did: {deleted}, and {left}");
            let clause = if created > deleted + there { "P4" } else { "D1" };
            expect_eq(what, created, deleted + there).map_err(|failed| failed.breaking([clause]))?;
        }
        Ok(())
    })
}
