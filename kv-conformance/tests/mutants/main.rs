//! Proves that the suite can fail: it passes right stores, it rejects stores that are wrong in one way each, and each of its
//! checks rejects at least one of them.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `UPDATE` | every wrong store is given to all checks, and `rejected_by.txt` is written anew |
//! | `MUTANTS_REPEAT` | how often each wrong store is given again to the checks that have rejected it, and each that races to those for races: one of them has to reject it each time |
//! | `MUTANTS_ALL` | every wrong store is given to the slow checks too, not only those that the others accept |
//! | `MUTANTS_SLOW` | right stores that take 20 to 50 ms for an operation are run, too: minutes each |
//! | `MUTANTS_CHECKS` | only checks with this text in their names are asked: what they do not reject shows what they leave to others |
//! | `MUTANTS_VERBOSE` | what every check says of every wrong store is printed |
//! | `MUTANTS_QUICK` | right stores are not given to the slow checks |
//! | `MUTANTS_TIMES` | how long each check takes on the right stores is printed |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so where it cannot go on")]

#[cfg(feature = "tokio")]
mod asynchronous;
mod checks;
mod faults;
mod fixtures;
mod hangs;
mod histories;
mod mutant;
mod peculiar;
mod racing;
mod rejected_by;
mod reopening;
mod right;
mod right_stores;
#[cfg(feature = "tokio")]
mod runtimes;
mod wrong;

use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};

use crate::mutant::{Mutant, Mutants, accept_without_a_fault, prove_every_check, reject, simplest_sequence};
use crate::right_stores::right_stores;

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
    trials.push(Trial::test("right/wrong_in_nothing", accept_without_a_fault));
    trials.push(Trial::test("the_simplest_sequence_ends_where_it_fails", simplest_sequence));
    trials.extend(histories::trials());
    trials.extend(racing::trials());
    trials.extend(fixtures::trials());
    trials.extend(hangs::trials());
    trials.extend(reopening::trials());
    #[cfg(feature = "tokio")]
    trials.extend(runtimes::trials());
    #[cfg(feature = "tokio")]
    trials.extend(asynchronous::trials());
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
