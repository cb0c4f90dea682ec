//! Several runs at the same time, with one store or with a store each.

use std::thread;

use super::proxied::ProxiedStore;
use crate::running::{Context, NotPassed, Outcome, panics};

/// Runs this for each item, all at the same time, and returns the first failure.
pub(crate) fn in_parallel<T: Sync>(items: &[T], run: impl Fn(&T) -> Outcome + Sync) -> Outcome {
    let run = &run;
    let outcomes = thread::scope(|scope| {
        let threads = items.iter().map(|item| scope.spawn(move || panics::catch(|| run(item)))).collect::<Vec<_>>();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let failures = outcomes
        .into_iter()
        .filter_map(|outcome| panics::joined(outcome).map_err(NotPassed::from).and_then(|found| found).err());
    // A certain failure in one thread must not be hidden by a time-out in another.
    failures.min_by_key(|failure| !matches!(failure, NotPassed::Failed(_))).map_or(Ok(()), Err)
}

/// How many fixtures a check uses at the same time.
const FIXTURES: usize = 5;

/// Runs this for each item. Several fixtures of [`Suite::with_faults`](crate::Suite::with_faults) share the items; each runs its items one
/// after the other. Returns the first failure.
pub(crate) fn in_own_fixtures<T: Sync>(
    context: &Context<'_>,
    items: &[T],
    run: impl Fn(&Context<'_>, &ProxiedStore<'_>, &T) -> Outcome + Sync,
) -> Outcome {
    let (scope, seed) = (context.scope, &context.seed);
    in_parallel(&(0..FIXTURES.min(items.len())).collect::<Vec<_>>(), |&first| {
        let fixture = scope.open_with_faults()?;
        let context = Context::new(scope, &fixture, 0, seed.of_part(first));
        let proxied = ProxiedStore::new(&fixture)?;
        items.iter().skip(first).step_by(FIXTURES).try_for_each(|item| run(&context, &proxied, item))
    })
}
