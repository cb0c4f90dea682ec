//! Section 3, with several threads at once whose [histories](crate::history) are recorded and searched for an order.
//!
//! The operations of the threads are random, from the seed; their order is chance. A store that is wrong only now and then may pass, and
//! fail another time.

mod rounds;
mod steps;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kv_core::{Capability, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::checks::threads::at_once::at_once;
use crate::history::{Contradiction, History, Weakness};
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_that, trace};

use rounds::{Plan, Shape};

pub(super) use rounds::handles;
use steps::Kind;

checks![
    p1_histories_of_random_operations_are_linearizable,
    p1_histories_of_create_and_delete_are_linearizable,
    p2_histories_of_long_values_and_ttls_are_linearizable,
    u1_histories_of_conditional_updates_are_linearizable,
    u5_histories_of_increments_are_linearizable,
    p1_no_increment_under_a_lock_is_lost,
    p1_creates_minus_deletes_are_what_is_left,
];

const fn shape(threads: usize, keys: usize, operations: usize) -> Shape {
    Shape { threads, keys, operations }
}

/// Lets 2 to 8 threads do random operations of every kind on 1 to 3 keys, alone and in batches, through both handles, with and without
/// TTLs, by copies and renames, while others list them, and reads the keys at the end. For each history of a key there has to be an
/// order that explains every answer. Finds a write that is lost or undone, one that is seen and then is not, one that is seen only
/// later, and answers that do not fit together.
pub fn p1_histories_of_random_operations_are_linearizable() -> Check {
    about(&["P1", "P2", "P3", "P4", "D1", "T6", "L1", "C1", "C2"]).run(|context| {
        check_histories(
            context,
            &Plan {
                kinds: Kind::ALL,
                kinds_at_once: 5,
                shapes: &[
                    shape(2, 1, 3),
                    shape(2, 2, 5),
                    shape(3, 1, 4),
                    shape(4, 2, 5),
                    shape(8, 1, 3),
                    shape(8, 3, 6),
                ],
                long_one_of: 20,
                time: Duration::from_secs(2),
            },
        )
    })
}

/// As [`p1_histories_of_random_operations_are_linearizable`], with what makes entries or takes them away and says whether it did, and
/// what must not bring them back, in short rounds: of creates without a removal in between one succeeds, and of removals without a
/// create in between too.
pub fn p1_histories_of_create_and_delete_are_linearizable() -> Check {
    about(&["P1", "P3", "P4", "D1", "T6"]).needs(&[Capability::Create]).run(|context| {
        use Kind::{Create, Delete, DeleteMany, GetByRename, PutByRename, PutFrom, PutZero, Touch, TouchZero};
        check_histories(
            context,
            &Plan {
                kinds: &[Create, Delete, DeleteMany, TouchZero, PutZero, Touch, PutFrom, PutByRename, GetByRename],
                kinds_at_once: 3,
                shapes: &[shape(2, 1, 2), shape(3, 1, 2), shape(2, 1, 4), shape(8, 1, 2)],
                long_one_of: 40,
                time: Duration::from_millis(1500),
            },
        )
    })
}

/// As [`p1_histories_of_random_operations_are_linearizable`], with long values and with TTLs, in short rounds: no value is a mixture of two,
/// and the TTL of an entry is that of its value, or the one that a touch gave it since.
pub fn p2_histories_of_long_values_and_ttls_are_linearizable() -> Check {
    about(&["P2", "P3", "T6", "S1", "S2", "C1"]).run(|context| {
        use Kind::{
            Create, Get, GetByCopy, GetEach, GetInto, GetMany, Open, Put, PutByCopy, PutByRename, PutFrom, PutMany,
        };
        check_histories(
            context,
            &Plan {
                kinds: &[
                    Put,
                    PutFrom,
                    PutMany,
                    PutByCopy,
                    PutByRename,
                    Create,
                    Kind::Touch,
                    Kind::Ttl,
                    Kind::Ttl,
                    Get,
                    GetInto,
                    Open,
                    GetMany,
                    GetEach,
                    GetByCopy,
                ],
                kinds_at_once: 4,
                shapes: &[shape(2, 1, 2), shape(3, 1, 3), shape(2, 2, 3), shape(4, 1, 3)],
                long_one_of: 3,
                time: Duration::from_millis(1500),
            },
        )
    })
}

/// As [`p1_histories_of_random_operations_are_linearizable`], with what depends on what is there, beside writes of every other kind, in short
/// rounds: a `put_if` succeeds only on the value that its thread has read or created, and what `take` gives nobody else gets.
pub fn u1_histories_of_conditional_updates_are_linearizable() -> Check {
    about(&["U1", "U4", "P1", "P4", "D1", "T6"]).needs(&[Capability::Versions]).run(|context| {
        use Kind::{Create, CreateVersioned, Delete, DeleteIf, Get, GetAndTouch, Put, PutIf, Take, Touch};
        check_histories(
            context,
            &Plan {
                kinds: &[
                    PutIf,
                    PutIf,
                    DeleteIf,
                    CreateVersioned,
                    CreateVersioned,
                    Take,
                    GetAndTouch,
                    Put,
                    Create,
                    Delete,
                    Touch,
                    Get,
                ],
                kinds_at_once: 4,
                shapes: &[shape(2, 1, 2), shape(3, 1, 2), shape(2, 1, 4), shape(8, 1, 2)],
                long_one_of: 40,
                time: Duration::from_millis(1500),
            },
        )
    })
}

/// As [`p1_histories_of_random_operations_are_linearizable`], with increments of counters that others write, copy, touch and take away, in
/// short rounds: each increment counts once, on what is there, keeps its TTL, and is refused only where there is text.
pub fn u5_histories_of_increments_are_linearizable() -> Check {
    about(&["U5", "U1", "U4", "P1", "P4", "D1", "T6"]).needs(&[Capability::Counters]).run(|context| {
        use Kind::{
            Create, CreateVersioned, Delete, GetByRename, Increment, Put, PutByCopy, PutCounter, PutIf, Take, Touch,
        };
        check_histories(
            context,
            &Plan {
                kinds: &[
                    Increment,
                    Increment,
                    Increment,
                    Increment,
                    PutCounter,
                    PutCounter,
                    Put,
                    PutByCopy,
                    PutIf,
                    Create,
                    CreateVersioned,
                    Delete,
                    Take,
                    GetByRename,
                    Touch,
                    Kind::Ttl,
                ],
                kinds_at_once: 4,
                shapes: &[shape(2, 1, 2), shape(3, 1, 2), shape(2, 1, 4), shape(8, 1, 2)],
                long_one_of: 40,
                time: Duration::from_millis(1500),
            },
        )
    })
}

fn check_histories(context: &Context<'_>, plan: &Plan<'_>) -> Outcome {
    let weaknesses = weaknesses(context)?;
    let check = |history: &History| history.check(&weaknesses).map_err(|contradiction| explain(&contradiction));
    rounds::run(context, plan, &weaknesses, check)
}

/// The declared weaknesses. One without a reason does not count.
fn weaknesses(context: &Context<'_>) -> Outcome<Vec<Weakness>> {
    let mut declared = Vec::new();
    for (weakness, reason) in context.scope.weaknesses_of_order() {
        let what = format!("the reason for weaker(Weakness::{weakness:?}, reason)");
        expect_that(what, !reason.trim().is_empty(), "a reason that a reader of the report understands", reason)?;
        declared.push(weakness);
    }
    Ok(declared)
}

/// Without an order, neither a lock nor a counter is reliable.
fn needs_order(context: &Context<'_>) -> Outcome {
    weaknesses(context)?;
    match context.scope.weaknesses_of_order().next() {
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
    .breaking(contradiction.clauses())
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
