//! Keys and prefixes full of metacharacters, namespaces, and foreign data in the database.

use super::*;

const LETTERS: [char; 9] = ['*', '?', '[', ']', '^', '-', '\\', 'a', 'b'];

/// All texts with up to this many of these letters.
fn texts(longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|text| LETTERS.map(|letter| format!("{text}{letter}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[test]
fn a_prefix_is_literal_whatever_it_is_made_of() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).page_size(10_000).connect().unwrap();
    let texts = texts(3);
    let keys = &texts[1..];
    store.put_many(keys.iter().map(|key| (key, key))).unwrap();
    for prefix in &texts {
        let expected = set(keys.iter().filter(|key| key.starts_with(prefix.as_str())));
        assert!(listed(&store, prefix) == expected, "{prefix:?}");
    }
    for prefix in ["[a-b]", "[^a]", "a*b?", "\\*", "[ab", "**", "???b", "[]]", "\\\\\\", "--a"] {
        let (match_alone, longer) = (format!("{prefix}!"), format!("{prefix}*!"));
        store.put_many([(&match_alone, "v"), (&longer, "v")]).unwrap();
        let mut expected = set(keys.iter().filter(|key| key.starts_with(prefix)));
        expected.extend([match_alone, longer]);
        assert_eq!(listed(&store, prefix), expected, "{prefix:?}");
    }
    for key in keys {
        assert_eq!(store.get(key).unwrap().unwrap(), key.as_bytes());
    }
    let some = ["*", "?", "[ab]", "\\a"];
    assert_eq!(store.delete_many(some).unwrap(), [true, true, false, true]);
    assert_eq!(listed(&store, "").len(), keys.len() - 3 + 20);
}

#[test]
fn a_namespace_is_literal_whatever_it_is_made_of() {
    let redis = Redis::start(&[]);
    let texts = texts(2);
    let open = |namespace: &str| builder(redis.url()).namespace(namespace).page_size(10_000).connect().unwrap();
    let stores: Vec<_> = texts.iter().filter(|text| !text.is_empty()).map(|text| (text, open(text))).collect();
    for (namespace, store) in &stores {
        store.put_many([("k", namespace.as_str()), ("*", namespace)]).unwrap();
    }
    for (namespace, store) in &stores {
        assert_eq!(listed(store, ""), set(["k", "*"]), "{namespace:?}");
        assert_eq!(listed(store, "*"), set(["*"]), "{namespace:?}");
        assert_eq!(store.get("k").unwrap().unwrap(), namespace.as_bytes());
    }
}

#[test]
fn stores_with_different_namespaces_see_nothing_of_each_other() {
    let redis = Redis::start(&[]);
    let open = |namespace: &str| builder(redis.url()).namespace(namespace).connect().unwrap();
    let (a, ab, b, all) = (open("a"), open("ab"), open("b"), builder(redis.url()).connect().unwrap());
    a.put("b:c", "1").unwrap();
    assert_eq!(ask::<String>(&redis, &["GET", "a:b:c"]), "1");
    for other in [&ab, &b] {
        for key in ["b:c", "c", "a:b:c", ":c"] {
            assert_eq!(other.get(key).unwrap(), None);
            assert!(!other.contains(key).unwrap() && !other.delete(key).unwrap());
            assert_eq!((other.ttl(key).unwrap(), other.touch(key, MINUTE).unwrap()), (None, false));
            assert!(matches!(other.copy(key, "k").unwrap_err(), Error::NotFound { .. }));
            assert!(matches!(other.rename(key, "k").unwrap_err(), Error::NotFound { .. }));
        }
        assert_eq!(other.get_many(["b:c", "a:b:c"]).unwrap(), [None, None]);
        assert_eq!(other.delete_many(["b:c", "a:b:c"]).unwrap(), [false, false]);
        assert_eq!(other.prefixes(":", "").unwrap().count(), 0);
    }
    ab.put("b:c", "2").unwrap();
    b.put_many([("c", "3"), ("b:c", "4")]).unwrap();
    assert!(b.create("d", "5").unwrap());
    a.copy("b:c", "copy").unwrap();
    b.rename("d", "e").unwrap();
    assert_eq!(listed(&a, ""), set(["b:c", "copy"]));
    assert_eq!(listed(&ab, ""), set(["b:c"]));
    assert_eq!(listed(&b, ""), set(["c", "b:c", "e"]));
    assert_eq!(listed(&b, "b"), set(["b:c"]));
    let every = ["a:b:c", "a:copy", "ab:b:c", "b:c", "b:b:c", "b:e"];
    assert_eq!(listed(&all, ""), set(every));
    assert_eq!(all.prefixes(":", "").unwrap().map(Result::unwrap).count(), 3);
    assert_eq!(all.get("ab:b:c").unwrap().unwrap(), "2");
    assert_eq!(a.get_many(["b:c", "copy", "c"]).unwrap(), [Some("1".into()), Some("1".into()), None]);

    // The longest key has room beside the namespace; for a store without one the name is too long to be a key.
    let longest = "k".repeat(250);
    a.put(&longest, "6").unwrap();
    assert_eq!(a.get(&longest).unwrap().unwrap(), "6");
    assert_eq!(listed(&a, ""), set(["b:c", "copy", &longest]));
    assert_eq!(listed(&all, ""), set(every));
    assert!(a.delete(&longest).unwrap());
    for refused in ["", "a:b", ":", "a:", "two words", "ü", "new\nline"] {
        let error = all.with_namespace(refused).unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("namespace"), "{error}");
    }
    for refused in ["a:b", ":", "a:", "two words", "ü", "new\nline"] {
        let error = builder(redis.url()).namespace(refused).build().unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("namespace"), "{error}");
    }
}

#[test]
fn a_version_is_good_through_every_handle_to_its_entry_and_at_no_other() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).connect().unwrap();
    let (one, two) = (store.with_namespace("a").unwrap(), store.with_namespace("b").unwrap());
    for store in [&one, &two] {
        store.put("k", "v").unwrap();
    }
    let (_, version) = store.get_versioned("a:k").unwrap().unwrap();
    assert!(two.put_if("k", "w", Ttl::Forever, &version).unwrap().is_none(), "equal bytes of another entry");
    assert!(!two.delete_if("k", &version).unwrap());
    let version = one.put_if("k", "w", Ttl::Forever, &version).unwrap().unwrap();
    assert!(store.delete_if("a:k", &version).unwrap());
    // A key that is too long with its namespace has versions, too.
    let longest = "k".repeat(250);
    one.put(&longest, "v").unwrap();
    let (_, version) = one.get_versioned(&longest).unwrap().unwrap();
    assert!(one.put_if(&longest, "w", Ttl::Forever, &version).unwrap().is_some());
}

#[test]
fn a_thousand_namespaces_share_one_connection() {
    const DATABASE: u16 = 11;
    let redis = Redis::start(&[]);
    let store = builder(redis.url_of_database(DATABASE)).namespace("app").pool_size(1).connect().unwrap();
    let tenants =
        (0..1000).map(|number| store.with_namespace(&format!("tenant-{number}")).unwrap()).collect::<Vec<_>>();
    thread::scope(|scope| {
        for (part, tenants) in tenants.chunks(250).enumerate() {
            scope.spawn(move || {
                for (number, tenant) in tenants.iter().enumerate() {
                    assert!(tenant.create("k", format!("{part}/{number}")).unwrap());
                }
            });
        }
    });
    assert_eq!(connections_to(&redis, DATABASE), 1);
    assert_eq!(tenants[251].clone().get("k").unwrap().unwrap(), "1/1");
    assert_eq!(listed(&tenants[7], ""), set(["k"]));
    assert_eq!(store.get("tenant-7:k").unwrap().unwrap(), "0/7");
    assert_eq!(listed(&store, "tenant-99:"), set(["tenant-99:k"]));
    let all = builder(redis.url_of_database(DATABASE)).connect().unwrap();
    assert_eq!(all.get("app:tenant-999:k").unwrap().unwrap(), "3/249");
    assert_eq!(all.keys("app:").unwrap().count(), 1000);

    // A part of a namespace is in it, and outlives the store that it came from.
    let inner = tenants[3].with_namespace("inner").unwrap();
    drop((store, tenants));
    inner.put("k", "deep").unwrap();
    assert_eq!(all.get("app:tenant-3:inner:k").unwrap().unwrap(), "deep");
    assert_eq!(listed(&inner, ""), set(["k"]));
}

/// The objects whose types the server has.
fn objects() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OBJECTS.into_iter().filter(|(name, _)| match *name {
        "stream" => support::is_since((5, 0, 0)),
        "geo" => support::is_since((3, 2, 0)),
        _ => true,
    })
}

/// Objects of other types under valid names.
const OBJECTS: [(&str, &[&str]); 6] = [
    ("hash", &["HSET", "hash", "field", "value"]),
    ("list", &["RPUSH", "list", "value"]),
    ("set", &["SADD", "set", "value"]),
    ("zset", &["ZADD", "zset", "1", "value"]),
    ("stream", &["XADD", "stream", "*", "field", "value"]),
    ("geo", &["GEOADD", "geo", "1", "2", "value"]),
];

fn plant_foreign_names(redis: &Redis) {
    let mut pipeline = redis::pipe();
    for name in ["two words", "tab\t", "new\nline", "ünïcode", "", &"k".repeat(251), "nul\0", "del\x7F"] {
        pipeline.cmd("SET").arg(name).arg("foreign");
    }
    for name in [&b"\xFF\xFE"[..], b"own\xC3", b"own \r\n", b"own\x80"] {
        pipeline.cmd("SET").arg(name).arg("foreign");
    }
    pipeline.exec(&mut redis.connection()).unwrap();
}

#[test]
fn a_listing_skips_keys_that_are_not_the_stores() {
    let redis = Redis::start(&[]);
    plant_foreign_names(&redis);
    for (_, command) in objects() {
        redis.command(command);
    }
    let store = builder(redis.url()).page_size(3).connect().unwrap();
    assert_eq!(listed(&store, ""), set([""; 0]));
    let longest = "k".repeat(250);
    store.put_many([("own", "v"), (&longest, "v"), ("!", "v"), ("~", "v")]).unwrap();
    assert_eq!(listed(&store, ""), set(["own", &longest, "!", "~"]));
    assert_eq!(listed(&store, "own"), set(["own"]));
    assert_eq!(listed(&store, "k"), set([&longest]));
    assert_eq!(ask::<u64>(&redis, &["DBSIZE"]), 12 + objects().count() as u64 + 4, "nothing was removed");
}

#[test]
fn an_object_of_another_type_is_not_read_and_can_be_replaced() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    for (key, command) in objects() {
        redis.command(command);
        let error = store.get(key).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("another type"), "{error}");
        assert!(cause_of(&error).starts_with("WRONGTYPE"), "{error:?}");
        assert_eq!((error.key(), error.store()), (Some(key), Some(store.name())));
        assert!(matches!(store.open(key).unwrap_err(), Error::Backend(_)));
        assert!(!store.create(key, "v").unwrap());
        assert_ne!(ask::<String>(&redis, &["TYPE", key]), "string");

        store.put(key, "v").unwrap();
        assert_eq!(store.get(key).unwrap().unwrap(), "v");
        redis.command(&["DEL", key]);
        redis.command(command);
        store.put_many([(key, "w")]).unwrap();
        assert_eq!(store.get(key).unwrap().unwrap(), "w");
    }
    // The connection was good all the time.
    redis.command(&["HSET", "h", "field", "value"]);
    let called = calls_of(&redis, || {
        store.get("h").unwrap_err();
        store.put("k", "v").unwrap();
    });
    assert_eq!(called.get("info"), None);
}

/// The bytes that the server's table of keys takes.
fn size_of_table(redis: &Redis) -> u64 {
    let stats: HashMap<String, Value> = ask(redis, &["MEMORY", "STATS"]);
    let database: HashMap<String, u64> = redis::from_redis_value(stats["db.0"].clone()).unwrap();
    database["overhead.hashtable.main"]
}

#[test]
fn a_listing_is_whole_while_the_table_grows_and_shrinks() {
    const STAYING: usize = 2000;
    const CHURNING: usize = 100_000;
    const CYCLES: usize = 3;
    if !support::can_test("size of its table", (4, 0, 0)) {
        return;
    }
    // A server looks after the tables of 16 databases each tenth of a second.
    let redis = Redis::start(&["--databases", "1"]);
    let writer = open(&redis);
    let staying: HashSet<_> = (0..STAYING).map(|number| format!("stay-{number}")).collect();
    let churning: Vec<_> = (0..CHURNING).map(|number| format!("churn-{number}")).collect();
    writer.put_many(staying.iter().map(|key| (key, "v"))).unwrap();
    let small = size_of_table(&redis);
    let is_over = AtomicBool::new(false);
    let rounds = AtomicUsize::new(0);
    let list = |page: u32, prefix: &str| {
        let store = builder(redis.url()).page_size(page).connect().unwrap();
        while !is_over.load(Relaxed) {
            let mut seen = HashSet::new();
            for key in store.keys(prefix).unwrap() {
                let key = String::from(key.unwrap());
                assert!(key.starts_with(prefix) && (staying.contains(&key) || key.starts_with("churn-")), "{key}");
                assert!(seen.insert(key.clone()), "{key} came twice");
            }
            let lost = staying.difference(&seen).collect::<Vec<_>>();
            assert!(lost.is_empty(), "{} of {STAYING} were lost, such as {:?}", lost.len(), lost[0]);
            rounds.fetch_add(1, Relaxed);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _over = OnDrop(|| is_over.store(true, Relaxed));
            for _ in 0..CYCLES {
                for part in churning.chunks(2000) {
                    writer.put_many(part.iter().map(|key| (key, "v"))).unwrap();
                }
                let large = size_of_table(&redis);
                assert!(large > 20 * small, "the table grew from {small} to {large} bytes only");
                for part in churning.chunks(2000) {
                    assert_eq!(writer.delete_many(part).unwrap(), vec![true; part.len()]);
                }
                wait_until(|| {
                    let size = size_of_table(&redis);
                    if size <= 4 * small { Ok(()) } else { Err(format!("{size} bytes, and {small} at first")) }
                });
            }
        });
        scope.spawn(|| list(100, ""));
        scope.spawn(|| list(1000, "stay-"));
    });
    assert!(rounds.load(Relaxed) >= 2 * CYCLES, "{rounds:?} listings");
    let store = open(&redis);
    assert!(listed(&store, "") == set(&staying));
}

/// Runs something when it is dropped, also by a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}
