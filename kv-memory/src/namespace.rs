//! A part of a store whose keys begin with a name.

use std::fmt;
use std::sync::Arc;

use kv_core::{Error, Key, KeyBuf, Result};

use crate::store::NAME;

/// Room for a key with the namespace before it; used only if there is one.
pub(crate) type Room = Option<[u8; Key::MAX_LEN]>;

/// The names of a namespace and of those around it.
#[derive(Clone)]
pub(crate) struct Namespace {
    /// What the keys begin with: each name, and a colon.
    prefix: Arc<str>,
    /// The name of the store in messages.
    label: Arc<str>,
}

impl Namespace {
    /// The namespace of this name, within another one.
    pub(crate) fn new(around: Option<&Self>, name: &str) -> Result<Self> {
        let store = around.map_or(NAME, Self::label);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            let message = "`with_namespace` takes 1 or more visible ASCII characters without a colon";
            return Err(Error::invalid_setting(store, message));
        }
        let prefix: Arc<str> = format!("{}{name}:", around.map_or("", Self::prefix)).into();
        if prefix.len() >= Key::MAX_LEN {
            let message = format!("the namespace has {} bytes, which leave no room for a key", prefix.len());
            return Err(Error::invalid_setting(store, message));
        }
        let label = format!("{NAME} (namespace {})", prefix.trim_end_matches(':')).into();
        Ok(Self { prefix, label })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn longest_key(&self) -> usize {
        Key::MAX_LEN - self.prefix.len()
    }

    /// A key with the namespace before it.
    pub(crate) fn before<'k>(&self, store: &str, key: Key<'_>, room: &'k mut Room) -> Result<Key<'k>> {
        let too_long = || Error::key_too_long(store, key, self.longest_key());
        let room = room.insert([0; Key::MAX_LEN]);
        let whole = room.get_mut(..self.prefix.len() + key.len()).ok_or_else(too_long)?;
        let (before, after) = whole.split_at_mut(self.prefix.len());
        before.copy_from_slice(self.prefix.as_bytes());
        after.copy_from_slice(key.as_bytes());
        let whole = str::from_utf8(whole).map_err(|_| too_long())?;
        Ok(Key::new(whole)?)
    }

    /// A key of the shards without the namespace; `None` if it is no key of this namespace.
    pub(crate) fn after(&self, key: &KeyBuf) -> Option<KeyBuf> {
        KeyBuf::new(key.strip_prefix(&*self.prefix)?).ok()
    }
}

/// Shows the names.
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.prefix.trim_end_matches(':'), f)
    }
}

#[cfg(test)]
mod tests {
    use kv_core::{KeyValueStore, KeyValueStoreExt};

    use crate::{Error, MemoryStore, Ttl};

    #[test]
    fn a_name_has_visible_characters_no_colon_and_leaves_room_for_a_key() {
        let store = MemoryStore::new();
        for name in ["", "a:b", "two words", "ä", "a\n", &"n".repeat(249), &"n".repeat(1000)] {
            let error = store.with_namespace(name).unwrap_err();
            assert!(matches!(error, Error::InvalidSetting { .. }), "{name:?}: {error}");
        }
        let shortest = store.with_namespace(&"n".repeat(248)).unwrap();
        assert_eq!(shortest.capabilities().longest_key(), 1);
        shortest.put("k", "v").unwrap();
        assert!(matches!(shortest.put("kk", "v"), Err(Error::KeyTooLong { limit: 1, .. })));
        assert!(matches!(shortest.with_namespace("x"), Err(Error::InvalidSetting { .. })));
    }

    #[test]
    fn a_namespace_in_a_namespace_is_a_part_of_it() {
        let store = MemoryStore::new();
        let (one, two) = (store.with_namespace("a").unwrap(), store.with_namespace("b").unwrap());
        let within = one.with_namespace("b").unwrap();
        assert_eq!(within.name(), "memory (namespace a:b)");
        assert_eq!(format!("{within:?}"), r#"MemoryStore { default_ttl: None, namespace: "a:b", .. }"#);
        for (store, value) in [(&store, "root"), (&one, "a"), (&two, "b"), (&within, "ab")] {
            store.put("k", value).unwrap();
        }
        let mut all = store.keys("").unwrap().map(|key| key.unwrap().to_string()).collect::<Vec<_>>();
        all.sort();
        assert_eq!(all, ["a:b:k", "a:k", "b:k", "k"]);
        assert_eq!(one.get("b:k").unwrap().as_deref(), Some(&b"ab"[..]));
        assert_eq!([store.len(), one.len(), two.len(), within.len()], [4, 2, 1, 1]);
        assert_eq!(one.snapshot().into_keys().collect::<Vec<_>>(), ["b:k", "k"]);
        within.clear();
        assert_eq!([store.len(), one.len(), two.len(), within.len()], [3, 1, 1, 0]);
        one.clear();
        assert!(one.is_empty() && within.is_empty() && !two.is_empty());
        assert!(matches!(one.rename("k", "x"), Err(Error::NotFound { key, .. }) if key == "k"));
    }

    #[test]
    fn a_version_is_good_through_every_handle_to_its_entry_and_at_no_other() {
        let store = MemoryStore::new();
        let (one, two) = (store.with_namespace("a").unwrap(), store.with_namespace("b").unwrap());
        for store in [&one, &two] {
            store.put("k", "v").unwrap();
        }
        let (_, version) = store.get_versioned("a:k").unwrap().unwrap();
        assert!(two.put_if("k", "w", Ttl::Forever, &version).unwrap().is_none());
        assert!(!two.delete_if("k", &version).unwrap());
        let version = one.put_if("k", "w", Ttl::Forever, &version).unwrap().unwrap();
        assert!(store.delete_if("a:k", &version).unwrap());
        assert_eq!(two.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    }

    #[test]
    fn what_begins_with_the_name_alone_is_no_entry_of_the_namespace() {
        let store = MemoryStore::new();
        store.put_many([("a:", ""), ("ab", ""), ("a", ""), ("b:k", ""), ("a:k", "")]).unwrap();
        let namespace = store.with_namespace("a").unwrap();
        assert_eq!(namespace.keys("").unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["k"]);
        assert_eq!(namespace.prefixes(":", "").unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["k"]);
    }
}
