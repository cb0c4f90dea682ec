//! What a store can and cannot do.

use std::fmt;
use std::time::Duration;

use crate::{Error, Key, Result};

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
    longest_key: usize,
}

impl Capabilities {
    /// A builder that starts from a store without any capability, and without limits of its own for keys, values and TTLs.
    pub const fn builder() -> CapabilitiesBuilder {
        CapabilitiesBuilder(Self {
            supported: 0,
            ttl_resolution: Duration::ZERO,
            longest_ttl: Duration::MAX,
            largest_value: None,
            longest_key: Key::MAX_LEN,
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

    /// The length in bytes of the longest key: [`Key::MAX_LEN`], or less in a store that needs room for something beside the key, as one
    /// with a namespace may. A longer key is [`KeyTooLong`](crate::Error::KeyTooLong) ([K5](crate::contract#1-keys)).
    pub const fn longest_key(&self) -> usize {
        self.longest_key
    }
}

/// For authors of backends: the errors that the limits ask for.
///
/// ```
/// use std::time::Duration;
/// use kv_core::{Capabilities, Capability, Error, key};
///
/// let year = Duration::from_secs(365 * 24 * 60 * 60);
/// let capabilities = Capabilities::builder().with(Capability::Ttls).longest_ttl(year).largest_value(3).build();
/// assert!(capabilities.check_ttl("tiny", key!("k"), Some(year)).is_ok());
/// assert!(matches!(capabilities.check_ttl("tiny", key!("k"), Some(2 * year)), Err(Error::InvalidTtl { .. })));
/// assert!(matches!(capabilities.check_value("tiny", key!("k"), 4), Err(Error::ValueTooLarge { limit: 3, .. })));
/// assert!(capabilities.check_key("tiny", key!("k")).is_ok());
/// ```
impl Capabilities {
    /// Checks the length of a key. `store` is the [name](crate::KeyValueStore::name) for the error.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`] if it is longer than [`longest_key`](Self::longest_key).
    #[inline]
    pub fn check_key(&self, store: &str, key: Key<'_>) -> Result<()> {
        if key.len() <= self.longest_key { Ok(()) } else { Err(Error::key_too_long(store, key, self.longest_key)) }
    }

    /// Checks the size of a value in bytes.
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`] if it is larger than [`largest_value`](Self::largest_value).
    #[inline]
    pub fn check_value(&self, store: &str, key: Key<'_>, size: u64) -> Result<()> {
        match self.largest_value {
            Some(limit) if size > limit => Err(Error::value_too_large(store, key, size, limit)),
            _ => Ok(()),
        }
    }

    /// Checks a TTL, as [`Ttl::or_default`](crate::Ttl::or_default) returns it: `None` is for ever.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Ttls`]; [`Error::InvalidTtl`] if the TTL is longer than
    /// [`longest_ttl`](Self::longest_ttl).
    #[inline]
    pub fn check_ttl(&self, store: &str, key: Key<'_>, ttl: Option<Duration>) -> Result<()> {
        match ttl {
            Some(_) if !self.supports(Capability::Ttls) => Err(Error::unsupported(store, Capability::Ttls)),
            Some(ttl) if ttl > self.longest_ttl => Err(Error::invalid_ttl(store, key, ttl, self.longest_ttl)),
            _ => Ok(()),
        }
    }

    /// Checks the default TTL that a store is made with.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if the store lacks [`Capability::Ttls`], or the TTL is longer than [`longest_ttl`](Self::longest_ttl).
    pub fn check_default_ttl(&self, store: &str, ttl: Option<Duration>) -> Result<()> {
        let longest = self.longest_ttl;
        match ttl {
            Some(_) if !self.supports(Capability::Ttls) => {
                Err(Error::invalid_setting(store, "`default_ttl` is set, and the store has no TTLs"))
            }
            Some(ttl) if ttl > longest => {
                let message = format!("`default_ttl` is {ttl:?}, and the longest that the store takes is {longest:?}");
                Err(Error::invalid_setting(store, message))
            }
            _ => Ok(()),
        }
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
            .field("longest_key", &self.longest_key)
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

    /// The length in bytes of the longest key: 1 to [`Key::MAX_LEN`], which is the default. A length beyond these counts as the nearer one.
    pub const fn longest_key(mut self, limit: usize) -> Self {
        self.0.longest_key = match limit {
            0 => 1,
            1..=Key::MAX_LEN => limit,
            _ => Key::MAX_LEN,
        };
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
    fn no_key_is_longer_than_any_may_be() {
        let longest = |limit| Capabilities::builder().longest_key(limit).build().longest_key();
        assert_eq!([0, 1, 245, 250, 251].map(longest), [1, 1, 245, 250, 250]);
        assert_eq!(Capabilities::builder().build().longest_key(), 250);
    }

    #[test]
    fn each_limit_has_its_error() {
        let key = crate::key!("four");
        let none = Capabilities::builder().build();
        assert!(none.check_key("s", key).is_ok() && none.check_value("s", key, u64::MAX).is_ok());
        assert!(none.check_ttl("s", key, None).is_ok());
        let lacking = none.check_ttl("s", key, Some(Duration::ZERO)).unwrap_err();
        assert!(matches!(lacking, Error::Unsupported { operation: Capability::Ttls, .. }), "{lacking}");

        let second = Duration::from_secs(1);
        let some = none.to_builder().with(Capability::Ttls).longest_ttl(second).largest_value(9).longest_key(3).build();
        assert!(some.check_ttl("s", key, Some(second)).is_ok() && some.check_value("s", key, 9).is_ok());
        assert!(some.check_key("s", crate::key!("six")).is_ok());
        let errors = [
            some.check_key("s", key).unwrap_err().to_string(),
            some.check_value("s", key, 10).unwrap_err().to_string(),
            some.check_ttl("s", key, Some(2 * second)).unwrap_err().to_string(),
        ];
        assert_eq!(
            errors,
            [
                "s: the key \"four\" is too long: it has 4 bytes, and the store takes at most 3",
                "s: the value for key \"four\" is too large: 10 bytes were given, and the store takes at most 9",
                "s: the TTL for key \"four\" is too long: it is 2s, and the store takes at most 1s",
            ]
        );
    }

    #[test]
    fn debug_names_what_is_supported() {
        let capabilities = Capabilities::builder().with(Capability::Listing).build();
        assert!(format!("{capabilities:?}").starts_with("Capabilities { supported: [Listing], ttl_resolution: 0ns,"));
    }
}
