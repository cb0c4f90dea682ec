//! All of it together: random sequences of operations against a plain model.
//!
//! Keys, values and TTLs are from pools that are made to hurt, and each is tried with each operation: what was tried is in the report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use kv_core::Capability;
use proptest::strategy::Strategy;

use crate::checks::check::{Check, about, checks};
use crate::fixture::Fixture;
use crate::model::{Abilities, Coverage, Dimension, Handles, Model, Sequences, Step, sweeps};
use crate::property::{self, Cases};
use crate::report::CoverageRow;
use crate::running::{Budget, Context, Finding, NotPassed, Outcome, Seed, Time, TimeSoFar, panics};

checks![
    p1_random_operations_do_what_a_plain_map_does,
    t1_random_operations_with_a_default_ttl_do_what_a_plain_map_does,
];

/// A property: whatever sequence of operations is run, through two handles, with entries that expire meanwhile, listings and readers that are
/// open, and stores that are opened again, the store answers as a plain `BTreeMap` does. The simplest sequence for which it does not is shown,
/// step by step.
pub fn p1_random_operations_do_what_a_plain_map_does() -> Check {
    about(&[
        "P1", "P2", "P4", "D1", "G1", "V1", "K1", "K3", "K4", "T1", "T2", "T3", "T4", "T5", "T6", "L1", "L2", "L6",
        "B1", "B2", "B3", "B5", "B7", "C1", "C2", "C3", "C4", "S1", "S2", "S3", "S4",
    ])
    .run(|context| {
        let time = if context.time.is_advanced_by_hand() { IN_MEMORY } else { REAL_TIME };
        let sequences = Trial { context, time, default_ttl: None };
        sequences.run(|| context.scope.open())
    })
}

/// As [`p1_random_operations_do_what_a_plain_map_does`], with a store that has a default TTL.
pub fn t1_random_operations_with_a_default_ttl_do_what_a_plain_map_does() -> Check {
    about(&["T1", "P2", "P4", "T2", "T5", "T6", "C1", "C2", "B2", "S2"]).needs(&[Capability::Ttls]).run(|context| {
        let default_ttl = Duration::from_secs(45).min(context.capabilities().longest_ttl() / 2);
        let sequences = Trial { context, time: DEFAULT, default_ttl: Some(default_ttl) };
        sequences.run(|| context.scope.open_with_default_ttl(default_ttl))
    })
}

/// How long sequences are tried: on a store whose clock is advanced by hand, on others, and with a default TTL.
const IN_MEMORY: Duration = Duration::from_secs(4);
const REAL_TIME: Duration = Duration::from_secs(8);
const DEFAULT: Duration = Duration::from_secs(1);

/// How many steps a sequence has at most.
const STEPS: usize = 60;

/// How often a sequence that has failed is made simpler.
const SHRINKING: u32 = 4000;

/// Random sequences for one kind of store.
struct Trial<'a> {
    context: &'a Context<'a>,
    time: Duration,
    default_ttl: Option<Duration>,
}

impl Trial<'_> {
    /// Goes through the pools, and then tries random sequences, each with a fresh store, until the time is up.
    fn run(&self, open: impl Fn() -> Outcome<Fixture>) -> Outcome {
        let abilities = Abilities::of(self.context);
        let folder = tempfile::tempdir().map_err(NotPassed::failed_beside_the_store)?;
        let (planned, done) = (RefCell::new(Coverage::default()), RefCell::new(Coverage::default()));
        let outcome = self.sequences(&abilities, &planned, |steps| {
            let model = Model::new(self.context, self.default_ttl, folder.path().join("value"));
            play(self.context, model, open().map_err(|outcome| (0, outcome))?, steps, &done)
        });
        self.context.scope.covers(rows(&done.into_inner()));
        outcome
    }

    fn sequences(
        &self,
        abilities: &Abilities,
        planned: &RefCell<Coverage>,
        play: impl Fn(&[Step]) -> Result<(), (usize, NotPassed)>,
    ) -> Outcome {
        let seed = &self.context.seed;
        let budget = Budget::new(self.time, usize::try_from(property::cases()?).unwrap_or_default());
        for sweep in sweeps(abilities, &mut Rng::with_seed(seed.used())) {
            check(seed, &sweep, &play)?;
        }
        for part in 0.. {
            if !budget.allows_another() {
                break;
            }
            check(&seed.of_part(part), &Sequences::new(abilities.clone(), planned, STEPS), &play)?;
        }
        Ok(())
    }
}

/// Tries one sequence, and if it fails looks for the simplest one that does.
fn check<S: Strategy<Value = Vec<Step>>>(
    seed: &Seed,
    sequences: &S,
    play: impl Fn(&[Step]) -> Result<(), (usize, NotPassed)>,
) -> Outcome {
    // The steps up to the one that failed last, and what was said of it.
    let failed = RefCell::new(None::<(Vec<String>, Box<Finding>)>);
    let shown = |steps: &Vec<Step>| {
        // What would have come after the step that failed was not done.
        let failed = failed.borrow();
        let done = failed.as_ref().map_or(steps.len(), |(done, _)| done.len());
        let lines = steps.iter().take(done).enumerate();
        lines.map(|(at, step)| format!("\n  {:>2}  {step}", at + 1)).collect::<Vec<_>>().concat()
    };
    property::check_with(seed, Cases { cases: 1, shrinking: SHRINKING }, sequences, shown, |steps| {
        // Not run again: a sequence that starts with one that failed.
        if let Some((done, finding)) = &*failed.borrow()
            && starts_with(steps, done)
        {
            return Err(NotPassed::Failed(finding.clone()));
        }
        play(steps).map_err(|(at, outcome)| {
            let step = if at > steps.len() { "after the last step".into() } else { format!("step {at}") };
            let outcome = outcome.map_text(|text| format!("{step}: {text}"));
            if let NotPassed::Failed(finding) = &outcome {
                let done = steps.iter().take(at).map(Step::to_string).collect();
                *failed.borrow_mut() = Some((done, finding.clone()));
            }
            outcome
        })
    })
}

fn starts_with(steps: &[Step], shown: &[String]) -> bool {
    steps.len() >= shown.len() && steps.iter().zip(shown).all(|(step, shown)| step.to_string() == *shown)
}

/// Does the steps with a store and with its model. If one fails: how many had been begun, and why.
fn play(
    context: &Context<'_>,
    mut model: Model<'_>,
    mut fixture: Fixture,
    steps: &[Step],
    done: &RefCell<Coverage>,
) -> Result<(), (usize, NotPassed)> {
    let mut time = TimeSoFar::begin();
    for (at, step) in steps.iter().enumerate() {
        if step.reopens() {
            fixture = context.scope.reopen(fixture).map_err(|outcome| (at + 1, outcome))?;
        }
        time = on(&fixture, time, |handles| model.step(step, handles)).map_err(|outcome| (at + 1, outcome))?;
        done.borrow_mut().add(step);
    }
    on(&fixture, time, |handles| model.look_at_all(handles)).map_err(|outcome| (steps.len() + 1, outcome)).map(drop)
}

/// Does something with the handles of a fixture, and tells how much time has passed then.
fn on(fixture: &Fixture, time: TimeSoFar, run: impl FnOnce(&Handles<'_>) -> Outcome) -> Outcome<TimeSoFar> {
    let first = &*fixture.store;
    let second = fixture.second_handle.as_deref().unwrap_or(first);
    let handles = Handles { first, second, time: Time::after(time, fixture.advance.as_ref()) };
    panics::catch(|| run(&handles)).unwrap_or_else(|panic| Err(panic.into()))?;
    Ok(handles.time.so_far())
}

/// What was covered, as rows of the report.
fn rows(coverage: &Coverage) -> Vec<CoverageRow> {
    let row = |(operation, steps, classes): (&str, u64, BTreeMap<Dimension, usize>)| {
        let count = |dimension| classes.get(&dimension).copied().unwrap_or_default();
        CoverageRow {
            operation: operation.to_owned(),
            steps,
            keys: count(Dimension::Keys),
            values: count(Dimension::Value),
            ttls: count(Dimension::Ttl),
            handles: count(Dimension::Handle),
        }
    };
    coverage.rows().map(row).collect()
}
