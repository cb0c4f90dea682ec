//! Shared connections beside a pool, with several threads, on a server that this starts:
//! `cargo bench -p kv-redis --bench threads`.
//!
//! Every figure is the median of ratios, each of two runs that follow one another: a machine that is slow for a while
//! slows both. Who goes first alternates.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::server::Server;
use kv_redis::{KeyValueStoreExt, RedisStore, redis};

const ROUNDS: usize = 25;

/// How long a run takes.
const RUN: Duration = Duration::from_millis(50);

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result {
    let server = start()?;
    let patience = Duration::from_secs(10);
    let builder = RedisStore::builder().url(format!("redis://127.0.0.1:{}", server.place().port()));
    let builder = builder.response_timeout(patience).pool_timeout(patience);
    let pool = builder.clone().connect()?;
    pool.put("key", vec![b'v'; 100])?;
    let peers = [
        ("a pool of 4", builder.clone().pool_size(4).connect()?),
        ("a pool of 16", builder.clone().pool_size(16).connect()?),
        ("1 shared connection", builder.clone().shared_connections(1).connect()?),
        ("2 shared connections", builder.shared_connections(2).connect()?),
    ];
    println!("gets of 100 B, as many as a pool of 10 does, times");
    for threads in [1, 2, 4, 16, 64] {
        for (name, store) in &peers {
            let mut rounds = Vec::with_capacity(ROUNDS);
            // The first round warms up.
            for round in 0..=ROUNDS {
                let pair = if round % 2 == 0 {
                    let rate = rate(store, threads)?;
                    (rate, self::rate(&pool, threads)?)
                } else {
                    let pool = rate(&pool, threads)?;
                    (rate(store, threads)?, pool)
                };
                if round > 0 {
                    rounds.push(pair);
                }
            }
            let median = |mut figures: Vec<f64>| {
                figures.sort_by(f64::total_cmp);
                let at = |part: usize| figures.get(figures.len() * part / 10).copied().unwrap_or(f64::NAN);
                (at(1), at(5), at(9))
            };
            let (low, ratio, high) = median(rounds.iter().map(|(store, pool)| store / pool).collect());
            let (_, rate, _) = median(rounds.iter().map(|pair| pair.0).collect());
            println!("{threads:>3} threads, {name:<20} {rate:>8.0} /s   {ratio:>5.2}   {low:.2} to {high:.2}");
        }
    }
    Ok(())
}

/// How many operations a second so many threads do.
fn rate(store: &RedisStore, threads: usize) -> Result<f64> {
    let (is_over, start) = (AtomicBool::new(false), Barrier::new(threads + 1));
    thread::scope(|scope| {
        let work = || {
            start.wait();
            let mut operations = 0_u32;
            while !is_over.load(Relaxed) {
                black_box(store.get("key")?);
                operations += 1;
            }
            Ok(operations)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        start.wait();
        let begin = Instant::now();
        thread::sleep(RUN);
        is_over.store(true, Relaxed);
        let mut operations = 0.0;
        for thread in threads {
            let done: Result<u32> = thread.join().map_err(|_| "a thread panicked")?;
            operations += f64::from(done?);
        }
        Ok(operations / begin.elapsed().as_secs_f64())
    })
}

fn start() -> Result<Server> {
    Server::builder("redis-server")
        .debian_package("redis-server")
        .args(|place| {
            let port = place.port().to_string();
            ["--port", &port, "--bind", "127.0.0.1", "--save", ""].map(str::to_owned).to_vec()
        })
        .ready(|place, _| {
            let client = redis::Client::open(("127.0.0.1", place.port()))?;
            Ok(redis::cmd("PING").exec(&mut client.get_connection_with_timeout(Duration::from_secs(1))?)?)
        })
        .start()
}
