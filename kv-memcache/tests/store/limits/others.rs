//! Entries of other clients.

use super::*;

/// The meaning of another client's entry does not matter: it is bytes.
#[test]
fn entries_of_other_clients_are_read_as_they_are() {
    if !can("entries of other clients are read as they are", Need::Meta) {
        return;
    }
    let (server, store, mut raw) = start(&[]);
    let store_with = patient(&server).contains(true).connect().unwrap();
    let fresh = |raw: &mut Connection| {
        assert_eq!(raw.ask(b"set k 123 1000 3\r\nold\r\n").unwrap(), "STORED");
    };
    fresh(&mut raw);
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(store.get_many(["k", "k"]).unwrap(), vec![Some("old".into()); 2]);
    assert!(store_with.contains("k").unwrap());
    let Some(Remaining::For(left)) = store.ttl("k").unwrap() else { panic!("it has a TTL") };
    assert!((900..=1000).contains(&left.as_secs()), "{left:?}");
    assert!(!store.create("k", "new").unwrap());
    // A new TTL does not change their flags.
    assert!(store.touch("k", 5000 * SECOND).unwrap());
    let line = raw.ask(b"mg k f t s\r\n").unwrap();
    assert!(
        ["HD f123 t50", "HD f123 t49", "OK f123 t50", "OK f123 t49"].iter().any(|it| line.starts_with(it)),
        "{line}"
    );
    store.copy("k", "copy").unwrap();
    assert_eq!(store.get("copy").unwrap().as_deref(), Some(&b"old"[..]));
    store.rename("k", "renamed").unwrap();
    assert_eq!((value_of(&mut raw, "k"), value_of(&mut raw, "renamed").as_deref()), (None, Some("old")));
    fresh(&mut raw);
    store.put("k", "new").unwrap();
    assert_eq!(raw.ask(b"mg k f t v\r\n").unwrap(), "VA 3 f0 t-1");
    assert_eq!(raw.line().unwrap(), "new");
    fresh(&mut raw);
    assert!(store.delete("k").unwrap());
    fresh(&mut raw);
    assert_eq!(store.delete_many(["k", "k"]).unwrap(), [true, false]);
    // The largest flags, and an entry that expires at once.
    assert_eq!(raw.ask(b"set k 4294967295 0 1\r\nv\r\n").unwrap(), "STORED");
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever));
    assert_eq!(raw.ask(b"set k 0 -1 1\r\nv\r\n").unwrap(), "STORED");
    assert_eq!(store.get("k").unwrap(), None);
    assert!(store.create("k", "mine").unwrap());
}

/// A client may say by flags how to read a value. A copy has the same flags.
#[test]
fn a_copy_has_the_flags_of_its_original() {
    if !can("a copy has the flags of its original", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    let flags_of = |raw: &mut Connection, key: &str| {
        let line = raw.ask(format!("get {key}\r\n").as_bytes()).unwrap();
        let flags: u32 = line.split(' ').nth(2).unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let value = raw.line().unwrap();
        assert_eq!(raw.line().unwrap(), "END");
        (flags, value)
    };
    for flags in [0, 1, 16, 65_536, u32::MAX] {
        assert_eq!(raw.ask(format!("set k {flags} 1000 5\r\nvalue\r\n").as_bytes()).unwrap(), "STORED");
        // What was there has other ones.
        assert_eq!(raw.ask(b"set copy 7 0 3\r\nold\r\n").unwrap(), "STORED");
        store.copy("k", "copy").unwrap();
        assert_eq!(flags_of(&mut raw, "copy"), (flags, "value".to_owned()));
        store.rename("copy", "renamed").unwrap();
        assert_eq!(flags_of(&mut raw, "renamed"), (flags, "value".to_owned()));
        assert!(seconds_left(&mut raw, "renamed").is_some_and(|left| (900..=1000).contains(&left)));
        assert_eq!(store.get("copy").unwrap(), None);
    }
    // Flags are a part of the item. With them, the largest value no longer fits.
    let largest = some_bytes((1 << 20) - OVERHEAD - 1);
    let write =
        |flags: u32, value: &[u8]| [format!("set k {flags} 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
    assert_eq!(raw.ask(&write(0, &largest)).unwrap(), "STORED");
    store.copy("k", "c").unwrap();
    assert_eq!(raw.ask(&write(1, &largest[4..])).unwrap(), "STORED");
    store.copy("k", "c").unwrap();
    let error = store.copy("k", "copy").unwrap_err();
    assert!(matches!(&error, Error::ValueTooLarge { .. }) && error.key() == Some("copy"), "{}", chain(&error));
    assert_eq!(store.get("copy").unwrap(), None);
}

#[test]
fn counters_are_read_as_their_digits() {
    let (_server, store, mut raw) = start(&[]);
    store.put("n", "10").unwrap();
    assert_eq!(raw.ask(b"incr n 5\r\n").unwrap(), "15");
    assert_eq!(store.get("n").unwrap().as_deref(), Some(&b"15"[..]));
    assert_eq!(raw.ask(b"incr n 985\r\n").unwrap(), "1000");
    assert_eq!(store.get("n").unwrap().as_deref(), Some(&b"1000"[..]));
    // The server may keep the length, and fill it with spaces.
    assert_eq!(raw.ask(b"decr n 1\r\n").unwrap(), "999");
    let value = value_of(&mut raw, "n").unwrap();
    assert!(["999", "999 "].contains(&value.as_str()), "{value:?}");
    assert_eq!(store.get("n").unwrap().as_deref(), Some(value.as_bytes()));
    if is_old() {
        return;
    }
    store.copy("n", "m").unwrap();
    assert_eq!(store.get("m").unwrap().as_deref(), Some(value.as_bytes()));
    // Made by the meta protocol, with a TTL.
    assert!(raw.ask(b"ma c N100 J7 v\r\n").unwrap().starts_with("VA 1"));
    assert_eq!(raw.line().unwrap(), "7");
    assert_eq!(store.get("c").unwrap().as_deref(), Some(&b"7"[..]));
    assert!(store.touch("c", 1000 * SECOND).unwrap());
    assert!(store.delete("c").unwrap());
    assert_eq!(raw.ask(b"incr c 1\r\n").unwrap(), "NOT_FOUND");
}

type Act = fn(&MemcacheStore);

/// Such replies have flags that were not asked for.
#[test]
fn an_entry_that_another_client_marked_stale_is_read_like_any_other() {
    if !can("an entry that another client marked stale is read like any other", Need::Meta) {
        return;
    }
    let (server, _, mut raw) = start(&[]);
    let store = patient(&server).contains(true).pool_size(1).connect().unwrap();
    let connections = server.stat("total_connections");
    let acts: [(&str, Act); 7] = [
        ("get", |store| assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"old"[..]))),
        ("get_many", |store| assert_eq!(store.get_many(["k", "k"]).unwrap(), vec![Some("old".into()); 2])),
        ("contains", |store| assert!(store.contains("k").unwrap())),
        ("ttl", |store| assert!(store.ttl("k").unwrap().is_some())),
        ("touch", |store| assert!(store.touch("k", 500 * SECOND).unwrap())),
        ("copy", |store| store.copy("k", "copy").unwrap()),
        ("delete", |store| assert!(store.delete("k").unwrap())),
    ];
    for (name, act) in acts {
        assert_eq!(raw.ask(b"set k 0 0 3\r\nold\r\n").unwrap(), "STORED");
        let marked = raw.ask(b"md k I T1000\r\n").unwrap();
        assert!(["HD", "OK"].contains(&marked.trim()), "{marked}");
        act(&store);
        // Twice, because the first reader is told to refresh it.
        if name != "delete" {
            act(&store);
        }
    }
    // And one that is about to be made by another client.
    assert_eq!(raw.ask(b"mg vivid v N100\r\n").unwrap(), "VA 0 W");
    assert_eq!(raw.line().unwrap(), "");
    assert_eq!(store.get("vivid").unwrap().as_deref(), Some(&b""[..]));
    assert!(!store.create("vivid", "v").unwrap());
    store.put("vivid", "v").unwrap();
    assert_eq!(store.get("vivid").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(server.stat("total_connections"), connections + 1, "no connection was given up");
}
