//! The store beside its peers, in one process: `cargo bench -p kv-memory`.
//!
//! Every figure is the median of ratios, each of two runs that follow one another: a machine that is slow for a while
//! slows both. Which of the two goes first alternates. A round takes new stores, so that where in memory they happen
//! to lie averages out.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use kv_memory::{Bytes, Key, KeyBuf, KeyValueStore, MemoryStore, Ttl};

const KEYS: usize = 100_000;
const OPERATIONS: usize = 100_000;
const ROUNDS: usize = 15;
const HOUR: Ttl = Ttl::After(Duration::from_secs(3600));

/// What is compared: reading and writing, whatever the store.
trait Peer: Sync {
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
        // As a careful user would: no key is allocated for an entry that is there already.
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

fn ours_with_lifetimes() -> Box<dyn Peer> {
    Box::new(Ours(MemoryStore::new(), HOUR))
}

fn dashmap() -> Box<dyn Peer> {
    Box::new(Dash(dashmap::DashMap::default()))
}

fn moka() -> Box<dyn Peer> {
    Box::new(Moka(moka::sync::Cache::builder().build_with_hasher(RandomState::default())))
}

struct Input {
    keys: Vec<KeyBuf>,
    /// Which keys, in which order: one list for each thread.
    orders: [Vec<usize>; 2],
    values: Vec<Bytes>,
}

impl Input {
    fn new() -> Self {
        let mut state = 42_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            usize::try_from(state >> 33).unwrap_or_default() % limit
        };
        let keys = (0..KEYS).filter_map(|n| KeyBuf::new(format!("user:{n:08}:profile")).ok()).collect();
        let orders = [(); 2].map(|()| (0..OPERATIONS).map(|_| below(KEYS)).collect());
        // Cloned once each, which settles how their bytes are shared: that is no part of what is measured.
        let values = (0..1024).map(|_| Bytes::from(vec![7; 100])).inspect(|value| drop(value.clone())).collect();
        Self { keys, orders, values }
    }

    fn fill(&self, peer: &dyn Peer) {
        for key in &self.keys {
            peer.put(key.as_key(), Bytes::from(vec![7; 100]));
            // The first clone of a `Bytes` allocates what its clones share. That is no part of what is measured either.
            drop(peer.get(key.as_key()));
        }
    }

    fn work(&self, peer: &dyn Peer, put: bool, thread: usize) {
        let keys = self.orders.iter().cycle().skip(thread).take(1).flatten().filter_map(|&at| self.keys.get(at));
        for (key, value) in keys.zip(self.values.iter().cycle()) {
            if put {
                peer.put(key.as_key(), value.clone());
            } else {
                black_box(peer.get(key.as_key()));
            }
        }
    }

    /// How long each of some threads takes for its share of the work, all together.
    fn time(&self, peer: &dyn Peer, put: bool, threads: usize) -> Duration {
        if threads == 1 {
            let start = Instant::now();
            self.work(peer, put, 0);
            return start.elapsed();
        }
        let barrier = Barrier::new(threads + 1);
        thread::scope(|scope| {
            for thread in 0..threads {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    self.work(peer, put, thread);
                    barrier.wait();
                });
            }
            barrier.wait();
            let start = Instant::now();
            barrier.wait();
            start.elapsed()
        })
    }
}

/// One way to use a store: its name, whether it writes, how many threads.
const USES: [(&str, bool, usize); 4] =
    [("get", false, 1), ("get", false, 2), ("put over", true, 1), ("put over", true, 2)];

/// For each use, of each round: the ratio of times, and the time of the first in nanoseconds for an operation.
fn compare(input: &Input, pair: [Make; 2]) -> [Vec<(f64, f64)>; USES.len()] {
    let mut found = [const { Vec::new() }; USES.len()];
    for round in 0..=ROUNDS {
        let peers = pair.map(|make| make());
        for peer in &peers {
            input.fill(&**peer);
        }
        for ((_, put, threads), found) in USES.into_iter().zip(&mut found) {
            let time = |peer: &dyn Peer| input.time(peer, put, threads).as_secs_f64();
            let [first, second] = peers.each_ref().map(|peer| &**peer);
            let (a, b) = if round % 2 == 0 {
                let a = time(first);
                (a, time(second))
            } else {
                let b = time(second);
                (time(first), b)
            };
            // The first round warms up.
            if round > 0 {
                found.push((a / b, a * 1e9 / f64::from(u32::try_from(OPERATIONS * threads).unwrap_or(u32::MAX))));
            }
        }
    }
    found
}

fn quantile(numbers: impl Iterator<Item = f64>, percent: usize) -> f64 {
    let mut sorted = numbers.collect::<Vec<_>>();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) * percent + 50) / 100;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn main() {
    let input = Input::new();
    println!("{KEYS} keys, values of 100 bytes, {ROUNDS} rounds; ratio of times, below 1 where the first is faster\n");
    println!("{:<44} {:>7} {:>7} {:>7} {:>7} {:>9}", "", "threads", "median", "10 %", "90 %", "ns/op");
    let pairs: [(&str, [Make; 2]); 3] = [
        ("ours / dashmap", [ours, dashmap]),
        ("ours / moka", [ours, moka]),
        ("ours with lifetimes / without", [ours_with_lifetimes, ours]),
    ];
    for (name, pair) in pairs {
        for ((what, _, threads), found) in USES.into_iter().zip(compare(&input, pair)) {
            let [low, median, high] =
                [10, 50, 90].map(|percent| quantile(found.iter().map(|(ratio, _)| *ratio), percent));
            let ns = quantile(found.iter().map(|(_, ns)| *ns), 50);
            println!("{:<44} {threads:>7} {median:>7.2} {low:>7.2} {high:>7.2} {ns:>9.0}", format!("{what}, {name}"));
        }
    }
}
