//! A primary that sentinels find, and what happens when it is another one.

#![cfg(unix)]
#![cfg(feature = "sentinel")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Ttl};

mod support;
use support::{PATIENCE, Redis, Sentinels, can_test, chain, replicaof, timed, wait_until};

/// What a busy machine adds to a limit.
const NOISE: Duration = Duration::from_millis(1500);

/// The three limits of a store that nobody told otherwise, a second each.
const WITHIN: Duration = Duration::from_secs(3).saturating_add(NOISE);

/// How the support calls the primary.
const NAME: &str = "mymaster";

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Writes until that works, and returns what went wrong until then: only what may pass, and within the limits.
fn write_until_it_works(store: &RedisStore, value: &str) -> Vec<Error> {
    let mut errors = Vec::new();
    wait_until(|| {
        let (result, took) = timed(|| store.put("k", value));
        assert!(took < WITHIN, "{took:?}: {result:?}");
        result.map_err(|error| {
            assert!(error.is_transient(), "{}", chain(&error));
            let text = chain(&error);
            errors.push(error);
            text
        })
    });
    errors
}

fn value(store: &RedisStore) -> String {
    String::from_utf8(store.get("k").unwrap().unwrap().to_vec()).unwrap()
}

/// The ids of a server's clients, without replicas, sentinels and who asks.
fn clients(redis: &Redis) -> BTreeSet<u64> {
    let list: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).unwrap();
    let field = |line: &str, name: &str| line.split(' ').find_map(|field| field.strip_prefix(name).map(String::from));
    let is_own = |line: &&str| {
        // `client|list` since redis 7; the name is that of a sentinel, and other flags are those of a replica, a primary, a subscriber.
        let is_asking = field(line, "cmd=").unwrap_or_default().starts_with("client");
        let is_normal = !field(line, "flags=").unwrap_or_default().contains(['S', 'M', 'P']);
        is_normal && !is_asking && !line.contains("name=sentinel")
    };
    list.lines().filter(is_own).map(|line| line.split(['=', ' ']).nth(1).unwrap().parse().unwrap()).collect()
}

/// Waits until a server has so many clients: it may not yet have noticed that one of the test has gone.
fn wait_for_clients(redis: &Redis, count: usize) -> BTreeSet<u64> {
    wait_until(|| {
        let now = clients(redis);
        if now.len() == count { Ok(now) } else { Err(format!("not {count} clients: {now:?}")) }
    })
}

fn wait_for_replication(sentinels: &Sentinels) {
    wait_until(|| {
        let sent = sentinels.primary().info("master_repl_offset");
        let received = sentinels.replica().info("slave_repl_offset");
        if sent == received { Ok(()) } else { Err(format!("{received:?} of {sent:?} bytes have arrived")) }
    });
}

#[test]
fn after_a_failover_everything_works_and_the_old_primary_is_left_alone() {
    let sentinels = Sentinels::start();
    let store = RedisStore::builder().sentinels(NAME, sentinels.urls()).connect().unwrap();
    store.put("k", "before").unwrap();
    assert_eq!(sentinels.primary().command(&["GET", "k"]), redis::Value::BulkString("before".into()));
    wait_for_replication(&sentinels);

    let old = sentinels.kill_primary();
    let (result, took) = timed(|| store.get("k"));
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)) && took < WITHIN, "{took:?}: {}", chain(&error));
    let errors = write_until_it_works(&store, "after");
    assert!(!errors.is_empty());
    sentinels.wait_for_failover();
    let new = sentinels.primary();
    assert_ne!(new.port(), old.port());
    assert_eq!(value(&store), "after");
    assert_eq!(new.command(&["GET", "k"]), redis::Value::BulkString("after".into()));

    // For a while it believes that it is still the primary, and it has nothing.
    old.restart();
    let mut round = 0;
    thread::scope(|scope| {
        let settled = scope.spawn(|| sentinels.wait_for_failover());
        while !settled.is_finished() || round < 10 {
            round += 1;
            store.put("k", round.to_string()).unwrap();
            assert_eq!(value(&store), round.to_string());
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!((sentinels.primary().port(), sentinels.replica().port()), (new.port(), old.port()));
    // Who asks for a connection now gets none of the replica's either.
    let another = patient().sentinels(NAME, sentinels.urls()).connect().unwrap();
    another.put("k", "another").unwrap();
    assert_eq!(value(&store), "another");
    wait_for_clients(old, 0);
    assert_eq!(old.info("errorstat_READONLY"), None);
}

#[test]
fn a_primary_that_is_paused_costs_each_connection_at_most_one_time_out() {
    const CONNECTIONS: usize = 4;
    let sentinels = Sentinels::start();
    let builder = RedisStore::builder().sentinels(NAME, sentinels.urls());
    let store = builder.pool_size(4).min_idle(4).connect().unwrap();
    store.put("k", "before").unwrap();
    wait_for_replication(&sentinels);
    let old = sentinels.primary();
    wait_for_clients(old, CONNECTIONS);
    old.pause();
    sentinels.wait_for_failover();
    // Who is alone meets the others only if there is need of them.
    let errors = write_until_it_works(&store, "after");
    assert!(errors.len() <= 1, "{errors:?}");
    let all_at_once = || {
        let begin = Barrier::new(CONNECTIONS);
        let (begin, store) = (&begin, &store);
        thread::scope(|scope| {
            let put = move |thread| {
                begin.wait();
                let (result, took) = timed(|| store.put(format!("of-{thread}"), "v"));
                assert!(took < WITHIN, "{took:?}: {result:?}");
                result.err()
            };
            let threads: Vec<_> = (0..CONNECTIONS).map(|thread| scope.spawn(move || put(thread))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let mut errors = errors;
    while errors.len() <= CONNECTIONS {
        let more = all_at_once();
        if more.is_empty() {
            break;
        }
        errors.extend(more);
    }
    assert!(errors.len() <= CONNECTIONS, "{errors:?}");
    assert!(errors.iter().all(|error| matches!(error, Error::Timeout(_)) && error.outcome_unknown()), "{errors:?}");
    assert_eq!(value(&store), "after");
    old.resume();
    sentinels.wait_for_failover();
    store.put("k", "last").unwrap();
    assert_eq!(value(&store), "last");
    assert_eq!(sentinels.primary().command(&["GET", "k"]), redis::Value::BulkString("last".into()));
}

#[test]
fn one_sentinel_of_three_will_do() {
    let sentinels = Sentinels::start();
    let store = patient().sentinels(NAME, sentinels.urls()).connect().unwrap();
    for sentinel in &sentinels.sentinels()[..2] {
        sentinel.kill();
    }
    let another = RedisStore::builder().sentinels(NAME, sentinels.urls()).connect().unwrap();
    another.put("k", "v").unwrap();
    // The first one needs a new connection, too.
    sentinels.primary().command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    assert_eq!(value(&store), "v");
    let (closed, url) = silent();
    drop(closed);
    let error = RedisStore::builder().sentinels(NAME, [url]).connect().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
}

#[test]
fn a_sentinel_that_accepts_and_never_answers_does_not_use_up_the_limit() {
    const LIMIT: Duration = Duration::from_secs(4);
    let sentinels = Sentinels::start();
    let (listener, url) = silent();
    let urls = [vec![url.clone()], sentinels.urls()].concat();
    let builder = RedisStore::builder().connect_timeout(LIMIT);
    let (store, took) = timed(|| builder.clone().sentinels(NAME, urls).connect());
    let store = store.unwrap();
    assert!(took < LIMIT + NOISE, "{took:?}");
    // By default, too, and where there is only one that answers.
    let urls = [url.clone(), sentinels.urls()[2].clone()];
    let (another, took) = timed(|| RedisStore::builder().sentinels(NAME, urls).connect());
    assert!(took < Duration::from_secs(1) + NOISE, "{took:?}");
    another.unwrap_or_else(|error| panic!("{}", chain(&error)));

    // Who answered is asked first from then on.
    store.put("k", "v").unwrap();
    sentinels.primary().command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    assert_eq!(value(&store), "v");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 2, "one for each store");

    let (_listener, too) = silent();
    let (result, took) = timed(|| RedisStore::builder().sentinels(NAME, [url, too]).connect());
    let error = result.unwrap_err();
    assert!(error.is_transient() && took < Duration::from_secs(1) + NOISE, "{took:?}: {}", chain(&error));
}

#[test]
fn a_name_that_the_sentinels_do_not_know_is_said() {
    let sentinels = Sentinels::start();
    let error = RedisStore::builder().sentinels("nobody", sentinels.urls()).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("\"nobody\""), "{text}");
}

#[test]
fn who_takes_a_sentinel_for_a_server_or_the_other_way_round_is_told_what_to_do() {
    let sentinels = Sentinels::start();
    let error = RedisStore::connect(sentinels.urls()[0].clone()).unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("is a sentinel") && text.contains("sentinels("), "{text}");

    let error = RedisStore::builder().sentinels(NAME, [sentinels.primary().url()]).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("sentinel") && !text.contains("with args"), "{text}");
    assert!(text.contains("url("), "it does not say what to do: {text}");
}

/// The support's own functions have no passwords: they are not used once there are some.
#[test]
fn sentinels_have_a_password_and_the_primary_another_one() {
    const OF_SENTINELS: &str = "s3ntinel-hush";
    const OF_PRIMARY: &str = "pr1mary-hush";
    if !can_test("setting for the password of other sentinels", (6, 2, 0)) {
        return;
    }
    let sentinels = Sentinels::start();
    let (old, new) = (sentinels.primary(), sentinels.replica());
    let urls = sentinels.urls();
    // First who uses a password, then who wants it.
    for sentinel in sentinels.sentinels() {
        sentinel.command(&["SENTINEL", "SET", NAME, "auth-pass", OF_PRIMARY]);
        sentinel.command(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", OF_SENTINELS]);
    }
    for server in sentinels.servers() {
        server.command(&["CONFIG", "SET", "masterauth", OF_PRIMARY]);
    }
    for server in sentinels.servers() {
        server.command(&["CONFIG", "SET", "requirepass", OF_PRIMARY]);
    }
    for sentinel in sentinels.sentinels() {
        sentinel.command(&["ACL", "SETUSER", "default", "resetpass", &format!(">{OF_SENTINELS}")]);
    }
    let with = |password: &str| {
        urls.iter().map(|url| url.replace("redis://", &format!("redis://:{password}@"))).collect::<Vec<_>>()
    };

    let store = RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)).password(OF_PRIMARY).connect().unwrap();
    store.put("k", "before").unwrap();
    let refused = [
        (RedisStore::builder().sentinels(NAME, urls.clone()).password(OF_PRIMARY), "NOAUTH"),
        (RedisStore::builder().sentinels(NAME, with(OF_PRIMARY)).password(OF_PRIMARY), "WRONGPASS"),
        (RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)), "NOAUTH"),
        (RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)).password(OF_SENTINELS), "WRONGPASS"),
    ];
    for (builder, code) in refused {
        let error = builder.clone().connect().unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains(code), "{code}: {text}");
        for shown in [text, format!("{error:?}"), format!("{builder:?}"), format!("{store:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    old.kill();
    let errors = write_until_it_works(&store, "after");
    assert!(!errors.is_empty());
    let on_new = RedisStore::builder().url(new.url()).password(OF_PRIMARY).connect().unwrap();
    assert_eq!(value(&on_new), "after");
}

/// Lists with a break after some pages; the listing is complete or ends with an error that may pass.
fn list_with_a_break(store: &RedisStore, act: impl FnOnce()) -> (BTreeSet<String>, Option<Error>) {
    let mut listing = store.keys("").unwrap();
    let mut listed: BTreeSet<_> = listing.by_ref().take(100).map(|key| key.unwrap().to_string()).collect();
    act();
    let mut error = None;
    for key in listing.by_ref() {
        match key {
            Ok(key) => assert!(listed.insert(key.to_string()), "{key} came twice"),
            Err(failure) => error = Some(failure),
        }
    }
    assert!(listing.next().is_none());
    (listed, error)
}

#[test]
fn a_listing_across_a_failover_is_complete_or_ends_with_an_error() {
    let sentinels = Sentinels::start();
    let store = RedisStore::builder().sentinels(NAME, sentinels.urls()).page_size(10).connect().unwrap();
    let keys: BTreeSet<_> = (0..2000).map(|number| format!("k{number}")).collect();
    store.put_many(keys.iter().map(|key| (key, ""))).unwrap();
    wait_for_replication(&sentinels);
    assert_eq!(list_with_a_break(&store, || {}).0, keys);

    // Both servers go on.
    let (listed, error) = list_with_a_break(&store, || {
        sentinels.sentinels()[0].command(&["SENTINEL", "FAILOVER", NAME]);
        let old = sentinels.primary().port();
        wait_until(|| if sentinels.primary().port() == old { Err("no failover".into()) } else { Ok(()) });
        sentinels.wait_for_failover();
    });
    // Cursors of another process mean nothing, even if it has the same keys. The old one may have gone on to its end.
    match error {
        Some(error) => assert!(error.is_transient() && listed.is_subset(&keys), "{}", chain(&error)),
        None => assert_eq!(listed, keys),
    }
    assert_eq!(list_with_a_break(&store, || {}).0, keys);

    // One dies.
    let mut old = None;
    let (listed, error) = list_with_a_break(&store, || {
        old = Some(sentinels.kill_primary());
    });
    let error = error.unwrap_or_else(|| panic!("{} keys listed by a dead server", listed.len()));
    assert!(error.is_transient() && listed.is_subset(&keys), "{}", chain(&error));
    sentinels.wait_for_failover();
    assert_eq!(list_with_a_break(&store, || {}).0, keys);
}

type Write = fn(&RedisStore) -> Result<(), Error>;

const WRITES: [(&str, Write); 9] = [
    ("put", |store| store.put("k", "v")),
    ("create", |store| store.create("new", "v").map(drop)),
    ("delete", |store| store.delete("k").map(drop)),
    ("touch", |store| store.touch("k", Duration::from_secs(100)).map(drop)),
    ("touch for ever", |store| store.touch("k", Ttl::Forever).map(drop)),
    ("put_many", |store| store.put_many([("k", "v"), ("l", "v")])),
    ("delete_many", |store| store.delete_many(["k", "l"]).map(drop)),
    ("copy", |store| store.copy("k", "l")),
    ("rename", |store| store.rename("k", "l")),
];

fn is_readonly(error: &Error) -> bool {
    let text = chain(error);
    matches!(error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown() && text.contains("READONLY")
}

#[test]
fn a_server_that_became_a_replica_is_left_and_used_again_when_it_is_none_any_more() {
    let [server, other] = [(); 2].map(|()| Redis::start(&[]));
    let store = patient().url(server.url()).pool_size(1).connect().unwrap();
    for (name, write) in WRITES {
        store.put("k", "v").unwrap();
        let before = wait_for_clients(&server, 1);
        // No more than a moment without an answer: there is nothing to replicate.
        server.command(&[replicaof(), "127.0.0.1", &other.port().to_string()]);
        let error = write(&store).expect_err(name);
        assert!(is_readonly(&error), "{name}: {}", chain(&error));
        wait_until(|| match clients(&server).intersection(&before).count() {
            0 => Ok(()),
            _ => Err(format!("{name}: the connection is still open")),
        });
        server.command(&[replicaof(), "NO", "ONE"]);
        store.put("k", "again").unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        assert_eq!(value(&store), "again", "{name}");
        assert!(clients(&server).is_disjoint(&before), "{name}");
    }
}

#[test]
fn a_primary_that_became_a_replica_is_left_for_the_one_that_the_sentinels_name_then() {
    let sentinels = Sentinels::start();
    let store = RedisStore::builder().sentinels(NAME, sentinels.urls()).pool_size(1).connect().unwrap();
    store.put("k", "before").unwrap();
    let (old, new) = (sentinels.primary(), sentinels.replica());
    let before = wait_for_clients(old, 1);
    // Behind the backs of the sentinels, which would close the connections of the old one. They find it out, and make the
    // other one the primary.
    for sentinel in sentinels.sentinels() {
        sentinel.pause();
    }
    new.command(&[replicaof(), "NO", "ONE"]);
    old.command(&[replicaof(), "127.0.0.1", &new.port().to_string()]);
    let result = store.put("k", "refused");
    for sentinel in sentinels.sentinels() {
        sentinel.resume();
    }
    let error = result.unwrap_err();
    assert!(is_readonly(&error), "{}", chain(&error));
    wait_until(|| match clients(old).intersection(&before).count() {
        0 => Ok(()),
        _ => Err("the connection is still open".into()),
    });
    write_until_it_works(&store, "after");
    sentinels.wait_for_failover();
    store.put("k", "last").unwrap();
    assert_eq!(value(&store), "last");
    assert_eq!(sentinels.primary().command(&["GET", "k"]), redis::Value::BulkString("last".into()));
}

#[test]
fn many_threads_across_a_failover_meet_nothing_but_what_may_pass() {
    many_threads_across_a_failover(0);
}

#[test]
fn many_threads_that_share_connections_across_a_failover_meet_nothing_but_what_may_pass() {
    many_threads_across_a_failover(2);
}

fn many_threads_across_a_failover(shared_connections: u32) {
    const THREADS: usize = 8;
    let sentinels = Sentinels::start();
    let builder = RedisStore::builder().sentinels(NAME, sentinels.urls()).pool_size(4);
    let store = builder.shared_connections(shared_connections).connect().unwrap();
    let begin = Barrier::new(THREADS + 1);
    let deadline = Instant::now() + Duration::from_secs(60);
    let (begin, store, sentinels) = (&begin, &store, &sentinels);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let key = format!("of-{thread}");
                let (mut has_failed, mut since) = (false, 0);
                store.put(&key, format!("{key}#0")).unwrap();
                begin.wait();
                for round in 1.. {
                    assert!(Instant::now() < deadline, "there is no end to errors");
                    let (result, took) = timed(|| {
                        store.put(&key, format!("{key}#{round}"))?;
                        store.get(&key)
                    });
                    assert!(took < 2 * WITHIN, "{took:?}");
                    match result {
                        Ok(value) => {
                            assert_eq!(value.as_deref(), Some(format!("{key}#{round}").as_bytes()));
                            since += 1;
                        }
                        Err(error) => {
                            assert!(error.is_transient(), "{}", chain(&error));
                            (has_failed, since) = (true, 0);
                        }
                    }
                    if has_failed && since >= 20 {
                        break;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        begin.wait();
        thread::sleep(Duration::from_millis(200));
        sentinels.kill_primary();
    });
    sentinels.wait_for_failover();
    store.put("k", "v").unwrap();
}

/// Where `ROLE` is not to be had, `INFO` tells who is the primary; where neither is, the error names the command.
#[test]
fn a_primary_is_known_without_the_command_role() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let sentinels = Sentinels::start();
    let allow = |without: &[&str]| {
        for server in sentinels.servers() {
            let all = ["ACL", "SETUSER", "app", "reset", "on", ">app-hush", "~*", "+@all"];
            server.command(&[&all[..], without].concat());
        }
    };
    let builder = || patient().sentinels(NAME, sentinels.urls()).username("app").password("app-hush");
    let replica = sentinels.replica();
    allow(&["-role"]);
    let store = builder().connect().unwrap();
    store.put("k", "w").unwrap();
    assert_eq!(value(&store), "w");
    // What is no primary says so by `INFO`, too.
    let port = replica.port();
    let at_replica = move |host: &str, _: u16| (host.to_owned(), port);
    let error = RedisStore::builder()
        .sentinels(NAME, sentinels.urls())
        .username("app")
        .password("app-hush")
        .map_address(at_replica)
        .connect()
        .unwrap_err();
    assert!(is_readonly(&error), "{}", chain(&error));
    // Neither of the two.
    allow(&["-role", "-info"]);
    let error = builder().connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("the user is not allowed to use the command ROLE; add it to the rights (ACL)"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    // That a user may not ask what server this is is no reason for anything where it may ask for the role.
    allow(&["-info"]);
    let store = builder().connect().unwrap();
    store.put("k", "x").unwrap();
    assert_eq!(value(&store), "x");
}

/// A time-out is told with every error that follows from it: which server it is, and who named it.
#[test]
fn that_a_primary_is_silent_is_told_with_its_address_and_who_named_it() {
    const LIMIT: Duration = Duration::from_millis(900);
    let sentinels = Sentinels::start();
    for shared in [0, 1] {
        let builder = RedisStore::builder().sentinels(NAME, sentinels.urls()).shared_connections(shared);
        let builder = builder.connect_timeout(LIMIT).response_timeout(LIMIT).retry_after(Duration::from_secs(60));
        let store = builder.connect().unwrap();
        store.put("k", "v").unwrap();
        let primary = sentinels.primary();
        for sentinel in sentinels.sentinels() {
            sentinel.command(&["SENTINEL", "SET", NAME, "down-after-milliseconds", "600000"]);
        }
        primary.pause();
        let named = format!("{}, which the sentinel named: the server did not answer", primary.address());
        let mut last = String::new();
        wait_until(|| {
            last = chain(&store.put("k", "v").unwrap_err());
            if last.contains("so nothing was sent") { Ok(()) } else { Err(last.clone()) }
        });
        primary.resume();
        assert!(
            last.contains(&named) && last.contains("connecting took longer than 900ms (`connect_timeout`)"),
            "{last}"
        );
        assert!(last.contains("set `map_address`"), "{last}");
    }
}
