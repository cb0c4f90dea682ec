//! A server that is full.

use super::*;

/// Writes more than the server has room for.
fn overfill(server: &Memcached, store: &MemcacheStore, size: usize, entries: usize) {
    let bytes = some_bytes(size);
    let value = |number: usize| [&number.to_be_bytes(), &bytes[8..]].concat();
    for number in 0..entries {
        let key = format!("k{size}:{number}");
        store.put(key, value(number)).unwrap_or_else(|error| panic!("{number}: {}", chain(&error)));
    }
    // The entries that were used longest ago are gone; the others are whole.
    let values = store.get_many((0..entries).map(|number| format!("k{size}:{number}"))).unwrap();
    let is_there: Vec<_> = values.iter().map(Option::is_some).collect();
    for (number, got) in values.into_iter().enumerate() {
        assert!(got.is_none_or(|got| got == value(number)), "{number}");
    }
    assert!(
        is_there[entries - 10..].iter().all(|&there| there),
        "of size {size} the last ones are not all there: {is_there:?}"
    );
    assert!(is_there[..entries / 10].iter().any(|&there| !there), "the first ones are all there");
    assert!(server.stat("evictions") > 0);
    // The others are gone for everything.
    let gone = is_there.iter().position(|&there| !there).unwrap();
    let gone = format!("k{size}:{gone}");
    assert!(!store.delete(&gone).unwrap() && !store.touch(&gone, SECOND).unwrap());
    if !is_old() {
        assert_eq!(store.ttl(&gone).unwrap(), None);
        assert!(matches!(store.copy(&gone, "copy").unwrap_err(), Error::NotFound { .. }));
    }
    assert!(store.create(&gone, "again").unwrap());
    assert_eq!(store.get(&gone).unwrap().as_deref(), Some(&b"again"[..]));
}

#[test]
fn a_server_that_is_full_drops_what_was_used_longest_ago() {
    // A server for each size, because memory for values of one size becomes available for another size only slowly.
    for (size, entries) in [(1_000, 70_000), (100_000, 2_000), ((1 << 20) - OVERHEAD - 250, 200)] {
        let (server, store, _raw) = start(&["-m64"]);
        overfill(&server, &store, size, entries);
    }
    // If that happens, the server still works: the last entries are there.
    let (server, store, _raw) = start(&["-m64"]);
    for size in [100_000, 1_000_000, 30_000, 500_000] {
        let value = some_bytes(size);
        for number in 0..200 {
            let key = format!("k{number}");
            store.put(&key, &value).unwrap_or_else(|error| panic!("{size}: {}", chain(&error)));
            assert!(store.get(&key).unwrap().is_some_and(|got| got == value), "{size}");
        }
    }
    assert!(server.stat("evictions") > 0);
}

/// Several writers at once may find no memory. That does not mean that the store is broken.
#[test]
fn writers_of_the_largest_values_do_not_get_into_each_others_way() {
    let (server, store, _raw) = start(&["-m64"]);
    let value = some_bytes((1 << 20) - OVERHEAD - 250);
    thread::scope(|scope| {
        for writer in 0..8 {
            let (store, value) = (&store, &value);
            scope.spawn(move || {
                for number in 0..25 {
                    let key = format!("{writer}:{number}");
                    match store.put(&key, value) {
                        Ok(()) => {}
                        Err(error) => is_out_of_memory(&error, &key),
                    }
                    let got = store.get(&key).unwrap();
                    assert!(got.is_none_or(|got| got == *value), "{key}");
                }
            });
        }
    });
    assert!(server.stat("evictions") > 0);
    store.put("k", &value).unwrap();
    assert!(store.get("k").unwrap().is_some_and(|got| got == value));
}

#[track_caller]
fn is_out_of_memory(error: &Error, key: &str) {
    let text = chain(error);
    assert!(matches!(error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
    assert!(text.contains("no memory for the value, and has removed whatever was there before"), "{text}");
    assert!(text.contains("SERVER_ERROR out of memory storing object"), "{text}");
    assert_eq!(error.key(), Some(key));
}

/// With `-M` a server refuses a write instead of evicting entries. Then it removes the old value, and the error says so.
#[test]
fn a_server_that_drops_nothing_says_that_it_is_full() {
    let (server, store, mut raw) = start(&["-m64", "-M"]);
    let value = some_bytes(500_000);
    store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
    store.put_with_ttl("batch", "old", 1000 * SECOND).unwrap();
    store.put("stays", "old").unwrap();
    let full =
        (0..1000).find_map(|number| store.put(format!("fill{number}"), &value).err().map(|error| (number, error)));
    let (filled, error) = full.unwrap();
    is_out_of_memory(&error, &format!("fill{filled}"));
    is_out_of_memory(&store.put("k", &value).unwrap_err(), "k");
    assert_eq!(value_of(&mut raw, "k"), None, "as the error says");
    let (small, large) = (&b"new"[..], value.as_slice());
    let error = store.put_many([("first", small), ("batch", large), ("last", small)]).unwrap_err();
    is_out_of_memory(&error, "batch");
    assert_eq!(value_of(&mut raw, "batch"), None, "as the error says");
    // A batch goes on, in other round trips, too: what fits is stored.
    let many: Vec<_> = (0..10).map(|number| (format!("many{number}"), large)).collect();
    let entries = many.iter().map(|(key, value)| (key.as_str(), *value)).chain([("after", small)]);
    let error = store.put_many(entries).unwrap_err();
    assert!(matches!(&error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown());
    assert_eq!(value_of(&mut raw, "after").as_deref(), Some("new"));
    is_out_of_memory(&store.create("absent", &value).unwrap_err(), "absent");
    if !is_old() {
        is_out_of_memory(&store.copy("fill0", "copy").unwrap_err(), "copy");
        is_out_of_memory(&store.rename("fill0", "copy").unwrap_err(), "copy");
    }
    assert!(store.get("fill0").unwrap().is_some_and(|got| got == value), "what could not be renamed is there");
    assert_eq!(value_of(&mut raw, "stays").as_deref(), Some("old"));
    assert_eq!(server.stat("evictions"), 0);
    // Operations that need no memory work; once there is memory again, all do.
    assert!(store.touch("stays", 1000 * SECOND).unwrap());
    let removed = store.delete_many((0..filled).map(|number| format!("fill{number}"))).unwrap();
    assert_eq!(removed, vec![true; filled]);
    store.put("k", &value).unwrap();
    assert!(store.get("k").unwrap().is_some_and(|got| got == value));
}

/// A server with extstore, which keeps large values on a disk, may find that a value is gone. Then its miss carries no tag.
#[test]
fn what_a_server_has_dropped_from_its_disk_is_absent() {
    if !can("what a server has dropped from its disk is absent", Need::Disk) {
        return;
    }
    let on_disk = "ext_page_size=2,ext_wbuf_size=2,ext_path=values:16m,ext_item_size=512,ext_item_age=0,ext_low_ttl=0";
    let (server, store, _raw) = start(&["-m64", "-o", on_disk]);
    let value = some_bytes(8000);
    let keys = (0..8000).map(|number| format!("k{number}")).collect::<Vec<_>>();
    for some in keys.chunks(200) {
        store.put_many(some.iter().map(|key| (key, &value))).unwrap();
        // It needs time to write them to the disk.
        thread::sleep(Duration::from_millis(10));
    }
    wait_until(|| match server.stat("extstore_page_evictions") {
        0 => Err("nothing was dropped from the disk".to_owned()),
        _ => Ok(()),
    });
    let many = store.get_many(&keys[..4000]).unwrap();
    assert!(many.iter().flatten().all(|got| *got == value));
    for key in &keys[4000..] {
        assert!(store.get(key).unwrap().is_none_or(|got| got == value), "{key}");
    }
    assert!(server.stat("miss_from_extstore") > 0);
    assert!(many.iter().any(Option::is_none));
}

/// Three servers that lose all entries, again and again, while the suite records histories. As a store that may evict entries it is
/// correct; as one that keeps them it is not.
#[test]
fn the_histories_of_servers_that_lose_entries_are_those_of_a_store_that_may_evict() {
    let losing = Arc::new(Mutex::new(Vec::new()));
    let suite = || {
        let losing = Arc::clone(&losing);
        Suite::new("losing", move || {
            let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
            let urls = servers.iter().map(Memcached::url);
            let builder = support::builder().servers(urls).contains(true).response_timeout(PATIENCE);
            losing.lock().unwrap().extend(servers.iter().map(Memcached::connection));
            Ok(Fixture::new(builder.clone().connect()?).second_handle(builder.connect()?).guard(servers))
        })
    };
    let is_over = AtomicBool::new(false);
    let [kept, may_evict] = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                thread::sleep(Duration::from_millis(2));
                // One that does not answer went with its fixture.
                losing.lock().unwrap().retain_mut(|server| server.ask(b"flush_all\r\n").is_ok_and(|it| it == "OK"));
            }
        });
        let reason = "everything is flushed every 2 ms";
        let reports =
            [suite(), suite().weaker(Weakness::MayEvict, reason)].map(|suite| suite.run_matching("p1_histories"));
        is_over.store(true, Relaxed);
        reports
    });
    assert_eq!((may_evict.results.len(), may_evict.passed()), (2, true), "{may_evict}");
    assert!(!kept.passed(), "{kept}");
}
