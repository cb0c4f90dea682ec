//! What a store can and cannot do.

use std::fmt;
use std::time::Duration;

/// Something that a store may be unable to do (contract: section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Listing keys: [`keys`](crate::KeyValueStoreExt::keys) and [`prefixes`](crate::KeyValueStoreExt::prefixes).
    Listing,
    /// Asking whether a key is there: [`contains`](crate::KeyValueStoreExt::contains).
    Contains,
    /// Storing only if absent, atomically: [`create`](crate::KeyValueStoreExt::create).
    Create,
    /// Lifetimes. A store that lacks them lacks [`TtlReading`](Self::TtlReading) and [`Touch`](Self::Touch) too; it
    /// still accepts [`Ttl::Default`](crate::Ttl::Default) and [`Ttl::Forever`](crate::Ttl::Forever).
    Lifetimes,
    /// Telling what remains of a lifetime: [`ttl`](crate::KeyValueStoreExt::ttl). A store that has lifetimes and
    /// cannot tell them can neither [`copy`](crate::KeyValueStoreExt::copy) nor
    /// [`rename`](crate::KeyValueStoreExt::rename), unless its backend has a way of its own.
    TtlReading,
    /// Setting a lifetime without touching the value: [`touch`](crate::KeyValueStoreExt::touch).
    Touch,
    /// Copying and renaming: [`copy`](crate::KeyValueStoreExt::copy) and [`rename`](crate::KeyValueStoreExt::rename).
    Copy,
}

impl Capability {
    /// Every capability.
    pub const ALL: &[Self] =
        &[Self::Listing, Self::Contains, Self::Create, Self::Lifetimes, Self::TtlReading, Self::Touch, Self::Copy];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The name of what is lacking, as it stands in an error message and in a report.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listing => "listing",
            Self::Contains => "contains",
            Self::Create => "create",
            Self::Lifetimes => "lifetimes",
            Self::TtlReading => "ttl reading",
            Self::Touch => "touch",
            Self::Copy => "copy and rename",
        })
    }
}

/// What a store can do, and its limits (contract: O1).
///
/// Made with a builder that starts from a store that can do everything, for which lifetimes are exact and unlimited
/// and values too. What a store lacks, it says:
///
/// ```
/// use std::time::Duration;
/// use kv_core::{Capabilities, Capability};
///
/// let capabilities = Capabilities::builder()
///     .without(Capability::Listing)
///     .ttl_resolution(Duration::from_secs(2))
///     .largest_value(1 << 20)
///     .build();
/// assert!(!capabilities.supports(Capability::Listing));
/// assert!(capabilities.supports(Capability::Create));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    lacking: u32,
    ttl_resolution: Duration,
    longest_ttl: Duration,
    largest_value: Option<u64>,
}

impl Capabilities {
    /// A builder that starts from a store without any limit.
    pub const fn builder() -> CapabilitiesBuilder {
        CapabilitiesBuilder(Self {
            lacking: 0,
            ttl_resolution: Duration::ZERO,
            longest_ttl: Duration::MAX,
            largest_value: None,
        })
    }

    /// Whether the store can do this.
    pub const fn supports(&self, capability: Capability) -> bool {
        self.lacking & capability.bit() == 0
    }

    /// How late an entry may go: it is gone when its lifetime and this have passed (T2). Zero if exact.
    ///
    /// Time is that of the store: its server's clock, or the one that its documentation names.
    pub const fn ttl_resolution(&self) -> Duration {
        self.ttl_resolution
    }

    /// The longest lifetime that the store can express; a longer one is [`InvalidTtl`](crate::Error::InvalidTtl) (T4).
    ///
    /// Of a store that counts up to a fixed date it gets shorter as that comes nearer.
    pub const fn longest_ttl(&self) -> Duration {
        self.longest_ttl
    }

    /// The length in bytes of the largest value, `None` if only memory limits it; a larger one is
    /// [`ValueTooLarge`](crate::Error::ValueTooLarge) (V3).
    ///
    /// Where the limit depends on the key, this is the limit for the longest key.
    pub const fn largest_value(&self) -> Option<u64> {
        self.largest_value
    }
}

/// Names what is lacking.
impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacking: Vec<_> = Capability::ALL.iter().filter(|&&capability| !self.supports(capability)).collect();
        f.debug_struct("Capabilities")
            .field("lacking", &lacking)
            .field("ttl_resolution", &self.ttl_resolution)
            .field("longest_ttl", &self.longest_ttl)
            .field("largest_value", &self.largest_value)
            .finish()
    }
}

/// Makes [`Capabilities`]; see there.
#[derive(Clone, Debug)]
#[must_use = "the capabilities are made by `build`"]
pub struct CapabilitiesBuilder(Capabilities);

impl CapabilitiesBuilder {
    /// The store lacks this. What depends on it is lacking then too: with [`Capability::Lifetimes`] go
    /// [`Capability::TtlReading`] and [`Capability::Touch`].
    pub const fn without(mut self, capability: Capability) -> Self {
        self.0.lacking |= capability.bit();
        if matches!(capability, Capability::Lifetimes) {
            self.0.lacking |= Capability::TtlReading.bit() | Capability::Touch.bit();
        }
        self
    }

    /// How late an entry may go. Default: zero, which is exact.
    pub const fn ttl_resolution(mut self, resolution: Duration) -> Self {
        self.0.ttl_resolution = resolution;
        self
    }

    /// The longest lifetime. Default: `Duration::MAX`, which is no limit.
    pub const fn longest_ttl(mut self, longest: Duration) -> Self {
        self.0.longest_ttl = longest;
        self
    }

    /// The length in bytes of the largest value. Default: no limit.
    pub const fn largest_value(mut self, limit: u64) -> Self {
        self.0.largest_value = Some(limit);
        self
    }

    /// The capabilities.
    pub const fn build(self) -> Capabilities {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_taken_away_is_lacking() {
        let capabilities = Capabilities::builder().without(Capability::Contains).build();
        for &capability in Capability::ALL {
            assert_eq!(capabilities.supports(capability), capability != Capability::Contains);
        }
    }

    #[test]
    fn without_lifetimes_nothing_of_them_is_left() {
        let capabilities = Capabilities::builder().without(Capability::Lifetimes).build();
        assert!(!capabilities.supports(Capability::TtlReading));
        assert!(!capabilities.supports(Capability::Touch));
        assert!(capabilities.supports(Capability::Copy));
    }

    #[test]
    fn debug_names_what_is_lacking() {
        let capabilities = Capabilities::builder().without(Capability::Listing).build();
        assert!(format!("{capabilities:?}").starts_with("Capabilities { lacking: [Listing], ttl_resolution: 0ns,"));
    }
}
