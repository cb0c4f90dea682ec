//! The interface for callers: argument types, pointers to stores, values that are not copied, listings.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kv_memory::{
    Bytes, Error, InvalidKey, KeyBuf, KeyValueStore, KeyValueStoreExt, ManualClock, MemoryStore, Result, key,
};

const SECOND: Duration = Duration::from_secs(1);

fn exercise(store: impl KeyValueStore) -> Result<()> {
    store.put("a", "1")?;
    store.put(String::from("b"), String::from("2"))?;
    store.put(key!("c"), b"3")?;
    store.put(KeyBuf::new("d")?, vec![b'4'])?;
    store.put(Cow::Borrowed("e"), Bytes::from_static(b"5"))?;
    store.put_many([("f", &b"6"[..])])?;
    assert_eq!(store.get_many(["a", "b", "c", "d", "e", "f"])?.concat_values(), "123456");
    assert_eq!(store.get("g")?, None);
    assert!(store.contains("a")? && store.delete("a")? && !store.delete("a")? && !store.contains("a")?);
    assert!(store.create("a", "new")? && !store.create("a", "newer")?);
    store.copy("a", "copy")?;
    store.rename("a", "moved")?;
    store.rename("moved", "moved")?;
    assert_eq!(store.get_many(["a", "copy", "moved"])?, [None, Some("new".into()), Some("new".into())]);
    assert!(matches!(store.copy("a", "copy"), Err(Error::NotFound { .. })));
    assert_eq!(store.get("copy")?.as_deref(), Some(&b"new"[..]));
    assert!(matches!(store.put("two words", ""), Err(Error::InvalidKey(_))));
    assert_eq!(store.keys("")?.count(), 7);
    Ok(())
}

trait Concat {
    fn concat_values(&self) -> String;
}

impl Concat for Vec<Option<Bytes>> {
    fn concat_values(&self) -> String {
        self.iter().flatten().map(|value| String::from_utf8_lossy(value)).collect()
    }
}

#[test]
fn every_pointer_to_a_store_is_a_store() {
    exercise(MemoryStore::new()).unwrap();
    let store = MemoryStore::new();
    exercise(&store).unwrap();
    assert_eq!(store.len(), 7);
    exercise(Box::new(MemoryStore::new()) as Box<dyn KeyValueStore>).unwrap();
    exercise(Arc::new(MemoryStore::new()) as Arc<dyn KeyValueStore>).unwrap();
}

#[test]
fn an_owned_value_is_stored_read_and_copied_without_copying_its_bytes() {
    let store = MemoryStore::new();
    let value = vec![7; 1000];
    let at = value.as_ptr();
    store.put("a", value).unwrap();
    store.copy("a", "b").unwrap();
    store.rename("b", "c").unwrap();
    for key in ["a", "c"] {
        assert_eq!(store.get(key).unwrap().unwrap().as_ptr(), at);
    }
    assert_eq!(store.snapshot()["a"].as_ptr(), at);
}

#[test]
fn a_value_outlives_its_entry() {
    let store = MemoryStore::new();
    store.put("a", "old").unwrap();
    let value = store.get("a").unwrap().unwrap();
    let mut reader = store.open("a").unwrap();
    store.put("a", "new").unwrap();
    store.clear();
    assert_eq!(value, "old");
    assert_eq!(std::io::read_to_string(&mut reader).unwrap(), "old");
}

#[test]
fn the_store_may_be_used_inside_a_listing() {
    let store = MemoryStore::new();
    for number in 0..5000 {
        store.put(format!("old:{number}"), "").unwrap();
    }
    let mut seen = BTreeSet::new();
    for key in store.keys("old:").unwrap() {
        let key = key.unwrap();
        store.rename(&key, format!("new:{key}")).unwrap();
        store.put("other", "").unwrap();
        assert!(store.keys("new:").unwrap().next().is_some());
        assert!(seen.insert(key));
    }
    assert_eq!(seen.len(), 5000);
    for part in store.prefixes(":", "").unwrap() {
        store.delete(part.unwrap()).unwrap();
        store.put("another", "").unwrap();
    }
    assert_eq!(store.len(), 5001);
}

#[test]
fn a_listing_may_be_dropped_early() {
    let store = MemoryStore::from_iter([(key!("a"), ""), (key!("b"), "")]);
    let mut keys = store.keys("").unwrap();
    keys.next().unwrap().unwrap();
    store.put("c", "").unwrap();
    drop(keys);
    assert_eq!(store.keys("").unwrap().count(), 3);
}

#[test]
fn a_prefix_is_literal_and_may_contain_every_character_of_the_alphabet() {
    let names = ["*", "*a", "[a]", "a", "aa", "ab", "a~", "a~~", "b", "!", "~", "~~"];
    let store = names.iter().map(|name| (KeyBuf::new(name).unwrap(), "")).collect::<MemoryStore>();
    for prefix in ["", "*", "[", "a", "a~", "aa", "~", "~~", "~~~", "!", "?", &"~".repeat(300)] {
        let mut listed = store.keys(prefix).unwrap().collect::<Result<Vec<_>>>().unwrap();
        listed.sort();
        let mut expected = names.iter().filter(|name| name.starts_with(prefix)).collect::<Vec<_>>();
        expected.sort();
        assert!(listed.iter().eq(expected), "{prefix:?}");
    }
}

#[test]
fn prefixes_are_those_that_a_search_of_every_key_finds() {
    let names = ["a", "a/", "a/b", "a/b/c", "a//b", "b/~/c", "b/~", "b", "/", "//", "a~b", "abab", "aba"];
    let store = names.iter().map(|name| (KeyBuf::new(name).unwrap(), "")).collect::<MemoryStore>();
    for delimiter in ["/", "//", "~", "ab", "b", "a"] {
        for prefix in ["", "a", "a/", "b/", "/", "ab", "a~b", "none"] {
            let part = |name: &str| {
                let at = name[prefix.len()..].find(delimiter)?;
                Some(name[..prefix.len() + at + delimiter.len()].to_owned())
            };
            let with = names.iter().filter(|name| name.starts_with(prefix));
            let expected = with.map(|name| part(name).unwrap_or((*name).to_owned())).collect::<BTreeSet<_>>();
            let mut listed = store.prefixes(delimiter, prefix).unwrap().collect::<Result<Vec<_>>>().unwrap();
            listed.sort();
            assert!(listed.iter().eq(&expected), "{delimiter:?} {prefix:?}: {listed:?}");
        }
    }
}

#[test]
fn a_store_is_a_collection_of_pairs() {
    let store = MemoryStore::from_iter([(key!("a"), "1"), (key!("b"), "2"), (key!("a"), "3")]);
    assert_eq!(store.len(), 2);
    store.put("c", vec![b'4']).unwrap();
    let pairs = store.snapshot().into_iter().map(|(key, value)| (String::from(key), value)).collect::<Vec<_>>();
    assert_eq!(pairs, [("a".into(), "3".into()), ("b".into(), "2".into()), ("c".into(), Bytes::from("4"))]);
    assert!(!store.is_empty());
    store.clear();
    assert!(store.is_empty() && store.snapshot().is_empty() && store.keys("").unwrap().next().is_none());

    let checked = ["a", "two words"].into_iter().map(|name| Ok((KeyBuf::new(name)?, "")));
    assert!(checked.collect::<Result<MemoryStore, InvalidKey>>().is_err());
}

#[test]
fn a_clone_is_a_handle_to_the_same_entries_and_clock() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).default_ttl(SECOND).build().unwrap();
    let other = store.clone();
    store.put("a", "1").unwrap();
    assert!(other.get("a").unwrap().unwrap() == "1" && !other.create("a", "2").unwrap());
    other.put("b", "2").unwrap();
    assert_eq!((store.len(), other.len()), (2, 2));
    clock.advance(SECOND);
    assert!(store.is_empty() && other.is_empty());
    drop(store);
    other.put("a", "3").unwrap();
    assert_eq!(other.clone().get("a").unwrap().unwrap(), "3");
}

#[test]
fn debug_shows_no_value_and_no_key() {
    let store = MemoryStore::from_iter([(key!("name"), "secret")]);
    let shown = format!("{store:?} {:?}", MemoryStore::builder());
    assert!(!shown.contains("secret") && !shown.contains("name"), "{shown}");
}

#[test]
fn a_value_may_use_the_store_when_it_is_dropped() {
    struct UsesStore(Arc<MemoryStore>);

    impl AsRef<[u8]> for UsesStore {
        fn as_ref(&self) -> &[u8] {
            b"value"
        }
    }

    impl Drop for UsesStore {
        fn drop(&mut self) {
            // If a lock were still held, this would wait for ever.
            self.0.keys("").unwrap().for_each(drop);
            self.0.put("dropped", "").unwrap();
        }
    }

    let store = Arc::new(MemoryStore::new());
    let value = || Bytes::from_owner(UsesStore(store.clone()));
    store.put("a", value()).unwrap();
    store.put("a", "").unwrap();
    store.put("a", value()).unwrap();
    store.delete("a").unwrap();
    store.put("a", value()).unwrap();
    store.put("b", "").unwrap();
    store.rename("b", "a").unwrap();
    assert!(!store.create("a", value()).unwrap());
    assert!(store.put_with_ttl("a", value(), std::time::Duration::MAX).is_err());
    store.put("a", value()).unwrap();
    assert!(store.contains("dropped").unwrap());
    store.clear();
}
