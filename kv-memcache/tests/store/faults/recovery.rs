//! N4, N5, N6: servers that go down and come back.

use super::*;

/// Runs `act` in three threads at the same time, so that it needs three connections.
fn in_three_threads<T: Send>(act: impl Fn() -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(3);
    let act = || {
        barrier.wait();
        act()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(act)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_server_that_was_restarted_is_read_and_written_at_once() {
    side_by_side(kinds(), |kind| {
        let server = Memcached::start_as(kind, &[]);
        let store = patient(builder_for(&[&server])).pool_size(3).connect().unwrap();
        let stop = |server: &Memcached| server.server().stop().unwrap();
        for end in [Memcached::kill, stop] {
            for writes_first in [false, true] {
                in_three_threads(|| store.put("k", "v").unwrap());
                end(&server);
                server.restart();
                let first = || if writes_first { store.put("new", "v").map(|()| None) } else { store.get("k") };
                for result in in_three_threads(first) {
                    assert_eq!(result.unwrap(), None, "{kind:?}");
                }
                assert_eq!(server.stat("cmd_set"), if writes_first { 3 } else { 0 }, "{kind:?}");
                for Operation { name, run, .. } in operations() {
                    store.put("k", "v").unwrap();
                    run(&store).unwrap_or_else(|error| panic!("{kind:?}, {name}: {error:?}"));
                }
                assert_works(&store);
            }
        }
    });
}

#[test]
fn operations_on_an_unreachable_server_fail_and_work_when_it_is_back() {
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(2).connect().unwrap();
    server.kill();
    for Operation { name, run, .. } in operations() {
        // The store notices at once that the old connection is closed.
        let error = within(Duration::ZERO, name, || run(&store)).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        assert_eq!(kind_of_cause(&error), Some(io::ErrorKind::ConnectionRefused), "{name}: {error:?}");
        check(&error, &store, name);
    }
    server.restart();
    assert_works(&store);
}

/// Nothing is sent on the cut connection, so each write happens exactly once.
#[test]
fn an_idle_connection_that_was_cut_is_noticed_without_a_round_trip() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    for cut in [Cut::Close, Cut::Reset] {
        for Operation { name, run, .. } in single() {
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            cut_and_wait(&proxy, cut);
            run(&store).unwrap_or_else(|error| panic!("{name}, {cut:?}: {error:?}"));
            assert_eq!(proxy.accepted(), before + 1, "{name}, {cut:?}");
        }
        set(&server, "k", "v");
        let grown = stats.growth(|| {
            for _ in 0..5 {
                cut_and_wait(&proxy, cut);
                store.put("k", "v").unwrap();
                cut_and_wait(&proxy, cut);
                store.get("k").unwrap();
            }
        });
        assert_eq!(grown, counts([("cmd_set", 5), ("cmd_get", 5), ("get_hits", 5), ("total_connections", 10)]));
    }
}

/// At whatever moment a connection is cut.
#[test]
fn a_write_that_meets_a_cut_happens_once_or_its_outcome_is_unknown() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    let before = stats.get("cmd_set");
    let (mut done, mut unknown) = (0, 0);
    thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut random = Random(seed());
            for number in 0..800 {
                thread::sleep(Duration::from_micros(random.below(4000)));
                proxy.cut_now(if number % 2 == 0 { Cut::Close } else { Cut::Reset }).unwrap();
            }
        });
        while !cutting.is_finished() {
            match store.put("k", "v") {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                    check(&error, &store, "put");
                    unknown += u64::from(error.outcome_unknown());
                }
            }
        }
    });
    let happened = stats.get("cmd_set") - before;
    assert!((done..=done + unknown).contains(&happened), "{happened} writes, {done} done, {unknown} unknown");
    assert!(done > 100, "too little happened: {done}");
    assert_works(&store);
}

/// And reads are sent once more, writes are not.
#[test]
fn only_writes_that_were_sent_have_an_unknown_outcome() {
    if !can("only writes that were sent have an unknown outcome", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    for Operation { name, commands, writes, run } in operations() {
        for cut in [Cut::Close, Cut::Reset] {
            for times in [1, 2, usize::MAX] {
                let what = format!("{name}, {cut:?}, {times} times");
                set(&server, "k", "v");
                store.get("k").unwrap();
                proxy.set(Behaviour::CutAnswer { cut, to: commands[0], times });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store)));
                proxy.pass();
                let result = result.unwrap();
                if !writes && times == 1 {
                    result.expect(&what);
                    assert_eq!(grown["total_connections"], 1, "{what}");
                    continue;
                }
                let error = result.expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                assert!(error.source().is_some(), "{what}: {error:?}");
                check(&error, &store, name);
                // Of a batch, one chunk is sent.
                let chunk = commands.iter().filter(|command| **command == commands[0]).count().min(1024);
                let kinds = ["cmd_get", "cmd_set", "cmd_touch", "delete_hits", "delete_misses"];
                let sent: u64 = kinds.iter().filter_map(|kind| grown.get(*kind)).sum();
                let expected = if writes { chunk as u64 } else { 2 * chunk as u64 };
                // A long request that is cut may not have arrived whole.
                let is_much = chunk > 1 || name == "put of a large value";
                assert!(sent == expected || is_much && sent < expected, "{what}: {sent} commands, {grown:?}");
                assert_eq!(grown.get("total_connections").copied().unwrap_or(0), u64::from(!writes), "{what}");
                assert_works(&store);
            }
        }
    }
}

/// The error names the key of the step that failed.
#[test]
fn the_later_steps_of_a_copy_and_a_rename_fail_as_writes_do() {
    if !can("the later steps of a copy and a rename fail as writes do", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let copy: fn(&MemcacheStore) -> Result<()> = |store| store.copy("k", "to");
    let rename: fn(&MemcacheStore) -> Result<()> = |store| store.rename("k", "to");
    for cut in [Cut::Close, Cut::Reset] {
        for (run, step, key) in [(copy, "ms", "to"), (rename, "ms", "to"), (rename, "md", "k")] {
            set(&server, "k", "v");
            store.delete("to").unwrap();
            store.get("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut, to: step, times: 1 });
            let error = run(&store).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{step}: {error:?}");
            assert_eq!(error.key(), Some(key), "{step}: {error:?}");
            check(&error, &store, step);
            assert_eq!(store.get("to").unwrap().unwrap(), "v", "it was written");
            assert_eq!(store.get("k").unwrap().is_none(), step == "md", "{step}");
        }
    }
}

/// A firewall that has forgotten one idle connection has forgotten them all. Each would cost an operation its limit.
#[test]
fn after_a_time_out_connections_that_were_idle_then_are_not_used_again() {
    const CONNECTIONS: u32 = 6;
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    let store = builder(proxy.port()).connect_timeout(PATIENCE).response_timeout(LIMIT + MARGIN);
    let store = store.pool_size(CONNECTIONS).build().unwrap();
    let at_once = || {
        proxy.set(Behaviour::Delay(ARRIVAL));
        let barrier = Barrier::new(CONNECTIONS as usize);
        side_by_side(0..CONNECTIONS, |_| {
            barrier.wait();
            store.get("k").unwrap();
        });
    };
    at_once();
    let before = proxy.accepted();
    assert_eq!(before, CONNECTIONS as usize, "each thread needs a connection");
    at_once();
    assert_eq!(proxy.accepted(), before, "each thread finds its connection");
    proxy.set(Behaviour::HoldReplies);
    let error = store.get("k").unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    at_once();
    assert_eq!(proxy.accepted(), 2 * before, "all connections are new");
}

#[test]
fn a_read_that_timed_out_is_not_sent_again() {
    let (server, proxy) = start();
    let store = builder(proxy.port()).pool_size(1).build().unwrap();
    warm(&store);
    let mut stats = Stats::of(&server);
    let grown = stats.growth(|| {
        proxy.set(Behaviour::HoldReplies);
        assert!(matches!(store.get("k"), Err(Error::Timeout(_))));
    });
    proxy.pass();
    assert_eq!(grown, counts([("cmd_get", 1), ("get_hits", 1)]));
}

#[test]
fn a_create_never_returns_false_because_of_its_own_entry() {
    let (_server, proxy, store) = one_connection();
    for number in 0..40 {
        let (key, cut) = (format!("new/{number}"), if number % 2 == 0 { Cut::Close } else { Cut::Reset });
        let (of, bytes) = if number % 4 < 2 { (Direction::Replies, number % 5) } else { (Direction::Requests, number) };
        store.get("k").unwrap();
        proxy.set(Behaviour::CutAfter { cut, of, bytes });
        match store.create(&key, "mine") {
            Ok(created) => assert!(created, "{key}"),
            Err(error) => assert!(error.outcome_unknown(), "{key}: {error:?}"),
        }
        proxy.pass();
        let before = store.get(&key).unwrap();
        assert_eq!(store.create(&key, "another").unwrap(), before.is_none(), "{key}");
    }
}

/// N6: however often the server pauses.
#[test]
fn a_server_that_stops_and_goes_on_is_used_at_once() {
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(2).connect().unwrap();
    let mut stats = Stats::of(&server);
    let grown = stats.growth(|| {
        for _ in 0..10 {
            server.pause();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| store.put("k", "v"));
                thread::sleep(Duration::from_millis(20));
                server.resume();
                waiting.join().unwrap().unwrap();
            });
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
        }
    });
    // No connection was made: the server was only slow.
    assert_eq!(grown, counts([("cmd_set", 10), ("cmd_get", 10), ("get_hits", 10)]));
}
