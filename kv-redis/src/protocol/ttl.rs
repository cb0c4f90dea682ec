//! TTLs as redis counts them.

use std::time::Duration;

/// The longest TTL: the milliseconds up to which every number is one of Lua, whose scripts copy entries on servers without `COPY`. Redis itself
/// counts 500 times as many.
pub(crate) const LONGEST: Duration = Duration::from_millis(1 << 53);

/// How late an entry may expire: up to a millisecond each because a TTL is rounded up, because redis drops an entry in the millisecond
/// after its last, and because a `PEXPIRE` of one millisecond is sent as one of two (see [`expire_after`]).
pub(crate) const RESOLUTION: Duration = Duration::from_millis(3);

/// A TTL in milliseconds, rounded up so that no entry expires early; `None` if redis cannot count it.
pub(crate) fn to_millis(ttl: Duration) -> Option<u64> {
    let millis = ttl.as_nanos().div_ceil(Duration::from_millis(1).as_nanos());
    u64::try_from(millis).ok().filter(|_| ttl <= LONGEST)
}

/// The milliseconds of a `PEXPIRE`. Redis reads its clock twice for it; if the clock ticks in between, one millisecond expires at once.
pub(crate) fn expire_after(millis: u64) -> u64 {
    millis.max(2)
}

/// The milliseconds that a `PTTL` reported, for the copy of an entry. Redis may report the last moment as zero, and accepts no TTL of zero.
pub(crate) fn of_copy(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0).max(1)
}
