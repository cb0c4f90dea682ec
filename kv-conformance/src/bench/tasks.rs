//! Tasks of a runtime that do the same at the same time.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::error::BoxError;

/// Lets tasks do something `each` times, each with its own item, and returns the time that 99 of 100 calls took at most.
///
/// # Errors
/// The first error of a task, or that a task panicked.
pub fn in_tasks<T, F, E>(
    runtime: &Runtime,
    of: impl IntoIterator<Item = T>,
    each: u32,
    act: impl Fn(T) -> F + Clone + Send + 'static,
) -> Result<Duration, BoxError>
where
    T: Clone + Send + 'static,
    F: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError> + Send + 'static,
{
    let spawn = |one: T| {
        let act = act.clone();
        runtime.spawn(async move {
            let mut took = Vec::new();
            for _ in 0..each {
                let begin = Instant::now();
                act(one.clone()).await.map_err(Into::into)?;
                took.push(begin.elapsed());
            }
            Ok::<_, BoxError>(took)
        })
    };
    let all = of.into_iter().map(spawn).collect::<Vec<_>>();
    runtime.block_on(async {
        let mut times = Vec::new();
        for task in all {
            times.extend(task.await??);
        }
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().ok_or_else(|| "nothing was done".into())
    })
}
