//! Proves that the checks of faults can fail: a right store on a server behind a network passes the whole suite, stores that are
//! wrong in one way each are rejected, and each check of faults rejects at least one of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so where it cannot go on")]
#![allow(clippy::indexing_slicing, reason = "as above")]

#[cfg(feature = "tokio")]
mod asynchronous;
mod client;
mod connection;
mod faults;
mod fixtures;
mod map;
mod pool;
mod right;
mod server;
mod wire;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Durability, Fixture, Suite, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::client::Client;
use crate::faults::Fault;
use crate::pool::{Closes, Pool};
use crate::right::{SHORT, behind_proxy, inexact, right};
use crate::server::Persistence;
use crate::wire::Op;
use crate::wrong::Wrong;

/// The checks that take longer than all others together: a wrong store is given to them if the others find nothing.
const SLOW: [&str; 4] = [
    "n1_silence_at_any_point_of_an_exchange_is_a_time_out",
    "n2_under_random_faults_no_operation_gets_another_one_s_reply",
    "n6_nothing_is_lost_over_outages_of_the_network_under_load",
    "n6_nothing_is_lost_over_outages_of_the_server_under_load",
];

/// Checks of faults that no wrong store can prove, and why.
const OF_NO_BACKEND: [(&str, &str); 3] = [
    ("b4_an_empty_batch_does_no_io", "kv-core answers it before a backend is asked"),
    ("a2_a_call_does_not_block_its_thread", "the async stores in `asynchronous` prove it"),
    ("a3_connections_whose_callers_have_left_serve_others", "the async stores in `asynchronous` prove it"),
];

/// How often a wrong store is given to the check that is expected to reject it: some faults show with some random inputs, and with some
/// orders of threads, only.
const TRIES: usize = 20;

/// How many wrong stores are checked at a time. Their checks mostly wait; but more would keep two cores so busy that limits pass
/// without any fault.
const THREADS: usize = 12;

/// The suite of a wrong store, of which only the checks of faults are of interest.
fn wrong(fault: Fault) -> Suite {
    let (persistence, durability) = match fault {
        Fault::SavedNowAndThen => (Persistence::Every(Duration::from_millis(200)), Durability::OverKill),
        Fault::NotSavedAtStop => (Persistence::Never, Durability::OverStop),
        Fault::RestartForgetsTtls => (Persistence::WithoutTtls, Durability::OverKill),
        Fault::RestartUndoesRenames => (Persistence::AllBut(Op::Rename), Durability::OverStop),
        Fault::RestartUndoesCopies => (Persistence::AllBut(Op::Copy), Durability::OverKill),
        Fault::RestartUndoesCreates => (Persistence::AllBut(Op::Create), Durability::OverKill),
        Fault::RestartUndoesRemovals => (Persistence::AllBut(Op::Remove), Durability::OverKill),
        Fault::RestartUndoesTouches => (Persistence::AllBut(Op::Touch), Durability::OverKill),
        Fault::RestartUndoesBatches => (Persistence::AllButBatches, Durability::OverKill),
        Fault::RestartUndoesLargeValues => (Persistence::AllButLargeValues, Durability::OverStop),
        Fault::RestartProlongsTtls => (Persistence::LongerTtls, Durability::OverStop),
        Fault::RestartStopsClock => (Persistence::StoppedClock, Durability::OverKill),
        _ => (Persistence::EachWrite, Durability::OverKill),
    };
    let retry_after = match fault {
        Fault::SilentTooLong | Fault::SilentForEver | Fault::SilenceForgotten => Duration::from_millis(300),
        _ => Duration::ZERO,
    };
    inexact(Suite::new(format!("{fault:?}"), nothing)).with_faults(move || {
        let mut at = None;
        let fixture = behind_proxy(persistence, durability, |address, limits| {
            at = Some(address);
            Wrong::new(address, limits, fault)
        })?;
        let address = at.ok_or("no store was made")?;
        let closing = move |closes| {
            Ok(Client { transport: Pool::closing(address, SHORT, closes), ..Client::new(address, SHORT) })
        };
        let fixture = match fault {
            Fault::IdleIsKept => fixture.idle_timeout(move |_| closing(Closes::default())),
            Fault::IdleIsClosedLater => {
                fixture.idle_timeout(move |time| closing(Closes { idle: Some(time), later: true, ..Closes::default() }))
            }
            Fault::OldIsKept => fixture.max_lifetime(move |_| closing(Closes::default())),
            Fault::OldIsKeptWhileUsed => fixture
                .max_lifetime(move |time| closing(Closes { old: Some(time), only_idle: true, ..Closes::default() })),
            _ => fixture,
        };
        Ok(fixture.retry_after(retry_after))
    })
}

/// A part of the names of the checks that are run: all, unless `MUTANTS_CHECKS` says otherwise.
fn only() -> &'static str {
    static ONLY: OnceLock<String> = OnceLock::new();
    ONLY.get_or_init(|| std::env::var("MUTANTS_CHECKS").unwrap_or_default())
}

fn nothing() -> Result<Fixture, BoxError> {
    Err("this store is for the checks of faults only".into())
}

/// The names of the checks of faults, the slow ones last: those that a suite without faults ignores for that reason.
fn fault_checks() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let results = Suite::new("names", nothing).run().results.into_iter();
        let is_ignored =
            |verdict: &Verdict| matches!(verdict, Verdict::Ignored(reason) if reason.contains("with_faults"));
        let mut names =
            results.filter(|result| is_ignored(&result.verdict)).map(|result| result.name).collect::<Vec<_>>();
        names.sort_by_key(|name| SLOW.contains(&name.as_str()));
        names.retain(|name| name.contains(only()));
        names
    })
}

/// What the suite found of a wrong store.
struct Caught {
    /// The checks that reject it, and what they say.
    by: BTreeMap<String, String>,
    took: Duration,
}

impl Caught {
    /// Looks for a check that rejects a store with this fault; for all, where `MUTANTS_ALL` is set.
    fn of(fault: Fault) -> Self {
        let started = Instant::now();
        let suite = wrong(fault);
        let most = if std::env::var_os("MUTANTS_ALL").is_some() { usize::MAX } else { 1 };
        let expected = fault_checks().iter().filter(|check| *check == fault.expected_by());
        let mut by = expected.filter_map(|check| reject(&suite, check, TRIES)).collect::<BTreeMap<_, _>>();
        let left = most.saturating_sub(by.len());
        by.extend(fault_checks().iter().filter_map(|check| reject(&suite, check, 2)).take(left));
        Self { by, took: started.elapsed() }
    }
}

/// Whether this check rejects this store twice in so many tries: the name of the check, and what it says. Once may be because the machine is
/// very busy for a moment.
fn reject(suite: &Suite, check: &str, tries: usize) -> Option<(String, String)> {
    let mut failures = (0..tries).filter_map(|_| {
        let result = suite.run_matching(check).results.into_iter().find(|result| result.name == check)?;
        match result.verdict {
            Verdict::Failed(message) => Some((result.name, message)),
            _ => None,
        }
    });
    failures.nth(1)
}

/// All wrong stores, each of which is run once, for the first trial that asks.
struct Mutants(BTreeMap<Fault, OnceLock<Caught>>);

impl Mutants {
    fn caught(&self, fault: Fault) -> &Caught {
        self.0[&fault].get_or_init(|| Caught::of(fault))
    }

    /// Each check has to reject a wrong store.
    fn prove_every_check(&self) -> Result<(), Failed> {
        in_threads(Fault::ALL, |&fault| {
            self.caught(fault);
        });
        let proven = self.0.keys().flat_map(|&fault| self.caught(fault).by.keys()).collect::<BTreeSet<_>>();
        let is_open =
            |check: &&String| !proven.contains(check) && !OF_NO_BACKEND.iter().any(|(of_none, _)| of_none == check);
        let open = fault_checks().iter().filter(is_open).collect::<Vec<_>>();
        // These came after one that had rejected the store already.
        let unproven = Mutex::new(Vec::new());
        in_threads(&open, |check| {
            if !Fault::ALL.iter().rev().any(|&fault| reject(&wrong(fault), check, 2).is_some()) {
                unproven.lock().unwrap().push(check.as_str());
            }
        });
        let unproven = unproven.into_inner().unwrap();
        if unproven.is_empty() {
            Ok(())
        } else {
            Err(format!("these checks reject no wrong store: {unproven:#?}").into())
        }
    }

    /// Which checks rejected which of the wrong stores that were run. All of it where `MUTANTS_VERBOSE` is set, the messages too.
    fn print(&self) {
        let verbose = std::env::var_os("MUTANTS_VERBOSE").is_some();
        for (fault, caught) in self.0.iter().filter_map(|(fault, caught)| Some((fault, caught.get()?))) {
            let checks = caught.by.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
            println!(
                "{:<24} {:>5} ms  {:>2}: {checks}",
                format!("{fault:?}"),
                caught.took.as_millis(),
                caught.by.len()
            );
            if verbose {
                caught.by.values().for_each(|message| println!("{message}\n"));
            }
        }
    }
}

/// Does the same for each of several, some at a time.
fn in_threads<T: Sync>(items: &[T], run: impl Fn(&T) + Sync) {
    let run = &run;
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || items.iter().skip(first).step_by(THREADS).for_each(run));
        }
    });
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mutants = Fault::ALL.iter().map(|&fault| (fault, OnceLock::new())).collect();
    let mutants: &'static Mutants = Box::leak(Box::new(Mutants(mutants)));
    let servers = [
        (Persistence::Never, Durability::Volatile),
        (Persistence::AtStop, Durability::OverStop),
        (Persistence::EachWrite, Durability::OverKill),
        (Persistence::Every(Duration::from_millis(700)), Durability::OverStop),
    ];
    let mut trials = Vec::new();
    for (n, (persistence, durability)) in servers.into_iter().enumerate() {
        // What a server keeps is of interest to one check, and the others are run once.
        trials.push(Trial::test(format!("right/{n}/{durability:?}"), move || {
            let right = right(persistence, durability);
            if durability != Durability::OverKill {
                return accept(&right, "outages_of_the_server");
            }
            // With nothing but what is common to the wrong stores.
            let wrong_in_nothing = |address, limits| Wrong::new(address, limits, Fault::Nothing);
            accept(&right.with_faults(move || behind_proxy(persistence, durability, wrong_in_nothing)), "")
        }));
    }
    trials.extend(Fault::ALL.iter().map(|&fault| {
        Trial::test(format!("wrong/{fault:?}"), move || match mutants.caught(fault) {
            caught if caught.by.is_empty() => Err("no check rejects this store".into()),
            _ => Ok(()),
        })
    }));
    trials.extend(fixtures::trials());
    #[cfg(feature = "tokio")]
    trials.extend(asynchronous::trials());
    trials.push(Trial::test("every_check_of_faults_rejects_a_wrong_store", || mutants.prove_every_check()));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        mutants.print();
    }
    conclusion.exit_code()
}

/// What a right store is not checked for: it has TTLs, takes keys of 250 bytes, does not remember silent servers, its versions are the
/// values, and it blocks. Our backends do.
const NOT_NEEDED: [&str; 8] =
    ["o2_", "k5_", "n6_a_silent_server_is_left_alone", "u2_an_exact_version_", "a1_", "a2_", "a3_", "a4_"];

/// A right store has to pass the checks whose names have this in them, with nothing ignored but what it has no need of.
fn accept(suite: &Suite, part: &str) -> Result<(), Failed> {
    let wrong = Mutex::new(Vec::new());
    let names =
        suite.check_names().into_iter().filter(|name| name.contains(part) && name.contains(only())).collect::<Vec<_>>();
    in_threads(&names, |name| {
        let results = suite.run_matching(name).results.into_iter().filter(|result| result.name == *name);
        let is_built = cfg!(feature = "tokio") || !name.starts_with("e4_a_store_works_inside_an_async_runtime");
        let is_needed = is_built && !NOT_NEEDED.iter().any(|not_needed| name.starts_with(not_needed));
        let not_passed = results.filter(|result| result.verdict != Verdict::Passed && is_needed);
        wrong.lock().unwrap().extend(not_passed.map(|result| format!("{name}: {:?}", result.verdict)));
    });
    let wrong = wrong.into_inner().unwrap();
    if names.is_empty() || !wrong.is_empty() { Err(wrong.join("\n\n").into()) } else { Ok(()) }
}
