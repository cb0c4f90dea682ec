//! How many commands and round trips each operation costs.

use super::*;

type Operation = fn(&RedisStore, &str) -> Result<(), Error>;

/// Operations, and the commands that each of them sends.
const OPERATIONS: [(&str, Operation, &[&str]); 20] = [
    ("get", |store, key| store.get(key).map(drop), &["get"]),
    ("put", |store, key| store.put(key, "v"), &["set"]),
    ("put_with_ttl", |store, key| store.put_with_ttl(key, "v", MINUTE), &["set"]),
    ("put_with_ttl, zero", |store, key| store.put_with_ttl(key, "v", Duration::ZERO), &["del"]),
    ("create, of what is there", |store, key| store.create(key, "v").map(drop), &["set"]),
    ("create", |store, key| store.create(format!("{key}+"), "v").map(drop), &["set"]),
    ("create_with_ttl", |store, key| store.create_with_ttl(format!("{key}+"), "v", MINUTE).map(drop), &["set"]),
    ("delete", |store, key| store.delete(key).map(drop), &["del"]),
    ("contains", |store, key| store.contains(key).map(drop), &["exists"]),
    ("ttl", |store, key| store.ttl(key).map(drop), &["pttl"]),
    ("touch", |store, key| store.touch(key, MINUTE).map(drop), &["pexpire"]),
    ("touch, zero", |store, key| store.touch(key, Duration::ZERO).map(drop), &["del"]),
    ("touch, for ever", |store, key| store.touch(key, Ttl::Forever).map(drop), &["multi", "persist", "exists", "exec"]),
    ("copy", |store, key| store.copy(key, "copy"), &["copy"]),
    ("copy, to itself", |store, key| store.copy(key, key), &["exists"]),
    ("rename", |store, key| store.rename(key, "new"), &["rename"]),
    ("open", |store, key| store.open(key).map(drop), &["get"]),
    ("get_into", |store, key| store.get_into(key, io::sink()).map(drop), &["get"]),
    ("put_from", |store, key| store.put_from(key, &b"v"[..]), &["set"]),
    ("put_from_with_ttl", |store, key| store.put_from_with_ttl(key, &b"v"[..], MINUTE), &["set"]),
];

/// The expected calls if each of these runs this often, for a key that is present or absent.
fn calls_for(commands: &[&str], count: u64, is_there: bool) -> Calls {
    let mut calls = Calls::new();
    for &command in commands {
        let called: &[&str] = match command {
            // A script.
            "copy" if !support::is_since((6, 2, 0)) && is_there => &["eval", "get", "pttl", "set"],
            "copy" if !support::is_since((6, 2, 0)) => &["eval", "get"],
            "persist" if !support::is_since((3, 2, 0)) => &["exists", "persist"],
            _ => &[command],
        };
        for &command in called {
            *calls.entry(command.to_owned()).or_default() += count;
        }
    }
    // Redis 3 counts the commands of a transaction as its EXEC.
    if calls.contains_key("exec") && support::is_since((3, 0, 0)) && !support::is_since((4, 0, 0)) {
        let multi = calls.remove("multi").unwrap();
        let all = calls.into_values().sum();
        return Calls::from([("multi".to_owned(), multi), ("exec".to_owned(), all)]);
    }
    calls
}

#[test]
fn a_thousand_operations_are_a_thousand_commands_and_nothing_else() {
    let (redis, keys) = (Redis::start(&[]), names(1000));
    let store = open(&redis);
    for (name, operation, commands) in OPERATIONS {
        store.put_many(keys.iter().map(|key| (key, "v"))).unwrap();
        let called = calls_of(&redis, || keys.iter().for_each(|key| operation(&store, key).unwrap()));
        assert_eq!(called, calls_for(commands, 1000, true), "{name}");
        store.delete_many(store.keys("").unwrap().map(Result::unwrap).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn an_absent_key_costs_no_more_than_a_present_one() {
    let (redis, keys) = (Redis::start(&[]), names(100));
    let store = open(&redis);
    for (name, operation, commands) in OPERATIONS {
        let called = calls_of(&redis, || {
            for key in &keys {
                match operation(&store, key) {
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        });
        let expected = calls_for(commands, 100, false);
        // A command that failed, as RENAME does, is counted by some servers only.
        assert!(called == expected || name == "rename" && called.is_empty(), "{name}: {called:?}");
        redis.command(&["FLUSHALL"]);
    }
}

#[test]
fn a_connection_costs_one_info_and_what_the_url_asks_for() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let get = |url: String| calls_of(&redis, || drop(builder(&url).build().unwrap().get("k").unwrap()));
    // The tests' own connections authenticate, too: one for each question, two of which are counted.
    let own = calls_of(&redis, || {}).get("auth").copied().unwrap_or(0);
    let of_store = |mut calls: Calls| {
        *calls.get_mut("auth").unwrap() -= own;
        calls
    };
    assert_eq!(of_store(get(redis.url())), calls([("auth", 1), ("get", 1), ("info", 1)]));
    let with_database = calls([("auth", 1), ("get", 1), ("info", 1), ("select", 1)]);
    assert_eq!(of_store(get(redis.url_of_database(7))), with_database);
    assert_eq!(of_store(get(redis.unix_url_of_database(7))), with_database);
}

#[test]
fn a_pool_costs_one_info_for_each_connection_that_it_makes() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url_of_database(7)).pool_size(4).build().unwrap();
    let called = calls_of(&redis, || {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..125).for_each(|_| drop(store.get("k").unwrap())));
            }
        });
    });
    let made = connections_to(&redis, 7);
    assert!((1..=4).contains(&made), "{made} connections");
    assert_eq!(called, calls([("get", 1000), ("info", made), ("select", made)]));
}

#[test]
fn a_batch_is_a_command_for_each_chunk_or_item() {
    let (redis, keys) = (Redis::start(&[]), names(100_000));
    let store = open(&redis);
    let some = &keys[..1000];
    let put = || store.put_many(some.iter().map(|key| (key, "v"))).unwrap();
    assert_eq!(calls_of(&redis, put), calls([("set", 1000)]));
    let put = || store.put_many_with_ttl(some.iter().map(|key| (key, "v", MINUTE))).unwrap();
    assert_eq!(calls_of(&redis, put), calls([("set", 1000)]));
    assert_eq!(calls_of(&redis, || drop(store.get_many(some).unwrap())), calls([("mget", 1)]));
    assert_eq!(calls_of(&redis, || drop(store.delete_many(some).unwrap())), calls([("del", 1000)]));
    for count in [1, CHUNK - 1, CHUNK, CHUNK + 1, 100_000] {
        let called = calls_of(&redis, || drop(store.get_many(&keys[..count]).unwrap()));
        assert_eq!(called, calls([("mget", count.div_ceil(CHUNK))]), "{count}");
    }
}

#[test]
fn an_empty_batch_sends_nothing() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let called = calls_of(&redis, || {
        assert_eq!(store.get_many([""; 0]).unwrap(), [None::<Bytes>; 0]);
        store.put_many([("", ""); 0]).unwrap();
        assert_eq!(store.delete_many([""; 0]).unwrap(), [false; 0]);
    });
    assert_eq!(called, calls([]));
}

#[test]
fn an_invalid_key_or_prefix_sends_nothing() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let long = "k".repeat(251);
    let called = calls_of(&redis, || {
        for key in ["", "two words", "new\nline", "ünïcode", "nul\0", &long] {
            for (name, operation, _) in OPERATIONS {
                // This one makes another key of it.
                if name.starts_with("create") {
                    continue;
                }
                let error = operation(&store, key).unwrap_err();
                assert!(matches!(error, Error::InvalidKey(_)), "{name} {key:?}: {error}");
            }
            let invalid = |error| matches!(error, Error::InvalidKey(_));
            assert!(invalid(store.create(key, "v").unwrap_err()), "{key:?}");
            assert!(invalid(store.get_many(["valid", key]).unwrap_err()), "{key:?}");
            assert!(invalid(store.put_many([("valid", "v"), (key, "v")]).unwrap_err()), "{key:?}");
            assert!(invalid(store.delete_many(["valid", key]).unwrap_err()), "{key:?}");
            assert!(invalid(store.copy("valid", key).unwrap_err()), "{key:?}");
            assert!(invalid(store.rename("valid", key).unwrap_err()), "{key:?}");
            // A prefix may be empty, or longer than any key.
            assert!(key.is_empty() || key == long || invalid(store.keys(key).unwrap_err()), "{key:?}");
        }
    });
    assert_eq!(called, calls([]));
}

/// The commands that a client has sent.
#[derive(Default)]
struct Sent(Mutex<usize>, Condvar);

impl Sent {
    fn set(&self, change: impl FnOnce(usize) -> usize) {
        let mut sent = self.0.lock().unwrap();
        *sent = change(*sent);
        self.1.notify_all();
    }

    fn wait_for(&self, commands: usize) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |sent| *sent < commands).unwrap());
    }
}

/// Records the bytes that are read, and passes them on at once.
struct Tee<'a> {
    from: &'a TcpStream,
    to: Option<&'a TcpStream>,
    read: Vec<u8>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.from.read(buffer)?;
        match &mut self.to {
            Some(to) => to.write_all(&buffer[..bytes])?,
            None => self.read.extend_from_slice(&buffer[..bytes]),
        }
        Ok(bytes)
    }
}

/// Forwards one connection to a server, and holds back replies until the client has sent a whole batch. A client that waits for a reply
/// earlier gets none. Batches end after these numbers of commands, counted from the first one of the connection. Returns the number of
/// replies at the end.
fn hold_back_replies(redis: &Redis, batches: Vec<usize>) -> (String, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let server = TcpStream::connect(redis.address()).unwrap();
    let forwarder = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let sent = Sent::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut parser = redis::Parser::new();
                let mut tee = Tee { from: &client, to: Some(&server), read: Vec::new() };
                while parser.parse_value(&mut tee).is_ok() {
                    sent.set(|sent| sent + 1);
                }
                // The client is gone, so nothing needs to be held back.
                sent.set(|_| usize::MAX);
                let _ = server.shutdown(Shutdown::Both);
            });
            let mut parser = redis::Parser::new();
            let mut replies = 0;
            loop {
                let mut tee = Tee { from: &server, to: None, read: Vec::new() };
                if parser.parse_value(&mut tee).is_err() {
                    return replies;
                }
                replies += 1;
                sent.wait_for(*batches.iter().find(|&&batch| batch >= replies).unwrap_or(&usize::MAX));
                if (&client).write_all(&tee.read).is_err() {
                    return replies;
                }
            }
        })
    });
    (url, forwarder)
}

#[test]
fn a_chunk_is_sent_before_its_first_reply_is_waited_for() {
    let (redis, keys) = (Redis::start(&[]), names(2500));
    // The first command is that of the handshake.
    let batches =
        |items: usize| (0..items).step_by(CHUNK).skip(1).chain([items]).map(|end| 1 + end).collect::<Vec<_>>();
    assert_eq!(batches(2500), [1025, 2049, 2501]);
    let check = |name: &str, batches: Vec<usize>, operation: &dyn Fn(&RedisStore)| {
        let commands = *batches.last().unwrap();
        let (url, forwarder) = hold_back_replies(&redis, [vec![1], batches].concat());
        let store = builder(url).pool_size(1).build().unwrap();
        operation(&store);
        drop(store);
        assert_eq!(forwarder.join().unwrap(), commands, "{name}");
    };
    for count in [1000, 2500] {
        let keys = &keys[..count];
        let put = |store: &RedisStore| store.put_many(keys.iter().map(|key| (key, "v"))).unwrap();
        check("put_many", batches(count), &put);
        let delete = |store: &RedisStore| assert_eq!(store.delete_many(keys).unwrap(), vec![true; count]);
        check("delete_many", batches(count), &delete);
    }
    // Before redis 3.2 there is an `EXISTS` before it.
    let of_touch = if support::is_since((3, 2, 0)) { 4 } else { 5 };
    check("touch", vec![1 + of_touch], &|store| assert!(!store.touch("k", Ttl::Forever).unwrap()));
}

/// A listing without the store: how many calls of `SCAN` it takes.
fn bare_scans(redis: &Redis, count: u32) -> usize {
    let (mut connection, mut cursor) = (redis.connection(), 0_u64);
    for scans in 1.. {
        let mut scan = redis::cmd("SCAN");
        let page: (u64, Vec<String>) = scan.arg(cursor).arg("COUNT").arg(count).query(&mut connection).unwrap();
        cursor = page.0;
        if cursor == 0 {
            return scans;
        }
    }
    unreachable!()
}

/// What was called, with a `SCAN` for each page: without `SCAN … TYPE` that is a script, which asks for types.
#[track_caller]
fn pages(mut called: Calls) -> Calls {
    if !support::is_since((6, 0, 0)) {
        assert_eq!(called.remove("eval"), called.get("scan").copied(), "{called:?}");
        called.remove("type");
    }
    called
}

#[test]
fn a_listing_is_a_scan_for_each_page_and_holds_no_connection_between_them() {
    let (redis, keys) = (Redis::start(&[]), names(10_000));
    let builder = builder(redis.url()).pool_size(1).pool_timeout(Duration::from_millis(100));
    let store = builder.clone().page_size(1000).connect().unwrap();
    store.put_many(keys.iter().map(|key| (key, key))).unwrap();
    // Until the server's table has grown to the end.
    let scans = wait_until(|| {
        let counts = [(); 5].map(|()| {
            thread::sleep(Duration::from_millis(20));
            bare_scans(&redis, 1000)
        });
        if counts == [counts[0]; 5] { Ok(counts[0]) } else { Err(format!("scans: {counts:?}")) }
    });
    assert!(scans >= 5, "{scans} scans");

    for prefix in ["", "key-"] {
        let called = calls_of(&redis, || assert!(listed(&store, prefix) == set(&keys)));
        assert_eq!(pages(called), calls([("scan", scans)]));
    }
    let called = calls_of(&redis, || {
        for key in store.keys("").unwrap() {
            let key = key.unwrap();
            assert_eq!(store.get(&key).unwrap().unwrap(), key.as_bytes());
        }
    });
    assert_eq!(pages(called), calls([("get", 10_000), ("scan", scans)]));
    let called = calls_of(&redis, || assert_eq!(store.prefixes("-", "").unwrap().count(), 1));
    assert_eq!(pages(called), calls([("scan", scans)]));

    let called = calls_of(&redis, || drop(store.keys("").unwrap().next().unwrap().unwrap()));
    assert_eq!(pages(called), calls([("scan", 2)]), "a listing is no more than a page ahead");
    let larger = builder.page_size(100_000).connect().unwrap();
    let called = calls_of(&redis, || assert_eq!(larger.keys("").unwrap().count(), 10_000));
    assert_eq!(pages(called), calls([("scan", 1)]));
}

#[test]
fn an_idle_connection_is_checked_without_sending_anything() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).pool_size(1).connect().unwrap();
    store.put("k", "v").unwrap();
    let called = calls_of(&redis, || {
        thread::sleep(Duration::from_millis(1200));
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
        thread::sleep(Duration::from_millis(1200));
        store.put("k", "w").unwrap();
    });
    assert_eq!(called, calls([("get", 1), ("set", 1)]));
}
