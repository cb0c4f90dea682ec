//! All of it together: random sequences of operations against a plain model.

use std::cell::RefCell;

use proptest::collection::vec;

use crate::checks::check::{Check, about, checks};
use crate::model::{Model, Operation, TtlChoices, operations};
use crate::property::{self, Cases};
use crate::running::{Finding, NotPassed, panics, show};

checks![p1_random_operations_do_what_a_plain_map_does];

/// A property: whatever sequence of operations is run, on six keys, with entries that expire meanwhile, the store answers as a
/// plain `BTreeMap` does. The simplest sequence for which it does not is shown, step by step.
pub fn p1_random_operations_do_what_a_plain_map_does() -> Check {
    about(&[
        "P1", "P2", "P4", "D1", "G1", "V1", "T1", "T2", "T3", "T5", "T6", "L1", "L6", "B1", "B2", "B3", "B7", "C1",
        "C2", "C3", "C4", "S2", "S3",
    ])
    .run(|context| {
        let ttls = TtlChoices::of(context);
        let cases = property::cases()?;
        let cases = if context.time.is_advanced_by_hand() {
            cases
        } else if ttls.resolution.as_millis() < 100 {
            cases / 4 + 1
        } else {
            cases / 16 + 1
        };
        let sequences = vec(operations(context), 1..50);
        // The steps up to the one that failed last, and what was said of it.
        let failed = RefCell::new(None::<(Vec<String>, Box<Finding>)>);
        property::check_with(
            &context.seed,
            Cases { cases, shrinking: 4000 },
            &sequences,
            |steps| {
                // What would have come after the step that failed was not done.
                let failed = failed.borrow();
                let done = failed.as_ref().map_or(steps.len(), |(done, _)| done.len());
                let lines = shown(steps).into_iter().take(done).enumerate();
                let lines = lines.map(|(at, step)| format!("\n  {:>2}  {step}", at + 1));
                lines.collect::<Vec<_>>().concat()
            },
            |steps| {
                // Not run again: a sequence that starts with one that failed.
                if let Some((done, message)) = &*failed.borrow()
                    && shown(steps).starts_with(done)
                {
                    return Err(NotPassed::Failed(message.clone()));
                }
                let fixture = context.scope.open()?;
                let context = context.with(&fixture);
                let mut model = Model::new(&context, ttls);
                for (at, step) in steps.iter().enumerate() {
                    let outcome = panics::catch(|| model.step(step)).unwrap_or_else(|panic| Err(panic.into()));
                    outcome.map_err(|outcome| {
                        let outcome = outcome.map_text(|text| format!("step {}: {text}", at + 1));
                        if let NotPassed::Failed(finding) = &outcome {
                            let done = shown(steps).into_iter().take(at + 1).collect();
                            *failed.borrow_mut() = Some((done, finding.clone()));
                        }
                        outcome
                    })?;
                }
                Ok(())
            },
        )
    })
}

/// The steps as they are shown.
fn shown(steps: &[Operation]) -> Vec<String> {
    steps.iter().map(|step| show(step)).collect()
}
