//! Names of servers: several addresses, and a resolver that does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use support::hosts::{NameServer, PrivateFiles, most_threads_named, pause, signal, task, within};

use super::*;

const HOSTS: &str = "/etc/hosts";

/// Two servers: one at 127.0.0.1, and one at 127.0.0.2 with the port of the first.
fn two_servers() -> Option<(Memcached, Memcached)> {
    let first = Memcached::start(&[]);
    let also = format!("--listen=127.0.0.2:{}", first.port());
    if let Err(error) = TcpListener::bind(("127.0.0.2", first.port())) {
        eprintln!("skipped: no address 127.0.0.2 on this machine: {error}");
        return None;
    }
    let second = Memcached::start(&[&also]);
    Some((first, second))
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
    let url = format!("memcache://cache.example:{}", first.port());
    files.with(HOSTS, "127.0.0.1 cache.example\n127.0.0.2 cache.example\n");
    assert!(files.run(&url).contains("created 100."));
    files.with(HOSTS, "127.0.0.2 cache.example\n127.0.0.1 cache.example\n");
    let text = files.run(&url);
    assert!(text.contains("created 0."), "{text}");
    assert_eq!((first.stat("curr_items"), second.stat("curr_items")), (100, 0));
}

/// No other address is tried, and the error says which one is.
#[test]
fn the_server_that_a_name_stands_for_is_down() {
    if let Some(url) = task() {
        let (error, text) = refused(MemcacheStore::builder().url(&url));
        assert!(matches!(&error, Error::Unavailable(_)), "{text}");
        assert!(text.contains("cache.example has 2 addresses, of which 127.0.0.1 is used: "), "{text}");
        assert!(text.contains("refused"), "{text}");
        let store = MemcacheStore::builder().url(url).build().unwrap();
        let error = store.put("k", "v-hush").unwrap_err();
        assert!(!error.outcome_unknown(), "{}", chain(&error));
        return;
    }
    let (Some(mut files), Some((first, second))) = (PrivateFiles::new(), two_servers()) else { return };
    files.with(HOSTS, "127.0.0.2 cache.example\n127.0.0.1 cache.example\n");
    let url = format!("memcache://cache.example:{}", first.port());
    first.kill();
    let before = second.stat("total_connections");
    files.run(&url);
    assert_eq!(second.stat("total_connections"), before + 1, "this question's");
}

/// Once a new connection shows that a name means another server, connections to the old server are not used again.
#[test]
fn all_connections_follow_a_name_to_another_server() {
    if let Some(told) = task() {
        let [port, hosts, pid_of_old] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let store = connected(patient().url(format!("memcache://cache.example:{port}")));
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
        assert_eq!(store.get("old").unwrap(), None);
        for number in 0..50 {
            store.put(format!("new{number}"), "v").unwrap();
        }
        return;
    }
    let (Some(mut files), Some((first, second))) = (PrivateFiles::new(), two_servers()) else { return };
    let hosts = files.with(HOSTS, "127.0.0.2 cache.example\n");
    let pid = second.server().pid().unwrap();
    files.run(&format!("{} {} {pid}", first.port(), hosts.display()));
    assert_eq!((first.stat("curr_items"), second.stat("curr_items")), (50, 2));
}

/// One address of each family is one server: the one that answers is used.
#[test]
fn a_name_with_one_address_of_each_family_is_reached_by_either() {
    if let Some(url) = task() {
        connected(patient().url(url));
        return;
    }
    let (Some(mut files), server) = (PrivateFiles::new(), Memcached::start(&[])) else { return };
    for hosts in ["::1 cache.example\n127.0.0.1 cache.example\n", "127.0.0.1 cache.example\n::1 cache.example\n"] {
        files.with(HOSTS, hosts);
        files.run(&format!("memcache://cache.example:{}", server.port()));
    }
}

/// However many callers there are and however long the resolver hangs, they wait no longer than their limits, and only a few threads run.
/// When the resolver is back, the store works.
#[test]
fn a_resolver_that_does_not_answer_holds_a_few_threads() {
    const RESOLVER: &str = "127.0.0.77";
    if let Some(url) = task() {
        let Some(resolver) = NameServer::at(RESOLVER) else { return };
        let limit = Duration::from_millis(300);
        // A server is left alone after a time-out, and then nothing is looked up.
        let builder = MemcacheStore::builder().url(&url).connect_timeout(limit).retry_after(Duration::ZERO);
        let store = builder.pool_size(64).build().unwrap();
        let most = most_threads_named("kv-resolve", || {
            let until = Instant::now() + Duration::from_secs(7);
            thread::scope(|scope| {
                for _ in 0..32 {
                    scope.spawn(|| {
                        while Instant::now() < until {
                            let (error, took) = support::timed(|| store.get("k").unwrap_err());
                            let text = chain(&error);
                            assert!(matches!(&error, Error::Timeout(_)) && took < WITHIN, "{took:?}: {text}");
                            assert!(text.contains("the resolver (DNS) does not answer"), "{text}");
                            assert!(text.contains("cache.example was to be looked up"), "{text}");
                        }
                    });
                }
                // Stores that are made anew again and again are no way around.
                while Instant::now() < until {
                    MemcacheStore::builder().url(&url).connect_timeout(limit).connect().unwrap_err();
                }
            });
        });
        assert!((1..=16).contains(&most), "{most} threads");
        resolver.answer();
        within(Duration::from_secs(10), || store.put("works", "v").map_err(|error| chain(&error)));
        println!("{most} threads.");
        return;
    }
    let (Some(mut files), server) = (PrivateFiles::new(), Memcached::start(&[])) else { return };
    files.with("/etc/resolv.conf", &format!("nameserver {RESOLVER}\n"));
    println!("{}", files.run(&format!("memcache://cache.example:{}", server.port())));
}
