//! Proves that the suite can fail: it passes right stores, it rejects stores that are wrong in one way each, and each of its
//! checks rejects at least one of them.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `MUTANTS_REPEAT` | how often each wrong store that only checks with threads or random input have rejected is given to these again: it has to be rejected each time |
//! | `MUTANTS_ALL` | every wrong store is given to the slow checks too, not only those that the others accept |
//! | `MUTANTS_VERBOSE` | what every check says of every wrong store is printed |
//! | `MUTANTS_TIMES` | how long each check takes on the right stores is printed |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so where it cannot go on")]

mod faults;
mod fixtures;
mod hangs;
mod histories;
mod reopening;
mod right;
#[cfg(feature = "tokio")]
mod runtimes;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::Capability;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::faults::Fault;
use crate::right::{Clock, Config, Right};
use crate::wrong::Wrong;

/// The check that writes 100 000 keys: only for the faults that are about that many, since it takes longer than all others.
const BIG: &str = "b6_a_hundred_thousand_keys_in_one_call_work";

/// The checks with random input and with threads, which take longer than all others together. A wrong store is given to them
/// if the others find nothing; to all checks where `MUTANTS_ALL` is set.
const SLOW: &[&str] = &[
    "b2_batches_in_opposite_orders_do_not_wait_for_each_other",
    "c2_renames_in_opposite_directions_do_not_wait_for_each_other",
    "d1_of_many_deleters_one_removes_the_entry",
    "k4_random_prefixes_of_random_keys_match_literally",
    "l1_a_listing_beside_others_has_what_was_written_before_it",
    "l1_keys_that_stay_are_listed_once_while_others_come_and_go",
    "p1_creates_less_deletes_are_what_is_left",
    "p1_histories_of_create_and_delete_are_linearizable",
    "p1_histories_of_random_operations_are_linearizable",
    "p1_no_increment_under_a_lock_is_lost",
    "p1_random_operations_do_what_a_plain_map_does",
    "p1_threads_on_keys_of_their_own_do_not_disturb_each_other",
    "p3_a_reader_sees_the_old_or_the_new_value_whole",
    "p4_creates_and_deletes_of_one_key_take_turns",
    "p4_of_many_creators_one_wins",
    "p4_of_many_creators_over_an_expired_entry_one_wins",
    "t5_a_touch_at_the_end_of_a_lifetime_keeps_its_word",
    "t5_of_creators_at_the_end_of_a_lifetime_one_wins",
    "t5_reading_an_expired_entry_does_not_remove_a_new_one",
    "t6_a_touch_does_not_undo_a_write",
    "v1_values_of_every_size_come_back",
    "v1_random_values_come_back_whatever_the_way_in",
];

/// Checks that no wrong store can prove, and why.
const OF_NO_BACKEND: &[(&str, &str)] = &[
    ("k2_an_invalid_key_is_refused_by_every_operation", "kv-core refuses it before a backend is asked"),
    ("b5_an_invalid_key_in_the_middle_harms_nothing", "kv-core refuses it before a backend is asked"),
    ("b4_an_empty_batch_gives_an_empty_result", "kv-core answers it before a backend is asked"),
    ("l6_an_invalid_delimiter_is_refused", "kv-core refuses it before a backend is asked"),
    (
        RUNTIMES,
        "the wrong stores in `runtimes` prove it, with the feature `tokio`: those of other faults have no runtimes",
    ),
    ("v2_a_buffer_that_changes_after_the_write_changes_nothing", "safe Rust cannot keep a buffer that it has borrowed"),
];

/// The check that is ignored without the feature `tokio`.
const RUNTIMES: &str = "e4_a_store_works_inside_an_async_runtime";

/// A wrong store, and what of its suite depends on it.
#[derive(Clone, Copy)]
struct Mutant {
    fault: Fault,
    /// What the suite opts out of.
    of: Option<Capability>,
}

impl Mutant {
    fn all() -> Vec<Self> {
        let of_fault = |&fault: &Fault| match fault {
            fault if fault.is_of_opt_out() => Capability::ALL.iter().map(|&of| Self { fault, of: Some(of) }).collect(),
            Fault::ForeverRefused | Fault::CreateTtlIgnoredWithout => {
                vec![Self { fault, of: Some(Capability::Lifetimes) }]
            }
            // Whoever reads what is left of a lifetime might see it too, in whole milliseconds: T2 has to be seen without.
            fault if fault.is_in_real_time() => {
                [None, Some(Capability::TtlReading)].map(|of| Self { fault, of }).to_vec()
            }
            Fault::OptedOutAddsEntry => vec![Self { fault, of: Some(Capability::Copy) }],
            Fault::OptedOutSetsTtl => vec![Self { fault, of: Some(Capability::Touch) }],
            fault => vec![Self { fault, of: None }],
        };
        Fault::ALL.iter().flat_map(of_fault).collect()
    }

    fn name(self) -> String {
        match self.of {
            Some(of) => format!("{:?}/{of:?}", self.fault),
            None => format!("{:?}", self.fault),
        }
    }

    fn fixture(self, inner: Right) -> Fixture {
        let handle = |second| Wrong::new(inner.clone(), self.fault, self.of, second);
        let clock = inner.config.clock.clone();
        let fixture = Fixture::new(handle(false)).second_handle(handle(true));
        let by_hand = matches!(clock, Clock::Manual(_));
        let fixture = if by_hand { fixture.clock(move |by| clock.advance(by)) } else { fixture };
        let reopened = inner.clone();
        let fixture = fixture.reopen(move || Ok(Wrong::new(reopened.clone(), self.fault, self.of, false)));
        fixture.foreign_data(move || {
            inner.plant();
            Ok(())
        })
    }

    fn suite(self) -> Suite {
        let config = move |default_ttl| {
            let clock = if self.fault.is_in_real_time() { Clock::real() } else { Clock::manual() };
            Config { lacking: self.of.into_iter().collect(), default_ttl, clock, ..Config::new() }
        };
        let shared = Right::new(config(None));
        let open = move |default_ttl| -> Result<Fixture, BoxError> {
            let inner = if self.fault == Fault::SharedData { shared.clone() } else { Right::new(config(default_ttl)) };
            Ok(self.fixture(inner))
        };
        let open = Arc::new(open);
        let suite = Suite::new(self.name(), {
            let open = Arc::clone(&open);
            move || open(None)
        });
        let suite = suite.with_default_ttl(move |ttl: Duration| open(Some(ttl)));
        let hangs = matches!(self.fault, Fault::BatchesLockInOrder | Fault::RenamesLockInOrder);
        let suite = if hangs { suite.hangs_after(Duration::from_secs(3)) } else { suite };
        self.of.into_iter().fold(suite, |suite, of| suite.opt_out(of, "what is wrong is about it"))
    }

    /// The checks that reject this store, and what they say.
    fn run(self) -> Caught {
        let started = Instant::now();
        let suite = self.suite();
        let names = names(self.of.as_slice());
        // All others would take minutes in real time, and it is T2 that has to find these.
        let in_question = |name: &&String| !self.fault.is_in_real_time() || name.starts_with("t2_");
        let (slow, quick) =
            names.iter().filter(in_question).partition::<Vec<_>, _>(|name| SLOW.contains(&name.as_str()));
        let mut by = BTreeMap::new();
        by.extend(quick.into_iter().filter_map(|name| self.reject(&suite, name)));
        // What depends on random input is tried again, with other seeds, before it counts as not found.
        for round in 0..8 {
            if by.is_empty() || round == 0 && std::env::var_os("MUTANTS_ALL").is_some() {
                by.extend(slow.iter().filter_map(|name| self.reject(&suite, name)));
            }
        }
        let by_chance = by.keys().all(|check| slow.contains(&check));
        let again = if by_chance && !by.is_empty() { repeats() } else { 0 };
        let accepts = |_: &u32| !by.keys().any(|name| self.reject(&suite, name).is_some());
        let accepted = (0..again).filter(accepts).count();
        Caught { by, accepted, took: started.elapsed() }
    }

    /// Whether this check rejects this store: the name of the check, and what it says.
    fn reject(self, suite: &Suite, check: &str) -> Option<(String, String)> {
        if check == BIG && !self.fault.needs_big_batches() {
            return None;
        }
        let result = suite.run_matching(check).results.into_iter().find(|result| result.name == check)?;
        match result.verdict {
            Verdict::Failed(message) => Some((result.name, message)),
            _ => None,
        }
    }
}

/// The names of the checks, those of these opt-outs among them.
fn names(opt_outs: &[Capability]) -> Vec<String> {
    let nothing = || Err::<Fixture, BoxError>("only the names are of interest".into());
    let suite = opt_outs.iter().fold(Suite::new("names", nothing), |suite, of| suite.opt_out(*of, "only for its name"));
    let of_faults = checks_of_faults();
    suite.check_names().into_iter().filter(|name| !of_faults.contains(name)).collect()
}

/// The checks of faults, which need a store behind a network: the test `network` proves those.
fn checks_of_faults() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let nothing = || Err::<Fixture, BoxError>("only the names are of interest".into());
        let results = Suite::new("names", nothing).run().results.into_iter();
        let of_faults =
            |verdict: &Verdict| matches!(verdict, Verdict::Ignored(reason) if reason.contains("with_faults"));
        let ignored = results.filter(|result| of_faults(&result.verdict));
        ignored.map(|result| result.name).collect()
    })
}

/// How often a wrong store that is rejected by chance is tried again: `MUTANTS_REPEAT`.
fn repeats() -> u32 {
    let given = std::env::var("MUTANTS_REPEAT").ok();
    given.map_or(0, |given| given.parse().expect("MUTANTS_REPEAT is a number"))
}

/// What the suite found of a wrong store.
struct Caught {
    by: BTreeMap<String, String>,
    /// In how many of the repeats no check rejected it.
    accepted: usize,
    took: Duration,
}

/// All wrong stores, each of which is run once, whoever asks first.
struct Mutants(Vec<(Mutant, OnceLock<Caught>)>);

impl Mutants {
    fn caught(&self, at: usize) -> (Mutant, &Caught) {
        let (mutant, caught) = self.0.get(at).expect("the index is of a mutant");
        (*mutant, caught.get_or_init(|| mutant.run()))
    }

    /// Runs all that have not been run.
    fn run(&self) -> Vec<(Mutant, &Caught)> {
        thread::scope(|scope| {
            let threads = (0..4).map(|first| {
                scope.spawn(move || {
                    for at in (first..self.0.len()).step_by(4) {
                        self.caught(at);
                    }
                })
            });
            threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("no check panics"));
        });
        (0..self.0.len()).map(|at| self.caught(at)).collect()
    }

    /// The names of the wrong stores that each check rejects. Those that are so wrong that more than a third of the checks
    /// reject them prove nothing.
    fn by_check(&self) -> BTreeMap<String, Vec<String>> {
        let names = names(Capability::ALL);
        let most = names.len() / 3;
        let mut by_check = names.into_iter().map(|name| (name, Vec::new())).collect::<BTreeMap<_, _>>();
        let narrow = self.run().into_iter().filter(|(_, caught)| caught.by.len() <= most).collect::<Vec<_>>();
        for (mutant, caught) in &narrow {
            for check in caught.by.keys() {
                by_check.entry(check.clone()).or_default().push(mutant.name());
            }
        }
        // A slow check has seen few of them yet.
        for (check, rejected) in
            by_check.iter_mut().filter(|(check, rejected)| rejected.is_empty() && SLOW.contains(&check.as_str()))
        {
            let rejects = |(mutant, _): &&(Mutant, _)| mutant.reject(&mutant.suite(), check).is_some();
            rejected.extend(narrow.iter().find(rejects).map(|(mutant, _)| mutant.name()));
        }
        by_check
    }
}

/// A wrong store has to be rejected.
fn reject(mutants: &Mutants, at: usize) -> Result<(), Failed> {
    let (_, caught) = mutants.caught(at);
    match caught {
        Caught { by, .. } if by.is_empty() => Err("no check rejects this store".into()),
        Caught { accepted: 0, .. } => Ok(()),
        Caught { accepted, .. } => Err(format!("no check rejects it in {accepted} of {} repeats", repeats()).into()),
    }
}

/// Each check has to reject a wrong store.
fn prove_every_check(mutants: &Mutants) -> Result<(), Failed> {
    let unproven = mutants.by_check().into_iter().filter(|(_, rejected)| rejected.is_empty()).map(|(check, _)| check);
    let unproven = unproven.filter(|check| !OF_NO_BACKEND.iter().any(|(name, _)| name == check)).collect::<Vec<_>>();
    if unproven.is_empty() { Ok(()) } else { Err(format!("these checks reject no wrong store: {unproven:#?}").into()) }
}

/// The simplest sequence that is shown ends with the step that failed, and the line that runs it again has the seed.
fn simplest_sequence() -> Result<(), Failed> {
    const CHECK: &str = "p1_random_operations_do_what_a_plain_map_does";
    let mutant = Mutant { fault: Fault::DeleteAlwaysFalse, of: None };
    let (_, message) = mutant.reject(&mutant.suite(), CHECK).ok_or("the check does not reject the store")?;
    let step = message.split_once("step ").and_then(|(_, rest)| rest.split_once(':')).map_or("", |(step, _)| step);
    let (before, again) = message.rsplit_once('\n').unwrap_or_default();
    let last = before.lines().last().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let is_complete = again.starts_with("again:    KV_CONFORMANCE_SEED=") && again.ends_with(CHECK);
    if !step.is_empty() && step == last && is_complete { Ok(()) } else { Err(message.into()) }
}

/// A right store has to pass, with nothing ignored but what is named here.
fn accept(config: &Config, ignored: &[&str]) -> Result<(), Failed> {
    let make = {
        let config = config.clone();
        move |default_ttl| -> Result<Fixture, BoxError> {
            let clock = match config.clock {
                Clock::Manual(_) => Clock::manual(),
                Clock::Real(_) => Clock::real(),
            };
            let by_hand = matches!(clock, Clock::Manual(_));
            let store = Right::new(Config { default_ttl, clock: clock.clone(), ..config.clone() });
            let planted = store.clone();
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
    let suite = config.lacking.iter().fold(suite, |suite, &lacking| suite.opt_out(lacking, "it is lacking"));
    let report = suite.run();
    if std::env::var_os("MUTANTS_TIMES").is_some() {
        for r in &report.results {
            eprintln!("{:>6} {}", r.took.as_millis(), r.name);
        }
    }
    if !report.passed() {
        return Err(report.to_string().into());
    }
    let not_run = report.results.iter().filter_map(|result| match &result.verdict {
        Verdict::Ignored(reason) if !reason.starts_with("opted out of") && !is_without_runtimes(&result.name) => {
            Some(result.name.as_str()).filter(|name| !checks_of_faults().contains(*name))
        }
        _ => None,
    });
    let not_run = not_run.collect::<Vec<_>>();
    if not_run == ignored { Ok(()) } else { Err(format!("ignored: {not_run:?}, expected: {ignored:?}").into()) }
}

/// Whether this check needs a feature that these tests were built without.
fn is_without_runtimes(check: &str) -> bool {
    !cfg!(feature = "tokio") && check == RUNTIMES
}

/// The trials of right stores: of each kind that the suite treats in another way.
fn right_stores() -> Vec<Trial> {
    // Without an opt-out of lifetimes there is nothing to be checked of it.
    const NO_LIFETIMES: &str = "o2_what_is_for_ever_is_taken_where_there_are_no_lifetimes";
    const UNLIMITED: &[&str] = &[
        "v3_a_value_of_the_largest_size_is_taken",
        "v3_a_value_over_the_limit_is_refused_and_the_old_one_stays",
        "v3_a_value_just_over_the_limit_is_stored_whole_or_not_at_all",
        "t4_a_refused_lifetime_changes_nothing",
        "t4_a_create_with_a_refused_lifetime_stores_nothing",
        "t4_a_touch_with_a_refused_lifetime_changes_nothing",
        "b5_a_refused_lifetime_in_the_middle_harms_nothing_that_is_not_named",
        "b5_a_value_too_large_in_the_middle_harms_nothing_that_is_not_named",
        NO_LIFETIMES,
    ];
    let trial = |name: &str, config: Config, ignored: &'static [&'static str]| {
        Trial::test(format!("right/{name}"), move || accept(&config, ignored))
    };
    let mut trials = vec![
        trial("limits", Config::new(), &[NO_LIFETIMES]),
        trial("no_limits", Config { largest_value: None, longest_ttl: Duration::MAX, ..Config::new() }, UNLIMITED),
        trial("whole_seconds", Config { resolution: Duration::from_secs(1), ..Config::new() }, &[NO_LIFETIMES]),
        trial("real_time", Config { clock: Clock::real(), ..Config::new() }, &[NO_LIFETIMES]),
        trial("small_values", Config { largest_value: Some(256), ..Config::new() }, &[NO_LIFETIMES]),
        trial("short_lifetimes", Config { longest_ttl: Duration::from_secs(60), ..Config::new() }, &[NO_LIFETIMES]),
    ];
    for &of in Capability::ALL {
        let ignored: &[&str] = if of == Capability::Lifetimes { &[] } else { &[NO_LIFETIMES] };
        trials.push(trial(&format!("without_{of:?}"), Config { lacking: vec![of], ..Config::new() }, ignored));
    }
    trials
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(6);
    let mutants = Mutant::all().into_iter().map(|mutant| (mutant, OnceLock::new())).collect();
    let mutants: &'static Mutants = Box::leak(Box::new(Mutants(mutants)));
    let mut trials = right_stores();
    trials.extend(
        mutants
            .0
            .iter()
            .enumerate()
            .map(|(at, (mutant, _))| Trial::test(format!("wrong/{}", mutant.name()), move || reject(mutants, at))),
    );
    trials.push(Trial::test("every_check_rejects_a_wrong_store", || prove_every_check(mutants)));
    trials.push(Trial::test("the_simplest_sequence_ends_where_it_fails", simplest_sequence));
    trials.extend(histories::trials());
    trials.extend(fixtures::trials());
    trials.extend(hangs::trials());
    trials.extend(reopening::trials());
    #[cfg(feature = "tokio")]
    trials.extend(runtimes::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print(mutants);
    }
    conclusion.exit_code()
}

/// Which checks rejected which of the wrong stores that were run. All of it where `MUTANTS_VERBOSE` is set, the messages too.
fn print(mutants: &Mutants) {
    let verbose = std::env::var_os("MUTANTS_VERBOSE").is_some();
    for (mutant, caught) in mutants.0.iter().filter_map(|(mutant, caught)| Some((mutant, caught.get()?))) {
        let shown = if verbose { usize::MAX } else { 4 };
        let checks = caught.by.keys().take(shown).map(String::as_str).collect::<Vec<_>>().join(" ");
        let more = caught.by.len().saturating_sub(shown);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        println!("{:<34} {:>5} ms  {:>2}: {checks}{more}", mutant.name(), caught.took.as_millis(), caught.by.len());
        if verbose {
            caught.by.values().for_each(|message| println!("{message}\n"));
        }
    }
}
