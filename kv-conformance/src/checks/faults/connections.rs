//! Section 10, and L3, L4 and B4: faults and a pool, a listing, a batch.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults).

use std::thread;
use std::time::{Duration, Instant};

use kv_core::{Bytes, Capability, Error, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::faults::{
    Case, IDLE, MARGIN, NOTICED, Operation, ProxiedStore, WAITING, check_transient, expect_undisturbed,
    in_own_fixtures, in_parallel,
};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::{NotPassed, Outcome, expect, expect_eq, expect_that, show_error};

checks![
    n1_a_server_that_never_answers_is_an_error_within_the_limit,
    n1_a_request_that_the_server_does_not_read_ends_within_the_limit,
    n1_a_request_that_the_server_reads_slowly_ends_within_the_limit,
    n1_waiting_for_the_pool_ends_within_the_limit,
    n6_a_silent_server_is_left_alone_for_a_short_time,
    n4_a_connection_that_was_closed_while_idle_is_not_written_to,
    n5_a_read_is_tried_once_more_on_a_fresh_connection,
    b4_an_empty_batch_does_no_io,
    l3_a_listing_that_is_cut_ends_with_an_error,
    l4_a_listing_is_fetched_page_by_page,
];

/// Cuts the open connections. New ones can be made, but nothing ever comes on them. Every operation has to end with an error, within the
/// limit.
pub fn n1_a_server_that_never_answers_is_an_error_within_the_limit() -> Check {
    about(&["N1", "E1", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let case = Case::new(context, proxied.fresh_prefix());
        case.prepare(proxied.direct)?;
        proxied.proxy.set(Behaviour::Hold);
        proxied.proxy.cut_now(Cut::Close)?;
        in_parallel(&Operation::all(context), |operation| {
            let what = format!("{} on a new connection on which the server never says anything", operation.name);
            match proxied.within(&what, || (operation.run)(proxied.store, &case))? {
                Ok(answer) => Err(NotPassed::failed(format_args!("{what}\nexpected: an error\ngot:      {answer:?}"))),
                Err(error) => check_transient(&what, &error, proxied.store.name(), &[]),
            }
        })?;
        proxied.heal()?;
        proxied.works_again("after the server never said anything")
    })
}

/// More bytes than all buffers between store and server hold, in most systems.
const TOO_MANY_BYTES: usize = 8 << 20;

/// Writes a value that is so large that all buffers are full while the server reads nothing, or a batch of 32 values if they have to be
/// smaller. The limit applies to sending, too.
pub fn n1_a_request_that_the_server_does_not_read_ends_within_the_limit() -> Check {
    about(&["N1", "E1", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        proxied.works_again("in the beginning")?;
        let (prefix, value) = (proxied.fresh_prefix(), Bytes::from(vec![b'v'; context.size(TOO_MANY_BYTES)]));
        let count = if value.len() < TOO_MANY_BYTES { 32 } else { 1 };
        let entries = (0..count).map(|n| (format!("{prefix}{n}"), value.clone())).collect::<Vec<_>>();
        proxied.proxy.set(Behaviour::Hold);
        let what = format!("put_many of {count} values of {} bytes, of which the server reads nothing", value.len());
        match proxied.within(&what, || proxied.store.put_many(entries))? {
            Ok(()) => return Err(NotPassed::failed(format_args!("{what}\nexpected: an error\ngot:      success"))),
            Err(error) => {
                check_transient(&what, &error, proxied.store.name(), &[])?;
                let unknown = format!("outcome_unknown() of the error (E5) of {what}: {}", show_error(&error));
                expect_eq(unknown, error.outcome_unknown(), true)?;
            }
        }
        // Nothing is cut that the store has to close itself.
        proxied.heal()?;
        proxied.works_again(format_args!("after {what}"))
    })
}

/// Writes a value of up to 8 MiB, which the server reads in pieces of 64 KiB, with a pause before each: all of it would take several times
/// the limit, although some of it is read all the time. A value that is too small for that is written in time, or is not.
pub fn n1_a_request_that_the_server_reads_slowly_ends_within_the_limit() -> Check {
    about(&["N1", "E1", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        proxied.works_again("in the beginning")?;
        let (key, value) = (proxied.fresh_prefix(), Bytes::from(vec![b'v'; context.size(TOO_MANY_BYTES)]));
        // Shorter than any time-out of a single system call, although a socket may tell its writer of room only once most of its buffer is
        // empty.
        let pause = proxied.limit / 24;
        let what = format!("put of {} bytes, which the server reads in pieces, one every {pause:?}", value.len());
        proxied.proxy.set(Behaviour::Delay(pause));
        if let Err(error) = proxied.within(&what, || proxied.store.put(&key, value))? {
            check_transient(&what, &error, proxied.store.name(), &[&key])?;
        }
        proxied.heal()?;
        proxied.works_again(format_args!("after {what}"))
    })
}

/// How many threads want a connection at the same time: many times more than a pool has.
const THREADS: usize = 150;

/// Lets 150 threads read at the same time while the server is silent. Those that wait for a connection of the pool have to end within the
/// limit, too: not one after the other, each waiting for the others' time-outs.
pub fn n1_waiting_for_the_pool_ends_within_the_limit() -> Check {
    about(&["N1", "N6", "E1", "E5"]).under_faults().run(|context| {
    let proxied = ProxiedStore::new(context.fixture())?;
    proxied.works_again("in the beginning")?;
    proxied.proxy.set(Behaviour::Hold);
    in_parallel(&[(); THREADS], |()| {
        let what = format!("get, by one of {THREADS} threads, while the server is silent");
        let (result, took) = proxied.timed(|| proxied.store.get("k"));
        proxied.expect_in_time(&what, &result, took)?;
        match result {
            // The server was silent until an operation took too long.
            Ok(value) => Err(NotPassed::failed(format_args!(
                "{what}\nexpected: an error within the limit, {:?} (N1), for all of them\n\
                 got:      {value:?} after {took:?}, as one had waited much longer than that, and the silence was ended",
                proxied.limit
            ))),
            Err(error) => {
                check_transient(&what, &error, proxied.store.name(), &["k"])?;
                let kind = matches!(error, Error::Timeout(_) | Error::Unavailable(_));
                expect_that(format_args!("the kind of the error of {what}"), kind, "Timeout or Unavailable", &error)
            }
        }
    })?;
    proxied.heal()?;
    proxied.works_again(format_args!("after {THREADS} threads waited for a silent server"))
    })
}

/// How many operations a store may need to find out that its server is silent.
const TRIES: usize = 5;

/// Reads one key after the other while the server is silent. A store that says for how long it leaves such a server alone, by
/// [`Fixture::retry_after`](crate::Fixture::retry_after), finds out after a few operations, of which each ends within the limit, and then fails at once,
/// with nothing sent; once the server is back it is used again within that time.
pub fn n6_a_silent_server_is_left_alone_for_a_short_time() -> Check {
    about(&["N6", "N1", "E1", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        if proxied.retry_after.is_zero() {
            return Err(NotPassed::Ignored(
                "the store does not remember silent servers: `Fixture::retry_after` is zero".into(),
            ));
        }
        proxied.works_again("in the beginning")?;
        proxied.proxy.set(Behaviour::Hold);
        let mut quickest = Duration::MAX;
        for number in 0..TRIES {
            let what = format!("get, number {number} while the server is silent");
            let (result, took) = proxied.timed(|| proxied.store.get("k"));
            proxied.expect_in_time(&what, &result, took)?;
            match result {
                Ok(value) => {
                    return Err(NotPassed::failed(format_args!("{what}\nexpected: an error\ngot:      {value:?}")));
                }
                Err(error) => {
                    check_transient(&what, &error, proxied.store.name(), &["k"])?;
                    if matches!(error, Error::Unavailable(_)) {
                        quickest = quickest.min(took);
                    }
                }
            }
        }
        let what = format!("the quickest of {TRIES} operations on a silent server that failed with Unavailable (N6)");
        expect_that(what, quickest < WAITING, "one that failed at once", quickest)?;
        proxied.heal()?;
        proxied.works_again("after the server was silent")
    })
}

/// Lets several connections of the pool be made.
fn fill_pool(proxied: &ProxiedStore<'_>) -> Outcome {
    // Delays the replies, so that no read ends before the others begin.
    proxied.proxy.set(Behaviour::Delay(proxied.limit / 100));
    in_parallel(&[(); 8], |()| expect_undisturbed("get", || proxied.store.get("absent"), None))?;
    proxied.heal()
}

/// Fills the pool, closes and resets its connections while they are idle, and waits a second. Then every write has to work at once: an idle
/// connection is checked before anything is sent on it.
pub fn n4_a_connection_that_was_closed_while_idle_is_not_written_to() -> Check {
    about(&["N4", "N5"]).under_faults().run(|context| {
        let operations = Operation::all(context).into_iter().filter(|operation| operation.writes).collect::<Vec<_>>();
        ProxiedStore::new(context.fixture())?;
        in_own_fixtures(context, &operations, |context, proxied, operation| {
            for cut in [Cut::Close, Cut::Reset] {
                fill_pool(proxied)?;
                proxied.proxy.cut_now(cut)?;
                thread::sleep(IDLE);
                let case = Case::new(context, proxied.fresh_prefix());
                case.prepare(proxied.direct)?;
                let what = format!("{} after all connections were cut ({cut:?}) and idle for {IDLE:?}", operation.name);
                expect_undisturbed(what, || (operation.run)(proxied.store, &case), (operation.answer)(&case))?;
            }
            Ok(())
        })
    })
}

/// Fills the pool and cuts its connections. A read has to work at once, because it is tried once more on a fresh connection, not on another
/// one of the pool. Then the check cuts two connections instead of the reply to a read. The read has to say that the store is unavailable,
/// and never that the key is absent.
pub fn n5_a_read_is_tried_once_more_on_a_fresh_connection() -> Check {
    about(&["N5", "E1", "E5"]).under_faults().run(|context| {
        // A part of the key, which is in the request.
        let operations = Operation::all(context)
            .into_iter()
            .filter(|operation| !operation.writes && operation.keys.contains(&"k"))
            .collect::<Vec<_>>();
        ProxiedStore::new(context.fixture())?;
        in_own_fixtures(context, &operations, |context, proxied, operation| {
            let case = Case::new(context, proxied.fresh_prefix());
            case.prepare(proxied.direct)?;
            fill_pool(proxied)?;
            proxied.proxy.cut_now(Cut::Reset)?;
            thread::sleep(NOTICED);
            let what = format!("{} after all connections were cut", operation.name);
            expect_undisturbed(what, || (operation.run)(proxied.store, &case), (operation.answer)(&case))?;
            proxied.proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "/k", times: 2 });
            let what = format!("{} whose connection is cut twice in place of the reply", operation.name);
            match proxied.within(&what, || (operation.run)(proxied.store, &case))? {
                // No connection was cut: with TLS, or if keys are encoded, the proxy cannot recognise the request.
                Ok(answer) if proxied.proxy.is_waiting() => {
                    expect_eq(what.as_str(), answer, (operation.answer)(&case))?;
                }
                Ok(answer) => {
                    return Err(NotPassed::failed(format_args!("{what}\nexpected: an error\ngot:      {answer:?}")));
                }
                Err(error) => check_transient(&what, &error, proxied.store.name(), &[&case.key("k")])?,
            }
            proxied.heal()?;
            proxied.works_again(format_args!("after {what}"))
        })
    })
}

/// Refuses connections and cuts the open ones. Empty batches still have to work.
pub fn b4_an_empty_batch_does_no_io() -> Check {
    about(&["B4"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        proxied.proxy.refuse();
        proxied.proxy.cut_now(Cut::Close)?;
        let none: [&str; 0] = [];
        expect("get_many of nothing, while the server cannot be reached", proxied.store.get_many(none), vec![])?;
        expect(
            "delete_many of nothing, while the server cannot be reached",
            proxied.store.delete_many(none),
            Vec::<bool>::new(),
        )?;
        let nothing: [(&str, &str); 0] = [];
        expect("put_many of nothing, while the server cannot be reached", proxied.store.put_many(nothing), ())
    })
}

/// How many keys a listing has: many pages.
const KEYS: usize = 20_000;
const PART: usize = 1000;

/// Stores many keys with a prefix of their own, which it returns.
fn store_many(proxied: &ProxiedStore<'_>) -> Outcome<String> {
    let prefix = format!("{}{}", proxied.fresh_prefix(), "long/".repeat(10));
    // In parts, so that each is done in time if the store writes one key after the other.
    for begin in (0..KEYS).step_by(PART) {
        let keys = (begin..begin + PART).map(|n| (format!("{prefix}{n:05}"), "v"));
        proxied.direct.put_many(keys)?;
    }
    Ok(prefix)
}

/// Cuts a listing of 20 000 keys after its first key. First it cuts one reply; the listing may recover, if no key comes twice. Then it
/// prevents the listing from going on, by refusing connections and by silence. The listing has to end with an error, and must not look
/// complete.
pub fn l3_a_listing_that_is_cut_ends_with_an_error() -> Check {
    about(&["L3", "N1"]).under_faults().needs(&[Capability::Listing]).run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let prefix = store_many(&proxied)?;
        for fault in ["held for one reply", "cut, and new connections refused", "held"] {
            let what = format!("a listing of {KEYS} keys that is {fault} after its first key");
            let mut keys = proxied.store.keys(&prefix)?;
            let first = || keys.next().transpose().map(|key| key.is_some());
            expect_undisturbed(format_args!("whether there is a first key of {what}"), first, true)?;
            match fault {
                "held" => proxied.proxy.set(Behaviour::Hold),
                "held for one reply" => proxied.proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: 0 }),
                _ => {
                    proxied.proxy.refuse();
                    proxied.proxy.cut_now(Cut::Reset)?;
                }
            }
            let (mut came, begin) = (1, Instant::now());
            let error = loop {
                match keys.next() {
                    Some(Ok(_)) => came += 1,
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            let took = begin.elapsed();
            if fault == "held for one reply" && error.is_none() && came == KEYS {
                // It continued where it was: a page is a read, which may be tried again.
                continue;
            }
            let Some(error) = error else {
                let want = if came == KEYS { "an error: was it fetched as a whole (L4)?" } else { "an error" };
                return Err(NotPassed::failed(format_args!(
                    "{what}\nexpected: {want}\ngot:      the end, after {came} keys, as if there were no more"
                )));
            };
            check_transient(&what, &error, proxied.store.name(), &[])?;
            let limit = proxied.limit + MARGIN;
            expect_that(
                format_args!("how long it took until {what} failed (N1)"),
                took <= limit,
                &format!("at most {limit:?}"),
                took,
            )?;
            expect_eq(
                format_args!("outcome_unknown() of the error of {what}: {}", show_error(&error)),
                error.outcome_unknown(),
                false,
            )?;
            let then = keys.next().map(|item| item.map(String::from).map_err(|error| error.to_string()));
            expect_that(format_args!("what comes after the error of {what}"), then.is_none(), "nothing", then)?;
            drop(keys);
            proxied.heal()?;
            proxied.works_again(format_args!("after {what}"))?;
        }
        Ok(())
    })
}

/// Fetches a listing of 20 000 keys as a whole, and another time only its first key. By then less than half as many bytes may have come: a store that
/// fetches everything first needs memory for everything.
pub fn l4_a_listing_is_fetched_page_by_page() -> Check {
    about(&["L4", "L1"]).under_faults().needs(&[Capability::Listing]).run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let prefix = store_many(&proxied)?;
        let bytes = || proxied.proxy.bytes(Direction::Replies);
        let before = bytes();
        expect("the number of keys", proxied.store.keys(&prefix)?.try_fold(0, |sum, key| key.map(|_| sum + 1)), KEYS)?;
        let (whole, before) = (bytes() - before, bytes());
        let mut keys = proxied.store.keys(&prefix)?;
        let first = || keys.next().transpose().map(|key| key.is_some());
        expect_undisturbed("whether a listing has a first key", first, true)?;
        // A requested page may still be arriving.
        thread::sleep(Duration::from_millis(100));
        let part = bytes() - before;
        let what = format!("the bytes that came of a listing of {KEYS} keys for its first key");
        expect_that(what, part * 2 < whole, &format!("less than half of all, {whole}"), part)?;
        drop(keys);
        expect_undisturbed("get of an absent key after a listing was dropped", || proxied.store.get("absent"), None)
    })
}
