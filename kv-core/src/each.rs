//! Reading several keys, each with its own outcome ([B7](crate::contract#6-many-at-once)): the default for stores that do not
//! implement it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Error, Failure, InvalidKey, Key, KeyValueStore, Result};

/// Once failures have taken this long together, the remaining keys are given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Once all single reads have taken so many times as long, the remaining keys are given up, too: a store may work, and be slow.
pub(crate) const TIMES: u32 = 10;

/// Reads all keys at once. If that fails, reads them one by one until the failures, or all reads, have taken too long.
pub(crate) fn read_each<S: KeyValueStore + ?Sized>(store: &S, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
    read_each_within(PATIENCE, store, keys)
}

fn read_each_within<S: KeyValueStore + ?Sized>(
    patience: Duration,
    store: &S,
    keys: &[Key<'_>],
) -> Vec<Result<Option<Bytes>>> {
    if let [key] = keys {
        return vec![store.read(*key)];
    }
    let started = Instant::now();
    let mut cause = match store.read_many(keys) {
        Ok(values) if values.len() == keys.len() => return values.into_iter().map(Ok).collect(),
        // Nobody knows which keys have failed, or, if there are too few values, which value belongs to which key.
        Ok(_) => String::from("the store returned too few values, or too many"),
        Err(error) => error.report().to_string(),
    };
    let patience = started.elapsed().max(patience);
    let (end, mut failing) = (Instant::now() + patience * TIMES, Duration::ZERO);
    let read = |&key: &Key<'_>| {
        if failing >= patience || Instant::now() >= end {
            return Err(given_up(store.name(), key, patience, &cause));
        }
        let started = Instant::now();
        store.read(key).inspect_err(|error| {
            failing += started.elapsed();
            cause = error.report().to_string();
        })
    };
    keys.iter().map(read).collect()
}

/// The error of a key that was not read, because reading others has taken so long.
pub(crate) fn given_up(store: &str, key: Key<'_>, patience: Duration, cause: &str) -> Error {
    let message = format!(
        "the key was not read: reading all keys at once has failed, and reading them one by one has failed for {patience:.1?}, \
         or has taken {TIMES} times as long"
    );
    Error::Unavailable(Failure::new(store, message).at(key).caused_by(cause))
}

/// The error of a key for which the store returned no outcome: there may be an entry.
pub(crate) fn lost(store: &str, key: Key<'_>) -> Error {
    Error::Backend(Failure::new(store, "the store returned no outcome for this key").at(key))
}

/// Returns an outcome for each key: the store's for a valid key, an error for an invalid one.
pub(crate) fn get_each<S: KeyValueStore + ?Sized>(
    store: &S,
    keys: Vec<Result<Key<'_>, InvalidKey>>,
) -> Vec<Result<Option<Bytes>>> {
    let valid = keys.iter().filter_map(|key| key.as_ref().ok().copied()).collect::<Vec<_>>();
    let outcomes = if valid.is_empty() { Vec::new() } else { store.read_each(&valid) };
    let mut outcomes = outcomes.into_iter();
    // If the store returns fewer outcomes than keys, it has failed for the rest.
    let mut outcome = |key| outcomes.next().unwrap_or_else(|| Err(lost(store.name(), key)));
    keys.into_iter().map(|key| outcome(key?)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::{Capabilities, KeyValueStoreExt, Ttl, Value, key};

    /// A store in which reading some keys fails after a delay.
    #[derive(Debug, Default)]
    struct Partly {
        delay: Duration,
        reads: AtomicUsize,
    }

    impl KeyValueStore for Partly {
        fn name(&self) -> &'static str {
            "partly"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::builder().build()
        }
        fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            if key.starts_with("bad") {
                thread::sleep(self.delay);
                return Err(Error::Timeout(Failure::new("partly", "no answer").at(key)));
            }
            Ok((key != key!("absent")).then(|| Bytes::copy_from_slice(key.as_bytes())))
        }
        fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
            Ok(())
        }
        fn remove(&self, _: Key<'_>) -> Result<bool> {
            Ok(false)
        }
    }

    #[test]
    fn each_key_has_its_value_or_its_own_error() {
        let keys = ["a", "bad/1", "absent", "in valid", "bad/2", "a"];
        let outcomes = Partly::default().get_each(keys);
        let told = |outcome: &Result<Option<Bytes>>| match outcome {
            Ok(value) => value.as_ref().map_or("None".into(), |value| String::from_utf8_lossy(value).into_owned()),
            Err(error) => format!("{}!", error.key().unwrap()),
        };
        let told = outcomes.iter().map(told).collect::<Vec<_>>();
        assert_eq!(told, ["a", "bad/1!", "None", "in valid!", "bad/2!", "a"]);
        assert!(matches!(&outcomes[1], Err(Error::Timeout(_))), "{outcomes:?}");
        assert!(matches!(&outcomes[3], Err(Error::InvalidKey(_))), "{outcomes:?}");
    }

    #[test]
    fn a_batch_that_succeeds_is_read_once_and_an_empty_one_not_at_all() {
        let store = Partly::default();
        assert_eq!(store.get_each(["a", "b"]).len(), 2);
        assert_eq!(store.reads.load(Ordering::Relaxed), 2);
        assert!(store.get_each([""; 0]).is_empty());
        assert!(matches!(store.get_each([""])[..], [Err(Error::InvalidKey(_))]));
        assert_eq!(store.reads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_store_that_does_not_answer_is_not_waited_for_once_per_key() {
        let store = Partly { delay: Duration::from_millis(400), ..Partly::default() };
        let keys = (0..100).map(|number| format!("bad/{number}")).collect::<Vec<_>>();
        let outcomes = store.get_each(&keys);
        // One for the batch, which fails with its first key, and as many as fit into a second.
        assert!(store.reads.load(Ordering::Relaxed) <= 1 + 4, "{store:?}");
        for (key, outcome) in keys.iter().zip(&outcomes) {
            let error = outcome.as_ref().unwrap_err();
            assert_eq!((error.key(), error.is_transient()), (Some(key.as_str()), true), "{error:?}");
        }
        let last = outcomes[99].as_ref().unwrap_err().report().to_string();
        assert!(last.starts_with("partly: the key was not read: reading all keys at once has failed, and "), "{last}");
        assert!(last.ends_with("key \"bad/99\": partly: no answer, key \"bad/2\""), "{last}");
    }

    /// A store that reads no batches, and single keys slowly.
    #[derive(Debug)]
    struct Slow;

    impl KeyValueStore for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::builder().build()
        }
        fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
            thread::sleep(Duration::from_millis(20));
            Ok(None)
        }
        fn read_many(&self, _: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
            Err(Error::Timeout(Failure::new("slow", "no answer")))
        }
        fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
            Ok(())
        }
        fn remove(&self, _: Key<'_>) -> Result<bool> {
            Ok(false)
        }
    }

    #[test]
    fn slow_reads_of_single_keys_are_given_up_too() {
        let outcomes = read_each_within(Duration::from_millis(10), &Slow, &[key!("k"); 100]);
        // As many as fit into a tenth of a second: five, or fewer on a busy machine.
        let read = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
        assert!((1..=6).contains(&read), "{read}");
        assert!(outcomes.iter().skip(read).all(|outcome| matches!(outcome, Err(Error::Unavailable(_)))));
        let last = outcomes[99].as_ref().unwrap_err().report().to_string();
        assert!(last.ends_with("key \"k\": slow: no answer"), "{last}");
    }

    /// Returns fewer outcomes than keys.
    #[derive(Debug)]
    struct Short(Partly);

    impl KeyValueStore for Short {
        fn name(&self) -> &'static str {
            "short"
        }
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }
        fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
            self.0.read(key)
        }
        fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
            self.0.write(key, value, ttl)
        }
        fn remove(&self, key: Key<'_>) -> Result<bool> {
            self.0.remove(key)
        }
        fn read_each(&self, _: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
            vec![Ok(None)]
        }
    }

    #[test]
    fn a_key_without_an_outcome_is_an_error_and_not_absent() {
        let outcomes = Short(Partly::default()).get_each(["in valid", "a", "b"]);
        assert!(matches!(outcomes[1], Ok(None)), "{outcomes:?}");
        assert!(outcomes[2].as_ref().is_err_and(|error| error.key() == Some("b")), "{outcomes:?}");
        assert_eq!(outcomes.len(), 3);
    }
}
