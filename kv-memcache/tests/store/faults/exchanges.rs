//! One exchange of each kind.

use super::*;

/// The name of an exchange, the length of its reply, whether it writes, and the exchange itself.
pub(super) type Exchange = (&'static str, usize, bool, fn(&MemcacheStore, &str) -> Result<()>);

/// An exchange for each kind of reply. The key holds `value(key, 1, 5)`; the other keys are absent. The lengths are those with a tag of
/// one digit.
pub(super) const EXCHANGES: [Exchange; 6] = [
    ("a value", "VA 17 O1\r\nkey/0|1|xxxxx|end\r\n".len(), false, |store, key| {
        store.get(key).map(|value| assert_eq!(parse(&value.unwrap()), (key.to_owned(), 1)))
    }),
    ("a hit", "HD t-1 O1\r\n".len(), false, |store, key| {
        store.ttl(key).map(|left| assert_eq!(left, Some(Remaining::Forever)))
    }),
    ("a miss", "EN O1\r\n".len(), false, |store, key| {
        store.get(format!("no/{key}")).map(|value| assert_eq!(value, None))
    }),
    ("a write", "HD O1\r\n".len(), true, |store, key| store.put(format!("new/{key}"), value(key, 2, 5))),
    ("a create", "NS O1\r\n".len(), true, |store, key| store.create(key, value(key, 3, 5)).map(|won| assert!(!won))),
    ("a delete", "NF O1\r\n".len(), true, |store, key| store.delete(format!("no/{key}")).map(|was| assert!(!was))),
];
