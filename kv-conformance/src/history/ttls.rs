//! What `ttl` tells of the TTL that was given.

use std::time::Duration;

use kv_core::{Remaining, Ttl};

/// Whether `ttl` may have told this of an entry that was given this TTL. What it told is at most what was given, and at least that
/// without the time since the recording began: the store's clock may run, or stand still.
pub(super) fn fits(given: Ttl, told: Remaining, ended: Duration, tolerance: Duration) -> bool {
    match (given, told) {
        (Ttl::Default, _) | (Ttl::Forever, Remaining::Forever) => true,
        (Ttl::Forever, Remaining::For(_)) | (Ttl::After(_), Remaining::Forever) => false,
        (Ttl::After(given), Remaining::For(told)) => {
            let most = given.saturating_add(tolerance);
            let least = given.saturating_sub(ended).saturating_sub(tolerance);
            (least..=most).contains(&told)
        }
    }
}

/// What `ttl` could tell of an entry at once when it was given this TTL.
pub(super) fn remaining(given: Ttl) -> Remaining {
    match given {
        Ttl::Default | Ttl::Forever => Remaining::Forever,
        Ttl::After(given) => Remaining::For(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_between_all_and_all_but_the_time_that_has_passed() {
        let seconds = Duration::from_secs;
        let fits =
            |given, told| fits(Ttl::After(seconds(given)), Remaining::For(seconds(told)), seconds(10), seconds(1));
        assert!(fits(100, 100) && fits(100, 89) && fits(100, 101) && fits(5, 0));
        assert!(!fits(100, 88) && !fits(100, 102) && !fits(5, 7));
    }

    #[test]
    fn for_ever_is_for_ever() {
        let fits = |given, told| fits(given, told, Duration::ZERO, Duration::from_secs(1));
        let minute = Duration::from_secs(60);
        assert!(fits(Ttl::Forever, Remaining::Forever) && fits(Ttl::Default, Remaining::For(minute)));
        assert!(!fits(Ttl::Forever, Remaining::For(minute)) && !fits(minute.into(), Remaining::Forever));
    }
}
