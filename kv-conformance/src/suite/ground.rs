//! What the checks stand on: a fixture that is what [`Fixture`](crate::Fixture) says. It is looked at before all checks, which tell
//! nothing of a store whose fixture does not hold.
//!
//! What can be the store's fault is left to the checks.

use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::Check;
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, show_error};
use crate::panics;
use crate::proxy::Direction;
use crate::report::{self, CheckResult, Verdict};
use crate::rig::{NOTICED, Rig};
use crate::suite::Suite;

type Part = fn(&Context<'_>, &dyn KeyValueStore) -> Outcome;

/// The check of the fixture. It is about no clause.
pub(super) const CHECK: Check = Check::of_fixture("fixture_is_fresh_and_its_parts_belong_together", false, |context| {
    all_hold(context, &[stores_are_separate, second_handle_is_of_the_same_store, clock_is_that_of_the_store])
});

/// The same of the fixture of [`Suite::with_faults`].
pub(super) const CHECK_OF_FAULTS: Check =
    Check::of_fixture("fixture_with_faults_is_behind_its_proxy", true, |context| {
        // What it lacks, the checks that need it say.
        if Rig::new(context.fixture()).is_err() {
            return Ok(());
        }
        all_hold(
            context,
            &[stores_are_separate, second_handle_is_of_the_same_store, proxy_is_in_between, limits_are_long_enough],
        )
    });

fn all_hold(context: &Context<'_>, parts: &[Part]) -> Outcome {
    parts.iter().try_for_each(|part| match panics::catch(|| part(context, context.store())) {
        Ok(outcome) => outcome,
        Err(panic) if panic.fixture.is_some() => Err(panic.into()),
        // That the store panics is for the checks to find.
        Err(_) => Ok(()),
    })
}

impl Suite {
    /// Whether `capabilities()` lacks this, as far as is known, and it was not opted out of.
    pub(crate) fn is_lacking(&self, capability: Capability) -> bool {
        let has = self.store.get().and_then(|store| store.capabilities.get(&capability.to_string()));
        has == Some(&false) && !self.is_opted_out(capability)
    }

    /// What the check of the fixture has found, or that of the fixture with faults, which run before all others.
    pub(super) fn ground(&self, has_faults: bool, seed: u64) -> &CheckResult {
        let (ground, check) =
            if has_faults { (&self.ground_of_faults, &CHECK_OF_FAULTS) } else { (&self.ground, &CHECK) };
        ground.get_or_init(|| self.run_watched(check, seed))
    }

    /// The failures of the fixtures that are not among these results: what was ignored because of them must not pass for a success.
    pub(super) fn unseen_failures_of_fixtures(&self, results: &[CheckResult]) -> Vec<CheckResult> {
        let failures = [&self.ground, &self.ground_of_faults].into_iter().filter_map(|ground| ground.get());
        let unseen = failures.filter(|failure| {
            let because = Verdict::Ignored(does_not_hold(&failure.name));
            let is_seen = results.iter().any(|result| result.name == failure.name);
            failure.has_failed() && !is_seen && results.iter().any(|result| result.verdict == because)
        });
        unseen.cloned().collect()
    }

    /// Why a check is not to be run, if it needs something that was opted out of or is lacking, or a fixture that holds.
    pub(super) fn ignored_because(&self, check: &Check, seed: u64) -> Option<String> {
        if let Some((capability, reason)) = self.opt_outs.iter().find(|(of, _)| check.needs.contains(of)) {
            return Some(report::opted_out(&capability.to_string(), reason));
        }
        let ground = self.ground(check.has_faults, seed);
        if ground.has_failed() {
            return Some(does_not_hold(&ground.name));
        }
        let lacking = check.needs.iter().find(|&&of| self.is_lacking(of))?;
        let of_o1 = "o1_capabilities_are_those_that_were_not_opted_out_of";
        Some(format!("capabilities() lacks {lacking}, which is not opted out of: see {of_o1}"))
    }
}

/// Why checks are ignored whose fixture is not what they rely on.
fn does_not_hold(check: &str) -> String {
    format!("the fixture does not hold: see {check}")
}

/// A key of this check alone, and how its values begin.
const KEY: &str = "kv-conformance/fixture";
const MARK: &str = "put by the check of the fixture: ";

/// A lifetime in time that is advanced by hand, and one in real time.
const BY_HAND: Duration = Duration::from_secs(10);
const REAL: Duration = Duration::from_millis(20);

fn wrong(what: &str, want: &str, got: &str) -> NotPassed {
    NotPassed::failed_beside_the_store(format_args!("{what}\nexpected: {want}\ngot:      {got}"))
}

/// A value that no other run of this check has put.
fn new_value() -> Bytes {
    format!("{MARK}{:016x}", fastrand::u64(..)).into()
}

/// Two fixtures do not see each other's data, nor what one before them has left.
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
    let other = if has_proxy { context.suite.open_with_faults()? } else { context.suite.open()? };
    if other.store.get(KEY).is_ok_and(|got| got.as_ref() == Some(&mine)) {
        let want = "None: every fixture has data of its own (a folder, a database, a name space), since checks run at the same time";
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
    // A key that is listed and cannot be read is the store's.
    let there = keys.take(3).filter_map(Result::ok).filter(|key| matches!(other.store.get(key), Ok(Some(_))));
    let there = there.map(String::from).collect::<Vec<_>>();
    if there.is_empty() {
        return Ok(());
    }
    Err(wrong("what is in the store of a fresh fixture", "nothing: it is empty", &format!("{there:?}, perhaps more")))
}

/// What is put through one handle is seen through the other. In one direction at least: if not in the other, it is the store's.
fn second_handle_is_of_the_same_store(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    // A store that may evict, or whose reads may be stale, need not show what was just put.
    if !context.suite.weaknesses().is_empty() {
        return Ok(());
    }
    let Ok(second) = context.second_handle() else { return Ok(()) };
    let sees = |one: &dyn KeyValueStore, other: &dyn KeyValueStore, key: String| {
        let value = new_value();
        let put = one.put(&key, &value).and_then(|()| one.get(&key));
        // What does not work through one handle alone says nothing of two.
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

/// If there is a clock to advance, it is the one by which the store's lifetimes end.
fn clock_is_that_of_the_store(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    if !context.time.is_advanced_by_hand() || !context.has(Capability::Lifetimes) {
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
    // Or the store does not end lifetimes, for which there are checks: not if it says that no time has passed, or if one ends in
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

/// What the store asks its server goes through the proxy, and what the second handle asks does not.
fn proxy_is_in_between(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome {
    let rig = Rig::new(context.fixture())?;
    let passes = |through: &dyn KeyValueStore| {
        let bytes = || rig.proxy.bytes(Direction::Requests) + rig.proxy.bytes(Direction::Replies);
        // What belongs to an operation before may still be under way.
        thread::sleep(NOTICED);
        let before = bytes();
        through.get(KEY).is_ok().then(|| bytes() > before)
    };
    if passes(store) == Some(false) {
        let want = "some: the store is given the proxy's port or path in place of its server's";
        return Err(wrong("the bytes that came through the proxy while the store asked its server", want, "none"));
    }
    if passes(rig.direct) == Some(true) {
        let want = "none: `second_handle` goes to the server itself, and sees what is there while the network fails";
        return Err(wrong(
            "the bytes that came through the proxy while the second handle asked the server",
            want,
            "some",
        ));
    }
    Ok(())
}

/// How often an operation is tried that nothing is in the way of, and how many of the tries may time out on a busy machine.
const TRIES: usize = 40;
const SLOW: usize = 4;

/// Operations that nothing is in the way of end within the limits of the store: if these are so short that they do not, every check
/// of faults would blame something else.
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
