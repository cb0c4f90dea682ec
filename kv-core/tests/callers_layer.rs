//! What the callers' layer answers by itself, so that no backend has to: nothing of this reaches the store.

use std::iter;

use kv_core::{Bytes, Capabilities, Entry, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value};

/// A store that cannot be reached: whatever is asked of it is an error.
#[derive(Debug)]
struct Unreachable;

fn asked<T>() -> Result<T> {
    Err(Error::Unavailable(Failure::new("unreachable", "it was asked")))
}

impl KeyValueStore for Unreachable {
    fn name(&self) -> &'static str {
        "unreachable"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
        asked()
    }

    fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
        asked()
    }

    fn remove(&self, _: Key<'_>) -> Result<bool> {
        asked()
    }

    fn read_many(&self, _: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        asked()
    }

    fn write_many(&self, _: Vec<Entry<'_>>) -> Result<()> {
        asked()
    }

    fn remove_many(&self, _: &[Key<'_>]) -> Result<Vec<bool>> {
        asked()
    }
}

#[test]
fn an_empty_batch_asks_nothing_of_the_store() {
    assert_eq!(Unreachable.get_many(iter::empty::<&str>()).unwrap(), Vec::<Option<Bytes>>::new());
    assert_eq!(Unreachable.delete_many(iter::empty::<&str>()).unwrap(), Vec::<bool>::new());
    Unreachable.put_many(iter::empty::<(&str, &str)>()).unwrap();
    assert!(matches!(Unreachable.get_many(["k"]), Err(Error::Unavailable(_))), "one that is not empty does");
}

#[test]
fn an_invalid_key_asks_nothing_of_the_store() {
    assert!(matches!(Unreachable.get("in valid"), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.put_many([("k", "v"), ("in valid", "v")]), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.get_many(["k", ""]), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.copy("k", "\n"), Err(Error::InvalidKey(_))));
}
