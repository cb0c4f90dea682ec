//! TTLs around what clocks, dates and numbers of so many bits hold.

use std::time::{Duration, SystemTime};

use fastrand::Rng;
use kv_core::Ttl;

/// When an entry is to expire.
pub(crate) const CLASSES: &[&str] = &[
    "the default",
    "for ever",
    "zero",
    "below 1 ms",
    "up to 1 s",
    "seconds",
    "hours",
    "about 30 days",
    "about 2³¹ and 2³² ms",
    "about the year 2038",
    "years",
    "any",
    "the longest",
    "too long",
];

/// A TTL as a step has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expires {
    Default,
    Forever,
    After(Duration),
    /// So much less than the longest that the store takes.
    BeforeLongest(Duration),
    /// So much more.
    BeyondLongest(Duration),
    /// This long, or the longest that the store takes.
    UpToLongest(Duration),
}

impl Expires {
    /// The TTL, in a store that takes this one at the longest.
    pub(crate) fn ttl(self, longest: Duration) -> Ttl {
        match self {
            Self::Default => Ttl::Default,
            Self::Forever => Ttl::Forever,
            Self::After(ttl) => Ttl::After(ttl),
            Self::BeforeLongest(less) => Ttl::After(longest.saturating_sub(less)),
            Self::UpToLongest(ttl) => Ttl::After(ttl.min(longest)),
            Self::BeyondLongest(more) => Ttl::After(longest.saturating_add(more)),
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Many TTLs of every class.
pub(crate) fn all(random: &mut Rng) -> Vec<(&'static str, Expires)> {
    const TRIED: usize = 60;
    let mut all = Vec::<(&'static str, Expires)>::new();
    for class in CLASSES {
        for _ in 0..TRIED {
            let expires = expires(class, random);
            if all.iter().all(|(_, other)| *other != expires) {
                all.push((class, expires));
            }
        }
    }
    random.shuffle(&mut all);
    all
}

/// A TTL of a class.
pub(crate) fn expires(class: &str, random: &mut Rng) -> Expires {
    let about = |ttl: Duration, random: &mut Rng| {
        let by = random.choice([0, 1, 1_000_000, 999_999_999, 1_000_000_000, 1_000_000_001]).unwrap_or_default();
        let by = Duration::from_nanos(by);
        if random.bool() { ttl.saturating_sub(by) } else { ttl.saturating_add(by) }
    };
    let millis = Duration::from_millis;
    Expires::After(match class {
        "the default" => return Expires::Default,
        "for ever" => return Expires::Forever,
        "zero" => Duration::ZERO,
        "below 1 ms" => Duration::from_nanos(random.choice([1, 999, 1000, 500_000, 999_999]).unwrap_or(1)),
        "up to 1 s" => random
            .choice([1_000_000, 1_000_001, 1_999_999, 20_000_000, 999_000_000, 999_999_999])
            .map_or(millis(1), Duration::from_nanos),
        "seconds" => {
            let ttl = random.choice([1, 2, 10, 59, 60, 255, 256]).map_or(millis(1), Duration::from_secs);
            ttl + random
                .choice([0, 1, 999_999, 1_000_000, 500_000_000, 999_999_999])
                .map_or(Duration::ZERO, Duration::from_nanos)
        }
        "hours" => about(Duration::from_secs(random.choice([3600, 65_535, 65_536, 86_400]).unwrap_or(3600)), random),
        // memcached takes seconds up to 30 days for a TTL, and more for a date.
        "about 30 days" => about(30 * DAY, random),
        "about 2³¹ and 2³² ms" => about(millis(random.choice([1 << 31, 1 << 32]).unwrap_or(1 << 31)), random),
        "about the year 2038" => {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let end = Duration::from_secs(random.choice([1 << 31, 1 << 32]).unwrap_or(1 << 31));
            // A second before or after, as the machine's clock goes on.
            let ttl = end.saturating_sub(now);
            if random.bool() { ttl.saturating_sub(Duration::from_secs(2)) } else { ttl + Duration::from_secs(2) }
        }
        "years" => random.choice([1, 10, 68, 69, 100, 136]).map_or(DAY, |years| 365 * years * DAY),
        // Of each power of two about as many.
        "any" => Duration::from_nanos(random.u64(..) >> random.u32(..64)),
        "the longest" => {
            return Expires::BeforeLongest(
                random.choice([0, 0, 1, 500_000_000, 1_000_000_000]).map_or(Duration::ZERO, Duration::from_nanos),
            );
        }
        _ => {
            return Expires::BeyondLongest(
                random.choice([1, 1_000_000, 500_000_000, 1_000_000_000, u64::MAX]).map_or(DAY, Duration::from_nanos),
            );
        }
    })
}
