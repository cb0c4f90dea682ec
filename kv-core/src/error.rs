//! What can go wrong.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter;
use std::time::Duration;

use crate::{Capability, CounterFault, InvalidKey, Key, KeyBuf};

/// A result whose error is the [`Error`] of this crate unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a store's operation ([section 9 of the contract](crate::contract#9-errors)).
///
/// Each variant is something that a caller can act on. Two methods answer for all variants: [`is_transient`](Self::is_transient)
/// says whether trying again may help, and [`outcome_unknown`](Self::outcome_unknown) whether a write may have happened
/// in spite of the error.
///
/// `Display` says what happened, to which key and on which store. If there is a cause, it is in
/// [`source`](StdError::source), and `Display` does not repeat it ([E2](crate::contract#9-errors)). Neither ever shows a
/// value or a password ([E3](crate::contract#9-errors)).
///
/// ```
/// use kv_core::{Error, key};
///
/// let error = Error::not_found("memory", key!("greeting"));
/// assert_eq!(error.to_string(), "memory: there is no entry at key \"greeting\"");
/// assert_eq!(error.key(), Some("greeting"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not a valid key, prefix or delimiter. Nothing was sent or changed ([K2](crate::contract#1-keys)).
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),

    /// The key is longer than this store takes. Nothing was changed ([K5](crate::contract#1-keys)).
    #[error("{store}: the key \"{key}\" is too long: it has {} bytes, and the store takes at most {limit}", key.len())]
    #[non_exhaustive]
    KeyTooLong {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
        /// The length of the longest key, in bytes.
        limit: usize,
    },

    /// The store cannot express this TTL, because it is too long. Nothing was written ([T4](crate::contract#4-ttls)).
    #[error("{store}: the TTL for key \"{key}\" is too long: it is {ttl:?}, and the store takes at most {longest:?}")]
    #[non_exhaustive]
    InvalidTtl {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
        /// The TTL that the caller gave.
        ttl: Duration,
        /// The longest TTL that the store can express.
        longest: Duration,
    },

    /// The value is larger than the store takes. The previous entry is still there ([V3](crate::contract#2-values)).
    #[error(
        "{store}: the value for key \"{key}\" is too large: {size} bytes were given, and the store takes at most {limit}"
    )]
    #[non_exhaustive]
    ValueTooLarge {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
        /// The size of the value in bytes. For a stream, this is how much was read before the store noticed.
        size: u64,
        /// The largest size, in bytes.
        limit: u64,
    },

    /// An operation that needs an entry found none ([C3](crate::contract#7-copy-and-rename),
    /// [S1](crate::contract#8-streams-and-files)). Reading an absent key is not an error.
    #[error("{store}: there is no entry at key \"{key}\"")]
    #[non_exhaustive]
    NotFound {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
    },

    /// [`increment`](crate::KeyValueStoreExt::increment) found a value that is not a counter, or would have passed the largest one. Nothing
    /// was changed ([U5](crate::contract#12-conditional-and-atomic-updates)).
    #[error("{store}: the value at key \"{key}\" cannot be incremented: {reason}")]
    #[non_exhaustive]
    NotACounter {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
        /// Why not.
        reason: CounterFault,
    },

    /// [`update`](crate::KeyValueStoreExt::update), or a [`take`](crate::KeyValueStoreExt::take) of two steps, met other writers each
    /// time that it tried. Nothing was changed. Trying again may help.
    #[error("{store}: other writers changed the entry at key \"{key}\" each of the {tries} times that this tried")]
    #[non_exhaustive]
    Contended {
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
        /// The key concerned.
        key: KeyBuf,
        /// How often it tried.
        tries: u32,
    },

    /// The store lacks this operation. Nothing was changed ([O2](crate::contract#11-capabilities-and-opt-outs)).
    #[error("{store} does not support {operation}")]
    #[non_exhaustive]
    Unsupported {
        /// The operation that it lacks.
        operation: Capability,
        /// The store, as [`KeyValueStore::name`](crate::KeyValueStore::name) names it.
        store: Box<str>,
    },

    /// A setting is not valid, so no store was made: a text that is not a URL, a limit that is too short, a feature that is not compiled in.
    #[error("{store}: {message}")]
    #[non_exhaustive]
    InvalidSetting {
        /// The kind of store, such as `redis`, or its name.
        store: Box<str>,
        /// Which setting it is, and what it has to be.
        message: Cow<'static, str>,
    },

    /// The store could not be reached: the connection was refused or lost, or no connection of the pool was free.
    #[error(transparent)]
    Unavailable(Failure),

    /// The store did not answer within the configured limit.
    #[error(transparent)]
    Timeout(Failure),

    /// The caller's own reader, writer or file failed.
    #[error("{action} failed for key \"{key}\"")]
    #[non_exhaustive]
    Io {
        /// The key concerned.
        key: KeyBuf,
        /// What failed, with the path if there is one: `reading /tmp/report`.
        action: Cow<'static, str>,
        /// The error of the reader, writer or file.
        source: io::Error,
    },

    /// Anything else: the store refused the operation, or its answer makes no sense.
    #[error(transparent)]
    Backend(Failure),
}

impl Error {
    /// A [`KeyTooLong`](Self::KeyTooLong); the limit in bytes.
    pub fn key_too_long(store: &str, key: Key<'_>, limit: usize) -> Self {
        Self::KeyTooLong { store: store.into(), key: key.into(), limit }
    }

    /// An [`InvalidTtl`](Self::InvalidTtl).
    pub fn invalid_ttl(store: &str, key: Key<'_>, ttl: Duration, longest: Duration) -> Self {
        Self::InvalidTtl { store: store.into(), key: key.into(), ttl, longest }
    }

    /// A [`ValueTooLarge`](Self::ValueTooLarge); sizes in bytes.
    pub fn value_too_large(store: &str, key: Key<'_>, size: u64, limit: u64) -> Self {
        Self::ValueTooLarge { store: store.into(), key: key.into(), size, limit }
    }

    /// A [`NotFound`](Self::NotFound).
    pub fn not_found(store: &str, key: Key<'_>) -> Self {
        Self::NotFound { store: store.into(), key: key.into() }
    }

    /// A [`NotACounter`](Self::NotACounter).
    pub fn not_a_counter(store: &str, key: Key<'_>, reason: CounterFault) -> Self {
        Self::NotACounter { store: store.into(), key: key.into(), reason }
    }

    /// A [`Contended`](Self::Contended).
    pub fn contended(store: &str, key: Key<'_>, tries: u32) -> Self {
        Self::Contended { store: store.into(), key: key.into(), tries }
    }

    /// An [`Unsupported`](Self::Unsupported).
    pub fn unsupported(store: &str, operation: Capability) -> Self {
        Self::Unsupported { operation, store: store.into() }
    }

    /// An [`InvalidSetting`](Self::InvalidSetting) of this kind of store. The message names the setting, and what it has to be; it shows no
    /// password ([E3](crate::contract#9-errors)).
    pub fn invalid_setting(store: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidSetting { store: store.into(), message: message.into() }
    }

    /// An [`Io`](Self::Io): the caller's reader, writer or file failed. `action` says what it was doing, for instance
    /// `reading /tmp/report`.
    pub fn io(key: Key<'_>, action: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self::Io { key: key.into(), action: action.into(), source }
    }

    /// Whether the same operation may succeed when it is tried again ([E5](crate::contract#9-errors)).
    ///
    /// True for [`Unavailable`](Self::Unavailable), [`Timeout`](Self::Timeout) and [`Contended`](Self::Contended), and for a
    /// [`Backend`](Self::Backend) error that its backend marked as transient: a server is still loading its data, or a reply
    /// makes no sense, so that the connection was closed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Timeout(_) | Self::Contended { .. } => true,
            Self::Backend(failure) => failure.0.transient,
            _ => false,
        }
    }

    /// Whether a write was sent and not answered, so that it may or may not have happened ([E5](crate::contract#9-errors)).
    pub fn outcome_unknown(&self) -> bool {
        self.failure().is_some_and(|failure| failure.0.outcome_unknown)
    }

    /// The error and all its causes on one line, for a log or for the person who has to fix it.
    ///
    /// ```
    /// use std::io;
    /// use kv_core::{Error, Failure};
    ///
    /// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    /// let error = Error::Unavailable(Failure::new("redis://cache:6379/0", "no connection").caused_by(refused));
    /// assert_eq!(error.to_string(), "redis://cache:6379/0: no connection");
    /// assert_eq!(error.report().to_string(), "redis://cache:6379/0: no connection: connection refused");
    /// ```
    pub fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }

    /// The key concerned, if it is one key; for an invalid key an [excerpt](InvalidKey::excerpt).
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::InvalidKey(invalid) => Some(invalid.excerpt()),
            Self::KeyTooLong { key, .. }
            | Self::InvalidTtl { key, .. }
            | Self::ValueTooLarge { key, .. }
            | Self::NotFound { key, .. }
            | Self::NotACounter { key, .. }
            | Self::Contended { key, .. }
            | Self::Io { key, .. } => Some(key),
            Self::Unsupported { .. } | Self::InvalidSetting { .. } => None,
            Self::Unavailable(failure) | Self::Timeout(failure) | Self::Backend(failure) => failure.0.key.as_deref(),
        }
    }

    /// The store concerned, if the error comes from one.
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::KeyTooLong { store, .. }
            | Self::InvalidTtl { store, .. }
            | Self::ValueTooLarge { store, .. }
            | Self::NotFound { store, .. }
            | Self::NotACounter { store, .. }
            | Self::Contended { store, .. }
            | Self::Unsupported { store, .. }
            | Self::InvalidSetting { store, .. } => Some(store),
            Self::InvalidKey(_) | Self::Io { .. } => None,
            Self::Unavailable(failure) | Self::Timeout(failure) | Self::Backend(failure) => Some(&failure.0.store),
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Unavailable(failure) | Self::Timeout(failure) | Self::Backend(failure) => Some(failure),
            _ => None,
        }
    }
}

struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        iter::successors(self.0.source(), |cause| (*cause).source()).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// The details of an [`Error::Unavailable`], [`Error::Timeout`] or [`Error::Backend`].
///
/// This is for authors of backends. Put neither a value nor a password into the message or the cause
/// ([E3](crate::contract#9-errors)), and nothing of the cause into the message ([E2](crate::contract#9-errors)).
///
/// ```
/// use std::io;
/// use kv_core::{Error, Failure, key};
///
/// let cause = io::Error::from(io::ErrorKind::ConnectionReset);
/// let error = Error::Unavailable(
///     Failure::new("redis://cache:6379/0", "the connection was lost before the reply came")
///         .at(key!("greeting"))
///         .caused_by(cause)
///         .with_unknown_outcome(),
/// );
/// assert!(error.is_transient() && error.outcome_unknown());
/// assert_eq!(
///     error.to_string(),
///     "redis://cache:6379/0: the connection was lost before the reply came, key \"greeting\"; \
///      the write may or may not have happened"
/// );
/// ```
pub struct Failure(Box<Details>);

struct Details {
    store: Box<str>,
    message: Cow<'static, str>,
    key: Option<KeyBuf>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    transient: bool,
    outcome_unknown: bool,
}

/// Leaves out `transient`, which decides only for [`Error::Backend`]: see [`Error::is_transient`].
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { store, message, key, cause, outcome_unknown, transient: _ } = &*self.0;
        f.debug_struct("Failure")
            .field("store", store)
            .field("message", message)
            .field("key", key)
            .field("cause", cause)
            .field("outcome_unknown", outcome_unknown)
            .finish()
    }
}

impl Failure {
    /// A failure: the store, and what happened.
    pub fn new(store: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            store: store.into(),
            message: message.into(),
            key: None,
            cause: None,
            transient: false,
            outcome_unknown: false,
        }))
    }

    /// Names the key, if the failure concerns one: a [`Key`], or an `Option` of it.
    #[must_use]
    pub fn at<'k>(mut self, key: impl Into<Option<Key<'k>>>) -> Self {
        self.0.key = key.into().map(KeyBuf::from);
        self
    }

    /// Names the cause. It becomes the `source` of the error.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says that trying again may help ([E5](crate::contract#9-errors)). Only [`Error::Backend`] needs it, also for a reply that makes no
    /// sense; the other two are always transient.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.0.transient = true;
        self
    }

    /// Says that a write was sent and not answered, so that it may or may not have happened.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.0.outcome_unknown = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { store, message, key, outcome_unknown, .. } = &*self.0;
        write!(f, "{store}: {message}")?;
        if let Some(key) = key {
            write!(f, ", key \"{key}\"")?;
        }
        if *outcome_unknown {
            f.write_str("; the write may or may not have happened")?;
        }
        Ok(())
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    fn is_send_sync<T: Send + Sync + 'static>() {}

    #[test]
    fn an_error_is_send_sync_and_small() {
        is_send_sync::<Error>();
        assert!(size_of::<Error>() <= 80, "{} bytes", size_of::<Error>());
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = Error::Backend(Failure::new("redis", "the server refused").caused_by("LOADING dataset"));
        assert_eq!(error.to_string(), "redis: the server refused");
        assert_eq!(error.source().unwrap().to_string(), "LOADING dataset");

        let error = Error::io(key!("k"), "reading", io::Error::other("gone"));
        assert_eq!(error.to_string(), "reading failed for key \"k\"");
        assert_eq!(error.source().unwrap().to_string(), "gone");
    }

    #[test]
    fn unavailable_and_timeout_are_transient_and_backend_only_if_it_says_so() {
        let failure = || Failure::new("s", "m");
        assert!(Error::Unavailable(failure()).is_transient());
        assert!(Error::Timeout(failure()).is_transient());
        assert!(!Error::Backend(failure()).is_transient());
        assert!(Error::Backend(failure().transient()).is_transient());
        assert!(!Error::not_found("s", key!("k")).is_transient());
    }

    #[test]
    fn an_error_names_its_key_and_store() {
        let key = key!("k");
        let errors = [
            Error::key_too_long("s", key, 0),
            Error::invalid_ttl("s", key, Duration::MAX, Duration::ZERO),
            Error::value_too_large("s", key, 2, 1),
            Error::not_found("s", key),
            Error::not_a_counter("s", key, CounterFault::TooLarge),
            Error::contended("s", key, 3),
            Error::Timeout(Failure::new("s", "m").at(key)),
        ];
        for error in errors {
            assert_eq!((error.store(), error.key()), (Some("s"), Some("k")), "{error}");
            let shown = error.to_string();
            assert!(shown.starts_with("s: ") && shown.contains("\"k\""), "{shown}");
        }
        let error = Error::unsupported("s", Capability::Listing);
        assert_eq!(error.to_string(), "s does not support listing");
        let error = Error::invalid_setting("s", "`pool_size` is 0, and has to be 1 or more");
        assert_eq!((error.store(), error.key(), error.is_transient()), (Some("s"), None, false));
        assert_eq!(error.to_string(), "s: `pool_size` is 0, and has to be 1 or more");
        let error = Error::value_too_large("s", key, 2, 1);
        let says = "s: the value for key \"k\" is too large: 2 bytes were given, and the store takes at most 1";
        assert_eq!(error.to_string(), says);
        let error = Error::invalid_ttl("s", key, Duration::from_secs(3), Duration::from_secs(2));
        let says = "s: the TTL for key \"k\" is too long: it is 3s, and the store takes at most 2s";
        assert_eq!(error.to_string(), says);
    }
}
