//! Names of servers: several addresses, and a resolver that does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::support::hosts::{NameServer, PrivateFiles, forward, most_threads_named, pause, signal, task, within};

const HOSTS: &str = "/etc/hosts";

/// Two servers: one at 127.0.0.1, and one that is at 127.0.0.2, too, with the port of the first.
fn two_servers() -> Option<(Redis, Redis)> {
    let (first, second) = (Redis::start(&[]), Redis::start(&[]));
    forward(("127.0.0.2", first.port()), second.port())?;
    Some((first, second))
}

fn size(redis: &Redis) -> i64 {
    redis::from_redis_value(redis.command(&["DBSIZE"])).unwrap()
}

/// Whatever the order of the addresses, all processes use one and the same server.
#[test]
fn two_processes_agree_on_the_server_of_a_name() {
    if let Some(url) = task() {
        let store = connected(patient().url(url));
        let created = (0..100).filter(|number| store.create(format!("k{number}"), "v").unwrap()).count();
        println!("created {created}.");
        return;
    }
    let (Some(mut files), Some((first, second))) = (PrivateFiles::new(), two_servers()) else { return };
    let url = format!("redis://cache.example:{}", first.port());
    files.with(HOSTS, "127.0.0.1 cache.example\n127.0.0.2 cache.example\n");
    assert!(files.run(&url).contains("created 100."));
    files.with(HOSTS, "127.0.0.2 cache.example\n127.0.0.1 cache.example\n");
    let text = files.run(&url);
    assert!(text.contains("created 0."), "{text}");
    assert_eq!((size(&first), size(&second)), (100, 0));
}

/// No other address is tried, and the error says which one is.
#[test]
fn the_server_that_a_name_stands_for_is_down() {
    if let Some(url) = task() {
        for builder in [RedisStore::builder(), RedisStore::builder().shared_connections(1)] {
            let (error, text) = refused(builder.clone().url(&url));
            assert!(matches!(&error, Error::Unavailable(_)), "{text}");
            assert!(text.contains("cache.example has 2 addresses, of which 127.0.0.1 is used: "), "{text}");
            assert!(text.contains("refused"), "{text}");
            let error = builder.url(&url).build().unwrap().put("k", "v").unwrap_err();
            assert!(!error.outcome_unknown() && chain(&error).contains("127.0.0.1"), "{}", chain(&error));
        }
        return;
    }
    let (Some(mut files), Some((first, second))) = (PrivateFiles::new(), two_servers()) else { return };
    files.with(HOSTS, "127.0.0.2 cache.example\n127.0.0.1 cache.example\n");
    let url = format!("redis://cache.example:{}", first.port());
    first.kill();
    let connections = || second.info("total_connections_received").unwrap().parse::<u64>().unwrap();
    let before = connections();
    files.run(&url);
    assert_eq!(connections(), before + 1, "this question's");
}

/// Once a new connection shows that a name means another server, connections to the old server are not used again.
#[test]
fn all_connections_follow_a_name_to_another_server() {
    if let Some(told) = task() {
        let [port, hosts, pid_of_old] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let store = connected(patient().url(format!("redis://cache.example:{port}")));
        store.put("old", "v").unwrap();
        fs::write(hosts, "127.0.0.1 cache.example\n").unwrap();
        store.put("still-old", "v").unwrap();
        let is_done = AtomicBool::new(false);
        pause(pid_of_old);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(store.get("old").unwrap().is_some());
                is_done.store(true, Relaxed);
            });
            // The other thread uses the only connection, so this one makes a new one.
            thread::sleep(Duration::from_secs(2));
            assert_eq!(store.get("old").unwrap(), None);
            assert!(!is_done.load(Relaxed));
            signal("-CONT", pid_of_old);
        });
        // Its connection came back last and would be used first.
        for number in 0..50 {
            store.put(format!("new{number}"), "v").unwrap();
        }
        return;
    }
    let (Some(mut files), Some((first, second))) = (PrivateFiles::new(), two_servers()) else { return };
    let hosts = files.with(HOSTS, "127.0.0.2 cache.example\n");
    let pid = second.server().pid().unwrap();
    files.run(&format!("{} {} {pid}", first.port(), hosts.display()));
    assert_eq!((size(&first), size(&second)), (50, 2));
}

/// Any node can be asked for the layout, and any sentinel for the primary, so each address of their names is tried.
#[test]
fn any_address_of_a_seed_will_do() {
    if !crate::support::can_test("announced addresses", (4, 0, 0)) {
        return;
    }
    if let Some(told) = task() {
        let [seed, sentinel] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
        connected(patient().cluster([format!("redis://cache.example:{seed}")]));
        connected(patient().sentinels("mymaster", [format!("redis://cache.example:{sentinel}")]));
        return;
    }
    let (Some(mut files), cluster, sentinels) = (
        PrivateFiles::new(),
        RedisCluster::start_with(1, 0, &["--cluster-announce-ip", "127.0.0.1"]),
        Sentinels::start(),
    ) else {
        return;
    };
    // Nobody is at 127.0.0.1 with this port.
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (seed, sentinel) = (free(), free());
    let forwarded = forward(("127.0.0.2", seed), cluster.nodes()[0].port())
        .and_then(|()| forward(("127.0.0.2", sentinel), sentinels.sentinels()[0].port()));
    if forwarded.is_none() {
        return;
    }
    for hosts in
        ["127.0.0.1 cache.example\n127.0.0.2 cache.example\n", "127.0.0.2 cache.example\n127.0.0.1 cache.example\n"]
    {
        files.with(HOSTS, hosts);
        files.run(&format!("{seed} {sentinel}"));
    }
}

/// However many callers there are and however long the resolver hangs, they wait no longer than their limits, and only a few threads run.
/// When the resolver is back, the store works.
#[test]
fn a_resolver_that_does_not_answer_holds_a_few_threads() {
    const RESOLVER: &str = "127.0.0.78";
    if let Some(url) = task() {
        let Some(resolver) = NameServer::at(RESOLVER) else { return };
        let limit = Duration::from_millis(300);
        // A server is left alone after a time-out, and then nothing is looked up.
        let builder = || RedisStore::builder().connect_timeout(limit).retry_after(Duration::ZERO).pool_size(64);
        let store = builder().url(&url).build().unwrap();
        let cluster = builder().cluster([&*url]).build().unwrap();
        let sentinels = builder().sentinels("mymaster", [&*url]).build().unwrap();
        let most = most_threads_named("kv-resolve", || {
            let until = Instant::now() + Duration::from_secs(6);
            thread::scope(|scope| {
                for store in [&store, &cluster, &sentinels] {
                    for _ in 0..10 {
                        scope.spawn(move || {
                            while Instant::now() < until {
                                let (error, took) = timed(|| store.get("k").unwrap_err());
                                let text = chain(&error);
                                assert!(matches!(&error, Error::Timeout(_)) && took < WITHIN, "{took:?}: {text}");
                                assert!(text.contains("the resolver (DNS) does not answer"), "{text}");
                            }
                        });
                    }
                }
            });
        });
        assert!((1..=16).contains(&most), "{most} threads");
        resolver.answer();
        within(Duration::from_secs(10), || store.put("works", "v").map_err(|error| chain(&error)));
        println!("{most} threads.");
        return;
    }
    let (Some(mut files), redis) = (PrivateFiles::new(), Redis::start(&[])) else { return };
    files.with("/etc/resolv.conf", &format!("nameserver {RESOLVER}\n"));
    println!("{}", files.run(&format!("redis://cache.example:{}", redis.port())));
}
