//! How long operations take, with a fault and without.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

use kv_core::Error;

use crate::running::{Outcome, expect};

/// How much longer than its limit an operation may take on a busy machine.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// How long it takes at most until the other side of a local connection notices that it was closed.
pub(crate) const NOTICED: Duration = Duration::from_millis(50);

/// The idle time after which a connection has to be checked before it is used (N4): a little more than a second.
pub(crate) const IDLE: Duration = Duration::from_millis(1200);

/// Runs an operation without a fault. It has to return this.
#[track_caller]
pub(crate) fn expect_undisturbed<T, W>(what: impl Display, run: impl FnOnce() -> Result<T, Error>, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    let (result, took) = timed(run);
    judge_undisturbed(what, result, took, want)
}

/// Runs something, and measures how long it took.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (run(), begin.elapsed())
}

/// An operation that took at least this long has waited for something.
pub(crate) const WAITING: Duration = Duration::from_millis(100);

/// The result of an operation without a fault has to be this. If it failed because it had to wait too long, the machine may have been slow.
#[track_caller]
pub(crate) fn judge_undisturbed<T, W>(what: impl Display, got: Result<T, Error>, took: Duration, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    let waited = matches!(got, Err(Error::Timeout(_) | Error::Unavailable(_))) && took >= WAITING;
    expect(what, got, want).map_err(|failed| failed.timed_out_if(waited))
}
