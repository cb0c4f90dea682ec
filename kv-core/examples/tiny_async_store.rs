//! A whole async backend: a map behind a lock that is never held over an `.await`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kv_core::{AsyncKeyValueStore, Bytes, Capabilities, Key, KeyBuf, Result, StoreFuture, Ttl, Value};

#[derive(Default)]
pub(crate) struct TinyAsyncStore(Mutex<BTreeMap<KeyBuf, Bytes>>);

impl TinyAsyncStore {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<KeyBuf, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TinyAsyncStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TinyAsyncStore").finish_non_exhaustive()
    }
}

impl AsyncKeyValueStore for TinyAsyncStore {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { Ok(self.entries().get(key.as_str()).cloned()) })
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            self.capabilities().check_ttl(self.name(), key, ttl.or_default(None))?;
            self.entries().insert(key.into(), value.into_bytes());
            Ok(())
        })
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { Ok(self.entries().remove(key.as_str()).is_some()) })
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    use kv_core::AsyncKeyValueStoreExt;

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let store = TinyAsyncStore::default();
        store.put("greeting", "hello").await?;
        assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
        assert!(store.delete("greeting").await?);
        Ok(())
    })
}
