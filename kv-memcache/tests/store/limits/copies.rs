//! Copies and renames.

use super::*;

/// For ever, short, and longer than the server can count.
const TTLS: [Ttl; 6] = [
    Ttl::Forever,
    Ttl::After(Duration::from_secs(5)),
    Ttl::After(Duration::from_secs(1000)),
    Ttl::After(MONTH),
    Ttl::After(Duration::from_secs(45 * 24 * 60 * 60)),
    Ttl::After(Duration::from_secs(3 * 365 * 24 * 60 * 60)),
];

#[test]
fn a_copy_expires_when_its_original_does() {
    if !can("a copy expires when its original does", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    for (number, ttl) in TTLS.into_iter().enumerate() {
        let [from, to, renamed] = ["from", "to", "renamed"].map(|name| format!("{name}{number}"));
        // The target has another TTL.
        store.put_with_ttl(&to, "old", 7 * DAY).unwrap();
        store.put_with_ttl(&renamed, "old", Ttl::Forever).unwrap();
        store.put_with_ttl(&from, "v", ttl).unwrap();
        let before = seconds_left(&mut raw, &from).unwrap();
        store.copy(&from, &to).unwrap();
        let (original, copy) = (seconds_left(&mut raw, &from).unwrap(), seconds_left(&mut raw, &to).unwrap());
        assert_eq!(value_of(&mut raw, &to).as_deref(), Some("v"));
        // The clock may tick in between, and a date is rounded up.
        let is_same = |copy: i64, original: i64| {
            if ttl == Ttl::Forever { copy == -1 } else { (original - 1..=original + 1).contains(&copy) }
        };
        assert!(is_same(copy, original), "{ttl:?}: {copy} and {original}");
        assert!(original <= before, "{ttl:?}: {original} after {before}");
        store.rename(&from, &renamed).unwrap();
        let (copy, renamed) = (seconds_left(&mut raw, &to).unwrap(), seconds_left(&mut raw, &renamed).unwrap());
        assert!(is_same(renamed, copy), "{ttl:?}: {renamed} and {copy}");
        assert_eq!(seconds_left(&mut raw, &from), None);
        // A copy of a copy as well.
        for _ in 0..5 {
            store.copy(&to, &from).unwrap();
            let (original, copy) = (seconds_left(&mut raw, &to).unwrap(), seconds_left(&mut raw, &from).unwrap());
            assert!(is_same(copy, original), "{ttl:?}: {copy} and {original}");
            store.rename(&from, &to).unwrap();
        }
    }
}

/// When the entry with the shortest TTL is copied, half a second is left. The copy must be there, and then expire.
#[test]
fn a_copy_of_an_entry_that_is_about_to_expire_expires_too() {
    if !can("a copy of an entry that is about to expire expires too", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    store.put("for-ever", "old").unwrap();
    store.put_with_ttl("from", "v", Duration::from_millis(1)).unwrap();
    let deadline = Instant::now() + store.capabilities().ttl_resolution() + SLACK;
    let mut copies = 0;
    // Until it has expired.
    while let Ok(()) = store.copy("from", "to") {
        copies += 1;
        assert!(Instant::now() < deadline, "it is still there");
        let left = seconds_left(&mut raw, "to");
        assert!(left.is_none_or(|left| (0..=4).contains(&left)), "{left:?}");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(copies > 0);
    assert!(matches!(store.copy("from", "for-ever").unwrap_err(), Error::NotFound { .. }));
    assert_eq!(store.get("for-ever").unwrap().as_deref(), Some(&b"old"[..]));
    let deadline = Instant::now() + 2 * SECOND + SLACK;
    while store.get("to").unwrap().is_some() {
        assert!(Instant::now() < deadline, "the copy is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_copy_to_the_same_key_changes_nothing_and_one_from_an_absent_key_is_an_error() {
    if !can("a copy to the same key changes nothing and one from an absent key is an error", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    store.put_with_ttl("k", "v", 1000 * SECOND).unwrap();
    store.copy("k", "k").unwrap();
    store.rename("k", "k").unwrap();
    assert_eq!(value_of(&mut raw, "k").as_deref(), Some("v"));
    assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
    for error in [store.copy("absent", "k").unwrap_err(), store.rename("absent", "k").unwrap_err()] {
        assert!(matches!(&error, Error::NotFound { .. }) && error.key() == Some("absent"), "{}", chain(&error));
    }
    assert_eq!(value_of(&mut raw, "k").as_deref(), Some("v"));
}

/// Runs something while the reply with this number, counted from the next one, is on its way.
fn meanwhile(proxy: &Arc<Proxy>, replies: usize, act: impl FnOnce() + Send + 'static) {
    let next = Arc::clone(proxy);
    proxy.set(Behaviour::Edit(Box::new(move |_| {
        if replies == 0 {
            act();
        } else {
            meanwhile(&next, replies - 1, act);
        }
    })));
}

#[test]
fn a_write_to_the_source_during_a_rename_stays() {
    if !can("a write to the source during a rename stays", Need::Meta) {
        return;
    }
    let writes: [(&str, &[u8], &str, Option<&str>); 5] = [
        ("a new value", b"set from 0 0 3\r\nnew\r\n", "STORED", Some("new")),
        // Only its version has changed.
        ("the same value", b"set from 0 0 3\r\nold\r\n", "STORED", Some("old")),
        ("a longer value", b"append from 0 0 3\r\n+++\r\n", "STORED", Some("old+++")),
        ("a delete", b"delete from\r\n", "DELETED", None),
        ("a ttl", b"touch from 500\r\n", "TOUCHED", None),
    ];
    for (what, command, answer, expected) in writes {
        // While the value is on its way to the store, and while the reply is to the write.
        for replies in [0, 1] {
            let (server, proxy, store, mut raw) = start_behind_a_proxy();
            store.put_with_ttl("from", "old", 1000 * SECOND).unwrap();
            store.put("to", "before").unwrap();
            let mut other = server.connection();
            meanwhile(&proxy, replies, move || assert_eq!(other.ask(command).unwrap(), answer));
            store.rename("from", "to").unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
            assert_eq!(value_of(&mut raw, "from").as_deref(), expected, "{what} after {replies} replies");
            assert_eq!(value_of(&mut raw, "to").as_deref(), Some("old"), "{what} after {replies} replies");
            assert!(seconds_left(&mut raw, "to").is_some_and(|left| (900..=1003).contains(&left)), "{what}");
            assert_eq!(proxy.accepted(), 1, "{what}");
            // The replies are in order.
            store.put("k", "v").unwrap();
            assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        }
    }
}
