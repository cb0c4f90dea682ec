//! Section 10, at random: sequences of operations and faults.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). Every value says which key and
//! which write it belongs to, so that a reply that reaches the wrong operation is seen at once.

use kv_core::KeyValueStoreExt;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::select;
use proptest::strategy::{Strategy, Union};

use crate::checks::check::{Check, about, checks};
use crate::faults::{Action, Client, Fault, ProxiedStore, expect_undisturbed, faults, in_own_fixtures};
use crate::property::{self, Cases};
use crate::running::{Context, Outcome, show};

checks![n2_under_random_faults_no_operation_gets_another_one_s_reply];

/// One step of a random sequence.
#[derive(Clone, Debug)]
enum Step {
    Do(Action, usize, u64),
    Fault(Fault),
}

fn steps(context: &Context<'_>) -> impl Strategy<Value = Vec<Step>> + use<> {
    let action = (select(Action::all(context)), any::<usize>(), any::<u64>());
    let step = Union::new_weighted(vec![
        (3, action.prop_map(|(action, at, random)| Step::Do(action, at, random)).boxed()),
        (1, faults().prop_map(Step::Fault).boxed()),
    ]);
    vec(step, 1..30)
}

/// How many sequences are tried at the same time, each with a store of its own.
const THREADS: usize = 5;

/// A property of every sequence of operations and faults: every answer is possible, every error is allowed, every operation ends within the
/// limit, and after the faults everything works and nothing acknowledged is lost. If that does not hold, the simplest such sequence is
/// shown, step by step.
pub fn n2_under_random_faults_no_operation_gets_another_one_s_reply() -> Check {
    about(&["N2", "N1", "N5", "N6", "P1", "E1", "E4", "E5"]).under_faults().run(|context| {
        ProxiedStore::new(context.fixture())?;
        let cases = Cases { cases: property::cases()? / 10 + 1, shrinking: 25 };
        in_own_fixtures(context, &[(); THREADS], |context, proxied, ()| {
            let shown = |steps: &Vec<Step>| {
                let lines = steps.iter().enumerate().map(|(at, step)| format!("\n  {:>2}  {}", at + 1, show(step)));
                lines.collect()
            };
            property::check_with(&context.seed, cases, &steps(context), shown, |steps| run(context, proxied, steps))
        })
    })
}

/// Runs one sequence, on keys of its own.
fn run(context: &Context<'_>, proxied: &ProxiedStore<'_>, steps: &[Step]) -> Outcome {
    let prefix = proxied.fresh_prefix();
    let mut clients = Client::several(context, proxied, &prefix, 1);
    proxied.heal_without_what_was_held()?;
    expect_undisturbed("get, with nothing in its way", || proxied.store.get("k"), None)?;
    for client in &mut clients {
        for (at, step) in steps.iter().enumerate() {
            let outcome = match step {
                Step::Do(action, at, random) => client.perform(*action, *at, *random).map(drop),
                Step::Fault(fault) => fault.begin(proxied),
            };
            outcome.map_err(|outcome| outcome.map_text(|text| format!("step {}: {text}", at + 1)))?;
        }
        proxied.heal_without_what_was_held()?;
        proxied.works_again("after the last step")?;
        client.settle("after the last step")?;
    }
    Ok(())
}
