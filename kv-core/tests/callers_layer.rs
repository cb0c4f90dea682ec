//! What the callers' layer does itself: calls that do not reach the store, and changes by a rule.

use std::time::Duration;
use std::{iter, thread};

use kv_core::{
    Bytes, Capabilities, Capability, Change, Entry, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl,
    Value,
};
use kv_memory::MemoryStore;

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

const HOUR: Duration = Duration::from_secs(3600);

/// What a rule refuses.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the rule refuses it")]
    ByRule,
    #[error(transparent)]
    Store(#[from] Error),
}

#[test]
fn a_rule_that_keeps_or_fails_changes_neither_value_nor_ttl() {
    let store = MemoryStore::new();
    store.put("k", "old").unwrap();
    let seen = store.try_update("k", HOUR, |old| Ok::<_, Error>((Change::Keep, old)));
    assert_eq!(seen.unwrap().as_deref(), Some(&b"old"[..]));
    let failed = store.try_update("k", HOUR, |_| Err::<(Change<'_>, ()), _>(Refused::ByRule));
    assert!(matches!(failed, Err(Refused::ByRule)));
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(store.ttl("k").unwrap(), Some(kv_core::Remaining::Forever));
    for change in [Change::Keep, Change::Delete] {
        store.try_update("absent", HOUR, |old| Ok::<_, Error>((change.clone(), assert_eq!(old, None)))).unwrap();
        assert!(!store.contains("absent").unwrap());
    }
    let invalid = store.try_update("in valid", HOUR, |_| Ok::<_, Refused>((Change::Keep, ())));
    assert!(matches!(invalid, Err(Refused::Store(Error::InvalidKey(_)))));
}

#[test]
fn a_rule_puts_with_the_ttl_creates_and_deletes() {
    let store = MemoryStore::new();
    assert_eq!(store.try_update("k", HOUR, |_| Ok::<_, Error>((Change::put("new"), 1))).unwrap(), 1);
    assert!(matches!(store.ttl("k").unwrap(), Some(kv_core::Remaining::For(left)) if left <= HOUR));
    assert_eq!(store.try_update("k", Ttl::Forever, |_| Ok::<_, Error>((Change::put("newer"), 2))).unwrap(), 2);
    assert_eq!(store.ttl("k").unwrap(), Some(kv_core::Remaining::Forever));
    assert_eq!(store.try_update("k", HOUR, |_| Ok::<_, Error>((Change::Delete, 3))).unwrap(), 3);
    assert!(!store.contains("k").unwrap());
}

/// Threads take from a stock of 1000 until nothing is left: each number is given to one of them, and the last one deletes the entry.
#[test]
fn rules_that_run_at_the_same_time_see_each_other_s_changes() {
    let store = MemoryStore::new();
    store.put("stock", "1000").unwrap();
    let take_one = || {
        store.try_update("stock", HOUR, |stock| {
            let Some(stock) = stock else { return Err(Refused::ByRule) };
            let left = str::from_utf8(&stock).unwrap().parse::<u32>().unwrap() - 1;
            Ok((if left == 0 { Change::Delete } else { Change::put(left.to_string()) }, left))
        })
    };
    let mut taken = thread::scope(|scope| {
        let threads = (0..8).map(|_| scope.spawn(|| iter::from_fn(|| take_one().ok()).collect::<Vec<_>>()));
        threads.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    taken.sort_unstable();
    assert_eq!(taken, (0..1000).collect::<Vec<_>>());
    assert!(!store.contains("stock").unwrap());
}

/// Somebody else is always faster.
#[test]
fn a_rule_is_given_up_after_a_hundred_tries() {
    let store = MemoryStore::new();
    store.put("k", "v").unwrap();
    for change in [Change::put("mine"), Change::Delete] {
        let mut tries = 0;
        let contended = store.try_update("k", HOUR, |_| {
            tries += 1;
            store.put("k", format!("theirs {tries}"))?;
            Ok::<_, Error>((change.clone(), ()))
        });
        assert!(matches!(contended, Err(Error::Contended { .. })), "{contended:?}");
        assert_eq!(tries, 100);
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"theirs 100"[..]));
    }
}
