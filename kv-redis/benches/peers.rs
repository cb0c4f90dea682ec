//! The store beside the bare client, on a server that this starts: `cargo bench -p kv-redis`.
//!
//! Every figure is the median of ratios, each of two runs that follow one another: a machine that is slow for a while
//! slows both. Which of the two goes first alternates.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kv_conformance::server::Server;
use kv_redis::{KeyValueStoreExt, RedisStore, r2d2, redis};

const ROUNDS: usize = 25;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result {
    let server = start()?;
    let url = format!("redis://127.0.0.1:{}", server.place().port());
    let patience = Duration::from_secs(10);
    let store = RedisStore::builder().url(&url).response_timeout(patience).connect()?;
    let info = redis::IntoConnectionInfo::into_connection_info(url.as_str())?;
    // As a careful user would have it: without waiting for more to send, and with time-outs.
    let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info)?;
    let mut bare = client.get_connection()?;
    bare.set_read_timeout(Some(patience))?;
    bare.set_write_timeout(Some(patience))?;

    println!("{:<34} {:>10} {:>10}   {:>6}   10 % to 90 %", "", "ours", "peer", "ratio");
    for (name, size, times) in [("100 B", 100, 2000), ("100 kB", 100_000, 300)] {
        let value = vec![b'v'; size];
        store.put("key", &value)?;
        compare(
            &format!("get, {name}"),
            times,
            || Ok(store.get("key")?),
            || Ok(redis::cmd("GET").arg("key").query::<Vec<u8>>(&mut bare)?),
        )?;
        compare(
            &format!("put, {name}"),
            times,
            || Ok(store.put("key", &value)?),
            || Ok(redis::cmd("SET").arg("key").arg(&value).exec(&mut bare)?),
        )?;
    }
    batches(&store, &mut bare)?;
    listing(&store, &mut bare)?;

    let pool = r2d2::Pool::builder().max_size(1).build(client)?;
    store.put("key", vec![b'v'; 100])?;
    let from_pool = || Ok(redis::cmd("GET").arg("key").query::<Vec<u8>>(&mut *pool.get()?)?);
    compare("get, peer is r2d2 by default", 2000, || Ok(store.get("key")?), from_pool)
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

fn batches(store: &RedisStore, bare: &mut redis::Connection) -> Result {
    let keys = (0..1000).map(|number| format!("key:{number}")).collect::<Vec<_>>();
    let value = vec![b'v'; 100];
    let bare = std::cell::RefCell::new(bare);
    let pipeline = |keys: &[String]| {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("SET").arg(key).arg(&value).ignore();
        }
        Ok(pipeline.exec(&mut **bare.borrow_mut())?)
    };
    let put_many = || Ok(store.put_many(keys.iter().map(|key| (key, &value)))?);
    compare("put_many of 1000, SETs in a pipeline", 20, put_many, || pipeline(&keys))?;
    compare(
        "get_many of 1000, MGET",
        20,
        || Ok(store.get_many(&keys)?),
        || Ok(redis::cmd("MGET").arg(&keys).query::<Vec<Vec<u8>>>(&mut **bare.borrow_mut())?),
    )?;
    compare(
        "delete_many of 1000, DELs in a pipeline",
        20,
        || Ok(store.delete_many(&keys)?),
        || {
            let mut pipeline = redis::pipe();
            for key in &keys {
                pipeline.cmd("DEL").arg(key);
            }
            Ok(pipeline.query::<Vec<bool>>(&mut **bare.borrow_mut())?)
        },
    )
}

fn listing(store: &RedisStore, bare: &mut redis::Connection) -> Result {
    for chunk in 0..100 {
        let keys = (0..1000).map(|number| format!("list:{chunk}:{number}")).collect::<Vec<_>>();
        store.put_many(keys.iter().map(|key| (key, "")))?;
    }
    let ours = || {
        let mut keys = 0_usize;
        for key in store.keys("")? {
            black_box(key?);
            keys += 1;
        }
        Ok(keys)
    };
    compare("list 100 000 keys, SCAN", 1, ours, || {
        let (mut cursor, mut all) = ("0".to_owned(), 0_usize);
        loop {
            let (next, keys): (String, Vec<String>) =
                redis::cmd("SCAN").arg(&cursor).arg("COUNT").arg(1000).query(bare)?;
            all += keys.iter().map(black_box).count();
            cursor = next;
            if cursor == "0" {
                return Ok(all);
            }
        }
    })
}

/// Compares what two do, and prints a line about it.
fn compare<O, P>(
    name: &str,
    times: u32,
    mut ours: impl FnMut() -> Result<O>,
    mut peer: impl FnMut() -> Result<P>,
) -> Result {
    let mut rounds = Vec::with_capacity(ROUNDS);
    // The first round warms up.
    for round in 0..=ROUNDS {
        let pair = if round % 2 == 0 {
            let ours = timed(times, &mut ours)?;
            (ours, timed(times, &mut peer)?)
        } else {
            let peer = timed(times, &mut peer)?;
            (timed(times, &mut ours)?, peer)
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
    let (low, ratio, high) = median(rounds.iter().map(|(ours, peer)| ours / peer).collect());
    let (_, ours, _) = median(rounds.iter().map(|pair| pair.0).collect());
    let (_, peer, _) = median(rounds.iter().map(|pair| pair.1).collect());
    println!("{name:<40} {ours:>7.1} µs {peer:>7.1} µs   {ratio:>6.2}   {low:.2} to {high:.2}");
    Ok(())
}

/// How long it takes once, in microseconds.
fn timed<T>(times: u32, act: &mut impl FnMut() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        black_box(act()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(times))
}
