//! Right stores, of each kind that the suite treats in another way, and others that are peculiar: they pass.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kv_conformance::{BoxError, CheckResult, Fixture, Suite, Verdict};
use kv_core::{Capability, Key};
use libtest_mimic::{Failed, Trial};

use crate::checks::{BIG, RUNTIMES, SLOW, checks_of_faults, is_of_async};
use crate::peculiar::{Peculiar, Peculiarity};
use crate::right::{Clock, Config, LONGEST_KEY, Right, lock};

/// What the checks may ignore.
#[derive(Clone, Copy)]
enum Ignored {
    /// Just these.
    These(&'static [&'static str]),
    /// What begins in one of these ways: TTLs that are too short for some of the checks to tell anything.
    Perhaps(&'static [&'static str]),
}

/// The suite of a right store.
fn suite(config: &Config, how: Peculiarity) -> Suite {
    let make = {
        let config = config.clone();
        move |default_ttl| -> Result<Fixture, BoxError> {
            let clock = match config.clock {
                Clock::Manual(_) => Clock::manual(),
                Clock::Real(_) => Clock::real(),
            };
            let by_hand = matches!(clock, Clock::Manual(_));
            let right = Right::new(Config { default_ttl, clock: clock.clone(), ..config.clone() });
            let planted = right.clone();
            let store = Peculiar::new(right, how);
            let reopened = store.clone();
            let fixture = Fixture::new(store.clone()).reopen(move || Ok(reopened.clone()));
            let fixture = fixture.second_handle(store).foreign_data(move || {
                planted.plant();
                Ok(())
            });
            Ok(if by_hand { fixture.clock(move |by| clock.advance(by)) } else { fixture })
        }
    };
    let make = Arc::new(make);
    let open = Arc::clone(&make);
    let suite = Suite::new("right", move || open(None)).with_default_ttl(move |ttl: Duration| make(Some(ttl)));
    config.lacking.iter().fold(suite, |suite, &lacking| suite.opt_out(lacking, "it is lacking"))
}

/// A right store has to pass, with nothing ignored but what is named here.
fn accept(config: &Config, how: Peculiarity, ignored: Ignored) -> Result<(), Failed> {
    let suite = suite(config, how);
    if std::env::var_os("MUTANTS_QUICK").is_none() {
        let report = suite.run();
        return if report.passed() { judge(&report.results, ignored) } else { Err(report.to_string().into()) };
    }
    let names = suite.check_names().into_iter().filter(|name| !SLOW.contains(&name.as_str()) && name != BIG);
    let mut results = Vec::new();
    for name in names {
        let report = suite.run_matching(&name);
        if !report.passed() {
            return Err(report.to_string().into());
        }
        results.extend(report.results.into_iter().filter(|result| result.name == name));
    }
    judge(&results, ignored)
}

fn judge(results: &[CheckResult], ignored: Ignored) -> Result<(), Failed> {
    if std::env::var_os("MUTANTS_TIMES").is_some() {
        for r in results {
            eprintln!("{:>6} {}", r.took.as_millis(), r.name);
        }
    }
    let not_run = results.iter().filter_map(|result| match &result.verdict {
        Verdict::Ignored(reason) if !reason.starts_with("opted out of") && !is_without_runtimes(&result.name) => {
            Some(result.name.as_str()).filter(|name| !checks_of_faults().contains(*name) && !is_of_async(name))
        }
        _ => None,
    });
    let not_run = not_run.collect::<Vec<_>>();
    let holds = match ignored {
        Ignored::These(names) => not_run == names,
        Ignored::Perhaps(beginnings) => {
            not_run.iter().all(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)))
        }
    };
    let expected = match ignored {
        Ignored::These(names) | Ignored::Perhaps(names) => names,
    };
    if holds { Ok(()) } else { Err(format!("ignored: {not_run:?}, expected: {expected:?}").into()) }
}

/// Whether this check needs a feature that these tests were built without.
fn is_without_runtimes(check: &str) -> bool {
    !cfg!(feature = "tokio") && check == RUNTIMES
}

/// How many checks of a slow store are run at a time: they mostly wait for it.
const AT_ONCE: usize = 32;

/// How long a check may take on a slow store, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(120);

/// As [`accept`], with a store that is so slow that its checks are run at the same time, each within its time.
fn accept_slow(config: &Config, how: Peculiarity) -> Result<(), Failed> {
    let suite = suite(config, how);
    let names = suite.check_names().into_iter().filter(|name| !checks_of_faults().contains(name)).collect::<Vec<_>>();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = suite.run_matching(name).results.into_iter().filter(|result| result.name == *name);
                    lock(&results).extend(found);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let failed = results.iter().filter_map(|result| match &result.verdict {
        Verdict::Failed(message) => Some(format!("{}:\n{message}\n", result.name)),
        _ if result.took > LONGEST => Some(format!("{} took {:?}\n", result.name, result.took)),
        _ => None,
    });
    let failed = failed.collect::<String>();
    if failed.is_empty() { judge(&results, Ignored::Perhaps(USUAL)) } else { Err(failed.into()) }
}

/// Of how many capabilities each subset is tried. Each is tried with one of the subsets of the others: all together are too many.
const EACH: usize = 7;

/// Whatever a store lacks, what it says of itself holds: quick checks of each subset of the capabilities.
fn accept_every_subset() -> Result<(), Failed> {
    let mut seen = BTreeSet::new();
    for bits in 0..1_u32 << EACH {
        let bits = bits | bits.wrapping_mul(0x9E37) >> 4 << EACH;
        let lacks = |at: usize| bits >> at & 1 == 1;
        let lacking =
            Capability::ALL.iter().enumerate().filter(|(at, _)| lacks(*at)).map(|(_, &of)| of).collect::<Vec<_>>();
        let all = kv_core::Capabilities::builder().with_all(Capability::ALL);
        let capabilities = lacking.iter().fold(all, |builder, &of| builder.without(of)).build();
        let each = Capability::ALL.iter().take(EACH).filter(|of| capabilities.supports(**of)).collect::<Vec<_>>();
        if !seen.insert(each) {
            continue;
        }
        // What TTLs take away with them is said, too.
        let lacking = Capability::ALL.iter().copied().filter(|&of| !capabilities.supports(of)).collect::<Vec<_>>();
        let suite = suite(&Config { lacking: lacking.clone(), ..Config::new() }, Peculiarity::None);
        let names = suite.check_names();
        // One in four of the others, for each subset others: all take too long.
        let quick = names
            .iter()
            .filter(|name| !SLOW.contains(&name.as_str()) && *name != BIG && !checks_of_faults().contains(*name));
        let chosen =
            quick.enumerate().filter(|(at, name)| (at + bits as usize).is_multiple_of(4) || name.starts_with('o'));
        for (_, name) in chosen {
            if let Some(failed) = suite.run_matching(name).failures().next() {
                let Verdict::Failed(message) = &failed.verdict else { continue };
                return Err(format!("without {lacking:?}, {}:\n{message}", failed.name).into());
            }
        }
    }
    Ok(())
}

// Without an opt-out of TTLs there is nothing to be checked of it.
const NO_TTLS: &str = "o2_forever_is_accepted_without_ttls";
const USUAL: &[&str] = &[NO_TTLS];
const UNLIMITED: &[&str] = &[
    "k5_a_key_that_is_too_long_is_refused_by_every_operation",
    "v3_a_value_of_the_largest_size_is_accepted",
    "v3_a_value_over_the_limit_is_refused_and_the_old_one_stays",
    "v3_a_value_just_over_the_limit_is_stored_whole_or_not_at_all",
    "t4_a_refused_ttl_changes_nothing",
    "t4_a_create_with_a_refused_ttl_stores_nothing",
    "t4_a_touch_with_a_refused_ttl_changes_nothing",
    "b5_a_refused_ttl_in_the_middle_changes_no_other_key",
    "b5_a_value_too_large_in_the_middle_changes_no_other_key",
    "v3_a_conditional_write_over_the_limit_changes_nothing",
    "v3_a_create_versioned_over_the_limit_stores_nothing",
    "t4_a_conditional_write_with_a_refused_ttl_changes_nothing",
    "t4_a_create_versioned_with_a_refused_ttl_stores_nothing",
    "t4_a_get_and_touch_with_a_refused_ttl_changes_nothing",
    "t4_an_increment_with_a_refused_ttl_changes_nothing",
    NO_TTLS,
];
/// The checks that compare a long TTL with a short one, and cannot if an entry may expire as late as the longest TTL takes.
const COMPARES: &[&str] =
    &[NO_TTLS, "t1_", "t2_", "t6_", "p2_", "c1_", "c2_", "p4_", "p5_", "u1_", "u2_", "u4_", "u5_"];

/// Whether the checks of a right store wait more than they compute.
fn waits(name: &str) -> bool {
    name.ends_with("_in_real_time") || name.ends_with("/closes_slowly")
}

/// The trials of right stores.
pub(crate) fn right_stores() -> Vec<Trial> {
    let seconds = Duration::from_secs;
    let trial = |name: &str, config: Config, ignored: &'static [&'static str]| {
        Trial::test(format!("right/{name}"), move || accept(&config, Peculiarity::None, Ignored::These(ignored)))
    };
    let mut trials = vec![
        trial("limits", Config::new(), USUAL),
        trial(
            "no_limits",
            Config { longest_key: Key::MAX_LEN, largest_value: None, longest_ttl: Duration::MAX, ..Config::new() },
            UNLIMITED,
        ),
        trial("short_keys", Config { longest_key: 100, ..Config::new() }, USUAL),
        trial("whole_seconds", Config { resolution: seconds(1), ..Config::new() }, USUAL),
        trial("whole_hours", Config { resolution: seconds(3600), ..Config::new() }, USUAL),
        trial("real_time", Config { clock: Clock::real(), ..Config::new() }, USUAL),
        trial("small_values", Config { largest_value: Some(256), ..Config::new() }, USUAL),
        trial("short_ttls", Config { longest_ttl: seconds(60), ..Config::new() }, USUAL),
        trial("ttls_of_10_s", Config { longest_ttl: seconds(10), ..Config::new() }, USUAL),
        trial("ttls_of_3_s", Config { longest_ttl: seconds(3), ..Config::new() }, USUAL),
        trial("ttls_of_1_s", Config { longest_ttl: seconds(1), ..Config::new() }, USUAL),
        Trial::test("right/every_subset_of_capabilities", accept_every_subset),
    ];
    for &of in Capability::ALL {
        let ignored: &[&str] = if of == Capability::Ttls { &[] } else { USUAL };
        trials.push(trial(&format!("without_{of:?}"), Config { lacking: vec![of], ..Config::new() }, ignored));
    }
    let real = |config| Config { clock: Clock::real(), ..config };
    let mut late = |name: &str, config: Config| {
        let run = move || accept(&config, Peculiarity::None, Ignored::Perhaps(COMPARES));
        trials.push(Trial::test(format!("right/{name}"), run));
    };
    late(
        "ttls_of_10_s_in_whole_hours",
        Config { longest_ttl: seconds(10), resolution: seconds(3600), ..Config::new() },
    );
    late("ttls_of_3_s_in_real_time", real(Config { longest_ttl: seconds(3), ..Config::new() }));
    let whole = Config { longest_ttl: seconds(3), resolution: seconds(2), ..Config::new() };
    late("ttls_of_3_s_in_2_s_in_real_time", real(whole));
    late("whole_seconds_in_real_time", real(Config { resolution: seconds(1), ..Config::new() }));
    let peculiar = [
        ("ends_in_an_hour", Peculiarity::EndsAt(seconds(3600)), Config::new()),
        ("ends_in_10_minutes", Peculiarity::EndsAt(seconds(600)), Config::new()),
        ("ends_in_a_century", Peculiarity::EndsAt(seconds(3_000_000_000)), Config::new()),
        ("ends_in_an_hour_in_real_time", Peculiarity::EndsAt(seconds(3600)), real(Config::new())),
        ("ends_in_10_minutes_in_real_time", Peculiarity::EndsAt(seconds(600)), real(Config::new())),
        ("limit_by_key", Peculiarity::LimitByKey, Config::new()),
        (
            "small_limit_by_key",
            Peculiarity::LimitByKey,
            Config { largest_value: Some(256 + LONGEST_KEY as u64), ..Config::new() },
        ),
        ("ttls_in_whole_seconds", Peculiarity::WholeSeconds, Config::new()),
        ("ttls_in_whole_seconds_in_real_time", Peculiarity::WholeSeconds, real(Config::new())),
        ("lists_at_random", Peculiarity::ListsAtRandom, Config::new()),
        ("lists_more_and_more", Peculiarity::ListsMoreAndMore, Config::new()),
        ("reads_reluctantly", Peculiarity::ReadsReluctantly, Config::new()),
        ("reads_mapped", Peculiarity::ReadsMapped, Config::new()),
        ("closes_slowly", Peculiarity::ClosesSlowly, Config::new()),
    ];
    for (name, how, config) in peculiar {
        let run = move || accept(&config, how, Ignored::Perhaps(USUAL));
        trials.push(Trial::test(format!("right/{name}"), run));
    }
    // Those that wait first: the others use the processor meanwhile.
    trials.sort_by_key(|trial| !waits(trial.name()));
    if std::env::var_os("MUTANTS_SLOW").is_none() {
        return trials;
    }
    let millis = Duration::from_millis;
    let slow = [
        ("slow_20_ms", Peculiarity::Slow(millis(20)), real(Config::new())),
        ("slow_50_ms", Peculiarity::Slow(millis(50)), real(Config::new())),
        ("slow_50_ms_for_each_key", Peculiarity::SlowKeys(millis(50)), real(Config::new())),
        ("slow_50_ms_for_each_key_by_hand", Peculiarity::SlowKeys(millis(50)), Config::new()),
    ];
    for (name, how, config) in slow {
        trials.push(Trial::test(format!("right/{name}"), move || accept_slow(&config, how)));
    }
    trials
}
