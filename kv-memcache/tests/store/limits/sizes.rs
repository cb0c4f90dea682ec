//! How large values may be.

use super::*;

const OLD: &str = "old";

/// Checks that the old entry is there, with its TTL.
#[track_caller]
fn is_old(raw: &mut Connection, key: &str) {
    assert_eq!(value_of(raw, key).as_deref(), Some(OLD));
    assert!(seconds_left(raw, key).is_some_and(|left| (900..=1003).contains(&left)));
}

#[track_caller]
fn is_too_large(result: Result<()>, key: &str, size: usize, limit: usize) {
    let error = result.unwrap_err();
    let Error::ValueTooLarge { size: told, limit: told_limit, .. } = &error else { panic!("{}", chain(&error)) };
    assert_eq!((*told, *told_limit, error.key()), (size as u64, limit as u64, Some(key)));
    assert!(!error.is_transient() && !error.outcome_unknown());
}

/// Keys of the smallest and of the largest length.
fn keys() -> [String; 2] {
    ["k".to_owned(), "K".repeat(250)]
}

/// Checks that a value is refused in every way of writing, that the old one stays, and that nothing is sent.
fn one_above_is_refused(server: &Memcached, store: &MemcacheStore, raw: &mut Connection, key: &str, limit: usize) {
    let value = some_bytes(limit + 1);
    store.put_with_ttl(key, OLD, 1000 * SECOND).unwrap();
    let before = server.stat("bytes_read");
    for ttl in [Ttl::Default, Ttl::Forever, Ttl::After(SECOND), Ttl::After(Duration::ZERO)] {
        is_too_large(store.put_with_ttl(key, &value, ttl), key, limit + 1, limit);
    }
    is_too_large(store.put_many([("another", &b"new"[..]), (key, &value)]), key, limit + 1, limit);
    is_too_large(store.create(key, &value).map(drop), key, limit + 1, limit);
    is_too_large(store.put_from(key, &*value), key, limit + 1, limit);
    // The reader need not be read to its end, because it may be endless.
    is_too_large(store.put_from(key, io::repeat(b'x')), key, limit + 1, limit);
    let sent = server.stat("bytes_read") - before;
    // Two questions of seven bytes.
    assert!(sent <= 14, "{sent}");
    is_old(raw, key);
    assert_eq!(seconds_left(raw, "another"), None);
}

/// Checks that the server itself accepts exactly as much, and what it does to an old entry.
fn the_server_refuses_the_same(raw: &mut Connection, key: &str, limit: usize) {
    assert_eq!(raw.ask(format!("set {key} 0 1000 3\r\nold\r\n").as_bytes()).unwrap(), "STORED");
    let value = some_bytes(limit + 1);
    let write = |value: &[u8]| [format!("set {key} 0 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
    let refusal = raw.ask(&write(&value)).unwrap();
    assert_eq!(refusal, "SERVER_ERROR object too large for cache");
    assert_eq!(seconds_left(raw, key), None, "this is why it has to be refused before");
    if limit > 400_000 {
        assert_eq!(raw.ask(&write(&value[..limit])).unwrap(), "STORED");
    }
}

#[test]
fn the_largest_value_of_the_server_is_accepted_and_not_a_byte_more() {
    if !can("the largest value of the server is accepted and not a byte more", Need::Meta) {
        return;
    }
    let options: [(usize, &[&str]); 4] = [
        (1 << 20, &["-I", "1m"]),
        (512 << 10, &["-I", "512k"]),
        (2 << 20, &["-I", "2m"]),
        (8 << 20, &["-I", "8m", "-m", "256"]),
    ];
    for (item, options) in options {
        let (server, store, mut raw) = start(options);
        for key in keys() {
            let limit = item - OVERHEAD - key.len();
            let value = some_bytes(limit);
            let [longer, other] = ["L".repeat(key.len() + 1), "O".repeat(key.len())];
            for (name, write) in WRITES {
                store.delete(&*key).unwrap();
                write(&store, &key, &value, Ttl::After(1000 * SECOND)).unwrap();
                assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{name}, {options:?}");
                assert!(seconds_left(&mut raw, &key).is_some_and(|left| left > 900), "{name}, {options:?}");
            }
            // A value that just fits.
            store.copy(&*key, &*other).unwrap();
            assert!(store.get(&*other).unwrap().is_some_and(|got| got == value), "{options:?}");
            store.delete(&*key).unwrap();
            store.rename(&*other, &*key).unwrap();
            assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{options:?}");
            // With a longer key it is too large.
            if longer.len() <= 250 {
                for to in [longer, "L".repeat(250)] {
                    store.put_with_ttl(&*to, OLD, 1000 * SECOND).unwrap();
                    let limit_of_to = item - OVERHEAD - to.len();
                    is_too_large(store.copy(&*key, &*to), &to, limit, limit_of_to);
                    is_too_large(store.rename(&*key, &*to), &to, limit, limit_of_to);
                    is_old(&mut raw, &to);
                    assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{options:?}");
                }
            }
            one_above_is_refused(&server, &store, &mut raw, &key, limit);
            the_server_refuses_the_same(&mut raw, &key, limit);
        }
    }
}

/// Each new connection asks for the limit, whatever the setting is.
#[test]
fn a_store_that_did_not_ask_heeds_the_limit_of_the_server() {
    if !can("a store that did not ask heeds the limit of the server", Need::Meta) {
        return;
    }
    for (options, item, given) in [
        (["-I", "512k"], 512 << 10, None),
        (["-I", "1m"], 1 << 20, Some(2 << 20)),
        (["-I", "512k"], 512 << 10, Some(8 << 20)),
    ] {
        let server = Memcached::start(&options);
        let mut raw = server.connection();
        let builder = given.into_iter().fold(patient(&server), MemcacheStoreBuilder::largest_item);
        for store in [builder.clone().build().unwrap(), builder.connect().unwrap()] {
            for key in keys() {
                let limit = item - OVERHEAD - key.len();
                let value = some_bytes(limit + 1);
                store.put_with_ttl(&*key, OLD, 1000 * SECOND).unwrap();
                let before = server.stat("bytes_read");
                is_too_large(store.put(&*key, &value), &key, limit + 1, limit);
                is_too_large(store.create(&*key, &value).map(drop), &key, limit + 1, limit);
                is_too_large(store.put_from(&*key, &*value), &key, limit + 1, limit);
                // In one round trip with others: none is written, whichever comes first.
                let (key, value) = (key.as_str(), value.as_slice());
                is_too_large(store.put_many([("first", &b"1"[..]), (key, value)]), key, limit + 1, limit);
                is_too_large(store.put_many([(key, value), ("last", b"1")]), key, limit + 1, limit);
                let sent = server.stat("bytes_read") - before;
                assert!(sent <= 14, "{sent}");
                is_old(&mut raw, key);
                assert_eq!((seconds_left(&mut raw, "first"), seconds_left(&mut raw, "last")), (None, None));
                // The connection is still used.
                store.put(key, &value[..limit]).unwrap();
                assert!(store.get(key).unwrap().is_some_and(|got| got == value[..limit]));
                // By copying, too.
                if key.len() == 1 {
                    store.put_with_ttl("to", OLD, 1000 * SECOND).unwrap();
                    is_too_large(store.copy(key, "to"), "to", limit, limit - 1);
                    is_too_large(store.rename(key, "to"), "to", limit, limit - 1);
                    is_old(&mut raw, "to");
                }
            }
        }
    }
}

/// A setting may be smaller than the limit of the server.
#[test]
fn a_store_heeds_a_smaller_limit_of_its_own() {
    if !can("a store heeds a smaller limit of its own", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let mut raw = server.connection();
    let builder = patient(&server).largest_item(2000);
    for store in [builder.clone().build().unwrap(), builder.connect().unwrap()] {
        for key in keys() {
            let limit = 2000 - OVERHEAD - key.len();
            store.put(&*key, some_bytes(limit)).unwrap();
            store.put_from(&*key, &*some_bytes(limit)).unwrap();
            one_above_is_refused(&server, &store, &mut raw, &key, limit);
        }
    }
}

/// The limit is that of each server, and a batch goes to all.
#[test]
fn each_of_several_servers_has_its_own_limit() {
    if !can("each of several servers has its own limit", Need::Meta) {
        return;
    }
    let servers = [Memcached::start(&["-I", "2m"]), Memcached::start(&["-I", "512k"])];
    let urls = servers.iter().map(Memcached::url);
    let store = patient(&servers[0]).servers(urls).largest_item(2 << 20).build().unwrap();
    let value = some_bytes(1_000_000);
    let (mut taken, mut refused) = (0, 0);
    for number in 0..20 {
        let key = format!("k{number:02}");
        store.put(&key, OLD).unwrap();
        match store.put(&key, &value) {
            Ok(()) => {
                taken += 1;
                assert!(store.get(&key).unwrap().is_some_and(|got| got == value));
            }
            result => {
                refused += 1;
                is_too_large(result, &key, value.len(), (512 << 10) - OVERHEAD - key.len());
                assert_eq!(store.get(&key).unwrap().as_deref(), Some(OLD.as_bytes()));
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} and {refused}");
}
