//! Compares the store with other maps, in one process: `cargo bench -p kv-memory`.
//!
//! To measure the memory of a million entries, this program starts itself again, in a new process for each store.

#[cfg(feature = "async")]
mod futures;
mod sweeping;

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::mem;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use kv_conformance::BoxError;
use kv_conformance::bench::{Bench, Row, Unit};
use kv_memory::{Bytes, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, MemoryStore, Ttl};

type Result<T = ()> = std::result::Result<T, BoxError>;

const HOUR: Ttl = Ttl::After(Duration::from_secs(3600));

/// How many operations a thread runs in a round, unless there are many threads.
const OPERATIONS: u32 = 50_000;

/// The environment variable that names the store whose memory a new process measures.
const MEMORY_OF: &str = "KV_MEMORY_BENCH_MEMORY_OF";

/// A store that is compared: reading and writing.
trait Peer: Send + Sync {
    fn get(&self, key: Key<'_>) -> Option<Bytes>;
    fn put(&self, key: Key<'_>, value: Bytes);
}

struct Ours(MemoryStore, Ttl);

impl Peer for Ours {
    fn get(&self, key: Key<'_>) -> Option<Bytes> {
        self.0.read(key).unwrap_or_default()
    }

    fn put(&self, key: Key<'_>, value: Bytes) {
        let _ = black_box(self.0.write(key, value.into(), self.1));
    }
}

struct Dash(dashmap::DashMap<Box<str>, Bytes, RandomState>);

impl Peer for Dash {
    fn get(&self, key: Key<'_>) -> Option<Bytes> {
        self.0.get(key.as_str()).map(|value| value.clone())
    }

    fn put(&self, key: Key<'_>, value: Bytes) {
        // As a careful user would do it: no key is allocated for an existing entry.
        if let Some(mut old) = self.0.get_mut(key.as_str()) {
            *old = value;
            return;
        }
        self.0.insert(key.as_str().into(), value);
    }
}

struct Moka(moka::sync::Cache<Arc<str>, Bytes, RandomState>);

impl Peer for Moka {
    fn get(&self, key: Key<'_>) -> Option<Bytes> {
        self.0.get(key.as_str())
    }

    fn put(&self, key: Key<'_>, value: Bytes) {
        self.0.insert(key.as_str().into(), value);
    }
}

type Make = fn() -> Box<dyn Peer>;

fn ours() -> Box<dyn Peer> {
    Box::new(Ours(MemoryStore::new(), Ttl::Forever))
}

fn ours_with_ttls() -> Box<dyn Peer> {
    Box::new(Ours(MemoryStore::new(), HOUR))
}

fn dashmap() -> Box<dyn Peer> {
    Box::new(Dash(dashmap::DashMap::default()))
}

fn moka() -> Box<dyn Peer> {
    Box::new(Moka(moka::sync::Cache::builder().build_with_hasher(RandomState::default())))
}

/// Pseudo-random numbers, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

fn keys(count: usize) -> Vec<KeyBuf> {
    (0..count).filter_map(|n| KeyBuf::new(format!("user:{n:08}:profile")).ok()).collect()
}

/// A value that was cloned once. The first clone of a `Bytes` allocates what its clones share, which must not count.
fn value(size: usize) -> Bytes {
    let value = Bytes::from(vec![7; size]);
    drop(value.clone());
    value
}

fn fill(peer: &dyn Peer, keys: &[KeyBuf], size: usize) {
    for key in keys {
        peer.put(key.as_key(), value(size));
    }
}

/// How many operations each thread runs in a round, if there are this many threads.
fn operations(threads: usize) -> u32 {
    OPERATIONS / u32::try_from(threads / 2).unwrap_or(1).max(1)
}

/// What threads do: they read or overwrite keys in a random order.
struct Work {
    keys: Vec<KeyBuf>,
    /// For each thread, the positions of its keys.
    orders: Vec<Vec<usize>>,
    values: Vec<Bytes>,
}

impl Work {
    fn new(keys: Vec<KeyBuf>, size: usize, threads: usize) -> Self {
        let mut numbers = Numbers(42);
        let orders =
            (0..threads).map(|_| (0..operations(threads)).map(|_| numbers.below(keys.len())).collect()).collect();
        Self { keys, orders, values: (0..1024).map(|_| value(size)).collect() }
    }

    fn run(&self, peer: &dyn Peer, put: bool, thread: usize) {
        let keys = self.orders.get(thread).into_iter().flatten().filter_map(|&at| self.keys.get(at));
        for (key, value) in keys.zip(self.values.iter().cycle()) {
            if put {
                peer.put(key.as_key(), value.clone());
            } else {
                black_box(peer.get(key.as_key()));
            }
        }
    }

    /// How long the threads take, all at the same time, each for its share of the work.
    fn time(&self, peer: &dyn Peer, put: bool, threads: usize) -> Duration {
        if threads == 1 {
            let start = Instant::now();
            self.run(peer, put, 0);
            return start.elapsed();
        }
        let barrier = Barrier::new(threads + 1);
        thread::scope(|scope| {
            for thread in 0..threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    self.run(peer, put, thread);
                    barrier.wait();
                });
            }
            barrier.wait();
            let start = Instant::now();
            barrier.wait();
            start.elapsed()
        })
    }

    /// A row for reading, and one for overwriting.
    ///
    /// With `anew`, new stores are made every few rounds, because their place in memory makes a difference. Large stores would take too long to
    /// fill.
    fn compare(
        &self,
        bench: &mut Bench,
        pair: [Make; 2],
        threads: usize,
        anew: bool,
        row: impl Fn(&str) -> Row,
    ) -> Result {
        let fresh = |make: Make| {
            let peer = make();
            fill(&*peer, &self.keys, 100);
            peer
        };
        let [ours, other] = pair;
        let mut peers = thread::scope(|scope| {
            let ours = scope.spawn(move || fresh(ours));
            let other = fresh(other);
            ours.join().map(|ours| [ours, other]).map_err(|_| "a store could not be filled")
        })?;
        for (what, put) in [("get", false), ("put over", true)] {
            let time = |peer: &mut Box<dyn Peer>, rounds: &mut usize, make: Make| {
                *rounds += 1;
                if anew && rounds.is_multiple_of(8) {
                    *peer = fresh(make);
                }
                Ok::<_, Infallible>(self.time(&**peer, put, threads))
            };
            let ([one, other], [make_one, make_other], [mut done, mut done_too]) = (&mut peers, pair, [0; 2]);
            let row = row(what).operations(operations(threads) * u32::try_from(threads)?);
            bench.compare_timed(row, || time(one, &mut done, make_one), || time(other, &mut done_too, make_other))?;
        }
        if self.keys.len() > 1_000_000 {
            // Freeing this many entries would take as long as all the rest of this benchmark.
            mem::forget(peers);
        }
        Ok(())
    }
}

fn main() -> Result {
    if let Ok(store) = env::var(MEMORY_OF) {
        println!("{}", memory_of(&store)?);
        return Ok(());
    }
    let mut bench = Bench::from_args("kv-memory");
    beside_maps(&mut bench)?;
    listing(&mut bench)?;
    memory(&mut bench)?;
    growth(&mut bench)?;
    if bench.wants("sweeping") {
        sweeping::measure();
    }
    updates(&mut bench)?;
    #[cfg(feature = "async")]
    futures::compare(&mut bench, &keys(10_000), &value(100))?;
    growth_of_keys(&mut bench)?;
    bench.finish()
}

fn beside_maps(bench: &mut Bench) -> Result {
    bench.section("100 000 keys, 100 B");
    let work = Work::new(keys(100_000), 100, 2);
    let pairs: [(&str, [Make; 2], [f64; 2]); 3] = [
        ("dashmap", [ours, dashmap], [1.25, 1.25]),
        ("moka", [ours, moka], [0.33, 0.33]),
        ("without TTLs", [ours_with_ttls, ours], [1.3, f64::INFINITY]),
    ];
    for (beside, pair, [get, put]) in pairs {
        for threads in [1, 2] {
            work.compare(bench, pair, threads, true, |what| {
                let goal = if what == "get" { get } else { put };
                let name = if beside.starts_with("without") { format!("{what} with TTLs") } else { what.to_owned() };
                let row = Row::new(format!("{name}, {}", Threads(threads))).beside(beside);
                if goal.is_finite() { row.at_most(goal) } else { row }
            })?;
        }
    }
    Ok(())
}

/// Conditional and atomic updates, compared with the same under the lock of a dashmap's entry.
fn updates(bench: &mut Bench) -> Result {
    const COUNT: usize = 10_000;
    bench.section("Updates of 10 000 keys, 100 B, of each");
    let (store, keys) = (MemoryStore::new(), keys(COUNT));
    let map = dashmap::DashMap::<Box<str>, Bytes, RandomState>::default();
    let row = |what: &str| Row::new(what).beside("dashmap's entry").operations(10_000).at_most(1.3);
    let add = |key: &str| {
        let mut entry = map.entry(key.into()).or_insert_with(|| Bytes::from_static(b"0"));
        let sum = str::from_utf8(&entry)?.parse::<u64>()? + 1;
        *entry = Bytes::from(sum.to_string());
        Ok::<_, BoxError>(())
    };
    bench.compare(
        row("increment"),
        || keys.iter().try_for_each(|key| store.increment(key, 1, Ttl::Forever).map(drop)),
        || keys.iter().try_for_each(|key| add(key)),
    )?;
    // What is replaced is compared as a number beside it: the least that a map can do.
    let value = Bytes::from(vec![b'v'; 100]);
    let mut versions = Vec::with_capacity(COUNT);
    for key in &keys {
        store.put(key, &value)?;
        let (_, version) = store.get_versioned(key)?.ok_or("the key is absent")?;
        versions.push(version);
    }
    let numbered = dashmap::DashMap::<Box<str>, (u64, Bytes), RandomState>::default();
    let mut number = 0;
    bench.compare(
        row("put_if"),
        || {
            for (key, version) in keys.iter().zip(&mut versions) {
                *version = store.put_if(key, value.clone(), Ttl::Forever, version)?.ok_or("somebody has changed it")?;
            }
            Ok::<_, BoxError>(())
        },
        || {
            for key in &keys {
                let mut entry = numbered.entry(key.as_str().into()).or_insert_with(|| (number, value.clone()));
                if entry.0 == number {
                    *entry = (number + 1, value.clone());
                }
            }
            number += 1;
            Ok::<_, BoxError>(())
        },
    )?;
    Ok(())
}

fn listing(bench: &mut Bench) -> Result {
    let name = "list 100 of 1 000 000 keys by prefix";
    if !bench.wants(name) {
        return Ok(());
    }
    bench.section("Listing");
    let keys = keys(1_000_000);
    let store = Ours(MemoryStore::new(), Ttl::Forever);
    let map = Dash(dashmap::DashMap::default());
    for peer in [&store as &dyn Peer, &map] {
        fill(peer, &keys, 0);
    }
    let prefix = "user:000123";
    bench.compare(
        Row::new(name).beside("filtering a dashmap").at_most(0.01),
        || {
            let listed = store.0.keys(prefix)?.count();
            if listed == 100 { Ok(()) } else { Err(BoxError::from(format!("{listed} keys"))) }
        },
        || {
            let listed = map.0.iter().filter(|entry| entry.key().starts_with(prefix)).map(|entry| entry.key().clone());
            Ok::<_, Infallible>(black_box(listed.collect::<Vec<_>>()).len())
        },
    )
}

/// How many bytes of memory an entry takes beyond its key and its value.
fn memory(bench: &mut Bench) -> Result {
    let name = "memory of an entry of 1 000 000, beyond key and value";
    if !bench.wants(name) {
        return Ok(());
    }
    bench.section("Memory");
    let measure = |store: &str| {
        let child = Command::new(env::current_exe()?).env(MEMORY_OF, store).output()?;
        Ok::<f64, BoxError>(String::from_utf8(child.stdout)?.trim().parse()?)
    };
    for (store, shown, goal) in [("ours", name, Some(2.0)), ("ours with TTLs", "the same, with TTLs", None)] {
        let row = Row::new(shown).beside("dashmap of String");
        let row = if let Some(goal) = goal { row.at_most(goal) } else { row };
        bench.counted(row, Unit::Bytes, measure(store)?, measure("dashmap")?);
    }
    Ok(())
}

/// The resident memory that a million entries add to a process, for each, less the bytes of key and value.
fn memory_of(store: &str) -> Result<f64> {
    const ENTRIES: usize = 1_000_000;
    const SIZE: usize = 100;
    let resident = || {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok::<f64, BoxError>(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1024.0)
    };
    let text = |n: usize| format!("user:{n:08}:profile");
    let value = || Bytes::from(vec![7; SIZE]);
    let before = resident()?;
    let (ours, map) = (MemoryStore::new(), dashmap::DashMap::<String, Bytes, RandomState>::default());
    for n in 0..ENTRIES {
        match store {
            "ours" => ours.put(text(n), value())?,
            "ours with TTLs" => ours.put_with_ttl(text(n), value(), HOUR)?,
            _ => drop(map.insert(text(n), value())),
        }
    }
    let entries = f64::from(u32::try_from(ENTRIES)?);
    let payload = f64::from(u32::try_from(text(0).len() + SIZE)?);
    Ok((resident()? - before) / entries - payload)
}

/// How costs grow with the size of values and batches, and with the number of threads.
fn growth(bench: &mut Bench) -> Result {
    bench.section("Growth: values, copied when put and shared when read");
    for (size, shown) in [(0, "0 B"), (1000, "1 kB"), (1_000_000, "1 MB"), (64_000_000, "64 MB")] {
        let (store, map) = (MemoryStore::new(), Dash(dashmap::DashMap::default()));
        let bytes = vec![7; size];
        let key = kv_memory::key!("key");
        bench.compare(
            Row::new(format!("put and get, {shown}")).beside("dashmap"),
            || {
                store.put(key, &bytes)?;
                store.get(key)
            },
            || {
                map.put(key, Bytes::copy_from_slice(&bytes));
                Ok::<_, Infallible>(map.get(key))
            },
        )?;
    }
    bench.section("Growth: batches; in the map one key after the other");
    for count in [1, 100, 10_000, 100_000] {
        let (store, map) = (MemoryStore::new(), Dash(dashmap::DashMap::default()));
        let (keys, value) = (keys(count), value(100));
        bench.compare(
            Row::new(format!("put_many and get_many of {count}")).beside("dashmap").operations(u32::try_from(count)?),
            || {
                store.put_many(keys.iter().map(|key| (key.as_key(), value.clone())))?;
                store.get_many(&keys)
            },
            || {
                for key in &keys {
                    map.put(key.as_key(), value.clone());
                }
                Ok::<_, Infallible>(keys.iter().map(|key| map.get(key.as_key())).collect::<Vec<_>>())
            },
        )?;
    }
    bench.section("Growth: threads, 100 000 keys, 100 B");
    for threads in [1, 4, 16, 64] {
        let work = Work::new(keys(100_000), 100, threads);
        let shown = Threads(threads);
        let row = |what: &str| Row::new(format!("{what} by {shown}")).beside("dashmap");
        work.compare(bench, [ours, dashmap], threads, false, row)?;
    }
    Ok(())
}

/// How costs grow with the number of keys. The last stores are so large that this comes last.
fn growth_of_keys(bench: &mut Bench) -> Result {
    bench.section("Growth: keys, 100 B, 1 thread");
    for (count, shown) in [
        (1000, "1 000"),
        (10_000, "10 000"),
        (100_000, "100 000"),
        (1_000_000, "1 000 000"),
        (10_000_000, "10 000 000"),
    ] {
        let name = |what: &str| format!("{what}, {shown} keys");
        if bench.wants(&name("get")) || bench.wants(&name("put over")) {
            let work = Work::new(keys(count), 100, 1);
            work.compare(bench, [ours, dashmap], 1, count <= 100_000, |what| {
                Row::new(name(what)).beside("dashmap").rounds(if count > 100_000 { 7 } else { 15 })
            })?;
        }
    }
    Ok(())
}

/// A number of threads, in words.
struct Threads(usize);

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} thread{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}
