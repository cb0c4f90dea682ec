//! Nodes that fail.

use super::*;

/// One operation of one of the threads.
struct Used {
    node: usize,
    began: Instant,
    took: Duration,
    result: Result<(), Error>,
}

/// Eight threads use keys of each primary while something happens. Half of the threads use no keys of the first primary.
fn use_it_while(store: &RedisStore, tags: &[String; 3], act: impl FnOnce()) -> Vec<Used> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let mut all = Vec::new();
                    let mut round = 0;
                    while !is_over.load(Relaxed) {
                        round += 1;
                        for (node, tag) in tags.iter().enumerate().skip(thread % 2) {
                            let key = format!("{tag}of-{thread}");
                            let began = Instant::now();
                            let result = if round % 2 == 1 {
                                store.put(&key, format!("{key}#{round}"))
                            } else {
                                store.get(&key).map(|value| {
                                    // The value may be an old one, but never another key's: writes that the replica has not received are
                                    // lost.
                                    let value = String::from_utf8(value.unwrap().to_vec()).unwrap();
                                    let written =
                                        value.strip_prefix(&format!("{key}#")).unwrap_or_else(|| panic!("{value}"));
                                    assert!(written.parse::<u32>().unwrap() < round, "{value} in round {round}");
                                })
                            };
                            all.push(Used { node, began, took: began.elapsed(), result });
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                    all
                })
            })
            .collect();
        // Until the replicas have received every key.
        thread::sleep(Duration::from_millis(500));
        act();
        is_over.store(true, Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Makes the first primary fail and come back while the cluster is used. Its replica takes over in between.
fn a_primary_fails(fail: fn(&Redis), come_back: fn(&Redis)) {
    // Without this the other nodes would refuse everything until the replica has taken over.
    let cluster = RedisCluster::start_with(3, 1, &["--cluster-require-full-coverage", "no"]);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    let tags = tags::<3>(&cluster);
    let victim = &cluster.nodes()[0];
    // An unanswered write may leave the previous value, so each key is written at the beginning.
    for (tag, thread) in tags.iter().flat_map(|tag| (0..8).map(move |thread| (tag, thread))) {
        store.put(format!("{tag}of-{thread}"), format!("{tag}of-{thread}#0")).unwrap();
    }
    let (mut failed, mut replaced) = (None, None);
    let all = use_it_while(&store, &tags, || {
        failed = Some(Instant::now());
        fail(victim);
        cluster.wait_until_ok();
        replaced = Some(Instant::now());
        // The last operations that were sent to the old primary end.
        thread::sleep(Duration::from_millis(1500));
    });
    let (failed, replaced) = (failed.unwrap(), replaced.unwrap());
    assert_ne!(cluster.primary_of_slot(cluster.slot_of(&tags[0])), 0);

    for Used { took, result, .. } in &all {
        assert!(*took < WITHIN, "{took:?}: {result:?}");
        assert!(result.as_ref().is_ok_and(|()| true) || result.as_ref().is_err_and(Error::is_transient), "{result:?}");
    }
    let meanwhile = |used: &&Used| used.began > failed && used.began < replaced;
    let of_others: Vec<_> = all.iter().filter(|used| used.node != 0).collect();
    let errors: Vec<_> = of_others.iter().filter_map(|used| used.result.as_ref().err()).map(chain).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let of_others: Vec<_> = of_others.into_iter().filter(meanwhile).collect();
    let slow = of_others.iter().filter(|used| used.took > Duration::from_millis(500)).count();
    assert!(of_others.len() > 200 && slow * 50 < of_others.len(), "{slow} slow ones of {}", of_others.len());
    let errors = all.iter().filter(|used| used.result.is_err()).count();
    assert!(errors > 0, "the primary did not fail");
    let late = all.iter().filter(|used| used.began > replaced + Duration::from_millis(1200));
    let late: Vec<_> = late.filter_map(|used| used.result.as_ref().err()).map(chain).collect();
    assert!(late.is_empty(), "the replica has taken over, and {late:?}");

    for all_is_well in [false, true] {
        if all_is_well {
            come_back(victim);
            cluster.wait_until_ok();
            assert_eq!(cluster.replicas_of(cluster.primary_of_slot(cluster.slot_of(&tags[0]))), [0]);
        }
        for tag in &tags {
            store.put(tag, "after").unwrap();
            assert_eq!(store.get(tag).unwrap().as_deref(), Some(&b"after"[..]));
        }
        assert_eq!(store.keys("").unwrap().map(Result::unwrap).count(), 24 + 3);
    }
    assert_eq!(counted(victim, "errorstat_MOVED", "count"), 0, "the old primary is still asked");
}

#[test]
fn a_primary_is_killed_and_comes_back_as_a_replica() {
    a_primary_fails(Redis::kill, Redis::restart);
}

#[test]
fn a_primary_is_paused_and_goes_on_as_a_replica() {
    a_primary_fails(Redis::pause, Redis::resume);
}

#[test]
fn with_all_nodes_down_there_is_an_error_within_the_limits() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    store.put("k", "v").unwrap();
    let acts: [(&str, Act); 5] = [
        ("get", |store| store.get("k").map(drop)),
        ("put", |store| store.put("k", "v")),
        ("get_many", |store| store.get_many(["k"]).map(drop)),
        ("copy", |store| store.copy("k", "l")),
        ("keys", |store| store.keys("").and_then(|mut keys| keys.next().map_or(Ok(()), |key| key.map(drop)))),
    ];
    for node in cluster.nodes() {
        node.pause();
    }
    let mut late = Vec::new();
    for _ in 0..2 {
        for (name, act) in acts {
            let (result, took) = timed(|| act(&store));
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Timeout(_)), "{name}: {}", chain(&error));
            if took > WITHIN {
                late.push((name, took));
            }
        }
    }
    for node in cluster.nodes() {
        node.resume();
    }
    cluster.wait_until_ok();
    store.put("k", "v").unwrap();
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    for node in cluster.nodes() {
        node.kill();
    }
    for (name, act) in acts {
        let (result, took) = timed(|| act(&store));
        let error = result.unwrap_err();
        // A write on a connection that was in use just now may have been sent.
        assert!(matches!(&error, Error::Unavailable(_)), "{name}: {}", chain(&error));
        assert!(took < WITHIN, "{name}: {took:?}");
    }
    for node in cluster.nodes() {
        node.restart();
    }
    cluster.wait_until_ok();
    store.put("k", "v").unwrap();
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(late.is_empty(), "took longer than the limits together: {late:?}");
}

/// The failed primary is dead or silent, and the batch waits for it only once.
#[test]
fn get_each_returns_the_other_primaries_entries_and_an_error_for_each_key_of_the_failed_one() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    // Without this, the others would refuse everything as soon as they see a primary as down.
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let limit = Duration::from_millis(500);
    let builder = RedisStore::builder().pool_timeout(limit).connect_timeout(limit).response_timeout(limit);
    let store = builder.cluster(cluster.urls()).connect().unwrap();
    // Several chunks for each node.
    let keys: Vec<_> = (0..6000).map(|number| format!("key/{number}")).collect();
    let absent: BTreeSet<_> = keys.iter().step_by(10).collect();
    store.put_many(keys.iter().filter(|key| !absent.contains(key)).map(|key| (key, key))).unwrap();
    let get_each = || {
        let (outcomes, took) = timed(|| store.get_each(&keys));
        assert_eq!(outcomes.len(), keys.len());
        for (key, outcome) in keys.iter().zip(&outcomes) {
            match outcome {
                Ok(got) => assert_eq!(got.as_deref(), (!absent.contains(key)).then_some(key.as_bytes())),
                Err(error) => assert_eq!(error.key(), Some(key.as_str()), "{}", chain(error)),
            }
        }
        (outcomes.iter().filter(|outcome| outcome.is_ok()).count(), took)
    };
    assert_eq!(get_each().0, keys.len());
    let part = keys.len() / 4..keys.len() * 3 / 4;
    cluster.nodes()[1].pause();
    for _ in 0..3 {
        let (found, took) = get_each();
        assert!(part.contains(&found), "{found} of {}", keys.len());
        // To send and wait, to ask for the layout, to connect anew.
        assert!(took < 4 * limit + Duration::from_millis(1500), "{took:?}");
    }
    cluster.nodes()[1].resume();
    wait_until(|| if get_each().0 == keys.len() { Ok(()) } else { Err("not all can be read".into()) });
    cluster.kill(1);
    for _ in 0..3 {
        let (found, took) = get_each();
        assert!(part.contains(&found), "{found} of {}", keys.len());
        assert!(took < 4 * limit + Duration::from_millis(1500), "{took:?}");
        store.get_many(&keys).unwrap_err();
        thread::sleep(Duration::from_millis(700));
    }
}
