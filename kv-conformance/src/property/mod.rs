//! Properties, which have to hold for every input that proptest makes.

pub(crate) mod keys;
pub(crate) mod values;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::running::{Budget, ENOUGH, NotPassed, Outcome, Seed, panics, show};

/// How many cases a property is tried with unless `KV_CONFORMANCE_CASES` says otherwise.
const CASES: u32 = 64;

/// How many of them are tried at least, however long they take.
const LEAST: usize = 8;

/// How many inputs are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cases {
    /// The number of inputs to try.
    pub(crate) cases: u32,
    /// The number of simpler inputs to try after one has failed. If that takes long, [fewer](SHRINKING) are tried.
    pub(crate) shrinking: u32,
}

/// How long simpler inputs are tried, and how many of them at least.
const SHRINKING: (Duration, u32) = (Duration::from_secs(10), 10);

/// Tries a property with random inputs, and if it does not hold shows the simplest input for which it does not.
pub(crate) fn check<S>(seed: &Seed, inputs: &S, holds: impl Fn(&S::Value) -> Outcome) -> Outcome
where
    S: Strategy,
    S::Value: Debug,
{
    let (cases, budget) = (cases()?, budget());
    let has_failed = Cell::new(false);
    // What is not tried passes, but for simpler inputs than one that has failed.
    let holds = |input: &S::Value| {
        let outcome = if has_failed.get() || budget.allows_another() { holds(input) } else { Ok(()) };
        has_failed.set(has_failed.get() || outcome.is_err());
        outcome
    };
    check_with(seed, Cases { cases, shrinking: 500 }, inputs, |input| show(input), holds)
}

/// The time for the cases of a property: a store that is slow gets fewer of them, unless `KV_CONFORMANCE_CASES` says how many there are.
fn budget() -> Budget {
    let is_given = std::env::var_os("KV_CONFORMANCE_CASES").is_some();
    Budget::new(ENOUGH, if is_given { usize::MAX } else { LEAST })
}

/// Like [`check`], with another number of cases and another way to show an input.
pub(crate) fn check_with<S>(
    seed: &Seed,
    cases: Cases,
    inputs: &S,
    shown: impl Fn(&S::Value) -> String,
    holds: impl Fn(&S::Value) -> Outcome,
) -> Outcome
where
    S: Strategy,
    S::Value: Debug,
{
    let mut runner = runner(seed.used(), cases.cases);
    let tried = Cell::new(0);
    let first_failed = Cell::new(None::<Instant>);
    // proptest keeps the simplest input that failed. It need not fail again if chance plays a part, so its failure is kept here. The last
    // input that fails is the simplest.
    let failed = RefCell::new(None);
    let result = runner.run(inputs, |input| {
        // A machine that is too slow does not depend on the input, so nothing can be made simpler.
        if matches!(*failed.borrow(), Some((NotPassed::TooSlow | NotPassed::TimedOut(_) | NotPassed::Ignored(_), _))) {
            return Err(TestCaseError::fail("was too slow"));
        }
        // proptest would print to stderr that it gives up.
        if let Some(since) = first_failed.get() {
            let (longest, least) = SHRINKING;
            let tried = tried.replace(tried.get() + 1);
            if tried >= cases.shrinking || tried >= least && since.elapsed() >= longest {
                return Ok(());
            }
        }
        // It is read here, because proptest has no place for it.
        match panics::catch(|| holds(&input)).unwrap_or_else(|panic| Err(panic.into())) {
            Ok(()) => Ok(()),
            // A simpler input for which the machine was too slow must not hide the one that failed.
            Err(outcome) if !matches!(outcome, NotPassed::Failed(_)) && failed.borrow().is_some() => Ok(()),
            Err(outcome) => {
                first_failed.set(first_failed.get().or_else(|| Some(Instant::now())));
                *failed.borrow_mut() = Some((outcome, shown(&input)));
                Err(TestCaseError::fail("does not hold"))
            }
        }
    });
    match (result, failed.into_inner()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some((outcome @ NotPassed::Failed(_), input))) => {
            Err(outcome.map_text(|message| format!("{message}\nsimplest: {input}")))
        }
        (Err(_), Some((outcome, _))) => Err(outcome),
        (Err(error), None) => Err(NotPassed::found(format!("{error:?}"))),
    }
}

/// Makes inputs from a seed.
pub(crate) fn runner(seed: u64, cases: u32) -> TestRunner {
    // The highest number would mean four times as many cases.
    let max_shrink_iters = u32::MAX - 1;
    let config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng(seed))
}

/// The number of cases: `KV_CONFORMANCE_CASES`, or 64. Zero would prove nothing.
pub(crate) fn cases() -> Outcome<u32> {
    match std::env::var("KV_CONFORMANCE_CASES") {
        Err(_) => Ok(CASES),
        Ok(given) => given.parse().ok().filter(|cases| *cases > 0).ok_or_else(|| {
            NotPassed::failed_beside_the_store(format_args!(
                "KV_CONFORMANCE_CASES is {given:?}, and has to be a number above zero"
            ))
        }),
    }
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    for (byte, of_seed) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte = of_seed;
    }
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
