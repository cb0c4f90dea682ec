//! Several servers.

use super::*;

#[test]
fn the_live_ones_of_several_servers_serve_all_of_their_keys() {
    for kind in transports() {
        let servers: Vec<_> = (0..3).map(|_| Memcached::start_as(kind, &[])).collect();
        let all: Vec<_> = servers.iter().collect();
        let store = patient(builder_for(&all)).pool_size(2).connect().unwrap();
        let keys: Vec<_> = (0..300).map(|number| format!("key/{number}")).collect();
        for (number, dead) in servers.iter().enumerate() {
            let entries = |write| keys.iter().map(move |key| (key, value(key, write, 5)));
            store.put_many(entries(1)).unwrap();
            let of_dead: BTreeSet<_> = {
                let mut connection = dead.connection();
                keys.iter().filter(|key| fetch(&mut connection, key).is_some()).collect()
            };
            assert!(of_dead.len() > 30 && of_dead.len() < 200, "{} of {}", of_dead.len(), keys.len());
            dead.kill();
            let what = format!("{kind:?}, server {number}");
            let name = dead.url().split("://").nth(1).unwrap().to_owned();
            for key in &keys {
                let result = within(Duration::ZERO, &what, || store.get(key));
                if of_dead.contains(key) {
                    let error = result.unwrap_err();
                    assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                    assert_eq!(error.key(), Some(key.as_str()), "{what}: {error:?}");
                    assert!(error.to_string().contains(&name), "{what}: {error} does not name {name}");
                    check(&error, &store, "get of many");
                    let error = within(Duration::ZERO, &what, || store.put(key, "v")).unwrap_err();
                    assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
                } else {
                    assert_eq!(parse(&result.unwrap().unwrap()), (key.clone(), 1), "{what}");
                }
            }
            let fails = |result: Result<()>| {
                let error = result.expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
                assert!(error.to_string().contains(&name), "{what}: {error} does not name {name}");
                check(&error, &store, "get_many");
            };
            let live = |key: &&String| !of_dead.contains(key);
            fails(within(Duration::ZERO, &what, || store.put_many(entries(2))));
            for key in keys.iter().filter(live) {
                assert_eq!(parse(&store.get(key).unwrap().unwrap()), (key.clone(), 2), "{what}");
            }
            fails(within(Duration::ZERO, &what, || store.get_many(&keys).map(drop)));
            let read = store.get_many(keys.iter().filter(live)).unwrap();
            assert!(read.iter().all(Option::is_some), "{what}");
            fails(within(Duration::ZERO, &what, || store.delete_many(&keys).map(drop)));
            for key in keys.iter().filter(live) {
                assert_eq!(store.get(key).unwrap(), None, "{what}");
            }
            dead.restart();
            // Everything works at once, although the connection to one server is dead.
            store.put_many(entries(3)).unwrap();
            for (key, value) in keys.iter().zip(store.get_many(&keys).unwrap()) {
                assert_eq!(parse(&value.unwrap()), (key.clone(), 3), "{what}");
            }
            assert!(store.delete_many(&keys).unwrap().into_iter().all(|was| was), "{what}");
            assert_works(&store);
        }
    }
}

/// An error of a server to which nothing was sent does not hide an unknown outcome on another one.
#[test]
fn of_the_errors_of_several_servers_one_with_an_unknown_outcome_is_returned() {
    if !can("of the errors of several servers one with an unknown outcome is returned", Need::Meta) {
        return;
    }
    let dead = Memcached::start(&[]);
    dead.kill();
    let (server, proxy) = start();
    let mut urls = [dead.url(), format!("memcache://127.0.0.1:{}", proxy.port())];
    for _ in 0..2 {
        let store = patient(settings(support::builder()).servers(&urls)).pool_size(1).build().unwrap();
        let mut stats = Stats::of(&server);
        for (Operation { name, writes, run, .. }, command) in BATCH.into_iter().zip(["mg", "ms", "md"]) {
            proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: command, times: usize::MAX });
            let mut result = None;
            let grown = stats.growth(|| result = Some(run(&store)));
            proxy.pass();
            let error = result.unwrap().unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "{urls:?}, {name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{urls:?}, {name}: {grown:?}, {error:?}");
            check(&error, &store, name);
        }
        urls.reverse();
    }
}

/// Each server has its own connections, and its own faults.
#[test]
fn a_silent_server_does_not_slow_down_the_others() {
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = builder_for(&servers.iter().collect::<Vec<_>>()).pool_size(1).build().unwrap();
    let keys: Vec<_> = (0..60).map(|number| format!("key/{number}")).collect();
    wait_until(|| store.put_many(keys.iter().map(|key| (key, "v"))).map_err(|error| error.to_string()));
    let mut connection = servers[1].connection();
    let (silent, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| fetch(&mut connection, key).is_some());
    servers[1].pause();
    let error = within(LIMIT, "get", || store.get(silent[0])).unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    thread::scope(|scope| {
        for key in &silent[..3] {
            scope.spawn(|| {
                // One of them has the only permit of the pool, and the others wait for it.
                let error = within(2 * LIMIT, "get", || store.get(*key)).unwrap_err();
                check(&error, &store, "get of silent");
            });
        }
        for _ in 0..20 {
            for key in &others {
                let (value, took) = support::timed(|| store.get(*key));
                assert_eq!(value.unwrap().unwrap(), "v");
                assert!(took < LIMIT, "{took:?}");
            }
        }
    });
    servers[1].resume();
    wait_until(|| store.get(silent[0]).map_err(|error| error.to_string()));
    assert_eq!(store.get_many(&keys).unwrap().into_iter().flatten().count(), keys.len());
}

/// The failed server is dead or silent, and the batch waits for it only once.
#[test]
fn get_each_returns_the_others_entries_and_an_error_for_each_key_of_the_failed_server() {
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = builder_for(&servers.iter().collect::<Vec<_>>()).pool_size(1).build().unwrap();
    let faults: [[fn(&Memcached); 2]; 2] =
        [[Memcached::kill, Memcached::restart], [Memcached::pause, Memcached::resume]];
    // 6000 keys are several chunks for each server.
    for (count, (number, [fail, recover])) in
        [60, 6000].into_iter().flat_map(|count| faults.into_iter().enumerate().map(move |fault| (count, fault)))
    {
        let keys: Vec<_> = (0..count).map(|number| format!("key/{number}")).collect();
        let write = || store.put_many(keys.iter().map(|key| (key, value(key, 1, 5))));
        wait_until(|| write().map_err(|error| error.to_string()));
        let failing = &servers[number];
        let mut connection = failing.connection();
        let of_failing: BTreeSet<_> = keys.iter().filter(|key| fetch(&mut connection, key).is_some()).collect();
        assert!(of_failing.len() > count / 10 && of_failing.len() < count * 2 / 3, "{} of {count}", of_failing.len());
        let absent: BTreeSet<_> = keys.iter().step_by(10).collect();
        store.delete_many(&absent).unwrap();
        fail(failing);
        let name = failing.url().split("://").nth(1).unwrap().to_owned();
        let outcomes = within(3 * LIMIT, "get_each", || store.get_each(&keys));
        assert_eq!(outcomes.len(), keys.len());
        for (key, outcome) in keys.iter().zip(outcomes) {
            assert_eq!(outcome.is_err(), of_failing.contains(key), "{key}: {outcome:?}");
            match outcome {
                Ok(got) => assert_eq!(got.map(|got| parse(&got)), (!absent.contains(key)).then(|| (key.clone(), 1))),
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_) | Error::Timeout(_)), "{error:?}");
                    assert_eq!(error.key(), Some(key.as_str()), "{error:?}");
                    assert!(error.to_string().contains(&name), "{error} does not name {name}");
                    check(&error, &store, "get_each");
                }
            }
        }
        store.get_many(&keys).unwrap_err();
        recover(failing);
    }
}
