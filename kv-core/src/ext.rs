//! The trait that callers use.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;

use crate::invalid_key::Role;
use crate::reader::CopyError;
use crate::{
    AsKey, AsPrefix, Capabilities, Capability, Change, Entry, Error, Failure, InvalidKey, Key, KeyValueStore, Keys,
    Remaining, Result, Ttl, Value, ValueReader, Version, each, file, update,
};

/// A key-value store, as callers use it.
///
/// Every [`KeyValueStore`] has these methods; nobody implements them by hand. A key may be a `&str`, `String`, [`Key`] or
/// [`KeyBuf`](crate::KeyBuf) (see [`AsKey`]). A value may be a `&str`, `String`, `&[u8]`, `&[u8; N]`, `Vec<u8>` or [`Bytes`]
/// (see [`Value`]); an owned value is not copied. A TTL may be a `Duration` or a [`Ttl`]. The methods work the same on a
/// store, on a reference to a store, and on a `Box` or `Arc` of a store or of `dyn KeyValueStore`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kv_memory::{KeyValueStore, KeyValueStoreExt, MemoryStore};
///
/// let store: Arc<dyn KeyValueStore> = Arc::new(MemoryStore::new());
/// store.put("greeting", "hello")?;
/// store.put_with_ttl(String::from("session:42"), vec![1, 2, 3], Duration::from_secs(1800))?;
/// assert_eq!(store.get("greeting")?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(store.get("absent")?, None);
/// # Ok::<(), kv_memory::Error>(())
/// ```
///
/// # Errors
/// Every method that takes a key can fail with [`Error::InvalidKey`], before anything is sent, and with the errors of a
/// backend: [`Error::Unavailable`], [`Error::Timeout`], [`Error::Backend`]. The section *Errors* of a method names further ones.
pub trait KeyValueStoreExt: KeyValueStore {
    /// Returns the value at a key, or `None` if the key is absent ([G1](crate::contract#3-read-write-delete), [V1](crate::contract#2-values)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("greeting", "hello")?;
    /// assert_eq!(store.get("greeting")?.as_deref(), Some(&b"hello"[..]));
    /// assert_eq!(store.get("absent")?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As every method; see [the trait](KeyValueStoreExt#errors). An absent key is not an error.
    fn get(&self, key: impl AsKey) -> Result<Option<Bytes>> {
        self.read(key.as_key()?)
    }

    /// Stores a value with the store's default TTL, and replaces an existing entry
    /// ([P1, P2, P3](crate::contract#3-read-write-delete)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("greeting", "hello")?;
    /// store.put(String::from("numbers"), vec![1, 2, 3])?; // an owned value is not copied
    /// assert!(matches!(store.put("not a key", ""), Err(Error::InvalidKey(_))));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`], after which the old entry is still there ([V3](crate::contract#2-values)).
    fn put<'v>(&self, key: impl AsKey, value: impl Into<Value<'v>>) -> Result<()> {
        self.write(key.as_key()?, value.into(), Ttl::Default)
    }

    /// Stores a value with a TTL ([T1 to T5](crate::contract#4-ttls)). With a zero TTL the key is absent afterwards.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_with_ttl("session:42", "ada", Duration::from_secs(1800))?;
    /// store.put_with_ttl("setting", "on", Ttl::Forever)?; // whatever the store's default is
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTtl`] and [`Error::ValueTooLarge`], after which the old entry is still there;
    /// [`Error::Unsupported`] if the store lacks [`Ttls`](crate::Capability::Ttls).
    fn put_with_ttl<'v>(&self, key: impl AsKey, value: impl Into<Value<'v>>, ttl: impl Into<Ttl>) -> Result<()> {
        self.write(key.as_key()?, value.into(), ttl.into())
    }

    /// Stores a value with the store's default TTL if the key is absent, atomically; returns whether it did
    /// ([P4](crate::contract#3-read-write-delete)).
    ///
    /// Of several concurrent callers exactly one gets `true`; the others change nothing.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// assert!(store.create("number/1", "ours")?);
    /// assert!(!store.create("number/1", "theirs")?);
    /// assert_eq!(store.get("number/1")?.as_deref(), Some(&b"ours"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`]; [`Error::Unsupported`] if the store lacks [`Create`](crate::Capability::Create).
    fn create<'v>(&self, key: impl AsKey, value: impl Into<Value<'v>>) -> Result<bool> {
        self.write_if_absent(key.as_key()?, value.into(), Ttl::Default)
    }

    /// Stores a value with a TTL if the key is absent, atomically; returns whether it did
    /// ([P4](crate::contract#3-read-write-delete)).
    ///
    /// For a lock, use [`create_versioned`](Self::create_versioned): a [`delete`](Self::delete) of a lock may remove that of the next
    /// holder, if one's own has expired meanwhile.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// // One process sends the reminder each day. Nobody deletes the entry: it expires.
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// assert!(store.create_with_ttl("reminder", "one process", day)?);
    /// assert!(!store.create_with_ttl("reminder", "another", day)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`Error::InvalidTtl`].
    fn create_with_ttl<'v>(&self, key: impl AsKey, value: impl Into<Value<'v>>, ttl: impl Into<Ttl>) -> Result<bool> {
        self.write_if_absent(key.as_key()?, value.into(), ttl.into())
    }

    /// Deletes an entry; returns whether there was one ([D1](crate::contract#3-read-write-delete)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("greeting", "hello")?;
    /// assert!(store.delete("greeting")?);
    /// assert!(!store.delete("greeting")?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As every method; see [the trait](KeyValueStoreExt#errors). An absent key is not an error.
    fn delete(&self, key: impl AsKey) -> Result<bool> {
        self.remove(key.as_key()?)
    }

    /// Whether there is an entry ([T5](crate::contract#4-ttls)). It does not change the TTL.
    ///
    /// The answer may be out of date when it arrives: to act on it, use [`create`](Self::create) or [`get`](Self::get).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("greeting", "")?;
    /// assert!(store.contains("greeting")? && !store.contains("absent")?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Contains`](crate::Capability::Contains).
    fn contains(&self, key: impl AsKey) -> Result<bool> {
        self.exists(key.as_key()?)
    }

    /// Returns the rest of an entry's TTL, or `None` if the key is absent ([T6](crate::contract#4-ttls)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// let minute = Duration::from_secs(60);
    /// store.put_with_ttl("brief", "", minute)?;
    /// store.put("setting", "on")?;
    /// assert!(matches!(store.ttl("brief")?, Some(Remaining::For(left)) if left <= minute));
    /// assert_eq!(store.ttl("setting")?, Some(Remaining::Forever));
    /// assert_eq!(store.ttl("absent")?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`TtlReading`](crate::Capability::TtlReading).
    fn ttl(&self, key: impl AsKey) -> Result<Option<Remaining>> {
        self.expiry(key.as_key()?)
    }

    /// Gives an entry a new TTL, counted from this call; returns whether there was an entry ([T6](crate::contract#4-ttls)). A
    /// zero TTL deletes the entry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_with_ttl("session:42", "ada", Duration::from_secs(60))?;
    /// assert!(store.touch("session:42", Duration::from_secs(1800))?);
    /// assert!(store.touch("session:42", Ttl::Forever)?);
    /// assert!(!store.touch("absent", Ttl::Forever)?); // `touch` makes no entry
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTtl`]; [`Error::Unsupported`] if the store lacks [`Touch`](crate::Capability::Touch).
    fn touch(&self, key: impl AsKey, ttl: impl Into<Ttl>) -> Result<bool> {
        self.set_expiry(key.as_key()?, ttl.into())
    }

    /// Returns the keys that begin with `prefix`, lazily and in no particular order ([L1 to L5](crate::contract#5-listing)). The
    /// empty prefix matches every key.
    ///
    /// Every byte of the prefix is literal. The store may be used inside the loop. A key that is created, is removed or expires
    /// meanwhile may or may not be yielded. The listing borrows the store.
    ///
    /// ```
    /// # use kv_memory::{KeyValueStoreExt, MemoryStore};
    /// # let store = MemoryStore::new();
    /// for key in store.keys("session:")? {
    ///     store.delete(key?)?;
    /// }
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidKey`] if the prefix is invalid; [`Error::Unsupported`] if the store lacks
    /// [`Listing`](crate::Capability::Listing). If the listing fails half-way, its last item is the error.
    fn keys(&self, prefix: impl AsPrefix) -> Result<Keys<'_>> {
        self.list(prefix.as_prefix()?)
    }

    /// Returns the distinct parts of the keys that begin with `prefix`, up to and including the first `delimiter` after it: with
    /// the delimiter `/`, the content of a folder. A key without a delimiter after the prefix is yielded whole
    /// ([L6](crate::contract#5-listing)).
    ///
    /// Memory grows with the number of parts. The delimiter is 1 to 250 characters of the alphabet of keys.
    ///
    /// ```
    /// use kv_memory::{KeyValueStoreExt, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// store.put_many([("a/1", ""), ("a/b/2", ""), ("a/b/3", ""), ("c", "")])?;
    /// let mut in_a = store.prefixes("/", "a/")?.collect::<Result<Vec<_>, _>>()?;
    /// in_a.sort();
    /// assert_eq!(in_a, ["a/1", "a/b/"]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`keys`](Self::keys); [`Error::InvalidKey`] if the delimiter is invalid.
    fn prefixes(&self, delimiter: impl AsKey, prefix: impl AsPrefix) -> Result<Keys<'_>> {
        self.list_prefixes(as_delimiter(&delimiter)?, prefix.as_prefix()?)
    }

    /// Returns as many values as keys, in the same order, duplicates included ([B1](crate::contract#6-many-at-once)).
    ///
    /// ```
    /// use kv_memory::{KeyValueStoreExt, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// store.put_many([("a", "1"), ("c", "3")])?;
    /// let values = store.get_many(["a", "b", "c"])?;
    /// assert_eq!(values, [Some("1".into()), None, Some("3".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As every method; see [the trait](KeyValueStoreExt#errors). Every key is checked before the first is read. The whole call
    /// fails if one of several servers fails, and the values of the others are lost. To get them, use
    /// [`get_each`](Self::get_each).
    fn get_many<I>(&self, keys: I) -> Result<Vec<Option<Bytes>>>
    where
        I: IntoIterator,
        I::Item: AsKey,
    {
        with_keys(keys, |keys| self.read_many(keys))
    }

    /// Returns an outcome for each key: its value, or an error if it could not be read ([B7](crate::contract#6-many-at-once)).
    ///
    /// There are as many outcomes as keys, in the same order, duplicates included. `Ok(None)` is an absent key, never a failure.
    /// Use it with a cache of several servers: while one of them is down, you still get the values of the others, in as many
    /// round trips as with [`get_many`](Self::get_many). A server that does not answer is waited for once, not once per key.
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStoreExt, MemoryStore};
    /// # let store = MemoryStore::new();
    /// store.put_many([("user:1", "ada"), ("user:3", "grace")])?;
    /// let users = ["user:1", "user:2", "user:3", "not a key"];
    /// let mut found = Vec::new();
    /// for (user, outcome) in users.into_iter().zip(store.get_each(users)) {
    ///     match outcome {
    ///         Ok(Some(value)) => found.push((user, value)),
    ///         Ok(None) => {} // There is no such entry.
    ///         Err(error) => eprintln!("{}", error.report()), // There may be one: ask the database.
    ///     }
    /// }
    /// assert_eq!(found, [("user:1", "ada".into()), ("user:3", "grace".into())]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// The call as a whole does not fail. Each key can have the errors of [`get`](Self::get): an invalid key gets
    /// [`Error::InvalidKey`], and the others are still read.
    fn get_each<I>(&self, keys: I) -> Vec<Result<Option<Bytes>>>
    where
        I: IntoIterator,
        I::Item: AsKey,
    {
        let keys = keys.into_iter().collect::<Vec<_>>();
        each::get_each(self, keys.iter().map(AsKey::as_key).collect())
    }

    /// Stores several pairs of key and value. Of several pairs with the same key the last one wins
    /// ([B2](crate::contract#6-many-at-once)).
    ///
    /// It is not atomic: after an error some entries may have been written ([B5](crate::contract#6-many-at-once)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_many([("a", "1"), ("b", "2"), ("a", "3")])?;
    /// assert_eq!(store.get("a")?.as_deref(), Some(&b"3"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put`](Self::put). Every key is checked before the first is written.
    fn put_many<'v, I, K, V>(&self, entries: I) -> Result<()>
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsKey,
        V: Into<Value<'v>>,
    {
        self.put_many_with_ttl(entries.into_iter().map(|(key, value)| (key, value, Ttl::Default)))
    }

    /// Stores several triples of key, value and TTL, as [`put_many`](Self::put_many) does.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// let entries = [("a", "1", Ttl::Forever), ("b", "2", Duration::from_secs(60).into())];
    /// store.put_many_with_ttl(entries)?;
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put_with_ttl`](Self::put_with_ttl). Every key is checked before the first is written.
    fn put_many_with_ttl<'v, I, K, V, T>(&self, entries: I) -> Result<()>
    where
        I: IntoIterator<Item = (K, V, T)>,
        K: AsKey,
        V: Into<Value<'v>>,
        T: Into<Ttl>,
    {
        let (keys, contents): (Vec<K>, Vec<(Value<'_>, Ttl)>) =
            entries.into_iter().map(|(key, value, ttl)| (key, (value.into(), ttl.into()))).unzip();
        let entries = keys
            .iter()
            .zip(contents)
            .map(|(key, (value, ttl))| Ok(Entry::new(key.as_key()?, value, ttl)))
            .collect::<Result<Vec<_>>>()?;
        if entries.is_empty() { Ok(()) } else { self.write_many(entries) }
    }

    /// Deletes several entries; returns for each key whether there was one ([B3](crate::contract#6-many-at-once)). If a key is
    /// given twice, only the first is `true`.
    ///
    /// It is not atomic: after an error some entries may have been deleted ([B5](crate::contract#6-many-at-once)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_many([("a", ""), ("b", "")])?;
    /// assert_eq!(store.delete_many(["a", "x", "a"])?, [true, false, false]);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`delete`](Self::delete). Every key is checked before the first is deleted.
    fn delete_many<I>(&self, keys: I) -> Result<Vec<bool>>
    where
        I: IntoIterator,
        I::Item: AsKey,
    {
        with_keys(keys, |keys| self.remove_many(keys))
    }

    /// Copies the value and the rest of the TTL to another key, and replaces the entry there
    /// ([C1](crate::contract#7-copy-and-rename)).
    ///
    /// Copying a key to itself changes nothing ([C4](crate::contract#7-copy-and-rename)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_with_ttl("draft", "text", Duration::from_secs(60))?;
    /// store.copy("draft", "backup")?; // expires together with the draft
    /// assert_eq!(store.get("backup")?, store.get("draft")?);
    /// assert!(matches!(store.copy("absent", "backup"), Err(Error::NotFound { .. })));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry at `from`, after which `to` is unchanged
    /// ([C3](crate::contract#7-copy-and-rename)); [`Error::Unsupported`] if the store lacks [`Copy`](crate::Capability::Copy).
    fn copy(&self, from: impl AsKey, to: impl AsKey) -> Result<()> {
        let (from, to) = (from.as_key()?, to.as_key()?);
        if from == to { has_entry(self, from) } else { self.copy_entry(from, to) }
    }

    /// Moves an entry with the rest of its TTL to another key, and replaces the entry there
    /// ([C2](crate::contract#7-copy-and-rename)).
    ///
    /// Renaming a key to itself changes nothing ([C4](crate::contract#7-copy-and-rename)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("draft", "text")?;
    /// store.rename("draft", "final")?;
    /// assert!(store.get("draft")?.is_none() && store.get("final")?.is_some());
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    fn rename(&self, from: impl AsKey, to: impl AsKey) -> Result<()> {
        let (from, to) = (from.as_key()?, to.as_key()?);
        if from == to { has_entry(self, from) } else { self.rename_entry(from, to) }
    }

    /// Opens a value as a stream: `Read + Seek` ([S1](crate::contract#8-streams-and-files)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// use std::io::{Read, Seek, SeekFrom};
    ///
    /// store.put("log", "first line, last line")?;
    /// let (mut reader, mut end) = (store.open("log")?, String::new());
    /// reader.seek(SeekFrom::End(-9)).and_then(|_| reader.read_to_string(&mut end)).expect("a value in memory can be read");
    /// assert_eq!(end, "last line");
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry.
    fn open(&self, key: impl AsKey) -> Result<ValueReader> {
        open(self, key.as_key()?)
    }

    /// Stores all that a reader yields, with the store's default TTL ([S2](crate::contract#8-streams-and-files)). It reads until
    /// the end of the reader.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// let reader = std::io::Cursor::new("any reader: a file, a socket, standard input");
    /// store.put_from("text", reader)?;
    /// assert_eq!(store.get("text")?.map(|text| text.len()), Some(44));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the reader fails, [`Error::ValueTooLarge`] if it yields too much. In both cases nothing is stored
    /// and the old entry is still there.
    fn put_from(&self, key: impl AsKey, reader: impl Read) -> Result<()> {
        self.put_from_with_ttl(key, reader, Ttl::Default)
    }

    /// Stores all that a reader yields, with a TTL ([S2](crate::contract#8-streams-and-files)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put_from_with_ttl("upload", &b"any reader"[..], Duration::from_secs(60))?;
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put_from`](Self::put_from), and [`Error::InvalidTtl`].
    fn put_from_with_ttl(&self, key: impl AsKey, mut reader: impl Read, ttl: impl Into<Ttl>) -> Result<()> {
        self.write_stream(key.as_key()?, &mut reader, ttl.into())
    }

    /// Writes a value to a writer and flushes the writer; returns the number of bytes ([S3](crate::contract#8-streams-and-files)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("text", "any writer: a file, a socket, standard output")?;
    /// let mut copy = Vec::new();
    /// assert_eq!(store.get_into("text", &mut copy)?, copy.len() as u64);
    /// assert!(matches!(store.get_into("absent", &mut copy), Err(Error::NotFound { .. })));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry, before anything is written; [`Error::Io`] if the writer fails; an error of the
    /// backend if reading the value fails half-way.
    fn get_into(&self, key: impl AsKey, mut writer: impl Write) -> Result<u64> {
        let key = key.as_key()?;
        let reader = open(self, key)?;
        let copied = reader.copy_to(&mut writer).and_then(|length| Ok(writer.flush().map(|()| length)?));
        copied.map_err(|error| copy_error(self, key, error, || "writing the value that was read".into()))
    }

    /// Stores the content of the file at `path`, with the store's default TTL ([S4](crate::contract#8-streams-and-files)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("report.pdf");
    /// # std::fs::write(&path, "%PDF").unwrap();
    /// store.put_file("report", &path)?; // the file stays where it is
    /// assert_eq!(store.get("report")?.as_deref(), Some(&b"%PDF"[..]));
    /// assert!(matches!(store.put_file("report", "no/such/file"), Err(Error::Io { .. })));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::ValueTooLarge`] if it is too large. In both cases nothing is
    /// stored and the old entry is still there.
    fn put_file(&self, key: impl AsKey, path: impl AsRef<Path>) -> Result<()> {
        self.put_file_with_ttl(key, path, Ttl::Default)
    }

    /// Stores the content of the file at `path`, with a TTL ([S4](crate::contract#8-streams-and-files)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("report.pdf");
    /// # std::fs::write(&path, "%PDF").unwrap();
    /// store.put_file_with_ttl("report", &path, Duration::from_secs(3600))?;
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put_file`](Self::put_file), and [`Error::InvalidTtl`].
    fn put_file_with_ttl(&self, key: impl AsKey, path: impl AsRef<Path>, ttl: impl Into<Ttl>) -> Result<()> {
        let (key, path) = (key.as_key()?, path.as_ref());
        let reading = |error| Error::io(key, format!("reading {}", path.display()), error);
        let mut file = File::open(path).map_err(reading)?;
        self.write_stream(key, &mut file, ttl.into()).map_err(|error| match error {
            Error::Io { source, .. } => reading(source),
            other => other,
        })
    }

    /// Writes a value to the file at `path`; returns the number of bytes ([S4](crate::contract#8-streams-and-files)).
    ///
    /// The value goes to a new file in the same folder, which then replaces the old file and keeps its permissions. Links are
    /// followed. If `path` is not a regular file, such as a pipe, or is `/dev/stdout` or similar, the value is appended to it.
    /// For the standard output, prefer [`get_into`](Self::get_into). The file is not synchronised with the disk.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Remaining, Ttl};
    /// # let store = MemoryStore::new();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("report.pdf");
    /// store.put("report", "%PDF")?;
    /// assert_eq!(store.get_file("report", &path)?, 4);
    /// assert!(matches!(store.get_file("absent", &path), Err(Error::NotFound { .. })));
    /// assert_eq!(std::fs::read(&path).expect("the file is as it was"), b"%PDF");
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry, [`Error::Io`] if the file cannot be written. In both cases an old file stays
    /// whole, and no new file is left.
    fn get_file(&self, key: impl AsKey, path: impl AsRef<Path>) -> Result<u64> {
        let (key, path) = (key.as_key()?, path.as_ref());
        let reader = open(self, key)?;
        file::replace(path, |file| reader.copy_to(file))
            .map_err(|error| copy_error(self, key, error, || format!("writing {}", path.display())))
    }

    /// Returns the value at a key with its version, for [`put_if`](Self::put_if) and [`delete_if`](Self::delete_if)
    /// ([U2](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("title", "draft")?;
    /// let (title, version) = store.get_versioned("title")?.unwrap();
    /// assert_eq!(title, "draft");
    /// assert!(store.delete_if("title", &version)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Versions`](crate::Capability::Versions).
    fn get_versioned(&self, key: impl AsKey) -> Result<Option<(Bytes, Version)>> {
        self.read_versioned(key.as_key()?)
    }

    /// As [`create_with_ttl`](Self::create_with_ttl); returns the version of what was stored, or `None` if there was an entry
    /// ([P4](crate::contract#3-read-write-delete), [U1](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// With the version a lock is renewed and released without reading it, and only by its holder. Store a random token: on a store
    /// without [`ExactVersions`](crate::Capability::ExactVersions) two holders who store the same bytes have the same version. The
    /// guide has [a whole lock](crate::guide::updates#a-lock), and what it cannot promise.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// let minute = Duration::from_secs(60);
    /// let Some(held) = store.create_versioned("lock:report", "9f2b…", minute)? else { return Ok(()) };
    /// let Some(held) = store.put_if("lock:report", "9f2b…", minute, &held)? else { return Ok(()) }; // renewed
    /// assert!(store.delete_if("lock:report", &held)?); // released
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`create_with_ttl`](Self::create_with_ttl); [`Error::Unsupported`] if the store lacks
    /// [`Versions`](crate::Capability::Versions) or [`Create`](crate::Capability::Create).
    fn create_versioned<'v>(
        &self,
        key: impl AsKey,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
    ) -> Result<Option<Version>> {
        self.write_if_absent_versioned(key.as_key()?, value.into(), ttl.into())
    }

    /// Replaces value and TTL of an entry if it still has this version; returns the new version, or `None` if the entry was changed or is
    /// gone ([U1, U2](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// Of several callers who name the same version at most one succeeds; the others change nothing. After an error whose
    /// [outcome is unknown](Error::outcome_unknown), a `None` may be due to one's own success: read again
    /// ([U3](crate::contract#12-conditional-and-atomic-updates)). [Documents](crate::guide::updates#documents) of the guide shows how.
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("title", "draft")?;
    /// let (_, version) = store.get_versioned("title")?.unwrap();
    /// assert!(store.put_if("title", "ours", Ttl::Default, &version)?.is_some());
    /// assert!(store.put_if("title", "theirs", Ttl::Default, &version)?.is_none());
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put_with_ttl`](Self::put_with_ttl); [`Error::Unsupported`] if the store lacks [`Versions`](crate::Capability::Versions).
    fn put_if<'v>(
        &self,
        key: impl AsKey,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
        version: &Version,
    ) -> Result<Option<Version>> {
        self.write_if_version(key.as_key()?, value.into(), ttl.into(), version)
    }

    /// Deletes an entry if it still has this version; returns whether it did
    /// ([U1](crate::contract#12-conditional-and-atomic-updates)). What [`put_if`](Self::put_if) says of an unknown outcome holds here, too.
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("title", "draft")?;
    /// let (_, version) = store.get_versioned("title")?.unwrap();
    /// store.put("title", "theirs")?;
    /// assert!(!store.delete_if("title", &version)?);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Versions`](crate::Capability::Versions).
    fn delete_if(&self, key: impl AsKey, version: &Version) -> Result<bool> {
        self.remove_if_version(key.as_key()?, version)
    }

    /// Changes an entry, however many others do so at the same time: reads it, calls `change` with its value (`None` if it is absent), and
    /// stores the result if nobody has changed the entry meanwhile; otherwise it begins again. Returns whether it stored anything.
    ///
    /// `change` may be called several times. If it returns `None`, the entry stays as it is, and `update` returns `false`. A changed entry
    /// gets the TTL that is named, not the rest of its old one: with [`Ttl::Default`] of a store without a default TTL it stays for ever. This
    /// takes two round trips, and two more for each time that another writer was faster. After some tries it waits for a random time in
    /// between, at most 20 ms, and after 100 tries it gives up. (A hundred threads that change one entry of a redis all the time are done
    /// before that, unless each takes milliseconds for its `change`.) The guide changes [sessions](crate::guide::updates#sliding-sessions)
    /// in this way. A change that may fail, that deletes, or whose outcome you need is one for [`try_update`](Self::try_update).
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("members", "ada")?;
    /// store.update("members", Ttl::Forever, |old| {
    ///     let mut members = old.unwrap_or_default().to_vec();
    ///     members.extend(b",grace");
    ///     Some(members)
    /// })?;
    /// assert_eq!(store.get("members")?.as_deref(), Some(&b"ada,grace"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Contended`] after 100 tries; otherwise as [`get_versioned`](Self::get_versioned), [`put_if`](Self::put_if) and
    /// [`create_versioned`](Self::create_versioned).
    fn update<'v, V: Into<Value<'v>>>(
        &self,
        key: impl AsKey,
        ttl: impl Into<Ttl>,
        change: impl FnMut(Option<Bytes>) -> Option<V>,
    ) -> Result<bool> {
        update::try_update(self, key.as_key()?, ttl.into(), update::as_change(change))
    }

    /// Changes an entry as [`update`](Self::update) does, by a rule that may fail, may delete the entry, and has an outcome: returns what the
    /// rule returned beside the change that was made.
    ///
    /// An error of the rule ends it, and the entry stays as it is. `E` is your type of errors, for instance `Box<dyn Error + Send + Sync>`. An
    /// absent entry stays absent with [`Change::Keep`] and [`Change::Delete`].
    ///
    /// ```
    /// use kv_core::Change;
    /// # use kv_memory::{KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    ///
    /// type BoxError = Box<dyn std::error::Error + Send + Sync>;
    ///
    /// /// Takes some of what is there; returns how many are left.
    /// fn take_from_stock(store: &dyn KeyValueStore, article: &str, count: u32) -> Result<u32, BoxError> {
    ///     store.try_update(format!("stock:{article}"), Ttl::Forever, |stock| {
    ///         let stock: u32 = serde_json::from_slice(&stock.ok_or("no such article")?)?;
    ///         let left = stock.checked_sub(count).ok_or("not as many are left")?;
    ///         let change = if left == 0 { Change::Delete } else { Change::put(serde_json::to_vec(&left)?) };
    ///         Ok((change, left))
    ///     })
    /// }
    ///
    /// let store = MemoryStore::new();
    /// store.put("stock:tea", "3")?;
    /// assert_eq!(take_from_stock(&store, "tea", 2)?, 1);
    /// assert!(take_from_stock(&store, "tea", 2).is_err());
    /// assert_eq!(take_from_stock(&store, "tea", 1)?, 0);
    /// assert!(!store.contains("stock:tea")?);
    /// # Ok::<(), BoxError>(())
    /// ```
    ///
    /// # Errors
    /// What the rule returns; otherwise as [`update`](Self::update) and [`delete_if`](Self::delete_if).
    fn try_update<'v, T, E: From<Error>>(
        &self,
        key: impl AsKey,
        ttl: impl Into<Ttl>,
        rule: impl FnMut(Option<Bytes>) -> Result<(Change<'v>, T), E>,
    ) -> Result<T, E> {
        update::try_update(self, key.as_key().map_err(Error::from)?, ttl.into(), rule)
    }

    /// Returns the value at a key and deletes the entry, in one step: of several concurrent callers one gets the value
    /// ([U4](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// After an error whose [outcome is unknown](Error::outcome_unknown) the value may be lost. To compare a value before it is removed,
    /// use [`get_versioned`](Self::get_versioned) and [`delete_if`](Self::delete_if), as
    /// [one-time codes](crate::guide::updates#one-time-codes) of the guide do.
    ///
    /// ```
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// store.put("code:4711", "ada")?;
    /// assert_eq!(store.take("code:4711")?.as_deref(), Some(&b"ada"[..]));
    /// assert_eq!(store.take("code:4711")?, None);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Take`](crate::Capability::Take).
    fn take(&self, key: impl AsKey) -> Result<Option<Bytes>> {
        self.read_and_remove(key.as_key()?)
    }

    /// Returns the value at a key and gives the entry a new TTL, counted from this call, in one step: a session that expires some time
    /// after it was last used ([T6](crate::contract#4-ttls)). A zero TTL deletes the entry. The guide has
    /// [such sessions](crate::guide::updates#sliding-sessions).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// let half_an_hour = Duration::from_secs(1800);
    /// store.put_with_ttl("session:42", "ada", half_an_hour)?;
    /// assert_eq!(store.get_and_touch("session:42", half_an_hour)?.as_deref(), Some(&b"ada"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`touch`](Self::touch); [`Error::Unsupported`] if the store lacks [`TouchingReads`](crate::Capability::TouchingReads).
    fn get_and_touch(&self, key: impl AsKey, ttl: impl Into<Ttl>) -> Result<Option<Bytes>> {
        self.read_and_set_expiry(key.as_key()?, ttl.into())
    }

    /// Adds to the number at a key, in one step; returns the sum ([U5](crate::contract#12-conditional-and-atomic-updates)).
    ///
    /// An absent entry begins at 0, and only then the TTL counts: a counter that is there keeps its own. So a fixed window of a rate limiter
    /// is [one call](crate::guide::updates#a-limit-for-requests-and-counters). A counter reads as decimal text. There is no decrement:
    /// memcached cannot go below 0.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kv_memory::{Error, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};
    /// # let store = MemoryStore::new();
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(store.increment("requests:ada", 1, minute)?, 1);
    /// assert_eq!(store.increment("requests:ada", 1, minute)?, 2);
    /// assert_eq!(store.get("requests:ada")?.as_deref(), Some(&b"2"[..]));
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotACounter`] if the value is not a number or the sum would exceed `i64::MAX`, after which the entry is unchanged;
    /// [`Error::InvalidTtl`]; [`Error::Unsupported`] if the store lacks [`Counters`](crate::Capability::Counters).
    fn increment(&self, key: impl AsKey, by: u32, ttl: impl Into<Ttl>) -> Result<u64> {
        self.add(key.as_key()?, by, ttl.into())
    }
}

impl<S: KeyValueStore + ?Sized> KeyValueStoreExt for S {}

fn open<S: KeyValueStore + ?Sized>(store: &S, key: Key<'_>) -> Result<ValueReader> {
    store.read_stream(key)?.ok_or_else(|| Error::not_found(store.name(), key))
}

/// The store's error if reading the value failed, the caller's if writing it failed.
fn copy_error<S: KeyValueStore + ?Sized>(
    store: &S,
    key: Key<'_>,
    error: CopyError,
    writing: impl FnOnce() -> String,
) -> Error {
    match error {
        CopyError::Write(error) => Error::io(key, writing(), error),
        CopyError::Read(error) => error.downcast().unwrap_or_else(|error| {
            Error::Backend(Failure::new(store.name(), "reading the value failed half-way").at(key).caused_by(error))
        }),
    }
}

/// Copying a key to itself only checks that there is an entry.
fn has_entry<S: KeyValueStore + ?Sized>(store: &S, key: Key<'_>) -> Result<()> {
    let capabilities = store.capabilities();
    may_copy(store.name(), &capabilities)?;
    let exists =
        if capabilities.supports(Capability::Contains) { store.exists(key)? } else { store.read(key)?.is_some() };
    some_entry(store.name(), key, exists)
}

/// An error unless the store can copy.
pub(crate) fn may_copy(store: &str, capabilities: &Capabilities) -> Result<()> {
    let can = capabilities.supports(Capability::Copy);
    if can { Ok(()) } else { Err(Error::unsupported(store, Capability::Copy)) }
}

/// An error unless there is an entry.
pub(crate) fn some_entry(store: &str, key: Key<'_>, exists: bool) -> Result<()> {
    if exists { Ok(()) } else { Err(Error::not_found(store, key)) }
}

/// The delimiter of a listing of parts.
pub(crate) fn as_delimiter(delimiter: &impl AsKey) -> Result<Key<'_>, InvalidKey> {
    delimiter.as_key().map_err(|error| error.with_role(Role::Delimiter))
}

/// Checks the keys of a batch, and calls `act` with them unless there are none.
fn with_keys<I, T>(keys: I, act: impl FnOnce(&[Key<'_>]) -> Result<Vec<T>>) -> Result<Vec<T>>
where
    I: IntoIterator,
    I::Item: AsKey,
{
    let keys = keys.into_iter().collect::<Vec<_>>();
    let keys = keys.iter().map(AsKey::as_key).collect::<Result<Vec<_>, InvalidKey>>()?;
    if keys.is_empty() { Ok(Vec::new()) } else { act(&keys) }
}
