//! TTLs: what a write asks for, and what is left.

use std::time::Duration;

/// The TTL that a write asks for ([T1](crate::contract#4-ttls)).
///
/// A `Duration` converts into `After`, so `store.put_with_ttl(key, value, Duration::from_secs(60))` compiles.
///
/// With the feature `serde` it is `"default"`, `"forever"` or `{"after":{"secs":60,"nanos":0}}`, in the words of JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(::serde::Serialize, ::serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Ttl {
    /// The store's configured default; for ever unless it was configured.
    #[default]
    Default,
    /// For ever, until the entry is overwritten or deleted.
    Forever,
    /// This long, counted from the call. With zero, the key is absent when the call returns
    /// ([T3](crate::contract#4-ttls)).
    After(Duration),
}

impl Ttl {
    /// Resolves `Default` with the store's configured default. `None` means for ever.
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
            Self::After(ttl) => Some(ttl),
        }
    }
}

impl From<Duration> for Ttl {
    #[inline]
    fn from(ttl: Duration) -> Self {
        Self::After(ttl)
    }
}

/// The rest of a live entry's TTL ([T6](crate::contract#4-ttls)).
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

/// The TTL for a copy that expires together with the original.
impl From<Remaining> for Ttl {
    #[inline]
    fn from(remaining: Remaining) -> Self {
        match remaining {
            Remaining::Forever => Self::Forever,
            Remaining::For(left) => Self::After(left),
        }
    }
}
