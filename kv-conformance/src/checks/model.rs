//! All of it together: random sequences of operations against a plain model.

use proptest::collection::vec;

use super::checks;
use crate::context::Context;
use crate::failure::{Outcome, show};
use crate::model::Model;
use crate::operation::{Operation, Pace, operations};
use crate::property::{self, Effort};

checks! {
    p1_random_operations_do_what_a_plain_map_does
        [P1 P2 P4 D1 G1 V1 T1 T2 T3 T5 T6 L1 L6 B1 B2 B3 C1 C2 C3 C4 S2 S3];
}

/// A property: whatever sequence of operations is run, on six keys, with lifetimes that end meanwhile, the store answers as a
/// plain `BTreeMap` does. The simplest sequence for which it does not is shown, step by step.
pub fn p1_random_operations_do_what_a_plain_map_does(context: &Context<'_>) -> Outcome {
    let pace = Pace::of(context);
    let cases = property::cases()?;
    let effort = if context.time.is_advanced_by_hand() {
        Effort { cases, shrinking: 4000 }
    } else if pace.resolution.as_millis() < 100 {
        Effort { cases: cases / 4 + 1, shrinking: 100 }
    } else {
        Effort { cases: cases / 16 + 1, shrinking: 10 }
    };
    let sequences = vec(operations(context), 1..50);
    property::check_with(
        context,
        effort,
        &sequences,
        |steps| shown(steps),
        |steps| {
            let fixture = context.suite.open()?;
            let context = Context::new(context.suite, &fixture, 0, context.seed);
            let mut model = Model::new(&context, pace);
            for (at, step) in steps.iter().enumerate() {
                model.step(step).map_err(|outcome| outcome.map_text(|text| format!("step {}: {text}", at + 1)))?;
            }
            Ok(())
        },
    )
}

fn shown(steps: &[Operation]) -> String {
    let lines = steps.iter().enumerate().map(|(at, step)| format!("\n  {:>2}  {}", at + 1, show(step)));
    lines.collect()
}
