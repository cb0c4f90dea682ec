//! Section 10, at random: sequences of operations and faults.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). Every value says which key and
//! which write it belongs to, so that a reply that reaches the wrong operation is seen at once.

use kv_core::KeyValueStoreExt;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::select;
use proptest::strategy::{Strategy, Union};

use super::checks;
use crate::actor::{Actor, Deed};
use crate::context::Context;
use crate::failure::{Outcome, show};
use crate::fault::{Fault, faults};
use crate::property::{self, Effort};
use crate::rig::{Rig, expect_undisturbed, in_fixtures_of_their_own};

checks! { faults:
    n2_whatever_the_network_does_nobody_gets_another_one_s_reply [N2 N1 N5 N6 P1 E1 E4 E5];
}

/// One step of a random sequence.
#[derive(Clone, Debug)]
enum Step {
    Do(Deed, usize, u64),
    Fault(Fault),
}

fn steps(context: &Context<'_>) -> impl Strategy<Value = Vec<Step>> + use<> {
    let deed = (select(Deed::all(context)), any::<usize>(), any::<u64>());
    let step = Union::new_weighted(vec![
        (3, deed.prop_map(|(deed, at, random)| Step::Do(deed, at, random)).boxed()),
        (1, faults().prop_map(Step::Fault).boxed()),
    ]);
    vec(step, 1..30)
}

/// How many sequences are tried at the same time, each with a store of its own.
const LANES: usize = 5;

/// A property: whatever sequence of operations and faults is run, every answer is one that can be, every error one that it may be, every
/// operation ends within the limit, and when the faults are over everything works and nothing acknowledged is lost. The simplest
/// sequence for which it is not so is shown, step by step.
pub fn n2_whatever_the_network_does_nobody_gets_another_one_s_reply(context: &Context<'_>) -> Outcome {
    Rig::new(context.fixture())?;
    let effort = Effort { cases: property::cases()? / 10 + 1, shrinking: 25 };
    in_fixtures_of_their_own(context, &[(); LANES], |context, rig, ()| {
        let shown = |steps: &Vec<Step>| {
            let lines = steps.iter().enumerate().map(|(at, step)| format!("\n  {:>2}  {}", at + 1, show(step)));
            lines.collect()
        };
        property::check_with(context, effort, &steps(context), shown, |steps| run(context, rig, steps))
    })
}

/// Runs one sequence, on keys of its own.
fn run(context: &Context<'_>, rig: &Rig<'_>, steps: &[Step]) -> Outcome {
    let prefix = rig.fresh_prefix();
    let mut actors = Actor::several(context, rig, &prefix, 1);
    rig.heal_without_what_was_held()?;
    expect_undisturbed("get, with nothing in its way", || rig.store.get("k"), None)?;
    for actor in &mut actors {
        for (at, step) in steps.iter().enumerate() {
            let outcome = match step {
                Step::Do(deed, at, random) => actor.act(*deed, *at, *random).map(drop),
                Step::Fault(fault) => fault.begin(rig),
            };
            outcome.map_err(|outcome| outcome.map_text(|text| format!("step {}: {text}", at + 1)))?;
        }
        rig.heal_without_what_was_held()?;
        rig.works_again("after the last step")?;
        actor.settle("after the last step")?;
    }
    Ok(())
}
