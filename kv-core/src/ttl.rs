//! How long an entry lives: what a write asks for, and what remains.

use std::time::Duration;

/// The lifetime that a write asks for (contract: T1).
///
/// A `Duration` converts into `After`, so `store.put_with_ttl(key, value, Duration::from_secs(60))` reads as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// The lifetime that the store was configured with; for ever unless it was.
    #[default]
    Default,
    /// Until it is overwritten or deleted.
    Forever,
    /// This long, counted from the call. With a zero lifetime the key is absent once the call returns (T3).
    After(Duration),
}

impl Ttl {
    /// The lifetime that is meant, for a store whose configured default is `default`. `None` is for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kv_core::Ttl;
    ///
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(Ttl::Default.or_default(Some(minute)), Some(minute));
    /// assert_eq!(Ttl::Forever.or_default(Some(minute)), None);
    /// assert_eq!(Ttl::After(minute).or_default(None), Some(minute));
    /// ```
    #[inline]
    pub const fn or_default(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Default => default,
            Self::Forever => None,
            Self::After(lifetime) => Some(lifetime),
        }
    }
}

impl From<Duration> for Ttl {
    #[inline]
    fn from(lifetime: Duration) -> Self {
        Self::After(lifetime)
    }
}

/// What is left of the lifetime of an entry that is there (contract: T6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remaining {
    /// The entry does not expire.
    Forever,
    /// The entry expires after this long, give or take the resolution of the store.
    For(Duration),
}

impl Remaining {
    /// The time left, or `None` for an entry that does not expire.
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::For(left) => Some(left),
        }
    }
}

/// The lifetime to give to a copy that is to live as long as the original.
impl From<Remaining> for Ttl {
    #[inline]
    fn from(remaining: Remaining) -> Self {
        match remaining {
            Remaining::Forever => Self::Forever,
            Remaining::For(left) => Self::After(left),
        }
    }
}
