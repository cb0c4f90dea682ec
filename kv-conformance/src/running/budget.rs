//! How long the random part of a check goes on.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::outcome::{NotPassed, Outcome};

/// The time for random cases: at least so many are tried, more until the time is up.
///
/// A store that takes long for an operation so gets fewer cases, and a fast one gets more. With a seed of
/// `KV_CONFORMANCE_SEED`, the same effort and a store of about the same speed the cases are the same ones, in the same order.
#[derive(Debug)]
pub(crate) struct Budget {
    ends: Instant,
    /// When no more cases are tried, however few there were.
    ends_at_last: Instant,
    /// How many cases are still to be tried.
    least: Cell<usize>,
}

impl Budget {
    /// This long, times [`effort`], and at least so many cases if they take no more than [`LONGER`] times that.
    pub(crate) fn new(time: Duration, least: usize) -> Self {
        let (now, time) = (Instant::now(), time.mul_f64(effort()));
        Self { ends: now + time, ends_at_last: now + time * LONGER, least: Cell::new(part_for_effort(least)) }
    }

    /// Whether another case is to be tried.
    pub(crate) fn allows_another(&self) -> bool {
        let least = self.least.get();
        self.least.set(least.saturating_sub(1));
        Instant::now() < if least > 0 { self.ends_at_last } else { self.ends }
    }
}

/// How much longer it goes on until the least number of cases was tried.
const LONGER: u32 = 5;

/// How much more random input is tried than by default, or how much less: `KV_CONFORMANCE_EFFORT`, 1 by default.
pub(crate) fn effort() -> f64 {
    const MOST: f64 = 100_000.0;
    let given = std::env::var("KV_CONFORMANCE_EFFORT").ok().and_then(|given| given.parse::<f64>().ok());
    given.filter(|effort| effort.is_finite()).map_or(1.0, |effort| effort.clamp(0.0, MOST))
}

/// That `KV_CONFORMANCE_EFFORT` is a number, if it is set.
pub(crate) fn check_effort() -> Outcome {
    match std::env::var("KV_CONFORMANCE_EFFORT") {
        Ok(given) if !given.parse().is_ok_and(|effort: f64| effort > 0.0 && effort.is_finite()) => {
            Err(NotPassed::failed_beside_the_store(format_args!(
                "KV_CONFORMANCE_EFFORT is {given:?}, and has to be a number above zero, such as 0.2 or 20"
            )))
        }
        _ => Ok(()),
    }
}

/// As many of these as the effort is for: all, or fewer if it is below 1.
pub(crate) fn part_for_effort(all: usize) -> usize {
    let effort = effort();
    if effort >= 1.0 {
        return all;
    }
    let part = f64::from(u32::try_from(all).unwrap_or(u32::MAX)) * effort;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between zero and `all`")]
    let part = part.ceil() as usize;
    part.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_number_of_cases_is_tried_when_the_time_is_up() {
        let minute = Duration::from_secs(60);
        let over = Budget { ends: Instant::now(), least: Cell::new(3), ..Budget::new(minute, 3) };
        assert_eq!((0..10).take_while(|_| over.allows_another()).count(), 3);
        let slow = Budget { ends_at_last: Instant::now(), ..over };
        slow.least.set(3);
        assert!(!slow.allows_another());
    }

    #[test]
    fn more_cases_are_tried_until_the_time_is_up() {
        let budget = Budget::new(Duration::from_secs(3600), 0);
        assert!((0..1000).all(|_| budget.allows_another()));
    }
}
