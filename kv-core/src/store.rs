//! What a backend implements.

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Capabilities, Capability, Error, Key, KeyBuf, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, each,
};

/// A key-value store, from its backend's side.
///
/// Callers use [`KeyValueStoreExt`](crate::KeyValueStoreExt), which every store has; this trait is what a backend
/// implements. What a store promises is written down, clause by clause, in the [contract](crate::contract); the clauses
/// that a method carries out are named in its documentation (`P2`).
///
/// # For implementers
///
/// Five methods are required: [`name`](Self::name), [`capabilities`](Self::capabilities), [`read`](Self::read),
/// [`write`](Self::write) and [`remove`](Self::remove). The others have defaults, which are of two kinds:
///
/// | default | methods |
/// |---|---|
/// | built on other methods: right, but slower than what a backend can do itself, and not atomic | `exists`, `list_prefixes`, `read_many`, `read_each`, `write_many`, `remove_many`, `copy_entry`, `rename_entry`, `read_stream`, `write_stream` |
/// | [`Error::Unsupported`]: implement it, or say [`without`](crate::CapabilitiesBuilder::without) in `capabilities` | `write_if_absent`, `expiry`, `set_expiry`, `list` |
///
/// Where `capabilities` says that [`Contains`](Capability::Contains) or [`Copy`](Capability::Copy) is lacking, the defaults
/// of `exists`, `copy_entry` and `rename_entry` are `Unsupported` too. What you implement yourself has to say so itself.
///
/// You may rely on what the callers' layer has done already:
///
/// - every [`Key`] and [`Prefix`] is valid ([K2, K4](crate::contract#1-keys)): do not check it again;
/// - a batch is never empty ([B4](crate::contract#6-many-at-once));
/// - the two keys of `copy_entry` and `rename_entry` differ ([C4](crate::contract#7-copy-and-rename)).
///
/// In return:
///
/// - expired entries are absent for every method, also where they still take up memory ([T5](crate::contract#4-lifetimes));
/// - `Ttl::Default` is what your builder was given, and for ever if it was given nothing ([T1](crate::contract#4-lifetimes));
///   [`Ttl::or_default`] puts the two together;
/// - a write with a zero lifetime leaves the key absent ([T3](crate::contract#4-lifetimes)), and one with a lifetime that you cannot express is
///   [`Error::InvalidTtl`] before anything is changed ([T4](crate::contract#4-lifetimes)), as a value that you cannot store is
///   [`Error::ValueTooLarge`] ([V3](crate::contract#2-values));
/// - an error names the key and the store; nothing panics ([E1 to E5](crate::contract#9-errors)). What goes wrong in your backend is
///   [`Error::Unavailable`], [`Error::Timeout`] or [`Error::Backend`], each with a [`Failure`](crate::Failure):
///   `Error::Backend(Failure::new(self.name(), "reading the file failed").at(key).caused_by(error))`.
///   [`Error::Io`] is for the caller's own readers, writers and files;
/// - it may be made, called and dropped inside an async runtime ([E4](crate::contract#9-errors)): a backend on an async client runs it on a
///   thread of its own, and does not wait by `Runtime::block_on`, which panics there;
/// - `Debug` shows neither values nor passwords ([E3](crate::contract#9-errors)).
///
/// A whole backend, which the suite of `kv-conformance` accepts without an opt-out:
///
#[doc = "```"]
#[doc = include_str!("../examples/tiny_store.rs")]
#[doc = "```"]
///
/// # For authors of wrappers
///
/// A store that wraps another (to count, to log, to cache) forwards **every** method: one that it leaves
/// out gets the default, which is right and yet slower, and not atomic where the inner store is. Put
/// `#![deny(clippy::missing_trait_methods)]` on the module; `kv-core` does so for its own impls for `&S`, `Box<S>` and
/// `Arc<S>`. Forward `capabilities` too, less what the wrapper takes away.
///
/// A prefix before all keys is better put where keys are made, or left to the backend (`namespace` of `kv-redis`): a wrapper that adds one
/// has no room for it before a key of 250 bytes (K1), has to take it off the keys of listings, and errors of the inner store name the
/// key with it (E1).
///
/// # Both layers in scope
///
/// The names of the two traits do not collide, so both may be imported. The trait is object-safe, and a store can be
/// shared by threads:
///
/// ```
/// fn is_a_store<S: kv_core::KeyValueStore + Send + Sync + ?Sized>() {}
///
/// is_a_store::<dyn kv_core::KeyValueStore>();
/// is_a_store::<std::sync::Arc<dyn kv_core::KeyValueStore>>();
/// ```
///
/// What cannot be shared is no store:
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
    /// What error messages and reports call this store: its kind and, if it has one, its address. Never a password ([E3](crate::contract#9-errors)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.name(), "memory");
    /// ```
    fn name(&self) -> &str;

    /// What this store can do, and its limits ([O1](crate::contract#11-capabilities-and-opt-outs)).
    ///
    /// Cheap: no I/O. Always the same for the same store, but for a [longest lifetime](Capabilities::longest_ttl) that ends at a
    /// fixed date.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// let capabilities = store.capabilities();
    /// assert!(capabilities.supports(Capability::Listing) && capabilities.largest_value().is_none());
    /// ```
    fn capabilities(&self) -> Capabilities;

    /// The value of a live entry, `None` if there is none ([V1](crate::contract#2-values),
    /// [G1, P1, P3](crate::contract#3-read-write-delete), [T5](crate::contract#4-lifetimes)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert_eq!(store.read(key!("absent"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the backend: [`Error::Unavailable`], [`Error::Timeout`], [`Error::Backend`].
    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>>;

    /// Writes an entry, and replaces value and lifetime of the one that is there ([V1 to V3](crate::contract#2-values),
    /// [P1 to P3](crate::contract#3-read-write-delete), [T1 to T4](crate::contract#4-lifetimes)).
    ///
    /// A concurrent reader sees the old value or the new one. With a zero lifetime the key is absent afterwards.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
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
    /// [`Error::Unsupported`] for a lifetime where the store has none; those of the backend.
    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()>;

    /// Writes an entry if no live one is there, atomically; whether it did ([P4](crate::contract#3-read-write-delete)).
    ///
    /// Of several callers at once exactly one gets `true`. The others change neither value nor lifetime. With a zero
    /// lifetime the key is absent afterwards if it was before.
    ///
    /// **Default:** unsupported, since it cannot be made of the other methods.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert!(store.write_if_absent(key!("lock"), "me".into(), Ttl::Default)?);
    /// assert!(!store.write_if_absent(key!("lock"), "you".into(), Ttl::Default)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write), and [`Error::Unsupported`] where the store lacks [`Capability::Create`].
    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let _ = (key, value, ttl);
        Err(Error::unsupported(self.name(), Capability::Create))
    }

    /// Removes an entry; whether there was a live one ([D1](crate::contract#3-read-write-delete)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("greeting"), "hello".into(), Ttl::Default)?;
    /// assert!(store.remove(key!("greeting"))? && !store.remove(key!("greeting"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    fn remove(&self, key: Key<'_>) -> Result<bool>;

    /// Whether there is a live entry ([T5](crate::contract#4-lifetimes)). It does not change its lifetime.
    ///
    /// **Default:** reads the value. Implement it if the store can tell without sending the value.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert!(!store.exists(key!("absent"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the store lacks [`Capability::Contains`]; those of the backend.
    fn exists(&self, key: Key<'_>) -> Result<bool> {
        if !self.capabilities().supports(Capability::Contains) {
            return Err(Error::unsupported(self.name(), Capability::Contains));
        }
        self.read(key).map(|value| value.is_some())
    }

    /// What remains of the lifetime of a live entry, `None` if there is none ([T6](crate::contract#4-lifetimes)).
    ///
    /// Never more than the lifetime it was given plus the resolution of the store.
    ///
    /// Zero may be told in the last moment of an entry that is there still.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("greeting"), "hello".into(), Ttl::Forever)?;
    /// assert_eq!(store.expiry(key!("greeting"))?, Some(Remaining::Forever));
    /// assert_eq!(store.expiry(key!("absent"))?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the store lacks [`Capability::TtlReading`]; those of the backend.
    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let _ = key;
        Err(Error::unsupported(self.name(), Capability::TtlReading))
    }

    /// Sets a new lifetime, counted from this call, without touching the value; whether there was a live entry ([T6](crate::contract#4-lifetimes)).
    ///
    /// A zero lifetime removes it.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert!(!store.set_expiry(key!("absent"), Ttl::Forever)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTtl`], after which the old lifetime holds; [`Error::Unsupported`] where the store lacks
    /// [`Capability::Touch`]; those of the backend.
    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let _ = (key, ttl);
        Err(Error::unsupported(self.name(), Capability::Touch))
    }

    /// The keys of the live entries that begin with `prefix`, lazily and in any order ([L1 to L5](crate::contract#5-listing), [K4](crate::contract#1-keys)).
    ///
    /// Every key that is live during the whole iteration comes exactly once; one that is written or removed meanwhile may
    /// or may not. No lock is held between two keys, and memory is bounded by a page and what removing duplicates
    /// needs; say in your documentation how much that is. What is not this store's is skipped.
    ///
    /// **Default:** unsupported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("session:42"), "ada".into(), Ttl::Default)?;
    /// let keys = store.list(Prefix::new("session:")?)?.collect::<Result<Vec<_>>>()?;
    /// assert_eq!(keys, ["session:42"]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the store lacks [`Capability::Listing`]; those of the backend, here or as an item,
    /// which is the last one.
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let _ = prefix;
        Err(Error::unsupported(self.name(), Capability::Listing))
    }

    /// The distinct parts of the keys that begin with `prefix`, up to and including the first `delimiter` after it; a key
    /// without one comes whole ([L6](crate::contract#5-listing)).
    ///
    /// **Default:** goes through [`list`](Self::list) and remembers the parts that it has yielded. Implement it if the
    /// store can skip the keys that share a part.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
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
            let part = key
                .get(begin..)
                .and_then(|rest| rest.find(delimiter.as_str()))
                .and_then(|at| key.get(..begin + at + delimiter.len()));
            let Some(part) = part else { return Some(Ok(key)) };
            if yielded.contains(part) {
                return None;
            }
            let part = KeyBuf::from(Key::trusted(part));
            yielded.insert(part.clone());
            Some(Ok(part))
        })))
    }

    /// The values of several keys: as many as asked for, in the same order, duplicates included ([B1, B6](crate::contract#6-many-at-once)).
    ///
    /// **Default:** one [`read`](Self::read) each. Implement it if the store can answer several in one round trip, in
    /// chunks where there are many. How long their values are is not known before: the limit of time has to allow for it (N1).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// assert_eq!(store.read_many(&[key!("b"), key!("a")])?, [None, Some("1".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().map(|&key| self.read(key)).collect()
    }

    /// The values of several keys, each with an outcome of its own: as many as asked for, in the same order, duplicates
    /// included ([B7](crate::contract#6-many-at-once)).
    ///
    /// For each key its value, `None` if it is absent, or an error that names the key. An error of one key hides nothing of the
    /// others.
    ///
    /// **Default:** one [`read_many`](Self::read_many); if that fails, one [`read`](Self::read) each. When the reads that fail
    /// have taken as long as that batch, and at least a second, the keys that are left are not asked for: each gets
    /// [`Error::Unavailable`], which says so. So a store whose only server does not answer costs about twice its limit, whatever
    /// the number of keys. Implement it if the store has several servers, of which some can fail, or if it can tell within
    /// one round trip which keys have failed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// let outcomes = store.read_each(&[key!("b"), key!("a")]);
    /// assert_eq!(outcomes.into_iter().collect::<Result<Vec<_>>>()?, [None, Some("1".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        each::read_each(self, keys)
    }

    /// Writes several entries; of those with the same key the last one wins ([B2, B5, B6](crate::contract#6-many-at-once)).
    ///
    /// Not atomic: after an error some may have been written, in any order. What is not named is not touched.
    ///
    /// **Default:** one [`write`](Self::write) each, in order, up to the first that fails. Implement it if the store can
    /// take several in one round trip, in chunks where there are many, by their number and by the bytes of their values.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// # use kv_core::Entry;
    /// let entry = |value| Entry::new(key!("a"), value, Ttl::Default);
    /// store.write_many(vec![entry("1".into()), entry("2".into())])?;
    /// assert_eq!(store.read(key!("a"))?.as_deref(), Some(&b"2"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write); the key in the error is that of the entry that failed, where that is known.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        entries.into_iter().try_for_each(|entry| self.write(entry.key, entry.value, entry.ttl))
    }

    /// Removes several entries; for each key whether there was a live one, `false` for one named before ([B3, B5, B6](crate::contract#6-many-at-once)).
    ///
    /// Not atomic: after an error some may have been removed.
    ///
    /// **Default:** one [`remove`](Self::remove) each. Implement it if the store can take several in one round trip, in
    /// chunks where there are many.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// assert_eq!(store.remove_many(&[key!("a"), key!("a")])?, [true, false]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        keys.iter().map(|&key| self.remove(key)).collect()
    }

    /// Copies value and remaining lifetime of one entry to another key and replaces what is there ([C1, C3](crate::contract#7-copy-and-rename)).
    ///
    /// **Default:** reads the value and what remains of the lifetime, and writes both. Not atomic: if the entry is
    /// replaced meanwhile, the copy may have the value of one and the lifetime of the other. The copy may go earlier or later
    /// than the original by the resolution of the store. Implement it if the store can copy by itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write(key!("a"), "1".into(), Ttl::Default)?;
    /// store.copy_entry(key!("a"), key!("b"))?;
    /// assert!(store.exists(key!("a"))? && store.exists(key!("b"))?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry at `from`, after which `to` is unchanged; [`Error::Unsupported`] where the
    /// store lacks [`Capability::Copy`]; those of the backend.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let capabilities = self.capabilities();
        let lifetimes = capabilities.supports(Capability::Lifetimes);
        let cannot_keep_it = lifetimes && !capabilities.supports(Capability::TtlReading);
        if cannot_keep_it || !capabilities.supports(Capability::Copy) {
            return Err(Error::unsupported(self.name(), Capability::Copy));
        }
        let not_found = || Error::not_found(self.name(), from);
        let value = self.read(from)?.ok_or_else(not_found)?;
        let remaining = if lifetimes { self.expiry(from)?.ok_or_else(not_found)? } else { Remaining::Forever };
        // A store may tell a live entry's last moment as zero, and a zero lifetime would remove the copy.
        let least = capabilities.ttl_resolution().max(Duration::from_nanos(1));
        let ttl = remaining.duration().map_or(Ttl::Forever, |left| Ttl::After(left.max(least)));
        self.write(to, value.into(), ttl)
    }

    /// Moves an entry with its remaining lifetime to another key and replaces what is there ([C2, C3](crate::contract#7-copy-and-rename)).
    ///
    /// **Default:** [`copy_entry`](Self::copy_entry), then [`remove`](Self::remove). Not atomic: meanwhile the entry can
    /// be read at both keys, what is written to `from` is lost, and after an error it may still be there. Implement it if
    /// the store can rename by itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
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

    /// The value of a live entry as a stream, `None` if there is none ([S1](crate::contract#8-streams-and-files)).
    ///
    /// **Default:** reads the value. Implement it if the store can read a part without reading the whole.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// assert!(store.read_stream(key!("absent"))?.is_none());
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the backend.
    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        Ok(self.read(key)?.map(ValueReader::from))
    }

    /// Writes all that `reader` gives, as [`write`](Self::write) does; nothing if the reader fails ([S2](crate::contract#8-streams-and-files)).
    ///
    /// A reader that is [`Interrupted`](std::io::ErrorKind::Interrupted) has not failed: it is read again.
    ///
    /// **Default:** reads all of it into memory, and no more than the largest value that the store takes under any key. Implement
    /// it if the store can take a value piece by piece and drop it again, or if its limit depends on the key.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::*;
    /// # let store = MemoryStore::new();
    /// store.write_stream(key!("a"), &mut "any reader".as_bytes(), Ttl::Default)?;
    /// assert_eq!(store.read(key!("a"))?.as_deref(), Some(&b"any reader"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the reader fails; else as [`write`](Self::write).
    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let (limit, mut value) = (self.capabilities().largest_value(), Vec::new());
        let read = match limit {
            // One byte more than the limit is enough to know that there is too much.
            Some(limit) => reader.take(limit.saturating_add(1)).read_to_end(&mut value),
            None => reader.read_to_end(&mut value),
        };
        read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
        // Where the limit depends on the key, `write` might take what is only the beginning of the value.
        if let Some(limit) = limit.filter(|limit| value.len() as u64 > *limit) {
            return Err(Error::value_too_large(self.name(), key, value.len() as u64, limit));
        }
        self.write(key, value.into_boxed_slice().into(), ttl)
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
    /// The lifetime.
    pub ttl: Ttl,
}

impl<'a> Entry<'a> {
    /// An entry.
    pub const fn new(key: Key<'a>, value: Value<'a>, ttl: Ttl) -> Self {
        Self { key, value, ttl }
    }
}
