//! Calls that the callers' layer answers itself: they do not reach the store.

use std::iter;

use kv_core::{
    Bytes, Capabilities, Capability, Entry, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value,
};

/// A store that cannot be reached: every call is an error.
#[derive(Debug)]
struct Unreachable;

fn was_called<T>() -> Result<T> {
    Err(Error::Unavailable(Failure::new("unreachable", "it was called")))
}

impl KeyValueStore for Unreachable {
    fn name(&self) -> &'static str {
        "unreachable"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().with_all(Capability::ALL).build()
    }

    fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
        was_called()
    }

    fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
        was_called()
    }

    fn remove(&self, _: Key<'_>) -> Result<bool> {
        was_called()
    }

    fn read_many(&self, _: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        was_called()
    }

    fn write_many(&self, _: Vec<Entry<'_>>) -> Result<()> {
        was_called()
    }

    fn remove_many(&self, _: &[Key<'_>]) -> Result<Vec<bool>> {
        was_called()
    }
}

#[test]
fn an_empty_batch_does_not_call_the_store() {
    assert_eq!(Unreachable.get_many(iter::empty::<&str>()).unwrap(), Vec::<Option<Bytes>>::new());
    assert_eq!(Unreachable.delete_many(iter::empty::<&str>()).unwrap(), Vec::<bool>::new());
    Unreachable.put_many(iter::empty::<(&str, &str)>()).unwrap();
    assert!(matches!(Unreachable.get_many(["k"]), Err(Error::Unavailable(_))), "a batch that is not empty does");
}

#[test]
fn an_invalid_key_does_not_reach_the_store() {
    assert!(matches!(Unreachable.get("in valid"), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.put_many([("k", "v"), ("in valid", "v")]), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.get_many(["k", ""]), Err(Error::InvalidKey(_))));
    assert!(matches!(Unreachable.copy("k", "\n"), Err(Error::InvalidKey(_))));
}
