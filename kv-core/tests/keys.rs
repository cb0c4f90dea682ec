//! Conversions and comparisons of keys and prefixes, borrowed and owned.

#![allow(
    clippy::cmp_owned,
    clippy::needless_borrows_for_generic_args,
    clippy::nonminimal_bool,
    reason = "what is tested is that each of the ways compiles"
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use kv_core::{AsKey, AsPrefix, InvalidKey, Key, KeyBuf, KeyFault, Prefix, key};

const CONSTANT: Key<'_> = Key::from_static("constant");
const SESSIONS: Prefix<'_> = Prefix::from_static("session:");

#[test]
fn keys_can_be_made_of_texts_and_bytes() {
    let owned = String::from("k");
    let keys: [Key<'_>; 5] = [
        Key::new("k").unwrap(),
        Key::try_from("k").unwrap(),
        Key::try_from(&owned).unwrap(),
        Key::try_from(&b"k"[..]).unwrap(),
        key!("k"),
    ];
    let owned: [KeyBuf; 7] = [
        KeyBuf::new("k").unwrap(),
        "k".parse().unwrap(),
        KeyBuf::try_from("k").unwrap(),
        KeyBuf::try_from(String::from("k")).unwrap(),
        KeyBuf::try_from(vec![b'k']).unwrap(),
        KeyBuf::try_from(&b"k"[..]).unwrap(),
        KeyBuf::from(key!("k")),
    ];
    for key in &owned {
        assert!(keys.iter().all(|other| other == key && key == other));
        assert_eq!(String::from(key.clone()), "k");
        assert_eq!(&*Arc::<str>::from(key.clone()), "k");
    }
}

#[test]
fn keys_compare_hash_and_print_like_their_text() {
    let key = KeyBuf::from(CONSTANT);
    assert_eq!(key, "constant");
    assert_eq!("constant", CONSTANT);
    assert_eq!(String::from("constant"), key);
    assert_eq!(format!("{key:>10}|{CONSTANT}"), "  constant|constant");
    assert!(key!("a") < key!("b") && KeyBuf::from(key!("a")) < key!("b"));
    assert_eq!(HashMap::from([(key.clone(), 1)]).get("constant"), Some(&1));
    assert_eq!(BTreeMap::from([(key.clone(), 1)]).get("constant"), Some(&1));
    assert!(HashSet::from([CONSTANT]).contains(&key.as_key()));
    assert!(key.ends_with("ant") && CONSTANT.len() == 8, "a key is used like a str");
}

#[test]
fn an_invalid_key_names_its_fault() {
    let fault = |text: &str| Key::new(text).unwrap_err().fault();
    assert_eq!(fault(""), KeyFault::Empty);
    assert_eq!(fault(&"k".repeat(251)), KeyFault::TooLong { len: 251 });
    assert_eq!(fault("a\u{7f}"), KeyFault::Byte { byte: 0x7F, index: 1 });
    assert_eq!(Key::try_from(&b"ab\xFF"[..]).unwrap_err().fault(), KeyFault::Byte { byte: 0xFF, index: 2 });
    assert!(Key::new(&"k".repeat(250)).is_ok());
    let error = Prefix::new("in valid").unwrap_err();
    assert!(error.to_string().starts_with("invalid prefix \"in valid\": "), "{error}");
}

#[test]
fn a_prefix_may_be_empty_or_of_any_length() {
    assert_eq!(Prefix::new("").unwrap(), Prefix::EMPTY);
    assert!(Prefix::new(&"k".repeat(1000)).is_ok());
    assert_eq!(Prefix::from(CONSTANT), "constant");
    assert!("session:42".starts_with(SESSIONS.as_str()));
}

#[test]
fn texts_and_keys_are_accepted_as_keys_and_prefixes() {
    fn is_k(key: impl AsKey + AsPrefix) -> Result<(), InvalidKey> {
        assert_eq!(key.as_key()?, "k");
        assert_eq!(key.as_prefix()?, "k");
        Ok(())
    }
    is_k("k").unwrap();
    is_k(&&"k").unwrap();
    is_k(String::from("k")).unwrap();
    is_k(&String::from("k")).unwrap();
    is_k(Cow::Borrowed("k")).unwrap();
    is_k(Box::<str>::from("k")).unwrap();
    is_k(Arc::<str>::from("k")).unwrap();
    is_k(key!("k")).unwrap();
    is_k(key!("k").to_key_buf()).unwrap();
    is_k(&key!("k").to_key_buf()).unwrap();
}
