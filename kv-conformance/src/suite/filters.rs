//! The arguments of a run, like those of libtest, but with several filters.

use libtest_mimic::{Arguments, Trial};

/// The options that are followed by a value.
const WITH_VALUE: [&str; 6] = ["--test-threads", "--logfile", "--skip", "--color", "--format", "-Z"];

/// The arguments of this process, and its filters.
pub(super) fn arguments() -> (Arguments, Vec<String>) {
    let (options, filters) = apart(std::env::args());
    (Arguments::from_iter(options), filters)
}

/// The options, with the name of the program before them, and the filters.
fn apart(mut arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let (mut options, mut filters) = (Vec::from_iter(arguments.next()), Vec::new());
    while let Some(argument) = arguments.next() {
        if argument.starts_with('-') && argument.len() > 1 {
            let has_value = WITH_VALUE.contains(&argument.as_str());
            options.push(argument);
            options.extend(if has_value { arguments.next() } else { None });
        } else {
            filters.push(argument);
        }
    }
    (options, filters)
}

/// Sets which of these the arguments run: those that one of several filters selects.
pub(super) fn select(arguments: &mut Arguments, filters: Vec<String>, trials: &[Trial]) {
    match <[String; 1]>::try_from(filters) {
        Ok([filter]) => arguments.filter = Some(filter),
        Err(filters) if filters.is_empty() => {}
        Err(filters) => {
            let is_selected = |trial: &Trial| {
                filters.iter().any(|filter| {
                    let one = Arguments { filter: Some(filter.clone()), ..arguments.clone() };
                    !one.is_filtered_out(trial)
                })
            };
            let others =
                trials.iter().filter(|trial| !is_selected(trial)).map(|trial| trial.name().to_owned()).collect();
            // All others are skipped by their whole names, so that they count as filtered out.
            (arguments.exact, arguments.skip) = (true, others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(arguments: &[&str]) -> Vec<String> {
        let all = ["conformance"].into_iter().chain(arguments.iter().copied()).map(str::to_owned);
        let (options, filters) = apart(all);
        let mut arguments = Arguments::from_iter(options);
        let trials = ["s::a1", "s::a2", "s::b1", "s::c1"].map(|name| Trial::test(name, || Ok(())));
        select(&mut arguments, filters, &trials);
        trials.iter().filter(|trial| !arguments.is_filtered_out(trial)).map(|trial| trial.name().to_owned()).collect()
    }

    #[test]
    fn several_filters_select_what_each_of_them_does() {
        assert_eq!(selected(&[]).len(), 4);
        assert_eq!(selected(&["a"]), ["s::a1", "s::a2"]);
        assert_eq!(selected(&["a", "c1"]), ["s::a1", "s::a2", "s::c1"]);
        assert_eq!(selected(&["a", "--test-threads", "1", "b", "--skip", "a2"]), ["s::a1", "s::b1"]);
        assert_eq!(selected(&["--exact", "s::a1", "s::b", "s::c1"]), ["s::a1", "s::c1"]);
        assert_eq!(selected(&["nothing", "at all"]), [""; 0]);
    }
}
