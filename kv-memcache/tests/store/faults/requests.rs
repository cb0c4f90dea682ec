//! N3: one operation is one request and one reply.

use super::*;

/// The pieces that have passed on all connections, in order.
type Passed = Mutex<Vec<(Direction, Vec<u8>)>>;

/// Passes everything between a store and a server, and records it.
struct Tap {
    port: u16,
    passed: Arc<Passed>,
}

impl Tap {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tap = Self { port: listener.local_addr().unwrap().port(), passed: Arc::default() };
        let passed = Arc::clone(&tap.passed);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                let (of_client, of_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to, direction) in
                    [(client, server, Direction::Requests), (of_server, of_client, Direction::Replies)]
                {
                    let passed = Arc::clone(&passed);
                    thread::spawn(move || Self::pass(from, to, direction, &passed));
                }
            }
        });
        tap
    }

    fn pass(mut from: TcpStream, mut to: TcpStream, direction: Direction, passed: &Passed) {
        to.set_nodelay(true).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            passed.lock().unwrap().push((direction, buffer[..length].to_vec()));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }

    /// The commands that `act` sends, and the number of round trips.
    fn sees(&self, act: impl FnOnce()) -> (Vec<String>, usize) {
        self.passed.lock().unwrap().clear();
        act();
        let passed = self.passed.lock().unwrap();
        let is_reply = |index: usize| index.checked_sub(1).is_none_or(|before| passed[before].0 == Direction::Replies);
        let begins = (0..passed.len()).filter(|&index| passed[index].0 == Direction::Requests && is_reply(index));
        let requests = passed.iter().filter(|(direction, _)| *direction == Direction::Requests);
        (Self::commands(&requests.flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>()), begins.count())
    }

    /// The names of the commands of a request.
    fn commands(mut request: &[u8]) -> Vec<String> {
        let mut commands = Vec::new();
        while !request.is_empty() {
            let end = request.windows(2).position(|two| two == b"\r\n").expect("a whole line");
            let line = str::from_utf8(&request[..end]).unwrap();
            request = &request[end + 2..];
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            if name == "ms" {
                let length: usize = words.nth(1).unwrap().parse().unwrap();
                assert_eq!(&request[length..length + 2], b"\r\n");
                request = &request[length + 2..];
            }
            commands.push(name.to_owned());
        }
        commands
    }
}

#[test]
fn an_operation_sends_its_request_and_nothing_else() {
    if !can("an operation sends its request and nothing else", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let tap = Tap::start(server.port());
    let store = patient(builder(tap.port)).pool_size(1).build().unwrap();
    // Making a connection costs one round trip, and the operation one.
    let (commands, trips) = tap.sees(|| assert_eq!(store.get("k").unwrap(), None));
    assert_eq!((commands, trips), (vec!["stats".into(), "stats".into(), "mg".into()], 2));
    for idle in [Duration::ZERO, IDLE] {
        for Operation { name, commands, run, .. } in SINGLE {
            set(&server, "k", "v");
            if name == "get" {
                thread::sleep(idle);
            }
            let (seen, trips) = tap.sees(|| run(&store).unwrap());
            assert_eq!((seen.as_slice(), trips), (&commands.map_to_owned()[..], commands.len()), "{name}");
        }
    }
    // An absent key costs no more.
    for Operation { name, commands, run, .. } in SINGLE {
        let _ = store.delete("k");
        let (seen, trips) = tap.sees(|| drop(run(&store)));
        assert!(trips <= commands.len() && commands.map_to_owned().starts_with(&seen), "{name}: {seen:?}");
        assert!(!seen.is_empty(), "{name}");
    }
    for Operation { name, commands, run, .. } in BATCH {
        let (seen, trips) = tap.sees(|| run(&store).unwrap());
        assert_eq!((seen.as_slice(), trips), (&commands.map_to_owned()[..], MANY.div_ceil(1024)), "{name}");
    }
}

trait Names {
    fn map_to_owned(&self) -> Vec<String>;
}

impl Names for [&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

#[test]
fn an_empty_batch_or_an_invalid_argument_sends_nothing() {
    let server = Memcached::start(&[]);
    let tap = Tap::start(server.port());
    let store = patient(builder(tap.port)).pool_size(1).connect().unwrap();
    let (long, too_large) = ("k".repeat(251), vec![0; 1 << 20]);
    let (commands, trips) = tap.sees(|| {
        assert!(store.get_many([""; 0]).unwrap().is_empty() && store.delete_many([""; 0]).unwrap().is_empty());
        store.put_many([("", ""); 0]).unwrap();
        for key in ["", "two words", "new\nline", "\u{fc}", &long] {
            assert!(matches!(store.get(key), Err(Error::InvalidKey(_))));
            assert!(matches!(store.put(key, "v"), Err(Error::InvalidKey(_))));
            assert!(matches!(store.delete_many(["k", key]), Err(Error::InvalidKey(_))));
        }
        assert!(matches!(store.put("k", &too_large), Err(Error::ValueTooLarge { .. })));
        assert!(matches!(store.put_many([("a", &[][..]), ("k", &too_large)]), Err(Error::ValueTooLarge { .. })));
        assert!(matches!(store.put_with_ttl("k", "v", Duration::MAX), Err(Error::InvalidTtl { .. })));
        assert!(matches!(store.keys(""), Err(Error::Unsupported { .. })));
    });
    assert_eq!((commands, trips), (vec![], 0));
}

/// The name of an operation, how much a hundred of it increase the server's counters, and the operation.
type Counted = (&'static str, BTreeMap<String, u64>, fn(&MemcacheStore));

/// By the counters of the server.
#[test]
fn a_hundred_operations_are_a_hundred_commands_on_one_connection() {
    if !can("a hundred operations are a hundred commands on one connection", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(4).connect().unwrap();
    let mut stats = Stats::of(&server);
    let read = |hit: &'static str| [("cmd_get", 100), (hit, 100)];
    let cases: [Counted; 12] = [
        ("get", counts(read("get_misses")), |store| assert!(store.get("absent").unwrap().is_none())),
        ("put", counts([("cmd_set", 100)]), |store| store.put("k", "v").unwrap()),
        ("create", counts([("cmd_set", 100)]), |store| assert!(!store.create("k", "v").unwrap())),
        ("get, again", counts(read("get_hits")), |store| assert!(store.get("k").unwrap().is_some())),
        ("contains", counts(read("get_hits")), |store| assert!(store.contains("k").unwrap())),
        ("ttl", counts(read("get_hits")), |store| assert!(store.ttl("k").unwrap().is_some())),
        ("touch", counts([("cmd_touch", 100), ("touch_hits", 100)]), |store| {
            assert!(store.touch("k", MINUTES).unwrap());
        }),
        ("copy", counts([("cmd_get", 100), ("get_hits", 100), ("cmd_set", 100)]), |store| {
            store.copy("k", "c").unwrap();
        }),
        ("get_many", counts([("cmd_get", 200), ("get_hits", 100), ("get_misses", 100)]), |store| {
            assert_eq!(store.get_many(["k", "absent"]).unwrap().len(), 2);
        }),
        ("put_many", counts([("cmd_set", 200)]), |store| store.put_many([("k", "v"), ("c", "v")]).unwrap()),
        ("delete_many", counts([("delete_misses", 200)]), |store| {
            assert_eq!(store.delete_many(["no/1", "no/2"]).unwrap(), [false, false]);
        }),
        ("put, delete", counts([("cmd_set", 100), ("delete_hits", 100)]), |store| {
            store.put("k", "v").unwrap();
            assert!(store.delete("k").unwrap());
        }),
    ];
    for (name, expected, act) in cases {
        // There is no new connection: `total_connections` has not grown.
        assert_eq!(stats.growth(|| (0..100).for_each(|_| act(&store))), expected, "{name}");
    }
}
