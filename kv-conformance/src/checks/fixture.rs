//! The check of the fixture: whether it does what [`Fixture`](crate::Fixture) says. It runs before all other checks, which say nothing
//! about a store if its fixture is broken.
//!
//! Anything that can be the store's fault is left to the other checks.

use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about};
use crate::faults::{NOTICED, ProxiedStore};
use crate::proxy::Direction;
use crate::running::{Context, NotPassed, Outcome, panics, show_error};

type Part = fn(&Context<'_>, &dyn KeyValueStore) -> Outcome;

/// The check of the fixture. It is about no clause.
pub(crate) fn of_store() -> Check {
    let check = about(&[]).run(|context| {
        let parts: [Part; 5] = [
            limits_leave_enough_for_the_checks,
            stores_are_separate,
            second_handle_is_of_the_same_store,
            clock_is_that_of_the_store,
            store_takes_so_long,
        ];
        all_hold(context, &parts)
    });
    check.named("fixture_is_fresh_and_its_parts_belong_together", module_path!())
}

/// The same for the fixture of [`Suite::with_faults`](crate::Suite::with_faults).
pub(crate) fn of_store_with_faults() -> Check {
    let check = about(&[]).under_faults().run(|context| {
        // The checks that need a missing part say so.
        if ProxiedStore::new(context.fixture()).is_err() {
            return Ok(());
        }
        all_hold(
            context,
            &[stores_are_separate, second_handle_is_of_the_same_store, proxy_is_in_between, limits_are_long_enough],
        )
    });
    check.named("fixture_with_faults_is_behind_its_proxy", module_path!())
}

fn all_hold(context: &Context<'_>, parts: &[Part]) -> Outcome {
    parts.iter().try_for_each(|part| match panics::catch(|| part(context, context.store())) {
        Ok(outcome) => outcome,
        Err(panic) if panic.fixture.is_some() => Err(panic.into()),
        // A panic of the store is left to the other checks.
        Err(_) => Ok(()),
    })
}

/// A key that only this check uses, and the beginning of its values.
const KEY: &str = "kv-conformance/fixture";
const MARK: &str = "put by the check of the fixture: ";

/// A TTL in time that is advanced by hand, and one in real time.
const BY_HAND: Duration = Duration::from_secs(10);
const REAL: Duration = Duration::from_millis(20);

fn wrong(what: &str, want: &str, got: &str) -> NotPassed {
    NotPassed::failed_beside_the_store(format_args!("{what}\nexpected: {want}\ngot:      {got}"))
}

/// A value that no other run of this check has put.
fn new_value() -> Bytes {
    format!("{MARK}{:016x}", fastrand::u64(..)).into()
}

/// The longest key, the largest value, and the longest TTL, that the checks need.
const LEAST_KEY: usize = 100;
const LEAST_VALUE: u64 = 256;
const LEAST_TTL: Duration = Duration::from_secs(1);

/// The checks adapt to the limits of a store, but not to any: see *What a store has to be able to hold* on the front page.
fn limits_leave_enough_for_the_checks(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    let capabilities = store.capabilities();
    let least = "the checks of this suite cannot tell anything of a store with a lower limit";
    if let Some(limit) = capabilities.largest_value().filter(|limit| *limit < LEAST_VALUE) {
        return Err(wrong(
            "largest_value() of capabilities()",
            &format!("{LEAST_VALUE} at least: {least}"),
            &limit.to_string(),
        ));
    }
    let longest = capabilities.longest_key();
    if longest < LEAST_KEY {
        let want = format!("{LEAST_KEY} at least: {least}");
        return Err(wrong("longest_key() of capabilities()", &want, &longest.to_string()));
    }
    let longest = capabilities.longest_ttl();
    if context.has(Capability::Ttls) && longest < LEAST_TTL {
        let want = format!("{LEAST_TTL:?} at least: {least}");
        return Err(wrong("longest_ttl() of capabilities()", &want, &format!("{longest:?}")));
    }
    Ok(())
}

/// How long the store takes, for the checks of many operations.
#[expect(clippy::unnecessary_wraps, reason = "it is what a part gives")]
fn store_takes_so_long(context: &Context<'_>, _: &dyn KeyValueStore) -> Outcome {
    context.scope.measure(context.fixture());
    Ok(())
}

/// Two fixtures see neither each other's data nor that of an earlier fixture.
fn stores_are_separate(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    let first_operation_failed = |error| {
        let want = "it works: is there a server, may the store use it, is the folder there?";
        wrong("the first operation with the store of a fresh fixture", want, &show_error(&error))
            .timed_out_if(matches!(error, Error::Timeout(_)))
    };
    let left = store.get(KEY).map_err(first_operation_failed)?;
    if left.is_some_and(|left| left.starts_with(MARK.as_bytes())) {
        let got = "what this very check put there in another run of the suite, or in another suite";
        return Err(wrong("get of a key from the store of a fresh fixture", "None: it is empty", got));
    }
    let mine = new_value();
    store.put(KEY, &mine).map_err(first_operation_failed)?;
    let has_proxy = context.fixture().proxy.is_some();
    let other = if has_proxy { context.scope.open_with_faults()? } else { context.scope.open()? };
    if other.store.get(KEY).is_ok_and(|got| got.as_ref() == Some(&mine)) {
        let want = "None: every fixture has its own data (a folder, a database, a namespace), because checks run at the same time";
        return Err(wrong(
            "get, from the store of one fixture, of what was put into that of another",
            want,
            "the value",
        ));
    }
    if !context.has(Capability::Listing) {
        return Ok(());
    }
    let Ok(keys) = other.store.keys("") else { return Ok(()) };
    // If a listed key cannot be read, that is the store's fault.
    let there = keys.take(3).filter_map(Result::ok).filter(|key| matches!(other.store.get(key), Ok(Some(_))));
    let there = there.map(String::from).collect::<Vec<_>>();
    if there.is_empty() {
        return Ok(());
    }
    Err(wrong("what is in the store of a fresh fixture", "nothing: it is empty", &format!("{there:?}, perhaps more")))
}

/// A value that is put through one handle is seen through the other, in at least one direction. If it is not seen in the other direction,
/// that is the store's fault.
fn second_handle_is_of_the_same_store(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    // A store that may evict, or whose reads may be stale, need not show what was just put.
    if context.scope.weaknesses_of_order().next().is_some() {
        return Ok(());
    }
    let Ok(second) = context.second_handle() else { return Ok(()) };
    let sees = |one: &dyn KeyValueStore, other: &dyn KeyValueStore, key: String| {
        let value = new_value();
        let put = one.put(&key, &value).and_then(|()| one.get(&key));
        // If something does not work through one handle, that says nothing about two.
        !put.is_ok_and(|got| got.as_ref() == Some(&value))
            || other
                .get(&key)
                .map_or_else(|error| matches!(error, Error::Timeout(_)), |got| got.as_ref() == Some(&value))
    };
    if sees(store, second, format!("{KEY}/1")) || sees(second, store, format!("{KEY}/2")) {
        return Ok(());
    }
    let want = "what was put: `second_handle` is given another handle on the same data, such as a clone or a second connection";
    let got = "something else, or nothing, in both directions";
    Err(wrong("get through one handle of what was put through the other", want, got))
}

/// If there is a clock to advance, the store's entries expire by it.
fn clock_is_that_of_the_store(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    if !context.time.is_advanced_by_hand() || !context.has(Capability::Ttls) {
        return Ok(());
    }
    let (key, capabilities) = (format!("{KEY}/ends"), context.capabilities());
    let (ttl, resolution) = (BY_HAND.min(capabilities.longest_ttl()), capabilities.ttl_resolution());
    let is_there = || matches!(store.get(&key), Ok(Some(_)));
    if store.put_with_ttl(&key, "v", Ttl::After(ttl)).is_err() || !is_there() {
        return Ok(());
    }
    context.time.wait(ttl + resolution);
    if !is_there() {
        return Ok(());
    }
    // Or entries never expire, for which there are checks: not if the store says that no time has passed, or if one expires in
    // real time.
    let has_passed = match store.ttl(&key) {
        Ok(Some(Remaining::For(left))) => left < ttl / 2,
        _ => true,
    };
    let ends_in_real_time = || {
        let put = store.put_with_ttl(&key, "v", Ttl::After(REAL));
        thread::sleep(REAL * 2 + resolution);
        put.is_ok() && !is_there()
    };
    if has_passed && !ends_in_real_time() {
        return Ok(());
    }
    let what =
        format!("get of an entry that lives {ttl:?}, after `clock` was asked to advance by {:?}", ttl + resolution);
    let want = "None: `clock` is given what advances the clock that the store was made with";
    Err(wrong(&what, want, "the entry: for the store, no time has passed"))
}

/// The store's requests go through the proxy, and those of the second handle do not.
fn proxy_is_in_between(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    let proxied = ProxiedStore::new(context.fixture())?;
    let passes = |through: &dyn KeyValueStore| {
        let bytes = || proxied.proxy.bytes(Direction::Requests) + proxied.proxy.bytes(Direction::Replies);
        // What belongs to an operation before may still be under way.
        thread::sleep(NOTICED);
        let before = bytes();
        through.get(KEY).is_ok().then(|| bytes() > before)
    };
    if passes(store) == Some(false) {
        let want = "some: the store is given the proxy's port or path in place of its server's";
        return Err(wrong("the bytes that came through the proxy while the store asked its server", want, "none"));
    }
    if passes(proxied.direct) == Some(true) {
        let want = "none: `second_handle` goes to the server itself, and sees what is there while the network fails";
        return Err(wrong(
            "the bytes that came through the proxy while the second handle asked the server",
            want,
            "some",
        ));
    }
    Ok(())
}

/// How often an operation is tried without a fault, and how many of the tries may time out on a busy machine.
const TRIES: usize = 40;
const SLOW: usize = 4;

/// Operations without a fault end within the limits of the store. If the limits are too short for that, every check of faults would blame
/// something else.
fn limits_are_long_enough(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    let key = format!("{KEY}/limit");
    let timed_out = |result: Result<(), Error>| matches!(result, Err(Error::Timeout(_)));
    let tries =
        (0..TRIES).map(|n| timed_out(if n % 2 == 0 { store.put(&key, "v") } else { store.get(&key).map(drop) }));
    let slow = tries.filter(|slow| *slow).count();
    if slow <= SLOW {
        return Ok(());
    }
    let limit = context.fixture().limit.unwrap_or_default();
    let what = format!(
        "how many of {TRIES} operations timed out that nothing was in the way of, with `Fixture::limit` {limit:?}"
    );
    let want = format!(
        "{SLOW} at most: give the store of `with_faults` longer limits, half a second each, and `limit` their sum"
    );
    Err(wrong(&what, &want, &slow.to_string()))
}
