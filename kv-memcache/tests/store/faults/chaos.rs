//! Faults at random: no operation gets the reply to another one.

use super::*;

/// The number of the write that a key holds, or `None` if the key is absent.
type Written = Option<u64>;

/// What a key can hold: the last write that was answered, or a write of this round whose outcome is unknown, because the network may
/// deliver it at any time.
#[derive(Debug, Default)]
struct Possible {
    confirmed: Written,
    unconfirmed: Vec<Written>,
}

impl Possible {
    fn allows(&self, write: Written) -> bool {
        self.confirmed == write || self.unconfirmed.contains(&write)
    }

    fn may_be_present(&self) -> bool {
        self.confirmed.is_some() || self.unconfirmed.iter().any(Option::is_some)
    }

    fn may_be_absent(&self) -> bool {
        self.allows(None)
    }

    fn wrote<T>(&mut self, result: &Result<T>, write: Written) {
        match result {
            Ok(_) => self.confirmed = write,
            Err(error) if error.outcome_unknown() => self.unconfirmed.push(write),
            Err(_) => {}
        }
    }
}

/// A client that runs operations at random and checks their results. No other client writes its keys.
struct RandomClient<'a> {
    store: &'a MemcacheStore,
    random: Random,
    /// How many clients there are.
    clients: u64,
    keys: Vec<(String, Possible)>,
    writes: u64,
    /// The limit of one operation.
    limit: Duration,
    /// How many operations succeeded, and how many failed.
    done: [usize; 2],
}

impl<'a> RandomClient<'a> {
    fn new(store: &'a MemcacheStore, number: u64, clients: u64, seed: u64, limit: Duration) -> Self {
        let keys = (0..5).map(|key| (format!("{number}/{key}"), Possible::default())).collect();
        let random = Random(seed ^ number.wrapping_mul(0x1234_5677));
        Self { store, random, clients, keys, writes: 0, limit, done: [0, 0] }
    }

    fn value(key: &str, write: u64, is_long: bool) -> String {
        value(key, write, if is_long { 40_000 } else { usize::try_from(write % 200).unwrap() })
    }

    fn check_value(key: &str, possible: &Possible, value: Option<&[u8]>) {
        let write = value.map(|value| {
            let (of, write) = parse(value);
            assert_eq!(of, key, "another one's reply");
            assert!(
                [false, true].map(|long| Self::value(key, write, long).len()).contains(&value.len()),
                "half a value"
            );
            write
        });
        assert!(possible.allows(write), "{key} is {write:?}, and can be {possible:?}");
    }

    /// Runs a random operation, and checks that its result is possible.
    fn step(&mut self) {
        let store = self.store;
        let at = self.random.size(self.keys.len());
        let what = self.random.below(13);
        self.writes += 1;
        let write = self.writes;
        let is_long = self.random.below(20) == 0;
        let of_another = format!("{}/{}", self.random.below(self.clients), self.random.below(5));
        let (key, possible) = &mut self.keys[at];
        let key = key.as_str();
        let (there, absent) = (possible.may_be_present(), possible.may_be_absent());
        let begin = Instant::now();
        let result = match what {
            0..=2 => store.get(key).map(|value| Self::check_value(key, possible, value.as_deref())),
            3 | 4 => {
                let result = store.put(key, Self::value(key, write, is_long));
                possible.wrote(&result, Some(write));
                result
            }
            5 => {
                let result = store.create(key, Self::value(key, write, is_long));
                match &result {
                    Ok(false) => assert!(there, "{key} was not created, and was {possible:?}"),
                    Ok(true) => assert!(absent, "{key} was created, and was {possible:?}"),
                    Err(_) => {}
                }
                if !matches!(result, Ok(false)) {
                    possible.wrote(&result, Some(write));
                }
                result.map(drop)
            }
            6 => {
                let result = store.delete(key);
                if let Ok(deleted) = result {
                    assert!(if deleted { there } else { absent }, "deleted {key}: {deleted}, and it was {possible:?}");
                }
                possible.wrote(&result, None);
                result.map(drop)
            }
            7 => store.get_many(self.keys.iter().map(|(key, _)| key)).map(|values| {
                assert_eq!(values.len(), self.keys.len());
                for ((key, possible), value) in self.keys.iter().zip(values) {
                    Self::check_value(key, possible, value.as_deref());
                }
            }),
            8 => {
                let entries = self.keys[..=at].iter().map(|(key, _)| (key, Self::value(key, write, false)));
                let result = store.put_many(entries);
                for (_, possible) in &mut self.keys[..=at] {
                    possible.wrote(&result, Some(write));
                }
                result
            }
            9 => {
                let result = store.delete_many(self.keys[..=at].iter().map(|(key, _)| key));
                for (number, (key, possible)) in self.keys[..=at].iter_mut().enumerate() {
                    if let Ok(deleted) = &result {
                        let can_be = if deleted[number] { possible.may_be_present() } else { possible.may_be_absent() };
                        assert!(can_be, "deleted {key}: {}, and it was {possible:?}", deleted[number]);
                    }
                    possible.wrote(&result, None);
                }
                result.map(drop)
            }
            10 if is_old() => Ok(()),
            10 => store.ttl(key).map(|left| {
                assert!(if left.is_some() { there } else { absent }, "{key} has {left:?}, and can be {possible:?}");
            }),
            11 => store.touch(key, MINUTES * 100).map(|touched| {
                assert!(if touched { there } else { absent }, "touched {key}: {touched}, and it can be {possible:?}");
            }),
            _ => store.get(&of_another).map(|value| {
                if let Some(value) = value {
                    assert_eq!(parse(&value).0, of_another, "another one's reply");
                }
            }),
        };
        let took = begin.elapsed();
        assert!(took <= self.limit + MARGIN, "operation {what} took {took:?}: {result:?}");
        self.done[usize::from(result.is_err())] += 1;
        if let Err(error) = result {
            check(&error, store, "");
            let writes = matches!(what, 3..=6 | 8 | 9 | 11);
            assert!(error.outcome_unknown() <= writes, "operation {what}: {error:?}");
        }
    }

    /// Reads what the server holds. After this, no outcome is unknown.
    fn settle(&mut self, connection: &mut Connection) {
        for (key, possible) in &mut self.keys {
            let value = fetch(connection, key);
            Self::check_value(key, possible, value.as_deref().map(str::as_bytes));
            *possible = Possible { confirmed: value.map(|value| parse(value.as_bytes()).1), unconfirmed: Vec::new() };
        }
    }
}

/// Lets all clients run during `meanwhile`, which can ask whether all are still well.
fn while_they_run(clients: &mut [RandomClient<'_>], mut meanwhile: impl FnMut(&dyn Fn() -> bool)) {
    let is_over = AtomicBool::new(false);
    let panicked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    while !is_over.load(SeqCst) {
                        client.step();
                    }
                }));
                panicked.fetch_add(usize::from(result.is_err()), SeqCst);
            });
        }
        // If a client or `meanwhile` panics, the others must not wait for it.
        let result = catch_unwind(AssertUnwindSafe(|| meanwhile(&|| panicked.load(SeqCst) == 0)));
        is_over.store(true, SeqCst);
        result.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert_eq!(panicked.load(SeqCst), 0, "threads have panicked");
}

/// Waits until the server has done everything that it has received, and lets each client read what it holds.
fn settle(stats: &mut Stats, others: u64, proxy: &Proxy, server: &Memcached, clients: &mut [RandomClient<'_>]) {
    // The proxy may have passed only now what it held back. After this cut nothing more arrives.
    proxy.cut_now(Cut::Reset).unwrap();
    wait_until(|| match stats.get("curr_connections") {
        now if now <= others => Ok(()),
        now => Err(format!("there are {now} connections, and without the store's {others}")),
    });
    let mut connection = server.connection();
    for client in clients {
        client.settle(&mut connection);
    }
}

#[test]
fn sixty_four_threads_on_four_connections_that_are_cut_get_their_own_replies() {
    let seed = seed();
    let (server, proxy) = start();
    let store = patient(builder(proxy.port())).pool_size(4).build().unwrap();
    let mut clients: Vec<_> = (0..64).map(|number| RandomClient::new(&store, number, 64, seed, PATIENCE)).collect();
    let mut random = Random(seed);
    let mut stats = Stats::of(&server);
    let others = stats.connections();
    for _ in 0..2 {
        while_they_run(&mut clients, |all_well| {
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end && all_well() {
                let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
                let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
                match random.below(5) {
                    0 => proxy.cut_now(cut).unwrap(),
                    1 => proxy.set(Behaviour::CutAnswer { cut, to: "ms ", times: 1 + random.size(3) }),
                    _ => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(4000) }),
                }
                thread::sleep(random.millis(20));
            }
            proxy.pass();
        });
        settle(&mut stats, others, &proxy, &server, &mut clients);
        assert_works(&store);
    }
    let [succeeded, failed] =
        clients.iter().fold([0, 0], |[ok, err], client| [ok + client.done[0], err + client.done[1]]);
    println!("{succeeded} operations succeeded, {failed} failed");
    assert!(succeeded > 1000 && failed > 10, "too little happened: {succeeded}, {failed}");
}

#[test]
fn sixty_four_threads_on_four_connections_have_no_error_and_make_no_fifth() {
    let seed = seed();
    for kind in transports() {
        let server = Memcached::start_as(kind, &[]);
        let mut stats = Stats::of(&server);
        let (others, before) = (stats.connections(), stats.get("total_connections"));
        let store = patient(builder_for(&[&server])).pool_size(4).build().unwrap();
        let mut clients: Vec<_> = (0..64).map(|number| RandomClient::new(&store, number, 64, seed, PATIENCE)).collect();
        let mut most = 0;
        while_they_run(&mut clients, |all_well| {
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end && all_well() {
                most = most.max(stats.get("curr_connections").saturating_sub(others));
            }
        });
        assert!((1..=4).contains(&most), "{kind:?}: {most} connections");
        assert!(stats.get("total_connections") - before <= 4, "{kind:?}");
        let failed: usize = clients.iter().map(|client| client.done[1]).sum();
        let succeeded: usize = clients.iter().map(|client| client.done[0]).sum();
        println!("{kind:?}: {succeeded} operations");
        assert!(failed == 0 && succeeded > 100, "{kind:?}: {succeeded} operations, {failed} failed");
    }
}

#[test]
fn clones_share_one_connection() {
    let server = Memcached::start(&[]);
    let mut stats = Stats::of(&server);
    let before = stats.get("total_connections");
    let store = patient(builder_for(&[&server])).pool_size(1).build().unwrap();
    thread::scope(|scope| {
        for number in 0..8 {
            let clone = store.clone();
            scope.spawn(move || {
                for round in 0..50 {
                    let (key, value) = (format!("k{number}"), format!("{number}/{round}"));
                    clone.put(&key, value.clone()).unwrap();
                    assert_eq!(clone.get(&key).unwrap().unwrap(), value);
                }
            });
        }
    });
    let last = store.clone();
    drop(store);
    assert_eq!(last.get("k7").unwrap().unwrap(), "7/49");
    assert_eq!(stats.get("total_connections") - before, 1);
}

#[test]
fn whatever_the_network_does_no_operation_gets_another_ones_reply() {
    let seed = seed();
    let (server, proxy) = start();
    // An operation may use an existing connection, and then make another one.
    let limit = 4 * LIMIT;
    let mut random = Random(seed);
    let mut stats = Stats::of(&server);
    let others = stats.connections();
    for pool_size in [1, 3] {
        let store = builder(proxy.port()).pool_size(pool_size).build().unwrap();
        assert_eq!(server.connection().ask(b"flush_all\r\n").unwrap(), "OK");
        let mut clients: Vec<_> = (0..5).map(|number| RandomClient::new(&store, number, 5, seed, limit)).collect();
        for _ in 0..4 {
            while_they_run(&mut clients, |all_well| {
                for _ in 0..8 {
                    if !all_well() {
                        break;
                    }
                    fault_at_random(&mut random, &server, &proxy);
                    // Some faults last longer than the limits.
                    let longest = if random.below(4) == 0 { 800 } else { 100 };
                    thread::sleep(random.millis(longest));
                    server.resume();
                    proxy.accept().unwrap();
                    if random.below(2) == 0 {
                        proxy.pass();
                        thread::sleep(random.millis(40));
                    }
                }
                proxy.pass();
            });
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            settle(&mut stats, others, &proxy, &server, &mut clients);
        }
        let [succeeded, failed] =
            clients.iter().fold([0, 0], |[ok, err], client| [ok + client.done[0], err + client.done[1]]);
        println!("{succeeded} operations succeeded, {failed} failed");
        assert!(succeeded > 100 && failed > 0, "too little happened: {succeeded}, {failed}");
    }
}

fn fault_at_random(random: &mut Random, server: &Memcached, proxy: &Proxy) {
    let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
    let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
    // Only replies to operations are changed. Another test changes the handshake.
    let edit_reply = |change: fn(&mut Vec<u8>)| {
        edit(move |piece| {
            if piece.len() < 8192
                && [&b"VA "[..], b"HD ", b"EN ", b"NS ", b"NF "].iter().any(|rc| piece.starts_with(rc))
            {
                change(piece);
            }
        })
    };
    match random.below(15) {
        0 => proxy.set(Behaviour::Delay(random.millis(400))),
        1 => proxy.set(Behaviour::Hold),
        2 => proxy.set(Behaviour::HoldReplies),
        3 => proxy.set(Behaviour::Split(random.millis(20))),
        4 => proxy.set(Behaviour::Split(Duration::ZERO)),
        5 | 6 => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(400) }),
        7 => proxy.set(Behaviour::CutAnswer { cut, to: "ms ", times: 1 + random.size(5) }),
        8 => proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: random.size(100) }),
        9 => proxy.set(edit_reply(|piece| piece[0] = b'?')),
        10 => proxy.set(edit_reply(|piece| piece.extend_from_slice(b"VA 5 O1\r\nwrong\r\n"))),
        11 => proxy.set(edit_reply(|piece| {
            let (at, tag) = (tag_in(piece), tag_of(piece));
            piece.splice(at, (tag - 1).to_string().into_bytes());
        })),
        12 => server.pause(),
        13 => proxy.refuse(),
        _ => proxy.cut_now(cut).unwrap(),
    }
}
