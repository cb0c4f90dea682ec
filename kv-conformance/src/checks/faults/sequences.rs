//! Section 10, at random: everything that a store can be asked, disturbed at any point.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). Every value says which key and
//! which write it belongs to, so that a reply that reaches the wrong operation is seen at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::checks::check::{Check, about, checks};
use crate::faults::{ProxiedStore, RandomCase as Case, cases, in_parallel, pairs};
use crate::property::{self, Cases};
use crate::running::{Budget, Context, effort};

checks![n2_under_random_faults_no_operation_gets_another_one_s_reply];

/// How many cases are tried at the same time, each with a store of its own: they mostly wait for time-outs.
const LANES: usize = 8;

/// How long they are tried, and how many of them each lane tries at least.
const TIME: Duration = Duration::from_secs(10);
const LEAST: usize = 20;

/// A property: whichever call is disturbed, in whatever way and at whatever point of its exchange, every answer is one that can be, every
/// error one that it may be, and every call ends within its limit. Then the disturbance ends, mostly without any connection being cut, and
/// whatever is called next has to work, with nothing of the disturbed call left over; in the end each key holds a value and a TTL that it can
/// hold. Calls are everything that a store can be asked, with large values, batches of several chunks, listings of several pages, and
/// streams that break. The simplest case for which it is not so is shown, step by step.
pub fn n2_under_random_faults_no_operation_gets_another_one_s_reply() -> Check {
    about(&[
        "N2", "N1", "N5", "N6", "P1", "P2", "P4", "D1", "L1", "L3", "B1", "B2", "B3", "B5", "B7", "S2", "T6", "U1",
        "U3", "U4", "U5", "E1", "E4", "E5",
    ])
    .under_faults()
    .run(|context| {
        ProxiedStore::new(context.fixture())?;
        let mut pairs = pairs(context);
        Rng::with_seed(context.seed.used()).shuffle(&mut pairs);
        let (pairs, next) = (pairs, AtomicUsize::new(0));
        let (scope, seed) = (context.scope, &context.seed);
        in_parallel(&[(); LANES], |()| {
            let fixture = scope.open_with_faults()?;
            let context = Context::new(scope, &fixture, 0, seed.clone());
            let proxied = ProxiedStore::new(&fixture)?;
            let budget = Budget::new(TIME, LEAST);
            while budget.allows_another() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                // Each of them once; with more effort, again and again.
                if number >= pairs.len() && effort() <= 1.0 {
                    return Ok(());
                }
                let Some(pair) = pairs.get(number % pairs.len()) else { return Ok(()) };
                let one = Cases { cases: 1, shrinking: 25 };
                let run = |case: &Case| case.run(&context, &proxied);
                property::check_with(&seed.of_part(number), one, &cases(&context, *pair), Case::shown, run)?;
            }
            Ok(())
        })
    })
}
