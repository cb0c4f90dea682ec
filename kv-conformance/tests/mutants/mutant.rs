//! A wrong store, and the checks that reject it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::{Capability, Key};
use libtest_mimic::Failed;

use crate::checks::{BIG, OF_NO_BACKEND, SLOW, names};
use crate::faults::Fault;
use crate::rejected_by;
use crate::right::{Clock, Config, Right};
use crate::wrong::Wrong;

/// A wrong store, and what of its suite depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Mutant {
    pub(crate) fault: Fault,
    /// What the suite opts out of.
    pub(crate) of: Option<Capability>,
}

impl Mutant {
    pub(crate) fn all() -> Vec<Self> {
        let of_fault = |&fault: &Fault| match fault {
            // No operation needs exact versions.
            Fault::OptedOutHasEffect | Fault::OptedOutFailsOtherwise => {
                let of = Capability::ALL.iter().filter(|of| **of != Capability::ExactVersions);
                of.map(|&of| Self { fault, of: Some(of) }).collect()
            }
            fault if fault.is_of_opt_out() => Capability::ALL.iter().map(|&of| Self { fault, of: Some(of) }).collect(),
            Fault::ForeverRefused | Fault::CreateTtlIgnoredWithout => {
                vec![Self { fault, of: Some(Capability::Ttls) }]
            }
            // Whoever reads what is left of a TTL might see it too, in whole milliseconds: T2 has to be seen without.
            fault if fault.is_in_real_time() => {
                [None, Some(Capability::TtlReading)].map(|of| Self { fault, of }).to_vec()
            }
            Fault::OptedOutAddsEntry | Fault::OptedOutClearsTtl => vec![Self { fault, of: Some(Capability::Copy) }],
            Fault::OptedOutNamesTtls => vec![Self { fault, of: Some(Capability::Create) }],
            Fault::OptedOutSetsTtl => vec![Self { fault, of: Some(Capability::Touch) }],
            fault => vec![Self { fault, of: None }],
        };
        Fault::ALL.iter().flat_map(of_fault).collect()
    }

    pub(crate) fn name(self) -> String {
        match self.of {
            Some(of) => format!("{:?}/{of:?}", self.fault),
            None => format!("{:?}", self.fault),
        }
    }

    pub(crate) fn fixture(self, inner: Right) -> Fixture {
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

    pub(crate) fn suite(self) -> Suite {
        let config = move |default_ttl| {
            let clock = if self.fault.is_in_real_time() { Clock::real() } else { Clock::manual() };
            let mut config = Config { lacking: self.of.into_iter().collect(), default_ttl, clock, ..Config::new() };
            if self.fault == Fault::TooLongKeysTaken {
                config.longest_key = Key::MAX_LEN;
            }
            config
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

    /// The checks that reject this store, and what they say: of those in `rejected_by.txt`, or of all if it has none that does.
    pub(crate) fn run(self) -> Caught {
        let started = Instant::now();
        let suite = self.suite();
        let known = rejected_by::known(&self.name());
        let mut by = known.iter().filter_map(|check| self.reject(&suite, check)).collect::<BTreeMap<_, _>>();
        if by.is_empty() {
            by = self.rejected_by_any(&suite);
        }
        let accepts = |_: &u32| !by.keys().any(|check| self.reject(&suite, check).is_some());
        let accepted = if by.is_empty() { 0 } else { (0..repeats()).filter(accepts).count() };
        Caught { by, accepted, took: started.elapsed() }
    }

    /// The checks that reject this store, of all.
    fn rejected_by_any(self, suite: &Suite) -> BTreeMap<String, String> {
        let names = names(self.of.as_slice());
        // All others would take minutes in real time, and it is T2 that has to find these.
        let only = std::env::var("MUTANTS_CHECKS").ok();
        let in_question = |name: &&String| match &only {
            Some(only) => name.contains(only.as_str()),
            None => !self.fault.is_in_real_time() || name.starts_with("t2_"),
        };
        let (mut slow, quick) =
            names.iter().filter(in_question).partition::<Vec<_>, _>(|name| SLOW.contains(&name.as_str()));
        slow.sort_by_key(|name| SLOW.iter().position(|slow| slow == name));
        let mut by = quick.into_iter().filter_map(|name| self.reject(suite, name)).collect::<BTreeMap<_, _>>();
        let all = std::env::var_os("MUTANTS_ALL").is_some();
        // One slow check that rejects the store is enough.
        let most = if all { slow.len() } else { 1 };
        // What depends on random input is tried again, with other seeds, before it counts as not found.
        for round in 0..8 {
            if by.is_empty() || round == 0 && all {
                by.extend(slow.iter().filter_map(|name| self.reject(suite, name)).take(most));
            }
        }
        by
    }

    /// Whether this check rejects this store: the name of the check, and what it says.
    pub(crate) fn reject(self, suite: &Suite, check: &str) -> Option<(String, String)> {
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

/// How often a wrong store that is rejected by chance is tried again: `MUTANTS_REPEAT`.
pub(crate) fn repeats() -> u32 {
    let given = std::env::var("MUTANTS_REPEAT").ok();
    given.map_or(0, |given| given.parse().expect("MUTANTS_REPEAT is a number"))
}

/// What the suite found of a wrong store.
pub(crate) struct Caught {
    pub(crate) by: BTreeMap<String, String>,
    /// In how many of the repeats no check rejected it.
    accepted: usize,
    pub(crate) took: Duration,
}

/// All wrong stores, each of which is run once, for the first trial that asks.
pub(crate) struct Mutants(pub(crate) Vec<(Mutant, OnceLock<Caught>)>);

impl Mutants {
    pub(crate) fn caught(&self, at: usize) -> (Mutant, &Caught) {
        let (mutant, caught) = self.0.get(at).expect("the index is of a mutant");
        (*mutant, caught.get_or_init(|| mutant.run()))
    }

    /// Runs all that have not been run.
    pub(crate) fn run(&self) -> Vec<(Mutant, &Caught)> {
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

    /// For each check the wrong store that it rejects. Those that are so wrong that more than a third of the checks reject them prove
    /// nothing.
    fn proofs(&self) -> BTreeMap<String, Option<String>> {
        let names = names(Capability::ALL);
        let most = names.len() / 3;
        let mut narrow = self.run().into_iter().filter(|(_, caught)| caught.by.len() <= most).collect::<Vec<_>>();
        narrow.sort_by_key(|(_, caught)| caught.by.len());
        let is_slow = |name: &String| SLOW.contains(&name.as_str());
        // A slow check has seen few of them yet. Those that a slow check alone has rejected are the likeliest to be rejected by another one.
        let mut likely = narrow.clone();
        likely.sort_by_key(|(_, caught)| !caught.by.keys().all(is_slow));
        let proof = |name: &String| {
            let seen = narrow.iter().find(|(_, caught)| caught.by.contains_key(name));
            let again = |(mutant, _): &&(Mutant, &Caught)| {
                let is_asked = is_slow(name) || rejected_by::known(&mutant.name()).contains(&name.as_str());
                is_asked && mutant.reject(&mutant.suite(), name).is_some()
            };
            seen.or_else(|| likely.iter().find(again)).map(|(mutant, _)| mutant.name())
        };
        names.into_iter().map(|name| (name.clone(), proof(&name))).collect()
    }
}

/// A wrong store has to be rejected.
pub(crate) fn reject(mutants: &Mutants, at: usize) -> Result<(), Failed> {
    let (_, caught) = mutants.caught(at);
    match caught {
        Caught { by, .. } if by.is_empty() => Err("no check rejects this store".into()),
        Caught { accepted: 0, .. } => Ok(()),
        Caught { accepted, .. } => Err(format!("no check rejects it in {accepted} of {} repeats", repeats()).into()),
    }
}

/// What is common to the wrong stores is right: no check rejects one in which nothing is wrong.
pub(crate) fn accept_without_a_fault() -> Result<(), Failed> {
    let mutant = Mutant { fault: Fault::Nothing, of: None };
    let suite = mutant.suite();
    let rejected = names(&[]).into_iter().filter(|check| !SLOW.contains(&check.as_str()));
    let rejected = rejected.filter_map(|check| mutant.reject(&suite, &check)).map(|(_, message)| message);
    let rejected = rejected.collect::<Vec<_>>();
    if rejected.is_empty() { Ok(()) } else { Err(rejected.join("\n\n").into()) }
}

/// Each check has to reject a wrong store.
pub(crate) fn prove_every_check(mutants: &Mutants) -> Result<(), Failed> {
    let proofs = mutants.proofs();
    if rejected_by::is_update() {
        rejected_by::write(&mutants.run(), &proofs);
    }
    let unproven = proofs.into_iter().filter(|(_, by)| by.is_none()).map(|(check, _)| check);
    let unproven = unproven.filter(|check| !OF_NO_BACKEND.iter().any(|(name, _)| name == check)).collect::<Vec<_>>();
    if unproven.is_empty() { Ok(()) } else { Err(format!("these checks reject no wrong store: {unproven:#?}").into()) }
}

/// The simplest sequence that is shown ends with the step that failed, and the line that runs it again has the seed.
pub(crate) fn simplest_sequence() -> Result<(), Failed> {
    const CHECK: &str = "p1_random_operations_do_what_a_plain_map_does";
    let mutant = Mutant { fault: Fault::DeleteAlwaysFalse, of: None };
    let (_, message) = mutant.reject(&mutant.suite(), CHECK).ok_or("the check does not reject the store")?;
    let step = message.split_once("step ").and_then(|(_, rest)| rest.split_once(':')).map_or("", |(step, _)| step);
    let (before, again) = message.rsplit_once('\n').unwrap_or_default();
    let last = before.lines().last().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let is_complete = again.starts_with("again:    KV_CONFORMANCE_SEED=") && again.ends_with(CHECK);
    if !step.is_empty() && step == last && is_complete { Ok(()) } else { Err(message.into()) }
}
