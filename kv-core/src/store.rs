//! The trait that a backend implements.

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Capabilities, Capability, Error, Key, KeyBuf, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, Version,
    each,
};

/// A key-value store, as a backend implements it.
///
/// Callers use [`KeyValueStoreExt`](crate::KeyValueStoreExt), which every store has. The [contract](crate::contract) says
/// clause by clause what a store promises. Each method names the clauses that it carries out, such as `P2`.
///
/// # The two layers
///
/// Callers know these methods under other names, so that both traits can be imported:
///
/// | implemented here | called as | capability | clauses |
/// |---|---|---|---|
/// | [`name`](Self::name) | `name` | | [E3](crate::contract#9-errors) |
/// | [`capabilities`](Self::capabilities) | `capabilities` | | [O1](crate::contract#11-capabilities-and-opt-outs) |
/// | [`read`](Self::read) | [`get`](crate::KeyValueStoreExt::get) | | [V1](crate::contract#2-values), [G1, P1, P3](crate::contract#3-read-write-delete), [T5](crate::contract#4-ttls) |
/// | [`write`](Self::write) | [`put`](crate::KeyValueStoreExt::put), [`put_with_ttl`](crate::KeyValueStoreExt::put_with_ttl) | for a TTL [`Ttls`](Capability::Ttls) | [V1 to V3](crate::contract#2-values), [P1 to P3](crate::contract#3-read-write-delete), [T1 to T4](crate::contract#4-ttls) |
/// | [`write_if_absent`](Self::write_if_absent) | [`create`](crate::KeyValueStoreExt::create), [`create_with_ttl`](crate::KeyValueStoreExt::create_with_ttl) | [`Create`](Capability::Create) | [P4](crate::contract#3-read-write-delete), and those of `write` |
/// | [`remove`](Self::remove) | [`delete`](crate::KeyValueStoreExt::delete) | | [D1](crate::contract#3-read-write-delete) |
/// | [`exists`](Self::exists) | [`contains`](crate::KeyValueStoreExt::contains) | [`Contains`](Capability::Contains) | [T5](crate::contract#4-ttls) |
/// | [`expiry`](Self::expiry) | [`ttl`](crate::KeyValueStoreExt::ttl) | [`TtlReading`](Capability::TtlReading) | [T6](crate::contract#4-ttls) |
/// | [`set_expiry`](Self::set_expiry) | [`touch`](crate::KeyValueStoreExt::touch) | [`Touch`](Capability::Touch) | [T3, T4, T6](crate::contract#4-ttls) |
/// | [`list`](Self::list) | [`keys`](crate::KeyValueStoreExt::keys) | [`Listing`](Capability::Listing) | [K4](crate::contract#1-keys), [L1 to L5](crate::contract#5-listing) |
/// | [`list_prefixes`](Self::list_prefixes) | [`prefixes`](crate::KeyValueStoreExt::prefixes) | [`Listing`](Capability::Listing) | [L6](crate::contract#5-listing) |
/// | [`read_many`](Self::read_many) | [`get_many`](crate::KeyValueStoreExt::get_many) | | [B1, B6](crate::contract#6-many-at-once) |
/// | [`read_each`](Self::read_each) | [`get_each`](crate::KeyValueStoreExt::get_each) | | [B7](crate::contract#6-many-at-once) |
/// | [`write_many`](Self::write_many) | [`put_many`](crate::KeyValueStoreExt::put_many), [`put_many_with_ttl`](crate::KeyValueStoreExt::put_many_with_ttl) | for a TTL [`Ttls`](Capability::Ttls) | [B2, B5, B6](crate::contract#6-many-at-once) |
/// | [`remove_many`](Self::remove_many) | [`delete_many`](crate::KeyValueStoreExt::delete_many) | | [B3, B5, B6](crate::contract#6-many-at-once) |
/// | [`copy_entry`](Self::copy_entry) | [`copy`](crate::KeyValueStoreExt::copy) | [`Copy`](Capability::Copy) | [C1, C3](crate::contract#7-copy-and-rename) |
/// | [`rename_entry`](Self::rename_entry) | [`rename`](crate::KeyValueStoreExt::rename) | [`Copy`](Capability::Copy) | [C2, C3](crate::contract#7-copy-and-rename) |
/// | [`read_stream`](Self::read_stream) | [`open`](crate::KeyValueStoreExt::open), [`get_into`](crate::KeyValueStoreExt::get_into), [`get_file`](crate::KeyValueStoreExt::get_file) | | [S1, S3, S4](crate::contract#8-streams-and-files) |
/// | [`write_stream`](Self::write_stream) | [`put_from`](crate::KeyValueStoreExt::put_from), [`put_file`](crate::KeyValueStoreExt::put_file), and both with `_with_ttl` | for a TTL [`Ttls`](Capability::Ttls) | [S2, S4](crate::contract#8-streams-and-files) |
/// | [`read_versioned`](Self::read_versioned) | [`get_versioned`](crate::KeyValueStoreExt::get_versioned) | [`Versions`](Capability::Versions) | [U2](crate::contract#12-conditional-and-atomic-updates) |
/// | [`write_if_absent_versioned`](Self::write_if_absent_versioned) | [`create_versioned`](crate::KeyValueStoreExt::create_versioned) | [`Versions`](Capability::Versions) and [`Create`](Capability::Create) | [P4](crate::contract#3-read-write-delete), [U1](crate::contract#12-conditional-and-atomic-updates) |
/// | [`write_if_version`](Self::write_if_version) | [`put_if`](crate::KeyValueStoreExt::put_if), and with `read_versioned` and `write_if_absent_versioned` [`update`](crate::KeyValueStoreExt::update) | [`Versions`](Capability::Versions) | [U1 to U3](crate::contract#12-conditional-and-atomic-updates) |
/// | [`remove_if_version`](Self::remove_if_version) | [`delete_if`](crate::KeyValueStoreExt::delete_if) | [`Versions`](Capability::Versions) | [U1, U3](crate::contract#12-conditional-and-atomic-updates) |
/// | [`read_and_remove`](Self::read_and_remove) | [`take`](crate::KeyValueStoreExt::take) | [`Take`](Capability::Take) | [U4](crate::contract#12-conditional-and-atomic-updates) |
/// | [`read_and_set_expiry`](Self::read_and_set_expiry) | [`get_and_touch`](crate::KeyValueStoreExt::get_and_touch) | [`TouchingReads`](Capability::TouchingReads) | [T3, T4, T6](crate::contract#4-ttls) |
/// | [`add`](Self::add) | [`increment`](crate::KeyValueStoreExt::increment) | [`Counters`](Capability::Counters) | [U5](crate::contract#12-conditional-and-atomic-updates) |
///
/// # For implementers
///
/// Five methods are required: [`name`](Self::name), [`capabilities`](Self::capabilities), [`read`](Self::read),
/// [`write`](Self::write) and [`remove`](Self::remove). The others have one of two defaults:
///
/// | default | methods |
/// |---|---|
/// | calls other methods: correct, but slower than what a backend can do itself, and not atomic | `exists`, `list_prefixes`, `read_many`, `read_each`, `write_many`, `remove_many`, `copy_entry`, `rename_entry`, `read_stream`, `write_stream` |
/// | returns [`Error::Unsupported`]; when you implement it, say so in `capabilities` | `write_if_absent`, `expiry`, `set_expiry`, `list`, and the seven of [section 12](crate::contract#12-conditional-and-atomic-updates) |
///
/// **A store on a network** implements `exists`, the four of several keys (`read_many`, `read_each`, `write_many`, `remove_many`), and, if it
/// has [`Copy`](Capability::Copy), the two copies itself: a loop is a round trip for each key, which breaks
/// [N3](crate::contract#10-network-backends), and the suite rejects it.
///
/// `capabilities` names what your backend can do ([`with`](crate::CapabilitiesBuilder::with)); what it does not name returns
/// `Unsupported`. The defaults of `exists`, `copy_entry` and `rename_entry` look at it: they work once it names
/// [`Contains`](Capability::Contains) and [`Copy`](Capability::Copy), where copying also needs
/// [`TtlReading`](Capability::TtlReading) in a store with TTLs. Your own implementations look at it themselves, if it is not always the same.
///
/// The callers' layer guarantees:
///
/// - Every [`Key`] and [`Prefix`] is valid ([K2, K4](crate::contract#1-keys)). Do not check it again.
/// - A batch is never empty ([B4](crate::contract#6-many-at-once)).
/// - The two keys of `copy_entry` and `rename_entry` differ ([C4](crate::contract#7-copy-and-rename)).
///
/// Your backend guarantees:
///
/// - Expired entries are absent for every method, even if they still take up memory ([T5](crate::contract#4-ttls)).
/// - `Ttl::Default` is the default that your builder was given, and for ever if it was given none
///   ([T1](crate::contract#4-ttls)). [`Ttl::or_default`] resolves it.
/// - A write with a zero TTL leaves the key absent ([T3](crate::contract#4-ttls)).
/// - A TTL that you cannot express is [`Error::InvalidTtl`] ([T4](crate::contract#4-ttls)), and a value that you cannot store
///   is [`Error::ValueTooLarge`] ([V3](crate::contract#2-values)), both before anything is changed. If your store takes shorter keys
///   only, a longer one is [`Error::KeyTooLong`] for every method ([K5](crate::contract#1-keys)). [`Capabilities::check_ttl`],
///   [`check_value`](Capabilities::check_value) and [`check_key`](Capabilities::check_key) make these errors. A default TTL that you
///   cannot express is refused when the store is made: [`check_default_ttl`](Capabilities::check_default_ttl).
/// - [`add_to_counter`](crate::add_to_counter) is the arithmetic of a counter ([U5](crate::contract#12-conditional-and-atomic-updates)). If
///   versions are numbers, say in your documentation whether they begin again when the server restarts
///   ([U2](crate::contract#12-conditional-and-atomic-updates)).
/// - An error names the key and the store; nothing panics ([E1 to E5](crate::contract#9-errors)). A failure of your backend is
///   [`Error::Unavailable`], [`Error::Timeout`] or [`Error::Backend`], each with a [`Failure`](crate::Failure):
///   `Error::Backend(Failure::new(self.name(), "reading the file failed").at(key).caused_by(error))`.
///   [`Error::Io`] is for the caller's own readers, writers and files.
/// - The store may be made, called and dropped inside an async runtime ([E4](crate::contract#9-errors)). A backend on an async
///   client runs the client on a thread of its own, and does not wait with `Runtime::block_on`, which panics there.
/// - `Debug` shows neither values nor passwords ([E3](crate::contract#9-errors)).
///
/// This is a whole backend, which the suite of `kv-conformance` accepts with an opt-out only of the updates of
/// [section 12](crate::contract#12-conditional-and-atomic-updates):
///
#[doc = "```"]
#[doc = include_str!("../examples/tiny_store.rs")]
#[doc = "```"]
///
/// # For authors of wrappers
///
/// A store that wraps another one (to count, to log, to cache) forwards **every** method. A method that it leaves out gets
/// the default, which is correct, but slower, and not atomic where the inner store is. Put
/// `#![deny(clippy::missing_trait_methods)]` on the module; `kv-core` does so for its own implementations for `&S`, `Box<S>`
/// and `Arc<S>`. Forward `capabilities`, too, without those that the wrapper takes away.
///
/// A wrapper that adds a prefix to all keys has less room for keys, and says so ([`Capabilities::longest_key`],
/// [K5](crate::contract#1-keys)); it has to remove the prefix from the keys of listings, and from the errors of the inner store, which
/// name the key with the prefix ([E1](crate::contract#9-errors)). The backends of this project do that themselves: `with_namespace`.
///
/// # Both layers in scope
///
/// The methods of the two traits have different names, so both traits may be imported. The trait is object-safe, and threads
/// can share a store:
///
/// ```
/// fn is_a_store<S: kv_core::KeyValueStore + Send + Sync + ?Sized>() {}
///
/// is_a_store::<dyn kv_core::KeyValueStore>();
/// is_a_store::<std::sync::Arc<dyn kv_core::KeyValueStore>>();
/// ```
///
/// A type that threads cannot share is not a store:
///
/// ```compile_fail,E0277
/// use kv_core::{Bytes, Capabilities, Key, KeyValueStore, Result, Ttl, Value};
///
/// #[derive(Debug)]
/// struct NotSync(std::cell::Cell<u8>);
///
/// impl KeyValueStore for NotSync {
///     fn name(&self) -> &str { "not sync" }
///     fn capabilities(&self) -> Capabilities { Capabilities::builder().build() }
///     fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> { Ok(None) }
///     fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> { Ok(()) }
///     fn remove(&self, _: Key<'_>) -> Result<bool> { Ok(false) }
/// }
/// ```
pub trait KeyValueStore: Debug + Send + Sync {
    /// The store's name in error messages and reports: its kind and its address, if it has one. It never contains a password
    /// ([E3](crate::contract#9-errors)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.name(), "memory");
    /// ```
    fn name(&self) -> &str;

    /// The store's capabilities and limits ([O1](crate::contract#11-capabilities-and-opt-outs)).
    ///
    /// This does no I/O. It is always the same for the same store, except for a [longest TTL](Capabilities::longest_ttl) that
    /// becomes shorter as a fixed date approaches.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// let capabilities = store.capabilities();
    /// assert!(capabilities.supports(Capability::Listing) && capabilities.largest_value().is_none());
    /// ```
    fn capabilities(&self) -> Capabilities;

    /// Returns the value of a live entry, or `None` if there is no live entry ([V1](crate::contract#2-values),
    /// [G1, P1, P3](crate::contract#3-read-write-delete), [T5](crate::contract#4-ttls)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.read(key!("absent"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the backend: [`Error::Unavailable`], [`Error::Timeout`], [`Error::Backend`].
    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>>;

    /// Writes an entry. It replaces value and TTL of an existing entry ([V1 to V3](crate::contract#2-values),
    /// [P1 to P3](crate::contract#3-read-write-delete), [T1 to T4](crate::contract#4-ttls)).
    ///
    /// A concurrent reader sees the old value or the new one. With a zero TTL the key is absent afterwards.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("greeting"), "hello".into(), Ttl::Default)?;
    /// assert_eq!(store.read(key!("greeting"))?.as_deref(), Some(&b"hello"[..]));
    /// store.write(key!("greeting"), "hello".into(), Ttl::After(Duration::ZERO))?;
    /// assert_eq!(store.read(key!("greeting"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`] and [`Error::InvalidTtl`], after which the old entry is still there;
    /// [`Error::Unsupported`] for a TTL if the store lacks [`Capability::Ttls`]; errors of the backend.
    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()>;

    /// Writes an entry if there is no live one, atomically; returns whether it did ([P4](crate::contract#3-read-write-delete)).
    ///
    /// Of several concurrent callers exactly one gets `true`. The others change neither value nor TTL. With a zero TTL a key
    /// that was absent stays absent.
    ///
    /// **Default:** unsupported, because the other methods cannot do it atomically.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert!(store.write_if_absent(key!("lock"), "me".into(), Ttl::Default)?);
    /// assert!(!store.write_if_absent(key!("lock"), "you".into(), Ttl::Default)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::Unsupported`] if the store lacks [`Capability::Create`].
    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let _ = (key, value, ttl);
        Err(Error::unsupported(self.name(), Capability::Create))
    }

    /// Removes an entry; returns whether there was a live one ([D1](crate::contract#3-read-write-delete)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("greeting"), "hello".into(), Ttl::Default)?;
    /// assert!(store.remove(key!("greeting"))? && !store.remove(key!("greeting"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the backend.
    fn remove(&self, key: Key<'_>) -> Result<bool>;

    /// Whether there is a live entry ([T5](crate::contract#4-ttls)). It does not change the TTL.
    ///
    /// **Default:** reads the value. Implement it if the store can answer without sending the value.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert!(!store.exists(key!("absent"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Contains`]; errors of the backend.
    fn exists(&self, key: Key<'_>) -> Result<bool> {
        if !self.capabilities().supports(Capability::Contains) {
            return Err(Error::unsupported(self.name(), Capability::Contains));
        }
        self.read(key).map(|value| value.is_some())
    }

    /// Returns the rest of a live entry's TTL, or `None` if there is no live entry ([T6](crate::contract#4-ttls)).
    ///
    /// It is at most the TTL that was written plus the resolution of the store. It may be zero just before the entry expires.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("greeting"), "hello".into(), Ttl::Forever)?;
    /// assert_eq!(store.expiry(key!("greeting"))?, Some(Remaining::Forever));
    /// assert_eq!(store.expiry(key!("absent"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::TtlReading`]; errors of the backend.
    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let _ = key;
        Err(Error::unsupported(self.name(), Capability::TtlReading))
    }

    /// Sets a new TTL, counted from this call, without changing the value; returns whether there was a live entry
    /// ([T6](crate::contract#4-ttls)).
    ///
    /// A zero TTL removes the entry.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert!(!store.set_expiry(key!("absent"), Ttl::Forever)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTtl`], after which the old TTL stays; [`Error::Unsupported`] if the store lacks
    /// [`Capability::Touch`]; errors of the backend.
    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let _ = (key, ttl);
        Err(Error::unsupported(self.name(), Capability::Touch))
    }

    /// Returns the keys of the live entries that begin with `prefix`, lazily and in any order
    /// ([L1 to L5](crate::contract#5-listing), [K4](crate::contract#1-keys)).
    ///
    /// Every key that is live during the whole iteration is yielded exactly once. A key that is created, is removed or expires
    /// meanwhile may or may not be yielded. Between two keys the iterator holds no lock. Its memory is bounded by a page and
    /// what removing duplicates needs; say in your documentation how much that is. It skips what does not belong to this store.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("session:42"), "ada".into(), Ttl::Default)?;
    /// let keys = store.list(Prefix::new("session:")?)?.collect::<Result<Vec<_>>>()?;
    /// assert_eq!(keys, ["session:42"]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Listing`]; errors of the backend, here or as the last
    /// item.
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let _ = prefix;
        Err(Error::unsupported(self.name(), Capability::Listing))
    }

    /// Returns the distinct parts of the keys that begin with `prefix`, up to and including the first `delimiter` after it. A
    /// key without a delimiter after the prefix is yielded whole ([L6](crate::contract#5-listing)).
    ///
    /// **Default:** iterates over [`list`](Self::list) and remembers the parts that it has yielded. Implement it if the store
    /// can skip the keys that share a part.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a/b/1"), "".into(), Ttl::Default)?;
    /// let parts = store.list_prefixes(key!("/"), Prefix::new("a/")?)?.collect::<Result<Vec<_>>>()?;
    /// assert_eq!(parts, ["a/b/"]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let delimiter = delimiter.to_key_buf();
        let begin = prefix.len();
        let mut yielded = HashSet::new();
        Ok(Keys::new(self.list(prefix)?.filter_map(move |key| {
            let Ok(key) = key else { return Some(key) };
            match key.part(&delimiter, begin) {
                None => Some(Ok(key)),
                Some(part) if yielded.contains(part.as_str()) => None,
                Some(part) => {
                    let part = KeyBuf::from(part);
                    yielded.insert(part.clone());
                    Some(Ok(part))
                }
            }
        })))
    }

    /// Returns as many values as keys, in the same order, duplicates included ([B1, B6](crate::contract#6-many-at-once)).
    ///
    /// **Default:** one [`read`](Self::read) for each key. Implement it if the store can answer several keys in one round trip;
    /// send many keys in chunks. The time limit has to allow for large values, whose size is not known beforehand
    /// ([N1](crate::contract#10-connections)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// assert_eq!(store.read_many(&[key!("b"), key!("a")])?, [None, Some("1".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the backend.
    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().map(|&key| self.read(key)).collect()
    }

    /// Returns as many outcomes as keys, in the same order, duplicates included ([B7](crate::contract#6-many-at-once)).
    ///
    /// The outcome of a key is its value, `None` if it is absent, or an error that names the key. An error of one key does not
    /// hide the values of others.
    ///
    /// **Default:** one [`read_many`](Self::read_many); if that fails, one [`read`](Self::read) for each key. When the failed
    /// reads have taken as long as the batch, and at least a second, or all reads ten times as long, the remaining keys are not read: each
    /// gets [`Error::Unavailable`], which says so. So if a store's only server does not answer, the call takes about twice the limit,
    /// whatever the number of keys. Implement it if the store has several servers, of which some can fail, or if one round
    /// trip shows which keys have failed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// let outcomes = store.read_each(&[key!("b"), key!("a")]);
    /// assert_eq!(outcomes.into_iter().collect::<Result<Vec<_>>>()?, [None, Some("1".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        each::read_each(self, keys)
    }

    /// Writes several entries. Of several entries with the same key the last one wins ([B2, B5, B6](crate::contract#6-many-at-once)).
    ///
    /// It is not atomic: after an error some entries may have been written, in any order. Entries that are not named are not
    /// changed.
    ///
    /// **Default:** one [`write`](Self::write) for each entry, in order, until one fails. Implement it if the store can take
    /// several entries in one round trip; divide them into chunks by their number and by the bytes of their values.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// # use kv_core::Entry;
    /// let entry = |value| Entry::new(key!("a"), value, Ttl::Default);
    /// store.write_many(vec![entry("1".into()), entry("2".into())])?;
    /// assert_eq!(store.read(key!("a"))?.as_deref(), Some(&b"2"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write). The error names the key of the entry that failed, if that is known.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        entries.into_iter().try_for_each(|entry| self.write(entry.key, entry.value, entry.ttl))
    }

    /// Removes several entries; returns for each key whether there was a live one. A repeated key is `false`
    /// ([B3, B5, B6](crate::contract#6-many-at-once)).
    ///
    /// It is not atomic: after an error some entries may have been removed.
    ///
    /// **Default:** one [`remove`](Self::remove) for each key. Implement it if the store can take several keys in one round
    /// trip; send many keys in chunks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// assert_eq!(store.remove_many(&[key!("a"), key!("a")])?, [true, false]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the backend.
    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        keys.iter().map(|&key| self.remove(key)).collect()
    }

    /// Copies the value and the rest of the TTL to another key, and replaces the entry there
    /// ([C1, C3](crate::contract#7-copy-and-rename)).
    ///
    /// **Default:** reads the value and the rest of the TTL, and writes both. It is not atomic: if the entry is replaced
    /// meanwhile, the copy may have the value of one entry and the TTL of the other. The copy may expire earlier or later than
    /// the original by the resolution of the store, and later by the time between reading the TTL and writing: on a network that is too late
    /// for [C1](crate::contract#7-copy-and-rename). Implement it if the store itself can copy; a store on a network that cannot has no
    /// [`Capability::Copy`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// store.copy_entry(key!("a"), key!("b"))?;
    /// assert!(store.exists(key!("a"))? && store.exists(key!("b"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry at `from`, after which `to` is unchanged; [`Error::Unsupported`] if the
    /// store lacks [`Capability::Copy`]; errors of the backend.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let capabilities = self.capabilities();
        let has_ttls = can_copy(self.name(), &capabilities)?;
        let not_found = || Error::not_found(self.name(), from);
        let value = self.read(from)?.ok_or_else(not_found)?;
        let left = if has_ttls { self.expiry(from)?.ok_or_else(not_found)? } else { Remaining::Forever };
        self.write(to, value.into(), ttl_of_copy(&capabilities, left))
    }

    /// Moves an entry with the rest of its TTL to another key, and replaces the entry there
    /// ([C2, C3](crate::contract#7-copy-and-rename)).
    ///
    /// **Default:** [`copy_entry`](Self::copy_entry), then [`remove`](Self::remove). It is not atomic: meanwhile the entry can
    /// be read at both keys, a write to `from` is lost, and after an error the entry at `from` may still be there. Implement it
    /// if the store itself can rename.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// store.rename_entry(key!("a"), key!("b"))?;
    /// assert!(!store.exists(key!("a"))? && store.exists(key!("b"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`copy_entry`](Self::copy_entry).
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.copy_entry(from, to)?;
        self.remove(from).map(drop)
    }

    /// Returns the value of a live entry as a stream, or `None` if there is no live entry ([S1](crate::contract#8-streams-and-files)).
    ///
    /// **Default:** reads the value. Implement it if the store can read a part without reading the whole.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert!(store.read_stream(key!("absent"))?.is_none());
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Errors of the backend.
    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        Ok(self.read(key)?.map(ValueReader::from))
    }

    /// Writes all that `reader` yields, as [`write`](Self::write) does. If the reader fails, nothing is written
    /// ([S2](crate::contract#8-streams-and-files)).
    ///
    /// [`Interrupted`](std::io::ErrorKind::Interrupted) is not a failure: the reader is read again.
    ///
    /// **Default:** reads all of it into memory, but not more than the largest value that the store takes for every key.
    /// Implement it if the store can take a value piece by piece and discard it again, or if its limit depends on the key.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write_stream(key!("a"), &mut "any reader".as_bytes(), Ttl::Default)?;
    /// assert_eq!(store.read(key!("a"))?.as_deref(), Some(&b"any reader"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the reader fails; otherwise as [`write`](Self::write).
    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let value = read_value(self, key, reader)?;
        self.write(key, value, ttl)
    }

    /// Reads an entry and its version ([U2](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// **Default:** unsupported, as are the six methods that follow, because the other methods cannot do what they do in one step. Never
    /// imitate them by a read and then a write.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// let (value, version) = store.read_versioned(key!("a"))?.unwrap();
    /// assert!(value == "1" && store.remove_if_version(key!("a"), &version)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Versions`]; errors of the backend.
    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let _ = key;
        Err(Error::unsupported(self.name(), Capability::Versions))
    }

    /// As [`write_if_absent`](Self::write_if_absent); returns the version of what it stored, or `None` if there was a live entry
    /// ([P4](crate::contract#3-read-write-delete), [U1, U2](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// With a zero TTL a key that was absent stays absent, and the version is of nothing.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// let version = store.write_if_absent_versioned(key!("lock"), "me".into(), Ttl::Default)?.unwrap();
    /// assert!(store.write_if_absent_versioned(key!("lock"), "you".into(), Ttl::Default)?.is_none());
    /// assert!(store.remove_if_version(key!("lock"), &version)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::Unsupported`] if the store lacks [`Capability::Versions`] or [`Capability::Create`].
    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let _ = (key, value, ttl);
        let has_versions = self.capabilities().supports(Capability::Versions);
        Err(Error::unsupported(self.name(), if has_versions { Capability::Create } else { Capability::Versions }))
    }

    /// Replaces value and TTL of an entry if it still has this version, in one step; returns the new version, or `None` if the entry was
    /// changed or is gone ([U1 to U3](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// With a zero TTL an entry with this version is removed, and the new version is of nothing.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// let (_, version) = store.read_versioned(key!("a"))?.unwrap();
    /// assert!(store.write_if_version(key!("a"), "2".into(), Ttl::Default, &version)?.is_some());
    /// assert!(store.write_if_version(key!("a"), "3".into(), Ttl::Default, &version)?.is_none());
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::Unsupported`] if the store lacks [`Capability::Versions`].
    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let _ = (key, value, ttl, version);
        Err(Error::unsupported(self.name(), Capability::Versions))
    }

    /// Removes an entry if it still has this version, in one step; returns whether it did
    /// ([U1, U3](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// let (_, version) = store.read_versioned(key!("a"))?.unwrap();
    /// store.write(key!("a"), "2".into(), Ttl::Default)?;
    /// assert!(!store.remove_if_version(key!("a"), &version)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Versions`]; errors of the backend.
    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let _ = (key, version);
        Err(Error::unsupported(self.name(), Capability::Versions))
    }

    /// Reads and removes an entry in one step: of several concurrent callers one gets the value
    /// ([U4](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// store.write(key!("code"), "1234".into(), Ttl::Default)?;
    /// assert_eq!(store.read_and_remove(key!("code"))?.as_deref(), Some(&b"1234"[..]));
    /// assert_eq!(store.read_and_remove(key!("code"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Take`]; errors of the backend.
    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let _ = key;
        Err(Error::unsupported(self.name(), Capability::Take))
    }

    /// Reads an entry and sets its TTL, counted from this call, in one step ([T6](crate::contract#4-ttls)).
    ///
    /// With a zero TTL the entry is removed. It is a write: it is not sent twice, and its outcome may be unknown
    /// ([N5](crate::contract#10-connections)).
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.read_and_set_expiry(key!("absent"), Ttl::Forever)?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTtl`], after which the old TTL stays; [`Error::Unsupported`] if the store lacks
    /// [`Capability::TouchingReads`]; errors of the backend.
    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let _ = (key, ttl);
        Err(Error::unsupported(self.name(), Capability::TouchingReads))
    }

    /// Adds to the number at a key, in one step; returns the sum ([U5](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// An absent entry begins at 0, and only then the TTL counts: a counter that is there keeps its TTL. With a zero TTL an absent entry
    /// stays absent, and the sum is `by`. A counter is the decimal digits of a number up to `i64::MAX`, so it can be read and written as
    /// any value.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use kv_memory::{Capability, Error, KeyValueStore, MemoryStore, Prefix, Remaining, Result, Ttl, Version, key};
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.add(key!("visits"), 2, Ttl::Forever)?, 2);
    /// assert_eq!(store.add(key!("visits"), 3, Ttl::Forever)?, 5);
    /// assert_eq!(store.read(key!("visits"))?.as_deref(), Some(&b"5"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotACounter`] and [`Error::InvalidTtl`], after which the entry is unchanged; [`Error::Unsupported`] if the store lacks
    /// [`Capability::Counters`]; errors of the backend.
    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let _ = (key, by, ttl);
        Err(Error::unsupported(self.name(), Capability::Counters))
    }
}

/// One entry of a batch of writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The value.
    pub value: Value<'a>,
    /// The TTL.
    pub ttl: Ttl,
}

impl<'a> Entry<'a> {
    /// An entry.
    pub const fn new(key: Key<'a>, value: Value<'a>, ttl: Ttl) -> Self {
        Self { key, value, ttl }
    }
}

/// The value that a reader yields, if the store takes one as large.
fn read_value<S: KeyValueStore + ?Sized>(store: &S, key: Key<'_>, reader: &mut dyn Read) -> Result<Value<'static>> {
    let (capabilities, mut value) = (store.capabilities(), Vec::new());
    let read = match capabilities.largest_value() {
        // One byte more than the limit is enough to know that the value is too large.
        Some(limit) => reader.take(limit.saturating_add(1)).read_to_end(&mut value),
        None => reader.read_to_end(&mut value),
    };
    read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
    // If the limit depends on the key, `write` might accept this beginning of the value.
    capabilities.check_value(store.name(), key, value.len() as u64)?;
    Ok(value.into_boxed_slice().into())
}

/// Whether the default of `copy_entry` can copy, and if so, whether there are TTLs to be copied.
pub(crate) fn can_copy(store: &str, capabilities: &Capabilities) -> Result<bool> {
    let has_ttls = capabilities.supports(Capability::Ttls);
    let cannot_keep_it = has_ttls && !capabilities.supports(Capability::TtlReading);
    if cannot_keep_it || !capabilities.supports(Capability::Copy) {
        return Err(Error::unsupported(store, Capability::Copy));
    }
    Ok(has_ttls)
}

/// The TTL of a copy of an entry of which this is left.
pub(crate) fn ttl_of_copy(capabilities: &Capabilities, left: Remaining) -> Ttl {
    // What is left may be zero just before the entry expires, and a zero TTL would remove the copy.
    let least = capabilities.ttl_resolution().max(Duration::from_nanos(1));
    left.duration().map_or(Ttl::Forever, |left| Ttl::After(left.max(least)))
}
