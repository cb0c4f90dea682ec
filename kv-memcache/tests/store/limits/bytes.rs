//! Keys and values of all kinds.

use super::*;

#[track_caller]
fn has(store: &MemcacheStore, key: &str, value: &[u8]) {
    let got = store.get(key).unwrap();
    assert!(
        got.as_deref() == Some(value),
        "{key}: {:?} is {:?}",
        value.escape_ascii(),
        got.map(|got| got.escape_ascii().to_string())
    );
}

/// Writes and reads this in every way.
fn come_back(store: &MemcacheStore, entries: &[(String, Vec<u8>)]) {
    for (name, write) in WRITES {
        let keys = entries.iter().map(|(key, _)| key);
        store.delete_many(keys.clone()).unwrap();
        for (key, value) in entries {
            write(store, key, value, Ttl::Default).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        }
        // No value belongs to another key.
        let together = store.get_many(keys).unwrap();
        for ((key, value), together) in entries.iter().zip(together) {
            has(store, key, value);
            assert!(together.as_deref() == Some(value), "{name} {key}");
        }
    }
    store.put_many(entries.iter().map(|(key, value)| (key, value))).unwrap();
    let mut open = Vec::new();
    for (key, value) in entries {
        has(store, key, value);
        open.clear();
        store.open(key).unwrap().read_to_end(&mut open).unwrap();
        assert!(open == *value, "{key}");
        open.clear();
        assert_eq!(store.get_into(key, &mut open).unwrap(), value.len() as u64);
        assert!(open == *value, "{key}");
        if store.capabilities().supports(Capability::Copy) {
            // To a key that none of them is, and back.
            let other = format!("{}!", "~".repeat(10));
            store.copy(key, &other).unwrap();
            has(store, &other, value);
            store.delete(key).unwrap();
            store.rename(&other, key).unwrap();
            has(store, key, value);
            assert_eq!(store.get(&other).unwrap(), None);
        }
        assert!(!store.create(key, "other").unwrap());
        assert!(store.touch(key, 100 * SECOND).unwrap());
        has(store, key, value);
    }
    let removed = store.delete_many(entries.iter().map(|(key, _)| key)).unwrap();
    assert_eq!(removed, vec![true; entries.len()]);
}

#[test]
fn values_that_look_like_the_protocol_come_back() {
    let (server, store, _raw) = start(&[]);
    let mut values: Vec<Vec<u8>> = [
        &b""[..],
        b"END\r\n",
        b"VA 1 O7\r\n",
        b"VA 1 O1\r\nv\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"HD",
        b"HD\r\n",
        b"HD O3\r\n",
        b"EN\r\n",
        b"NS\r\nNF\r\nEX\r\nMN\r\n",
        b"\0",
        b"\0\0\0\0",
        b"v\0",
        b"ms k 1\r\nv\r\n",
        b"\r\nms k 1\r\nv\r\n",
        b"flush_all\r\n",
        b"\r\nquit\r\n",
        b"SERVER_ERROR out of memory storing object\r\n",
        b"ERROR\r\n",
        b"VALUE k 0 1\r\nv\r\nEND\r\n",
        b"\x80\x01\x00\x00",
        b"\xff\xfe\xfd",
        b" ",
        b"  \t ",
        b"0",
        b"-1",
        b"18446744073709551616",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    values.push((0..=255).collect());
    values.push(b"\r\n".repeat(10_000));
    values.push(b"ms k 1\r\nv\r\n".repeat(5_000));
    let entries: Vec<_> = (0..).map(|number| format!("key{number}")).zip(values).collect();
    come_back(&store, &entries);
    assert_eq!(store.get("k").unwrap(), None, "nothing of it was taken for a command");
    assert_eq!(server.stat("cmd_flush"), 0);
}

/// Where the store begins to send values from where they are, the server to split items, and the buffers end.
#[test]
fn values_of_all_sizes_come_back() {
    let (_server, store, _raw) = start(&["-m256"]);
    let around = |size: usize| [size - 1, size, size + 1];
    let sizes = [1_usize, 2, 3, 100, 1000].into_iter().chain((9..20).map(|power| 1 << power).flat_map(around));
    let entries: Vec<_> = sizes.map(|size| (format!("size{size}"), some_bytes(size))).collect();
    come_back(&store, &entries);
}

#[test]
fn keys_of_all_characters_and_lengths_are_keys() {
    let (server, store, _raw) = start(&[]);
    let characters = ('!'..='~').collect::<String>();
    assert_eq!(characters.len(), 94);
    let mut keys: Vec<_> = characters.chars().map(String::from).collect();
    keys.push(characters.clone());
    keys.push(characters.chars().rev().collect());
    keys.push(characters.chars().cycle().take(250).collect());
    for length in [2, 3, 127, 128, 248, 249, 250] {
        keys.push("k".repeat(length));
        keys.push(format!("{}x", "k".repeat(length - 1)));
    }
    // Words and flags of the protocol, and what might be decoded.
    for key in [
        "mg", "ms", "get", "set", "noreply", "v", "T0", "O1", "b", "%41", "k%20k", "stats", "quit", "EN", "0", "-1",
        "\\r\\n",
    ] {
        keys.push(key.into());
    }
    keys.sort();
    keys.dedup();
    let entries: Vec<_> = keys.into_iter().map(|key| (key.clone(), format!("of {key}").into_bytes())).collect();
    come_back(&store, &entries);
    // One before 1.5.14 has them expire, and drops them later.
    assert!(server.stat("curr_items") == 0 || !support::is_from([1, 5, 14]), "none was taken for another one");
}

#[test]
fn an_invalid_key_is_refused_before_anything_is_sent() {
    let (server, store, _raw) = start(&[]);
    let before = server.stat("bytes_read");
    let long = "k".repeat(251);
    for key in ["", " ", "a b", "k\r\n", "k\r\nflush_all\r\n", "k\0", "\u{7f}", "ü", "k\t", &long] {
        for error in [
            store.get(key).unwrap_err(),
            store.put(key, "v").unwrap_err(),
            store.create(key, "v").unwrap_err(),
            store.delete(key).unwrap_err(),
            store.ttl(key).unwrap_err(),
            store.touch(key, SECOND).unwrap_err(),
            store.copy(key, "k").unwrap_err(),
            store.copy("k", key).unwrap_err(),
            store.rename(key, "k").unwrap_err(),
            store.get_many(["k", key]).unwrap_err(),
            store.put_many([("k", "v"), (key, "v")]).unwrap_err(),
            store.delete_many(["k", key]).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::InvalidKey(_)), "{}", chain(&error));
        }
    }
    let sent = server.stat("bytes_read") - before;
    assert!(sent <= 14, "{sent}");
}
