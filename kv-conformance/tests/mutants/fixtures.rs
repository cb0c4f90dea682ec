//! Fixtures that do not hold: one failure says so, and no check blames the store.

use std::sync::Arc;

use kv_conformance::{BoxError, Fixture, Suite, Verdict, Weakness};
use kv_core::{Key, KeyValueStore, Ttl, Value};
use libtest_mimic::{Failed, Trial};

use crate::right::{Clock, Config, Right};

const CHECK: &str = "fixture_is_fresh_and_its_parts_belong_together";

fn right(clock: Clock) -> Right {
    Right::new(Config { clock, ..Config::new() })
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, open: fn() -> Result<Fixture, BoxError>, says: &'static str| {
        Trial::test(format!("fixture/{name}"), move || one_failure(&Suite::new("fixture", open), says))
    };
    vec![
        trial("fails", || Err("no server at port 7".into()), "\nthe fixture failed: no server at port 7\n"),
        trial("panics", || panic!("no folder"), "\nthe fixture panicked while it was made\n"),
        Trial::test("fixture/shares_its_store", || {
            let shared = right(Clock::manual());
            let suite = Suite::new("fixture", move || Ok(Fixture::new(shared.clone())));
            one_failure(&suite, "get, from the store of one fixture, of what was put into that of another\n")
        }),
        Trial::test("fixture/is_left_over", || {
            let store = Arc::new(right(Clock::manual()));
            let first = Arc::clone(&store);
            Suite::new("first", move || Ok(Fixture::new(first.as_ref().clone()))).run_matching(CHECK);
            let suite = Suite::new("fixture", move || Ok(Fixture::new(store.as_ref().clone())));
            one_failure(&suite, "get of a key from the store of a fresh fixture\nexpected: None: it is empty\n")
        }),
        trial(
            "is_not_empty",
            || {
                let store = right(Clock::manual());
                store.write(Key::new("old")?, Value::from("v"), Ttl::Forever)?;
                Ok(Fixture::new(store))
            },
            "\nexpected: nothing: it is empty\ngot:      [\"old\"], perhaps more\n",
        ),
        trial(
            "second_handle_on_other_data",
            || Ok(Fixture::new(right(Clock::manual())).second_handle(right(Clock::manual()))),
            "get through one handle of what was put through the other\n",
        ),
        trial(
            "clock_that_does_nothing",
            || Ok(Fixture::new(right(Clock::manual())).clock(|_| ())),
            "\nexpected: None: `clock` is given what advances the clock that the store was made with\n",
        ),
        trial(
            "clock_of_a_store_in_real_time",
            || Ok(Fixture::new(right(Clock::real())).clock(|_| ())),
            "got:      the entry: for the store, no time has passed\n",
        ),
        Trial::test("fixture/of_a_weaker_store_need_not_show_what_was_put", || {
            let open = || Ok(Fixture::new(right(Clock::manual())).second_handle(right(Clock::manual())));
            let report = Suite::new("fixture", open).weaker(Weakness::StaleReads, "a replica").run_matching(CHECK);
            if report.passed() { Ok(()) } else { Err(report.to_string().into()) }
        }),
        Trial::test("fixture/left_out_by_a_filter", || {
            let report = Suite::new("fixture", || Err("no server".into())).run_matching("g1_an_absent_key_reads");
            let names = report.results.iter().map(|result| result.name.as_str()).collect::<Vec<_>>();
            let is_told = names.first() == Some(&CHECK) && names.len() == 2 && !report.passed();
            if is_told { Ok(()) } else { Err(report.to_string().into()) }
        }),
    ]
}

/// That the fixture does not hold is the one failure, and everything else is ignored.
fn one_failure(suite: &Suite, says: &str) -> Result<(), Failed> {
    let report = suite.run();
    let failures = report.failures().map(|result| (&*result.name, &result.verdict)).collect::<Vec<_>>();
    let told = matches!(&*failures, [(CHECK, Verdict::Failed(message))] if message.contains(says));
    let blamed = report.failures().any(|failure| failure.failure.as_ref().is_none_or(|it| !it.broken.is_empty()));
    let ran = report.results.iter().any(|result| result.verdict == Verdict::Passed);
    if told && !blamed && !ran { Ok(()) } else { Err(report.to_string().into()) }
}
