//! A store as a collection of pairs.

use std::collections::BTreeMap;

use kv_core::{Bytes, KeyBuf, KeyValueStore, Prefix, Ttl, Value};

use crate::shard::Slot;
use crate::{MemoryStore, listing};

impl MemoryStore {
    /// All live entries, in the order of their keys; of a [namespace](Self::with_namespace) those in it.
    ///
    /// This is for tests and debugging: it needs memory for all keys and values at once, although it shares their bytes with
    /// the store. It copies each of the 128 parts of the store at one moment, under a lock; different parts at different
    /// moments.
    ///
    /// ```
    /// use kv_memory::{KeyValueStoreExt, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// store.put("greeting", "hello")?;
    /// assert_eq!(store.snapshot()["greeting"], "hello");
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    pub fn snapshot(&self) -> BTreeMap<KeyBuf, Bytes> {
        let mut all = BTreeMap::new();
        for shard in self.shards.iter() {
            let shard = shard.read();
            let mut now = None;
            let live = shard.slots().filter(|slot| slot.is_live(|| *now.get_or_insert_with(|| self.clock.now())));
            let key =
                |slot: &Slot| self.namespace.as_ref().map_or_else(|| Some(slot.key.clone()), |it| it.after(&slot.key));
            let pairs: Vec<_> = live.filter_map(|slot| Some((key(slot)?, slot.value.clone()))).collect();
            drop(shard);
            all.extend(pairs);
        }
        all
    }

    /// Removes all entries and frees their memory; in a [namespace](Self::with_namespace) the live ones in it.
    ///
    /// It is not atomic: entries that are written meanwhile may stay, and a concurrent reader may find some entries absent and
    /// others present.
    pub fn clear(&self) {
        if self.namespace.is_some() {
            let keys = listing::keys(self, Prefix::EMPTY).flatten();
            // A key that is listed is valid and fits.
            return keys.for_each(|key| drop(self.remove(key.as_key())));
        }
        for shard in self.shards.iter() {
            let content = shard.write().take();
            // After the lock, because it takes long.
            drop(content);
        }
    }
}

/// Collects pairs of key and value into a store. Of several pairs with the same key the last one wins
/// ([B2](kv_core::contract#6-many-at-once)).
///
/// Keys are valid already, so it cannot fail. To collect texts, check them on the way:
///
/// ```
/// use kv_memory::{InvalidKey, KeyBuf, KeyValueStoreExt, MemoryStore, key};
///
/// let store = MemoryStore::from_iter([(key!("a"), "1"), (key!("b"), "2")]);
/// assert_eq!(store.len(), 2);
///
/// let texts = [("a", "1"), ("b", "2")];
/// let store = texts
///     .into_iter()
///     .map(|(key, value)| Ok((KeyBuf::new(key)?, value)))
///     .collect::<Result<MemoryStore, InvalidKey>>()?;
/// assert!(store.contains("b")?);
/// # Ok::<(), kv_memory::Error>(())
/// ```
impl<'v, K: Into<KeyBuf>, V: Into<Value<'v>>> FromIterator<(K, V)> for MemoryStore {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let store = Self::new();
        for (key, value) in pairs {
            // A store of the default settings accepts every key and value.
            let _ = store.write(key.into().as_key(), value.into(), Ttl::Default);
        }
        store
    }
}
