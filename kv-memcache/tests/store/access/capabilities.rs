//! The capabilities of a store, and unsupported operations.

use super::*;

#[test]
fn a_store_says_what_it_can_do() {
    let server = Memcached::start(&[]);
    let store = patient().url(server.url()).connect().unwrap();
    let lacking = |store: &MemcacheStore| {
        let capabilities = store.capabilities();
        Capability::ALL.iter().copied().filter(|&one| !capabilities.supports(one)).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&store), [Capability::Listing, Capability::Contains]);
    let with = patient().url(server.url()).contains(true).connect().unwrap();
    assert_eq!(lacking(&with), [Capability::Listing]);
    let without = patient().url(server.url()).contains(true).contains(false).connect().unwrap();
    assert_eq!(lacking(&without), [Capability::Listing, Capability::Contains]);
    let capabilities = store.capabilities();
    let resolution = capabilities.ttl_resolution();
    assert_eq!(resolution, Duration::from_millis(4400));
    let days = capabilities.longest_ttl().as_secs() / 86_400;
    assert!(days >= 29 && capabilities.longest_ttl().subsec_nanos() == 0, "{days} days");
}

/// Item, key and 59 bytes: for the longest key, that is 309 less than `-I`.
#[test]
fn the_largest_value_is_what_the_server_takes() {
    const LESS: u64 = 59 + 250;
    let of = |store: MemcacheStore| store.capabilities().largest_value();
    for (option, bytes) in [("512k", 512 << 10), ("1m", 1 << 20), ("2m", 2 << 20), ("8m", 8 << 20)] {
        let server = Memcached::start(&["-I", option]);
        let builder = || patient().url(server.url());
        assert_eq!(of(builder().connect().unwrap()), Some(bytes - LESS), "{option}");
        // Before a connection, it is memcached's default.
        assert_eq!(of(builder().build().unwrap()), Some((1 << 20) - LESS), "{option}");
        // A given limit counts, unless that of the server is smaller.
        for given in [1024, 100_000, bytes, 100 << 20] {
            let given_to = || builder().largest_item(given);
            assert_eq!(of(given_to().build().unwrap()), Some(given - LESS), "{option}, {given}");
            assert_eq!(of(given_to().connect().unwrap()), Some(given.min(bytes) - LESS), "{option}, {given}");
        }
    }
}

#[test]
fn the_smallest_limit_of_several_servers_counts() {
    let servers = [Memcached::start(&["-I", "2m"]), Memcached::start(&["-I", "512k"]), Memcached::start(&[])];
    let store = patient().servers(servers.iter().map(Memcached::url)).connect().unwrap();
    assert_eq!(store.capabilities().largest_value(), Some((512 << 10) - 309));
}

#[test]
fn debug_shows_what_helps_and_no_secret() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let builder = patient().url(server.url()).default_ttl(Duration::from_secs(77)).largest_item(345_678);
    let builder = builder.credentials(USER, PASSWORD);
    let store = builder.clone().connect().unwrap();
    for shown in [format!("{builder:?}"), format!("{builder:#?}"), format!("{store:?}"), format!("{store:#?}")] {
        shows_no_secret(&shown);
        for part in [&server.port().to_string(), "127.0.0.1", "77s", "345678", "20s", "hidden"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
    works(&store);
}

#[test]
fn an_unsupported_operation_sends_nothing() {
    let server = Memcached::start(&[]);
    for contains in [false, true] {
        let store = patient().url(server.url()).contains(contains).connect().unwrap();
        store.put("k", "v").unwrap();
        let before = server.stat("bytes_read");
        let mut errors = vec![
            (Capability::Listing, store.keys("").unwrap_err()),
            (Capability::Listing, store.keys("k").unwrap_err()),
            (Capability::Listing, store.prefixes("/", "").unwrap_err()),
            (Capability::Listing, store.prefixes("/", "k").unwrap_err()),
        ];
        if !contains {
            errors.push((Capability::Contains, store.contains("k").unwrap_err()));
            errors.push((Capability::Contains, store.contains("absent").unwrap_err()));
        }
        for (what, error) in errors {
            assert!(matches!(&error, Error::Unsupported { operation, .. } if *operation == what), "{error}");
            assert_eq!(error.to_string(), format!("{} does not support {what}", server.url()));
            assert!(!error.is_transient() && !error.outcome_unknown() && error.source().is_none());
        }
        // Two questions of seven bytes.
        let sent = server.stat("bytes_read") - before;
        assert!(sent <= 14, "{sent}");
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    }
    // An invalid prefix or key is reported first.
    let store = patient().url(server.url()).connect().unwrap();
    assert!(matches!(store.keys("with space").unwrap_err(), Error::InvalidKey(_)));
    assert!(matches!(store.contains("").unwrap_err(), Error::InvalidKey(_)));
}

#[test]
fn contains_is_answered_without_the_value_and_without_an_effect() {
    const SIZE: usize = 900_000;
    let server = Memcached::start(&[]);
    let store = patient().url(server.url()).contains(true).connect().unwrap();
    let mut raw = server.connection();
    assert!(!store.contains("k").unwrap());
    store.put_with_ttl("k", vec![b'x'; SIZE], Duration::from_secs(1000)).unwrap();
    let (sent, gets) = (server.stat("bytes_written"), server.stat("cmd_get"));
    for _ in 0..10 {
        assert!(store.contains("k").unwrap());
        assert!(!store.contains("kk").unwrap());
    }
    assert_eq!(server.stat("cmd_get") - gets, 20);
    let sent = server.stat("bytes_written") - sent;
    assert!(sent < SIZE as u64 / 10, "{sent}");
    let left = raw.ask(b"mg k t\r\n").unwrap();
    let left: u64 = left.trim_start_matches("HD t").trim_start_matches("OK t").parse().unwrap();
    assert!((900..=1002).contains(&left), "{left}");
    store.put("empty", "").unwrap();
    assert!(store.contains("empty").unwrap());
    assert!(store.delete("k").unwrap());
    assert!(!store.contains("k").unwrap());
    store.put_with_ttl("k", "v", Duration::ZERO).unwrap();
    assert!(!store.contains("k").unwrap());
}
