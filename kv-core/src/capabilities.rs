//! What a store can and cannot do.

use std::fmt;
use std::time::Duration;

/// Something that a store may be unable to do ([section 11 of the contract](crate::contract#11-capabilities-and-opt-outs)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Listing keys: [`keys`](crate::KeyValueStoreExt::keys) and [`prefixes`](crate::KeyValueStoreExt::prefixes).
    Listing,
    /// Asking whether a key is there: [`contains`](crate::KeyValueStoreExt::contains).
    Contains,
    /// Storing only if absent, atomically: [`create`](crate::KeyValueStoreExt::create).
    Create,
    /// TTLs. A store that lacks them also lacks [`TtlReading`](Self::TtlReading), [`Touch`](Self::Touch) and
    /// [`TouchingReads`](Self::TouchingReads). It still accepts [`Ttl::Default`](crate::Ttl::Default) and [`Ttl::Forever`](crate::Ttl::Forever).
    Ttls,
    /// Reading the rest of a TTL: [`ttl`](crate::KeyValueStoreExt::ttl). A store that has TTLs and cannot read them
    /// can neither [`copy`](crate::KeyValueStoreExt::copy) nor [`rename`](crate::KeyValueStoreExt::rename), unless its
    /// backend implements these itself.
    TtlReading,
    /// Setting a TTL without changing the value: [`touch`](crate::KeyValueStoreExt::touch).
    Touch,
    /// Copying and renaming: [`copy`](crate::KeyValueStoreExt::copy) and [`rename`](crate::KeyValueStoreExt::rename).
    Copy,
    /// Versions of entries, and writes that depend on them: [`get_versioned`](crate::KeyValueStoreExt::get_versioned),
    /// [`put_if`](crate::KeyValueStoreExt::put_if), [`delete_if`](crate::KeyValueStoreExt::delete_if),
    /// [`update`](crate::KeyValueStoreExt::update); with [`Create`](Self::Create) also
    /// [`create_versioned`](crate::KeyValueStoreExt::create_versioned).
    Versions,
    /// A version also changes when the same bytes are written again. Without this, an entry whose value changed and changed back has its
    /// old version. A store that lacks [`Versions`](Self::Versions) lacks this, too.
    ExactVersions,
    /// Reading and deleting in one step: [`take`](crate::KeyValueStoreExt::take).
    Take,
    /// Reading and setting the TTL in one step: [`get_and_touch`](crate::KeyValueStoreExt::get_and_touch).
    TouchingReads,
    /// Counting: [`increment`](crate::KeyValueStoreExt::increment).
    Counters,
}

impl Capability {
    /// Every capability.
    pub const ALL: &[Self] = &[
        Self::Listing,
        Self::Contains,
        Self::Create,
        Self::Ttls,
        Self::TtlReading,
        Self::Touch,
        Self::Copy,
        Self::Versions,
        Self::ExactVersions,
        Self::Take,
        Self::TouchingReads,
        Self::Counters,
    ];

    /// What a store with this capability has as well.
    const fn depends_on(self) -> Option<Self> {
        match self {
            Self::TtlReading | Self::Touch | Self::TouchingReads => Some(Self::Ttls),
            Self::ExactVersions => Some(Self::Versions),
            _ => None,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The name of the capability in error messages and reports.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listing => "listing",
            Self::Contains => "contains",
            Self::Create => "create",
            Self::Ttls => "TTLs",
            Self::TtlReading => "ttl reading",
            Self::Touch => "touch",
            Self::Copy => "copy and rename",
            Self::Versions => "versions",
            Self::ExactVersions => "exact versions",
            Self::Take => "take",
            Self::TouchingReads => "touching reads",
            Self::Counters => "counters",
        })
    }
}

/// What a store can do, and its limits ([O1](crate::contract#11-capabilities-and-opt-outs)).
///
/// The builder starts from a store that reads, writes and removes entries, and lacks every [`Capability`]. A backend adds what
/// it can do, so it never claims a capability that is newer than itself:
///
/// ```
/// use std::time::Duration;
/// use kv_core::{Capabilities, Capability};
///
/// let capabilities = Capabilities::builder()
///     .with_all(&[Capability::Create, Capability::Ttls])
///     .ttl_resolution(Duration::from_secs(2))
///     .largest_value(1 << 20)
///     .build();
/// assert!(capabilities.supports(Capability::Create));
/// assert!(!capabilities.supports(Capability::Listing));
/// ```
///
/// A wrapper says what the inner store says, less what it takes away:
///
/// ```
/// # use kv_core::{Capabilities, Capability};
/// # let inner = Capabilities::builder().with_all(&[Capability::Create, Capability::Listing]).build();
/// let capabilities = inner.to_builder().without(Capability::Listing).build();
/// # assert!(capabilities.supports(Capability::Create) && !capabilities.supports(Capability::Listing));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    supported: u32,
    ttl_resolution: Duration,
    longest_ttl: Duration,
    largest_value: Option<u64>,
}

impl Capabilities {
    /// A builder that starts from a store without any capability, and without limits for TTLs and values.
    pub const fn builder() -> CapabilitiesBuilder {
        CapabilitiesBuilder(Self {
            supported: 0,
            ttl_resolution: Duration::ZERO,
            longest_ttl: Duration::MAX,
            largest_value: None,
        })
    }

    /// A builder that starts from these.
    pub const fn to_builder(&self) -> CapabilitiesBuilder {
        CapabilitiesBuilder(Self { ..*self })
    }

    /// Whether the store can do this.
    pub const fn supports(&self, capability: Capability) -> bool {
        self.supported & capability.bit() != 0
    }

    /// How late an entry may expire: it has expired when its TTL plus this resolution has passed
    /// ([T2](crate::contract#4-ttls)). Zero means exact.
    ///
    /// The time is the store's: its server's clock, or the clock that its documentation names.
    pub const fn ttl_resolution(&self) -> Duration {
        self.ttl_resolution
    }

    /// The longest TTL that the store can express; a longer one is [`InvalidTtl`](crate::Error::InvalidTtl)
    /// ([T4](crate::contract#4-ttls)).
    ///
    /// If the store counts up to a fixed date, it becomes shorter as the date approaches.
    pub const fn longest_ttl(&self) -> Duration {
        self.longest_ttl
    }

    /// The length in bytes of the largest value, `None` if only memory limits it; a larger one is
    /// [`ValueTooLarge`](crate::Error::ValueTooLarge) ([V3](crate::contract#2-values)).
    ///
    /// If the limit depends on the key, this is the limit for the longest key.
    pub const fn largest_value(&self) -> Option<u64> {
        self.largest_value
    }
}

/// Shows the capabilities, and the limits.
impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let supported: Vec<_> = Capability::ALL.iter().filter(|&&capability| self.supports(capability)).collect();
        f.debug_struct("Capabilities")
            .field("supported", &supported)
            .field("ttl_resolution", &self.ttl_resolution)
            .field("longest_ttl", &self.longest_ttl)
            .field("largest_value", &self.largest_value)
            .finish()
    }
}

/// Builds [`Capabilities`].
#[derive(Clone, Debug)]
#[must_use = "the capabilities are made by `build`"]
pub struct CapabilitiesBuilder(Capabilities);

impl CapabilitiesBuilder {
    /// Says that the store has this capability. [`Capability::TtlReading`], [`Capability::Touch`] and [`Capability::TouchingReads`] also
    /// add [`Capability::Ttls`], which they depend on, and [`Capability::ExactVersions`] adds [`Capability::Versions`].
    pub const fn with(mut self, capability: Capability) -> Self {
        self.0.supported |= capability.bit();
        if let Some(needed) = capability.depends_on() {
            self.0.supported |= needed.bit();
        }
        self
    }

    /// As [`with`](Self::with) for each of several.
    ///
    /// Name them: [`Capability::ALL`] would also claim those of later versions.
    pub const fn with_all(mut self, capabilities: &[Capability]) -> Self {
        let mut rest = capabilities;
        while let [capability, others @ ..] = rest {
            self = self.with(*capability);
            rest = others;
        }
        self
    }

    /// Says that the store lacks this capability, after all: for wrappers, and for settings that take one away.
    /// [`Capability::Ttls`] and [`Capability::Versions`] also take away what depends on them: see [`with`](Self::with).
    pub const fn without(mut self, capability: Capability) -> Self {
        self.0.supported &= !capability.bit();
        let mut all = Capability::ALL;
        while let [other, others @ ..] = all {
            if let Some(needed) = other.depends_on()
                && needed as u32 == capability as u32
            {
                self.0.supported &= !other.bit();
            }
            all = others;
        }
        self
    }

    /// How late an entry may expire. Default: zero, which is exact.
    pub const fn ttl_resolution(mut self, resolution: Duration) -> Self {
        self.0.ttl_resolution = resolution;
        self
    }

    /// The longest TTL. Default: `Duration::MAX`, which means no limit.
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
    fn nothing_is_claimed_that_was_not_said() {
        let none = Capabilities::builder().build();
        assert!(Capability::ALL.iter().all(|&capability| !none.supports(capability)));
        let one = Capabilities::builder().with(Capability::Contains).build();
        for &capability in Capability::ALL {
            assert_eq!(one.supports(capability), capability == Capability::Contains);
        }
    }

    #[test]
    fn only_the_capability_that_was_removed_is_missing() {
        let all = Capabilities::builder().with_all(Capability::ALL).largest_value(7).build();
        let capabilities = all.to_builder().without(Capability::Contains).build();
        for &capability in Capability::ALL {
            assert_eq!(capabilities.supports(capability), capability != Capability::Contains);
        }
        assert_eq!(capabilities.to_builder().with(Capability::Contains).build(), all);
    }

    #[test]
    fn a_store_without_ttls_cannot_read_or_touch_them() {
        let capabilities = Capabilities::builder().with_all(Capability::ALL).without(Capability::Ttls).build();
        assert!(!capabilities.supports(Capability::TtlReading));
        assert!(!capabilities.supports(Capability::Touch));
        assert!(!capabilities.supports(Capability::TouchingReads));
        let capabilities = Capabilities::builder().with_all(Capability::ALL).without(Capability::Versions).build();
        assert!(!capabilities.supports(Capability::ExactVersions) && capabilities.supports(Capability::Ttls));
        assert!(capabilities.supports(Capability::Copy));
    }

    #[test]
    fn a_store_that_reads_or_touches_ttls_has_them() {
        for of in [Capability::TtlReading, Capability::Touch, Capability::TouchingReads] {
            assert!(Capabilities::builder().with(of).build().supports(Capability::Ttls));
        }
        let exact = Capabilities::builder().with(Capability::ExactVersions).build();
        assert!(exact.supports(Capability::Versions));
    }

    #[test]
    fn debug_names_what_is_supported() {
        let capabilities = Capabilities::builder().with(Capability::Listing).build();
        assert!(format!("{capabilities:?}").starts_with("Capabilities { supported: [Listing], ttl_resolution: 0ns,"));
    }
}
