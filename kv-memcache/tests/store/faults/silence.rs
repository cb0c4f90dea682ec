//! Servers that do not answer, and what is remembered of them (N6); idle connections.

use super::*;
use crate::firewall::Firewall;

/// How long a silent server is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// After this idle time, the firewall forgets a connection.
const FORGOTTEN: Duration = Duration::from_millis(600);

/// Runs `act` in threads at the same time, so that each needs a connection.
fn together<T: Send>(threads: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (barrier, act) = (Barrier::new(threads), &act);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    act(number)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Makes this many connections.
fn connect(store: &MemcacheStore, threads: usize, accepted: impl Fn() -> usize) {
    wait_until(|| {
        together(threads, |number| store.put(format!("warm/{number}"), vec![b'v'; 100_000]).unwrap());
        if accepted() >= threads { Ok(()) } else { Err(format!("{} connections", accepted())) }
    });
}

/// Whether the error says that the server is left alone because it was silent.
fn is_silent(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_)) && error.to_string().contains("retry_after")
}

#[test]
fn operations_on_a_silent_server_fail_at_once_and_it_is_used_when_it_is_back() {
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = builder_for(&servers.iter().collect::<Vec<_>>()).retry_after(RETRY_AFTER).build().unwrap();
    let keys: Vec<_> = (0..60).map(|number| format!("key/{number}")).collect();
    wait_until(|| store.put_many(keys.iter().map(|key| (key, "v"))).map_err(|error| error.to_string()));
    let mut connection = servers[1].connection();
    let (of_silent, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| fetch(&mut connection, key).is_some());
    servers[1].pause();
    let count = |time: Duration| {
        let (fine, silent, slow) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let begin = Instant::now();
        together(16, |number| {
            let mut next = number;
            while begin.elapsed() < time {
                next += 1;
                let (result, took) = support::timed(|| store.get(&keys[next % keys.len()]));
                match result {
                    Ok(_) => fine.fetch_add(1, SeqCst),
                    Err(error) if is_silent(&error) => {
                        assert!(error.is_transient() && !error.outcome_unknown(), "{error:?}");
                        check(&error, &store, "get of silent");
                        silent.fetch_add(1, SeqCst)
                    }
                    Err(error) => {
                        assert!(took > LIMIT / 2, "{error:?}");
                        slow.fetch_add(1, SeqCst)
                    }
                };
            }
        });
        [fine, silent, slow].map(AtomicUsize::into_inner)
    };
    count(3 * LIMIT);
    let [fine, silent, slow] = count(Duration::from_secs(3));
    println!("{fine} fine, {silent} failed at once, {slow} waited");
    // One at a time waits for its limit.
    assert!(slow < 10 && silent > 100 && fine > 200, "{fine} fine, {silent} at once, {slow} waited");
    servers[1].resume();
    let back = Instant::now();
    wait_until(|| store.get(of_silent[0]).map_err(|error| error.to_string()));
    assert!(back.elapsed() < RETRY_AFTER + LIMIT + MARGIN, "{:?}", back.elapsed());
    // All threads can use it at once.
    together(16, |number| {
        for key in of_silent.iter().chain(&others).skip(number) {
            assert_eq!(store.get(*key).unwrap().unwrap(), "v");
        }
    });
    assert_eq!(store.get_many(&keys).unwrap().into_iter().flatten().count(), keys.len());
}

/// This holds as long as the server is left alone.
#[test]
fn an_error_that_comes_at_once_has_the_time_out_as_its_cause() {
    let (silent, well) = (Memcached::start(&[]), Memcached::start(&[]));
    silent.pause();
    let store = builder_for(&[&silent, &well]).retry_after(Duration::from_secs(60)).build().unwrap();
    let keys = (0..60).map(|number| format!("key/{number}"));
    let key = keys.into_iter().find(|key| store.get(key).is_err()).unwrap();
    wait_until(|| {
        let error = store.put(&*key, "v").unwrap_err();
        if is_silent(&error) { Ok(()) } else { Err(format!("{error:?}")) }
    });
    for _ in 0..20 {
        let error = store.get(&*key).unwrap_err();
        assert!(is_silent(&error) && error.is_transient() && !error.outcome_unknown(), "{error:?}");
        let text = error.report().to_string();
        assert_eq!(text.matches("did not answer").count(), 1, "{text}");
        assert!(
            text.contains("connecting took longer than") && text.contains(&format!(":{}", silent.port())),
            "{text}"
        );
    }
}

#[test]
fn with_retry_after_zero_each_operation_waits_for_its_limits() {
    let server = Memcached::start(&[]);
    let store = builder_for(&[&server]).retry_after(Duration::ZERO).build().unwrap();
    wait_until(|| store.put("k", "v").map_err(|error| error.to_string()));
    server.pause();
    for _ in 0..4 {
        let error = store.get("k").unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
    server.resume();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
}

#[test]
fn many_connections_that_a_firewall_forgot_cost_one_operation() {
    const THREADS: usize = 8;
    let server = Memcached::start(&[]);
    let firewall = Firewall::start(server.port(), FORGOTTEN);
    let store = builder(firewall.port()).idle_timeout(Duration::ZERO).pool_size(8).build().unwrap();
    connect(&store, THREADS, || firewall.accepted());
    for _ in 0..3 {
        thread::sleep(FORGOTTEN + ARRIVAL);
        let error = store.put("k", "v").unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && error.outcome_unknown(), "{error:?}");
        // No operation waits on another forgotten connection, and no error says that the server is silent: it is not.
        for (result, took) in together(THREADS, |_| support::timed(|| store.put("k", "v"))) {
            result.unwrap();
            assert!(took < LIMIT, "{took:?}");
        }
    }
}

#[test]
fn connections_that_are_closed_before_a_firewall_forgets_them_cost_nothing() {
    const THREADS: usize = 8;
    let server = Memcached::start(&[]);
    let firewall = Firewall::start(server.port(), FORGOTTEN);
    let store = builder(firewall.port()).idle_timeout(FORGOTTEN / 2).pool_size(8).build().unwrap();
    for _ in 0..3 {
        connect(&store, THREADS, || firewall.accepted());
        thread::sleep(FORGOTTEN + ARRIVAL);
        together(THREADS, |_| store.put("k", "v").unwrap());
    }
}

/// Whether the thread that closes idle connections runs.
fn sweeper_runs() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map_while(io::Result::ok).map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.map_while(io::Result::ok).any(|name| name.trim() == "kv-idle")
}

#[test]
fn idle_connections_are_closed_with_few_operations_and_without_any() {
    const IDLE_TIMEOUT: Duration = Duration::from_millis(500);
    let server = Memcached::start(&[]);
    let mut stats = Stats::of(&server);
    let others = stats.connections();
    let store = patient(builder(server.port())).idle_timeout(IDLE_TIMEOUT).pool_size(30).build().unwrap();
    for traffic in [false, true] {
        together(30, |number| (0..20).for_each(|_| store.put(format!("k/{number}"), vec![b'v'; 100_000]).unwrap()));
        let least = usize::from(traffic) as u64;
        wait_until(|| {
            if traffic {
                store.get("k").unwrap();
            }
            match stats.connections() - others {
                count if count <= least => Ok(()),
                count => Err(format!("{count} connections")),
            }
        });
        if traffic {
            assert!(sweeper_runs());
        }
    }
    drop(store);
}

#[test]
fn a_busy_connection_is_replaced_after_max_lifetime() {
    let server = Memcached::start(&[]);
    let mut stats = Stats::of(&server);
    let store = patient(builder(server.port())).max_lifetime(Duration::from_millis(300)).build().unwrap();
    store.put("k", "v").unwrap();
    let before = stats.get("total_connections");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
    }
    let made = stats.get("total_connections") - before;
    assert!((2..=6).contains(&made), "{made} connections");
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_sends_keepalive_probes_unless_they_are_turned_off() {
    for (idle, expected) in [(None, true), (Some(Duration::from_secs(5)), true), (Some(Duration::ZERO), false)] {
        let (_server, proxy) = start();
        let builder = patient(builder(proxy.port()));
        let store = match idle {
            Some(idle) => builder.tcp_keepalive(idle),
            None => builder,
        };
        let store = store.connect().unwrap();
        assert_eq!(crate::keepalive::has_keepalive(proxy.port()), expected, "{idle:?}");
        drop(store);
    }
}
