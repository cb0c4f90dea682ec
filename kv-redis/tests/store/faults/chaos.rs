//! Faults at random: no operation gets the reply to another one.

use super::random_client::{Random, RandomClient};
use super::*;

/// Changes the next piece if it is the beginning of a reply.
fn edit(change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Behaviour {
    Behaviour::Edit(Box::new(|piece| {
        if piece.len() < 8192 && b"$*:+".contains(&piece[0]) {
            change(piece);
        }
    }))
}

fn run_random_faults(seed: u64, store: &RedisStore, is_external: bool, redis: &Redis, proxy: &Proxy) {
    // An external pool checks a connection first, and then may have to check another one.
    let limit = if is_external { 7 * LIMIT } else { 3 * LIMIT };
    let mut clients: Vec<_> = (0..4).map(|number| RandomClient::new(store, number, seed, limit)).collect();
    let mut random = Random(seed);
    let mut connection = redis.connection();
    for round in 0..8 {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let threads: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(|| {
                        while !is_over.load(SeqCst) {
                            client.step();
                        }
                    })
                })
                .collect();
            for _ in 0..10 {
                let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
                let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
                match random.below(13) {
                    0 => proxy.set(Behaviour::Delay(random.millis(400))),
                    1 => proxy.set(Behaviour::Hold),
                    2 => proxy.set(Behaviour::HoldReplies),
                    3 if !is_external => proxy.set(Behaviour::Split(random.millis(20))),
                    3 | 4 => proxy.set(Behaviour::Split(Duration::ZERO)),
                    5 | 6 => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(400) }),
                    7 => proxy.set(Behaviour::CutAnswer { cut, to: "SET", times: 1 + random.size(5) }),
                    8 => proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: random.size(100) }),
                    9 => proxy.set(edit(|piece| piece[0] = b'?')),
                    // A connection of an external pool does not show whether there is more to read.
                    10 if !is_external => proxy.set(edit(|piece| piece.extend_from_slice(b"$5\r\nwrong\r\n"))),
                    11 => proxy.refuse(),
                    _ => proxy.cut_now(cut).unwrap(),
                }
                thread::sleep(random.millis(250));
                proxy.accept().unwrap();
                if random.below(2) == 0 {
                    proxy.pass();
                    thread::sleep(random.millis(40));
                }
                if threads.iter().any(thread::ScopedJoinHandle::is_finished) {
                    // It has panicked. The others must not wait for it.
                    break;
                }
            }
            proxy.pass();
            is_over.store(true, SeqCst);
        });
        if is_external {
            // The pool makes connections in its own threads, with pauses.
            wait_until(|| store.get("0/0").map_err(|error| format!("round {round}: {error}")));
        } else {
            store.get("0/0").unwrap();
            store.put("after", "v").unwrap();
        }
        // The proxy may have passed only now what it held back. After this cut nothing more arrives.
        proxy.cut_now(Cut::Reset).unwrap();
        for _ in 0..2 {
            redis.command(&["PING"]);
        }
        for client in &mut clients {
            client.settle(&mut connection);
        }
        if !is_external {
            store.put("after", "v").unwrap();
        }
    }
    for client in &clients {
        println!("thread {}: {:?} operations succeeded and failed", client.number, client.done);
        let [succeeded, failed] = client.done;
        assert!(succeeded > 50 && failed > 0, "too little happened: {:?}", client.done);
    }
}

/// The seed in `KV_SEED`, or a new one each time. It is printed, so that a failure shows it.
fn seed() -> u64 {
    let given = std::env::var("KV_SEED").ok().map(|seed| seed.parse().expect("KV_SEED is a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    println!("KV_SEED={seed}");
    seed
}

#[test]
fn whatever_the_network_does_no_operation_gets_another_ones_reply() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    for pool_size in [1, 3] {
        redis.command(&["FLUSHALL"]);
        let store = builder(proxy.port()).pool_size(pool_size).connect().unwrap();
        run_random_faults(seed, &store, false, &redis, &proxy);
    }
}

#[test]
fn whatever_the_network_does_no_operation_gets_another_ones_reply_from_a_shared_connection() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    for connections in [1, 2] {
        redis.command(&["FLUSHALL"]);
        let store = builder(proxy.port()).pool_size(2).shared_connections(connections).connect().unwrap();
        run_random_faults(seed, &store, false, &redis, &proxy);
    }
}

#[test]
fn whatever_the_network_does_no_operation_gets_another_ones_reply_from_an_external_pool() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    run_random_faults(seed, &on_external_pool(proxy.port(), 3), true, &redis, &proxy);
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn whatever_the_network_does_no_operation_gets_another_ones_reply_from_an_external_pool_of_r2d2_redis() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(old_pool(proxy.port(), 3)).unwrap();
    run_random_faults(seed, &store, true, &redis, &proxy);
}
