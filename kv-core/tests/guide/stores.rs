//! Stores for the tests of the page *Updates*: one that loses replies, and one whose versions are values, as on redis.

#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::fmt;
use std::sync::Mutex;

use kv_core::{
    Bytes, Capabilities, Capability, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value, Version,
};
use kv_memory::MemoryStore;

/// What becomes of a conditional write whose reply does not come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// The server does it: the reply is lost.
    Reply,
    /// The server never gets it.
    Request,
    /// It is under way until the test delivers it.
    Late,
}

type Write<'s> = Box<dyn FnOnce() + Send + 's>;

/// A store that does not answer the next conditional write when the test says so, or lets another caller come in after a read.
pub(crate) struct Unsteady<'s> {
    inner: &'s dyn KeyValueStore,
    next: Mutex<Option<Lost>>,
    under_way: Mutex<Vec<Write<'s>>>,
    after_read: Mutex<Option<Write<'s>>>,
}

impl<'s> Unsteady<'s> {
    pub(crate) fn new(inner: &'s dyn KeyValueStore) -> Self {
        Self { inner, next: Mutex::default(), under_way: Mutex::default(), after_read: Mutex::default() }
    }

    /// The next conditional write is not answered.
    pub(crate) fn lose(&self, what: Lost) {
        *self.next.lock().unwrap() = Some(what);
    }

    /// Another caller does this right after the next read.
    pub(crate) fn after_read(&self, act: impl FnOnce() + Send + 's) {
        *self.after_read.lock().unwrap() = Some(Box::new(act));
    }

    fn is_read<T>(&self, result: T) -> T {
        let act = self.after_read.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
        result
    }

    /// What was under way arrives.
    pub(crate) fn deliver(&self) {
        let arriving = std::mem::take(&mut *self.under_way.lock().unwrap());
        for write in arriving {
            write();
        }
    }

    fn send<T>(&self, key: Key<'_>, write: impl FnOnce(&dyn KeyValueStore) -> Result<T> + Send + 's) -> Result<T> {
        let inner = self.inner;
        match self.next.lock().unwrap().take() {
            None => return write(inner),
            Some(Lost::Reply) => drop(write(inner)),
            Some(Lost::Request) => {}
            Some(Lost::Late) => self.under_way.lock().unwrap().push(Box::new(move || drop(write(inner)))),
        }
        Err(Error::Timeout(Failure::new(self.name(), "no answer").at(key).with_unknown_outcome()))
    }
}

impl fmt::Debug for Unsteady<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsteady")
    }
}

impl KeyValueStore for Unsteady<'_> {
    fn name(&self) -> &'static str {
        "unsteady"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.is_read(self.inner.read(key))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.inner.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.inner.remove(key)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.inner.write_if_absent(key, value, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.is_read(self.inner.read_versioned(key))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let (of, value) = (key.to_key_buf(), value.into_bytes());
        self.send(key, move |inner| inner.create_versioned(of, value, ttl))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let (of, value, version) = (key.to_key_buf(), value.into_bytes(), version.clone());
        self.send(key, move |inner| inner.put_if(of, value, ttl, &version))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let (of, version) = (key.to_key_buf(), version.clone());
        self.send(key, move |inner| inner.delete_if(of, &version))
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.inner.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.inner.add(key, by, ttl)
    }
}

/// A store whose versions are the values. A write waits for others.
#[derive(Debug, Default)]
pub(crate) struct ByContent {
    inner: MemoryStore,
    writing: Mutex<()>,
}

impl ByContent {
    fn has(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        Ok(self.inner.read(key)?.as_ref().is_some_and(|value| version.content_at(key) == Some(value)))
    }
}

impl KeyValueStore for ByContent {
    fn name(&self) -> &'static str {
        "by content"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().to_builder().without(Capability::ExactVersions).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let _writing = self.writing.lock().unwrap();
        self.inner.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let _writing = self.writing.lock().unwrap();
        self.inner.remove(key)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let _writing = self.writing.lock().unwrap();
        self.inner.write_if_absent(key, value, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        Ok(self.inner.read(key)?.map(|value| (value.clone(), Version::of_content(key, value))))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let _writing = self.writing.lock().unwrap();
        let value = value.into_bytes();
        let is_stored = self.inner.write_if_absent(key, (&value).into(), ttl)?;
        Ok(is_stored.then(|| Version::of_content(key, value)))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let _writing = self.writing.lock().unwrap();
        if !self.has(key, version)? {
            return Ok(None);
        }
        let value = value.into_bytes();
        self.inner.write(key, (&value).into(), ttl)?;
        Ok(Some(Version::of_content(key, value)))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let _writing = self.writing.lock().unwrap();
        Ok(self.has(key, version)? && self.inner.remove(key)?)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let _writing = self.writing.lock().unwrap();
        self.inner.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let _writing = self.writing.lock().unwrap();
        self.inner.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let _writing = self.writing.lock().unwrap();
        self.inner.add(key, by, ttl)
    }
}
