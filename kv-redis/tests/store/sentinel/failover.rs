//! Failovers, and operations during them.

use super::*;

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

    // For a while it still believes that it is the primary, and has no data.
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
    // A new store gets no connection to the replica either.
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
    // A caller meets the other connections only if it needs them.
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

/// Lists with a pause after some pages. The listing is complete, or ends with a transient error.
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

#[test]
fn many_threads_meet_only_transient_errors_during_a_failover() {
    many_threads_across_a_failover(0);
}

#[test]
fn many_threads_that_share_connections_meet_only_transient_errors_during_a_failover() {
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
