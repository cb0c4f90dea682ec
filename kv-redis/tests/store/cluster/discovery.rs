//! How the store finds out which node has which slots.

use super::*;

/// A node that failed is asked last for the layout, also if the nodes could not be asked in between.
#[test]
fn a_provider_that_fails_does_not_make_the_store_forget_which_node_failed() {
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-node-timeout", "60000"]);
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "masterauth", "secret"]);
    }
    let (urls, tags) = (cluster.urls(), tags::<3>(&cluster));
    let mut connections: Vec<_> = cluster.nodes().iter().map(Redis::connection).collect();
    for connection in &mut connections {
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("secret").exec(connection).unwrap();
    }
    let fails = std::sync::Arc::new(AtomicBool::new(false));
    let provider = std::sync::Arc::clone(&fails);
    let provide = move || {
        let is_there = !provider.load(Relaxed);
        is_there.then(|| kv_redis::Credentials::from_password("secret")).ok_or("there is no token at the moment")
    };
    let limit = Duration::from_millis(300);
    let builder = RedisStore::builder().cluster(urls).credentials_provider(provide).response_timeout(limit);
    let store = builder.connect_timeout(Duration::from_secs(3)).connect().unwrap();
    for tag in &tags {
        store.put(tag, "v").unwrap();
    }
    let victim = &cluster.nodes()[0];
    victim.pause();
    assert!(matches!(store.get(&tags[0]), Err(Error::Timeout(_))));
    // The layout has to be asked for, but cannot be.
    fails.store(true, Relaxed);
    assert_eq!(store.get(&tags[1]).unwrap().as_deref(), Some(&b"v"[..]));
    fails.store(false, Relaxed);
    // The first node would have a share of a second.
    let (value, took) = timed(|| store.get(&tags[1]).unwrap());
    victim.resume();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert!(took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn one_seed_that_is_up_will_do() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let down = || format!("redis://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let store = patient().cluster([down(), down(), cluster.urls()[1].clone()]).connect().unwrap();
    for tag in tags::<3>(&cluster) {
        store.put(&tag, "v").unwrap();
        assert_eq!(store.get(&tag).unwrap().as_deref(), Some(&b"v"[..]));
    }
    let error = RedisStore::builder().cluster([down(), down()]).connect().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
}

#[test]
fn a_seed_that_accepts_and_never_answers_does_not_keep_the_others_from_being_asked() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let silent = listeners.each_ref().map(|listener| format!("redis://{}", listener.local_addr().unwrap()));
    for count in [1, 2] {
        let seeds = silent[..count].iter().chain([&cluster.urls()[2]]).cloned().collect::<Vec<_>>();
        let (store, took) = timed(|| RedisStore::builder().cluster(seeds).connect());
        assert!(took < WITHIN, "{count} silent: {took:?}");
        let store = store.unwrap_or_else(|error| panic!("{count} silent: {}", chain(&error)));
        store.put("k", "v").unwrap();
    }
    let (result, took) = timed(|| RedisStore::builder().cluster(silent).connect());
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Timeout(_)) && took < WITHIN, "{took:?}: {}", chain(&error));
}

#[test]
fn a_server_outside_a_cluster_is_named_so() {
    let redis = Redis::start(&[]);
    let error = RedisStore::builder().cluster([redis.url()]).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("cluster support disabled"), "{text}");
    assert!(text.contains("url("), "it does not say what to do: {text}");
}

#[test]
fn a_plain_store_on_a_node_of_a_cluster_says_what_to_do() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = match RedisStore::connect(cluster.urls()[0].clone()) {
        Ok(store) => store,
        Err(error) => return assert!(chain(&error).contains("cluster("), "{}", chain(&error)),
    };
    let [_, other, _] = tags::<3>(&cluster);
    let keys: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let results = [
        ("get", store.get(&other).map(drop)),
        ("put", store.put(&other, "v")),
        ("touch", store.touch(&other, Ttl::Forever).map(drop)),
        ("put_many", store.put_many(keys.iter().map(|key| (key, "v")))),
        ("get_many", store.get_many(&keys).map(drop)),
        ("copy", store.copy("a", "b")),
        // It would be a third of all keys.
        ("keys", store.keys("").and_then(|mut keys| keys.find_map(Result::err).map_or(Ok(()), Err))),
    ];
    let says_what_to_do = |error: &Error| {
        matches!(error, Error::Backend(_)) && !error.is_transient() && chain(error).contains("cluster(")
    };
    let others: Vec<_> =
        results.into_iter().filter(|(_, result)| !result.as_ref().is_err_and(says_what_to_do)).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn a_cluster_without_all_slots_is_temporarily_unavailable() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    let [one, two, three] = tags::<3>(&cluster);
    store.put_many([(&one, "v"), (&two, "v"), (&three, "v")]).unwrap();
    cluster.kill(2);
    let up = &cluster.nodes()[..2];
    let is_down = |node: &Redis| {
        let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"])).unwrap();
        info.contains("cluster_state:fail")
    };
    wait_until(|| if up.iter().all(is_down) { Ok(()) } else { Err("the cluster is not down".into()) });
    let errors = [store.get(&one).unwrap_err(), store.put(&two, "v").unwrap_err(), store.get_many([&one]).unwrap_err()];
    for error in errors {
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
        assert!(text.contains("CLUSTERDOWN"), "{text}");
    }
    let error = store.get(&three).unwrap_err();
    assert!(error.is_transient(), "{}", chain(&error));
    cluster.restart(2);
    cluster.wait_until_ok();
    assert_eq!(store.get(&one).unwrap().as_deref(), Some(&b"v"[..]));
    store.put(&three, "again").unwrap();
}

#[test]
fn a_slot_without_an_owner_is_used_as_soon_as_it_has_one() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let [key, ..] = tags::<1>(&cluster);
    let slot = cluster.slot_of(&key).to_string();
    let before = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    before.put(&key, "v").unwrap();
    for node in cluster.nodes() {
        node.command(&["CLUSTER", "DELSLOTS", &slot]);
    }
    let meanwhile = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    for store in [&before, &meanwhile] {
        for error in [store.get(&key).unwrap_err(), store.put_many([(&key, "v")]).unwrap_err()] {
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && error.is_transient(), "{text}");
            assert!(text.contains("CLUSTERDOWN"), "{text}");
        }
    }
    // To another node than before.
    cluster.nodes()[1].command(&["CLUSTER", "ADDSLOTS", &slot]);
    cluster.nodes()[1].command(&["CLUSTER", "BUMPEPOCH"]);
    cluster.wait_until_ok();
    for (name, store) in [("before", before), ("meanwhile", meanwhile)] {
        let put = store.put(&key, "new");
        assert!(put.is_ok(), "connected {name}: {}", chain(&put.unwrap_err()));
        assert_eq!(store.get_many([&key]).unwrap()[0].as_deref(), Some(&b"new"[..]));
    }
}

#[test]
fn a_node_that_does_not_know_all_others_does_not_mislead_the_store() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let before = connect(&cluster);
    let keys: BTreeSet<_> = (0..300).map(|number| format!("k{number}")).collect();
    before.put_many(keys.iter().map(|key| (key, key))).unwrap();
    let nodes = cluster.nodes();
    let redis::Value::BulkString(id) = nodes[2].command(&["CLUSTER", "MYID"]) else { panic!("no id") };
    nodes[0].command(&["CLUSTER", "FORGET", str::from_utf8(&id).unwrap()]);

    let of_one = patient().cluster([nodes[0].url()]).connect().unwrap();
    for (name, store) in [("before", &before), ("afterwards", &connect(&cluster)), ("to that node alone", &of_one)] {
        let values = store.get_many(&keys).unwrap_or_else(|error| panic!("connected {name}: {}", chain(&error)));
        assert_eq!(values.iter().flatten().count(), keys.len(), "connected {name}");
        for key in &keys {
            assert_eq!(store.get(key).unwrap().as_deref(), Some(key.as_bytes()), "connected {name}");
        }
        let listed: Result<BTreeSet<_>, _> = store.keys("").unwrap().map(|key| key.map(String::from)).collect();
        assert_eq!(listed.unwrap_or_else(|error| panic!("connected {name}: {}", chain(&error))), keys);
    }
}

#[test]
fn a_primary_that_is_cut_off_from_the_others_is_not_asked_for_ever() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 1);
    let [key, ..] = tags::<1>(&cluster);
    let store = connect(&cluster);
    store.put(&key, "v").unwrap();
    // Clients still reach it, and nobody tells it that it has been replaced.
    let nodes = cluster.nodes();
    let replica = &nodes[cluster.replicas_of(0)[0]];
    for other in &nodes[1..] {
        if let redis::Value::BulkString(id) = other.command(&["CLUSTER", "MYID"]) {
            // A node does not forget the one that it replicates. A primary replicates none.
            let _ = nodes[0].try_command(&["CLUSTER", "FORGET", str::from_utf8(&id).unwrap()]);
        }
    }
    replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let begin = Instant::now();
    while let Err(error) = store.get(&key) {
        assert!(error.is_transient(), "{}", chain(&error));
        assert!(begin.elapsed() < PATIENCE, "{}", chain(&error));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(store.get(&key).unwrap().as_deref(), Some(&b"v"[..]));
}
