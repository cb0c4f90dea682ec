//! Right stores, of each kind that the suite treats in another way: they pass.

use std::sync::Arc;
use std::time::Duration;

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::Capability;
use libtest_mimic::{Failed, Trial};

use crate::checks::{RUNTIMES, checks_of_faults};
use crate::right::{Clock, Config, Right};

/// A right store has to pass, with nothing ignored but what is named here.
fn accept(config: &Config, ignored: &[&str]) -> Result<(), Failed> {
    let make = {
        let config = config.clone();
        move |default_ttl| -> Result<Fixture, BoxError> {
            let clock = match config.clock {
                Clock::Manual(_) => Clock::manual(),
                Clock::Real(_) => Clock::real(),
            };
            let by_hand = matches!(clock, Clock::Manual(_));
            let store = Right::new(Config { default_ttl, clock: clock.clone(), ..config.clone() });
            let planted = store.clone();
            let reopened = store.clone();
            let fixture = Fixture::new(store.clone()).reopen(move || Ok(reopened.clone()));
            let fixture = fixture.second_handle(store).foreign_data(move || {
                planted.plant();
                Ok(())
            });
            Ok(if by_hand { fixture.clock(move |by| clock.advance(by)) } else { fixture })
        }
    };
    let make = Arc::new(make);
    let open = Arc::clone(&make);
    let suite = Suite::new("right", move || open(None)).with_default_ttl(move |ttl: Duration| make(Some(ttl)));
    let suite = config.lacking.iter().fold(suite, |suite, &lacking| suite.opt_out(lacking, "it is lacking"));
    let report = suite.run();
    if std::env::var_os("MUTANTS_TIMES").is_some() {
        for r in &report.results {
            eprintln!("{:>6} {}", r.took.as_millis(), r.name);
        }
    }
    if !report.passed() {
        return Err(report.to_string().into());
    }
    let not_run = report.results.iter().filter_map(|result| match &result.verdict {
        Verdict::Ignored(reason) if !reason.starts_with("opted out of") && !is_without_runtimes(&result.name) => {
            Some(result.name.as_str()).filter(|name| !checks_of_faults().contains(*name))
        }
        _ => None,
    });
    let not_run = not_run.collect::<Vec<_>>();
    if not_run == ignored { Ok(()) } else { Err(format!("ignored: {not_run:?}, expected: {ignored:?}").into()) }
}

/// Whether this check needs a feature that these tests were built without.
fn is_without_runtimes(check: &str) -> bool {
    !cfg!(feature = "tokio") && check == RUNTIMES
}

/// The trials of right stores.
pub(crate) fn right_stores() -> Vec<Trial> {
    // Without an opt-out of TTLs there is nothing to be checked of it.
    const NO_TTLS: &str = "o2_forever_is_accepted_without_ttls";
    const UNLIMITED: &[&str] = &[
        "v3_a_value_of_the_largest_size_is_accepted",
        "v3_a_value_over_the_limit_is_refused_and_the_old_one_stays",
        "v3_a_value_just_over_the_limit_is_stored_whole_or_not_at_all",
        "t4_a_refused_ttl_changes_nothing",
        "t4_a_create_with_a_refused_ttl_stores_nothing",
        "t4_a_touch_with_a_refused_ttl_changes_nothing",
        "b5_a_refused_ttl_in_the_middle_changes_no_other_key",
        "b5_a_value_too_large_in_the_middle_changes_no_other_key",
        NO_TTLS,
    ];
    let trial = |name: &str, config: Config, ignored: &'static [&'static str]| {
        Trial::test(format!("right/{name}"), move || accept(&config, ignored))
    };
    let mut trials = vec![
        trial("limits", Config::new(), &[NO_TTLS]),
        trial("no_limits", Config { largest_value: None, longest_ttl: Duration::MAX, ..Config::new() }, UNLIMITED),
        trial("whole_seconds", Config { resolution: Duration::from_secs(1), ..Config::new() }, &[NO_TTLS]),
        trial("real_time", Config { clock: Clock::real(), ..Config::new() }, &[NO_TTLS]),
        trial("small_values", Config { largest_value: Some(256), ..Config::new() }, &[NO_TTLS]),
        trial("short_ttls", Config { longest_ttl: Duration::from_secs(60), ..Config::new() }, &[NO_TTLS]),
    ];
    for &of in Capability::ALL {
        let ignored: &[&str] = if of == Capability::Ttls { &[] } else { &[NO_TTLS] };
        trials.push(trial(&format!("without_{of:?}"), Config { lacking: vec![of], ..Config::new() }, ignored));
    }
    trials
}
