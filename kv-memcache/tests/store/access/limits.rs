//! What a store knows about the largest item and the time of its servers, which its connections learn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use super::*;

/// The bytes of an item besides its value, with a key of 250 bytes.
const LESS: u64 = 59 + 250;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn largest(store: &MemcacheStore) -> u64 {
    store.capabilities().largest_value().unwrap()
}

#[track_caller]
fn is_too_large(result: kv_memcache::Result<()>) {
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::ValueTooLarge { .. }), "{}", chain(&error));
}

fn is_old() -> bool {
    !support::is_from([1, 6, 0])
}

type Store = fn(&MemcacheStore, &[u8]) -> kv_memcache::Result<()>;

#[test]
fn a_store_that_did_not_ask_takes_what_its_connections_learn() {
    let server = Memcached::start(&["-I", "8m", "-m", "256"]);
    let (large, too_large) = (vec![1; 2_000_000], vec![1; 8 << 20]);
    let writes: [Store; 4] = [
        |store, value| store.put("k", value),
        |store, value| store.put_many([("k", value)]),
        |store, value| store.put_from("k", value),
        |store, value| store.delete("k").and_then(|_| store.create("k", value)).map(drop),
    ];
    for write in writes {
        // The first operation of all.
        let store = patient().url(server.url()).build().unwrap();
        assert_eq!(largest(&store), (1 << 20) - LESS);
        write(&store, &large).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&large[..]));
        assert_eq!(largest(&store), (8 << 20) - LESS);
        is_too_large(write(&store, &too_large));
        // After a small one.
        let store = patient().url(server.url()).build().unwrap();
        works(&store);
        assert_eq!(largest(&store), (8 << 20) - LESS);
        write(&store, &large).unwrap();
    }
    // A given limit counts.
    let store = patient().url(server.url()).largest_item(1 << 20).build().unwrap();
    is_too_large(store.put("k", &large));
    assert_eq!(largest(&store), (1 << 20) - LESS);
}

#[test]
fn the_smallest_known_limit_of_several_servers_counts() {
    let servers = [Memcached::start(&["-I", "2m"]), Memcached::start(&["-I", "512k"])];
    let store = patient().servers(servers.iter().map(Memcached::url)).build().unwrap();
    assert_eq!(largest(&store), (1 << 20) - LESS);
    for number in 0..20 {
        store.put(format!("k{number}"), "v").unwrap();
    }
    assert_eq!(largest(&store), (512 << 10) - LESS);
    // An unreachable server does not keep the others from their limits.
    servers[0].kill();
    let store = patient().servers(servers.iter().map(Memcached::url)).build().unwrap();
    let large = vec![1; 600_000];
    let results: Vec<_> = (0..20).map(|number| store.put(format!("k{number}"), &large)).collect();
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::ValueTooLarge { .. } | Error::Unavailable(_)), "{}", chain(&error));
    }
    assert_eq!(largest(&store), (512 << 10) - LESS);
}

/// A name that leads to another server after each restart.
#[test]
fn a_server_that_comes_back_with_another_limit_is_asked_again() {
    let to = Arc::new(AtomicU16::new(0));
    let port = {
        let to = Arc::clone(&to);
        impostor(move |client| tunnel(&client, &TcpStream::connect(("127.0.0.1", to.load(SeqCst)))?))
    };
    let url = format!("memcache://127.0.0.1:{port}");
    let value = vec![1; 1_500_000];
    let stores = [patient().url(&url).build().unwrap(), patient().url(&url).pool_size(1).build().unwrap()];
    for option in ["1m", "8m", "2m", "512k", "4m"] {
        let server = Memcached::start(&["-I", option, "-m", "256"]);
        to.store(server.port(), SeqCst);
        for store in &stores {
            // Nothing was sent since, so the store still has the limits of the old server.
            let result = store.put("k", &value);
            if ["1m", "512k"].contains(&option) {
                is_too_large(result);
            } else {
                result.unwrap_or_else(|error| panic!("{option}: {}", chain(&error)));
            }
            let bytes = if option == "512k" { 512 << 10 } else { option[..1].parse::<u64>().unwrap() << 20 };
            assert_eq!(largest(store), bytes - LESS, "{option}");
        }
        server.kill();
        // The known limits stay while no server answers.
        wait_until(|| match stores[0].get("k") {
            Ok(_) => Err("it is still there".to_owned()),
            Err(_) => Ok(()),
        });
    }
}

/// A server behind a proxy that refuses these questions of the handshake, and passes on everything else.
fn refusing(memcached: u16, refused: &'static [&'static str]) -> u16 {
    impostor(move |mut client| {
        let mut handshake = [0; 24];
        client.read_exact(&mut handshake)?;
        let server = TcpStream::connect(("127.0.0.1", memcached))?;
        for line in handshake.split_inclusive(|&byte| byte == b'\n') {
            if refused.contains(&str::from_utf8(line).unwrap().trim()) {
                client.write_all(b"ERROR\r\n")?;
                continue;
            }
            (&server).write_all(line)?;
            let mut reply = Vec::new();
            while !reply.ends_with(b"\r\nEND\r\n") {
                let mut byte = [0];
                (&server).read_exact(&mut byte)?;
                reply.push(byte[0]);
            }
            client.write_all(&reply)?;
        }
        tunnel(&client, &server)
    })
}

/// As with Serverless of `ElastiCache`.
#[test]
fn a_server_that_does_not_tell_its_settings_takes_a_mebibyte() {
    let server = Memcached::start(&["-I", "8m", "-m", "256"]);
    for refused in [&["stats settings"][..], &["stats"], &["stats", "stats settings"]] {
        let url = format!("memcache://127.0.0.1:{}", refusing(server.port(), refused));
        let tells_limit = !refused.contains(&"stats settings");
        let item = if tells_limit { 8 << 20 } else { 1 << 20 };
        for store in [patient().url(&url).connect().unwrap(), patient().url(&url).build().unwrap()] {
            works(&store);
            assert_eq!(largest(&store), item - LESS, "{refused:?}");
            let value = vec![1; usize::try_from(largest(&store)).unwrap()];
            store.put("K".repeat(250), &value).unwrap();
            is_too_large(store.put("K".repeat(250), [&value[..], b"v"].concat()));
            // A larger existing entry is read.
            assert!(patient().url(server.url()).connect().unwrap().put("large", vec![1; 3_000_000]).is_ok());
            assert_eq!(store.get("large").unwrap().map(|value| value.len()), Some(3_000_000));
            // A date needs the server's time.
            store.delete("k").unwrap();
            let long = 40 * DAY;
            if refused.contains(&"stats") {
                assert_eq!(store.capabilities().longest_ttl(), 29 * DAY + Duration::from_secs(86_398));
                for result in [
                    store.put_with_ttl("k", "v", long),
                    store.put_many_with_ttl([("a", "v", Ttl::Forever), ("k", "v", Ttl::After(long))]),
                    store.touch("k", long).map(drop),
                ] {
                    let error = result.unwrap_err();
                    assert!(matches!(&error, Error::InvalidTtl { .. }), "{}", chain(&error));
                }
                assert!(store.get_many(["k", "a"]).unwrap().iter().all(Option::is_none));
            } else {
                store.put_with_ttl("k", "v", long).unwrap();
                assert!(store.delete("k").unwrap());
            }
            store.put_with_ttl("k", "v", 29 * DAY).unwrap();
            assert!(store.delete("k").unwrap());
        }
        // A user who knows the limit sets it.
        let store = connected(patient().url(&url).largest_item(8 << 20));
        store.put("k", vec![1; 3_000_000]).unwrap();
    }
}

/// A store without a connection does not know that its server tells no time. The first operation finds out.
#[test]
fn a_long_ttl_is_refused_by_the_first_operation_too() {
    let server = Memcached::start(&[]);
    let url = format!("memcache://127.0.0.1:{}", refusing(server.port(), &["stats", "stats settings"]));
    let store = patient().url(url).build().unwrap();
    store.put_with_ttl("k", "v", 40 * DAY).map_or_else(
        |error| assert!(matches!(&error, Error::InvalidTtl { .. }), "{}", chain(&error)),
        |()| panic!("it took a date"),
    );
    assert_eq!(store.get("k").unwrap(), None);
}

/// `connect` refuses settings with which each write would fail.
#[test]
fn a_default_ttl_that_a_server_without_a_clock_cannot_express_is_refused_by_connect() {
    let server = Memcached::start(&[]);
    let longest = Duration::from_secs(30 * 24 * 60 * 60 - 2);
    for refused in [&["stats"][..], &["stats", "stats settings"]] {
        let without = format!("memcache://127.0.0.1:{}", refusing(server.port(), refused));
        for servers in [vec![without.clone()], vec![server.url(), without.clone()]] {
            let builder = |ttl| patient().servers(servers.clone()).default_ttl(ttl).classic(is_old());
            for ttl in [longest + Duration::from_nanos(1), 40 * DAY] {
                let text = invalid(builder(ttl));
                let port = without.rsplit_once(':').unwrap().1;
                let says =
                    format!("127.0.0.1:{port}: `default_ttl` is {ttl:?}, and the longest TTL on this server is ");
                assert!(text.contains(&says), "{text}");
                assert!(text.contains("2591998s: it does not tell its time"), "{text}");
            }
            connected(builder(longest));
        }
        // A store without a connection finds out by its first write.
        let store = patient().url(&without).default_ttl(40 * DAY).classic(is_old()).build().unwrap();
        for result in [
            store.put("k", "v"),
            store.create("k", "v").map(drop),
            store.put_many([("k", "v")]),
            store.touch("k", Ttl::Default).map(drop),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::InvalidTtl { longest: told, .. } if *told == longest), "{}", chain(&error));
        }
        store.put_with_ttl("k", "v", DAY).unwrap();
        assert!(store.delete("k").unwrap());
    }
    connected(patient().url(server.url()).default_ttl(40 * DAY).classic(is_old()));
}

/// The seconds that the server says are left.
fn seconds_left(server: &Memcached, key: &str) -> u64 {
    let line = server.connection().ask(format!("mg {key} t\r\n").as_bytes()).unwrap();
    line.strip_prefix("HD t").or_else(|| line.strip_prefix("OK t")).unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

/// A TTL of more than 30 days is sent as a date, made from the time that the server told, just now or a while ago.
#[test]
fn a_long_ttl_is_not_later_than_the_resolution_says() {
    if !can("a long ttl is not later than the resolution says", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    // The first connection is slow.
    let is_first = Arc::new(AtomicU16::new(1));
    let port = server.port();
    let slow = impostor(move |client| {
        if is_first.swap(0, SeqCst) == 1 {
            thread::sleep(Duration::from_millis(2500));
        }
        tunnel(&client, &TcpStream::connect(("127.0.0.1", port))?)
    });
    let store = connected(patient().url(format!("memcache://127.0.0.1:{slow}")));
    let resolution = store.capabilities().ttl_resolution();
    // At different moments within a second.
    for moment in 0..12 {
        for (part, given) in [40 * DAY, 40 * DAY + Duration::from_millis(1), 40 * DAY + Duration::from_millis(999)]
            .into_iter()
            .enumerate()
        {
            let (key, begin) = (format!("k{moment}-{part}"), Instant::now());
            store.put_with_ttl(&key, "v", given).unwrap();
            let returned = Instant::now();
            let left = Duration::from_secs(seconds_left(&server, &key));
            // It is not less than counted from the call, and not more than counted from the return.
            assert!(left + begin.elapsed() >= given, "{key}: {left:?} of {given:?}");
            assert!(left <= given + resolution, "{key}: {left:?} of {given:?} {:?} later", returned.elapsed());
        }
        thread::sleep(Duration::from_millis(90));
    }
}
