//! Compares the store with the bare client, on a server that this starts: `cargo bench -p kv-redis`.

mod asynchronous;

use std::cell::RefCell;
use std::error::Error as StdError;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kv_conformance::bench::{Bench, Row, together};
use kv_conformance::server::Server;
use kv_redis::{KeyValueStoreExt, RedisStore, RedisStoreBuilder, Ttl, r2d2, redis};

type Error = Box<dyn StdError + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

/// The limit for everything, so long that nothing fails because the machine is busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result {
    let setup = Setup::start()?;
    let mut bench = Bench::from_args("kv-redis");
    one_by_one(&mut bench, &setup)?;
    batches(&mut bench, &setup)?;
    threads(&mut bench, &setup)?;
    shared_connections(&mut bench, &setup)?;
    listings(&mut bench, &setup)?;
    updates(&mut bench, &setup)?;
    asynchronous::compare(&mut bench, &setup)?;
    bench.finish()
}

/// A server, which makes its clients.
struct Setup {
    server: Server,
}

impl Setup {
    fn start() -> Result<Self> {
        let server = Server::builder("redis-server")
            .debian_package("redis-server")
            .args(|sandbox| {
                let port = sandbox.port().to_string();
                ["--port", &port, "--bind", "127.0.0.1", "--save", ""].map(str::to_owned).to_vec()
            })
            .ready(|sandbox, _| {
                let client = redis::Client::open(("127.0.0.1", sandbox.port()))?;
                Ok(redis::cmd("PING").exec(&mut client.get_connection_with_timeout(Duration::from_secs(1))?)?)
            })
            .start()?;
        Ok(Self { server })
    }

    fn store(&self, pool_size: u32) -> Result<RedisStore> {
        Ok(self.builder().pool_size(pool_size).connect()?)
    }

    fn builder(&self) -> RedisStoreBuilder {
        let url = format!("redis://127.0.0.1:{}", self.server.sandbox().port());
        RedisStore::builder().url(&url).pool_timeout(PATIENCE).response_timeout(PATIENCE)
    }

    fn client(&self) -> Result<redis::Client> {
        let info = redis::IntoConnectionInfo::into_connection_info(("127.0.0.1", self.server.sandbox().port()))?;
        // As a careful user would set it: a request is sent at once.
        Ok(redis::Client::open(info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true)))?)
    }

    /// A bare connection with time-outs, which cost something.
    fn bare(&self) -> Result<redis::Connection> {
        let bare = self.client()?.get_connection()?;
        bare.set_read_timeout(Some(PATIENCE))?;
        bare.set_write_timeout(Some(PATIENCE))?;
        Ok(bare)
    }
}

fn get(bare: &mut redis::Connection, key: &str) -> redis::RedisResult<Vec<u8>> {
    redis::cmd("GET").arg(key).query(bare)
}

fn set(bare: &mut redis::Connection, key: &str, value: &[u8]) -> redis::RedisResult<()> {
    redis::cmd("SET").arg(key).arg(value).exec(bare)
}

fn one_by_one(bench: &mut Bench, setup: &Setup) -> Result {
    let (store, mut bare) = (setup.store(4)?, setup.bare()?);
    let beside = "redis::Connection";
    bench.section("One thread");
    for (size, shown) in [(100, "100 B"), (100_000, "100 kB")] {
        let value = vec![b'v'; size];
        store.put("key", &value)?;
        let row = |what| Row::new(format!("{what}, {shown}")).beside(beside).at_most(1.05).rounds(31);
        bench.compare(row("get"), || store.get("key"), || get(&mut bare, "key"))?;
        bench.compare(row("put"), || store.put("key", &value), || set(&mut bare, "key", &value))?;
    }
    let pool = r2d2::Pool::builder().max_size(4).build(setup.client()?)?;
    store.put("key", vec![b'v'; 100])?;
    bench.compare(
        Row::new("get, 100 B").beside("r2d2, its defaults").at_most(0.60),
        || store.get("key"),
        || Ok::<_, Error>(get(&mut *pool.get()?, "key")?),
    )?;
    bench.section("Growth: values");
    for (size, shown) in [(0, "0 B"), (1000, "1 kB"), (10_000, "10 kB"), (1_000_000, "1 MB"), (64_000_000, "64 MB")] {
        let value = vec![b'v'; size];
        let row = |what| {
            let row = Row::new(format!("{what}, {shown}")).beside(beside);
            if size > 10_000_000 { row.rounds(5) } else { row }
        };
        if bench.wants(&format!("get, {shown}")) || bench.wants(&format!("put, {shown}")) {
            store.put("key", &value)?;
            bench.compare(row("get"), || store.get("key"), || get(&mut bare, "key"))?;
            bench.compare(row("put"), || store.put("key", &value), || set(&mut bare, "key", &value))?;
            store.delete("key")?;
        }
    }
    Ok(())
}

/// Batches, compared with one command or one pipeline.
fn batches(bench: &mut Bench, setup: &Setup) -> Result {
    let (store, bare) = (setup.store(4)?, RefCell::new(setup.bare()?));
    let value = vec![b'v'; 100];
    bench.section("Growth: batches, 100 B, of each key");
    for count in [1, 10, 100, 1000, 10_000, 100_000] {
        let keys = (0..count).map(|number| format!("key:{number}")).collect::<Vec<_>>();
        let row = |what, beside: &str| {
            let row = Row::new(format!("{what} of {count}")).beside(beside).operations(count);
            let row = if count > 10_000 { row.rounds(5) } else { row };
            if count == 1000 { row.at_most(1.15) } else { row }
        };
        let pipeline = || {
            let mut pipeline = redis::pipe();
            for key in &keys {
                pipeline.cmd("SET").arg(key).arg(&value).ignore();
            }
            pipeline.exec(&mut *bare.borrow_mut())
        };
        let entries = || keys.iter().map(|key| (key, &value));
        bench.compare(row("put_many", "a pipeline of SET"), || store.put_many(entries()), pipeline)?;
        bench.compare(
            row("get_many", "MGET"),
            || store.get_many(&keys),
            || redis::cmd("MGET").arg(&keys).query::<Vec<Option<Vec<u8>>>>(&mut *bare.borrow_mut()),
        )?;
        // The keys must exist before they are deleted. Both sides write them first, which does not count.
        let timed = |act: &dyn Fn() -> Result| {
            store.put_many(entries())?;
            let begin = Instant::now();
            act()?;
            Ok::<_, Error>(begin.elapsed())
        };
        let delete_many = || timed(&|| Ok(store.delete_many(&keys).map(drop)?));
        // Like our batch, it returns for each key whether it was there.
        let pipeline = || {
            let mut pipeline = redis::pipe();
            for key in &keys {
                pipeline.cmd("DEL").arg(key);
            }
            Ok(pipeline.query::<Vec<bool>>(&mut *bare.borrow_mut()).map(drop)?)
        };
        bench.compare_timed(row("delete_many", "a pipeline of DEL"), delete_many, || timed(&pipeline))?;
        store.delete_many(&keys)?;
    }
    Ok(())
}

/// Conditional and atomic updates, compared with the same commands on a bare connection.
fn updates(bench: &mut Bench, setup: &Setup) -> Result {
    const HOUR: Duration = Duration::from_secs(3600);
    let (store, bare) = (setup.store(4)?, RefCell::new(setup.bare()?));
    let value = vec![b'v'; 100];
    let row = |what: &str, beside: &str| Row::new(what).beside(beside).at_most(1.05).rounds(31);
    bench.section("Updates, 100 B");
    let count = || store.increment("counter", 1, Ttl::Forever);
    let incr = || redis::cmd("INCR").arg("bare").query::<u64>(&mut *bare.borrow_mut());
    bench.compare(row("increment", "INCR"), count, incr)?;
    let window = || store.increment("window", 1, HOUR);
    let transaction = || {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("SET").arg("bare:window").arg(0).arg("PX").arg(3_600_000).arg("NX").ignore();
        pipeline.cmd("INCRBY").arg("bare:window").arg(1);
        pipeline.query::<(u64,)>(&mut *bare.borrow_mut())
    };
    bench.compare(row("increment with a TTL", "MULTI, SET NX, INCRBY"), window, transaction)?;
    store.put("key", &value)?;
    let getex = || redis::cmd("GETEX").arg("key").arg("PX").arg(3_600_000).query::<Vec<u8>>(&mut *bare.borrow_mut());
    bench.compare(row("get_and_touch", "GETEX"), || store.get_and_touch("key", HOUR), getex)?;
    let getdel = || redis::cmd("GETDEL").arg("absent").query::<Option<Vec<u8>>>(&mut *bare.borrow_mut());
    bench.compare(row("take, key is absent", "GETDEL"), || store.take("absent"), getdel)?;
    // The value stays the same, so its version does, too.
    let (_, version) = store.get_versioned("key")?.ok_or("the key is absent")?;
    let script = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";
    let sha1 = redis::cmd("SCRIPT").arg("LOAD").arg(script).query::<String>(&mut *bare.borrow_mut())?;
    let evalsha = || {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&sha1).arg(1).arg("key").arg(&value).arg(&value).arg(3_600_000).query::<u64>(&mut *bare.borrow_mut())
    };
    bench.compare(row("put_if", "EVALSHA"), || store.put_if("key", &value, HOUR, &version), evalsha)?;
    Ok(())
}

/// Threads that share a store, compared with bare connections: as many as the pool has, with one thread each.
fn threads(bench: &mut Bench, setup: &Setup) -> Result {
    const ALL: u32 = 3200;
    bench.section("Threads: gets of 100 B, of each");
    for pool in [1, 4, 16] {
        let store = setup.store(pool)?;
        store.put("key", vec![b'v'; 100])?;
        for threads in [1, 4, 16, 64] {
            let each = ALL / threads;
            let peers = threads.min(pool);
            let mut bare = (0..peers).map(|_| setup.bare()).collect::<Result<Vec<_>>>()?;
            let mut stores = (0..threads).map(|_| &store).collect::<Vec<_>>();
            let some = if threads == 1 { "thread" } else { "threads" };
            let row = Row::new(format!("{threads} {some}, a pool of {pool}"))
                .beside(format!("{peers} bare, a thread each"))
                .operations(ALL);
            let row = if (threads, pool) == (16, 16) { row.at_most(1.15) } else { row.rounds(9) };
            bench.compare_timed(
                row,
                || together(&mut stores, |store| (0..each).try_for_each(|_| store.get("key").map(drop))),
                || together(&mut bare, |bare| (0..ALL / peers).try_for_each(|_| get(bare, "key").map(drop))),
            )?;
        }
    }
    Ok(())
}

/// Threads on a store with shared connections, compared with threads on a store with a pool. The goals are the reasons for shared connections.
fn shared_connections(bench: &mut Bench, setup: &Setup) -> Result {
    const ALL: u32 = 3200;
    bench.section("Shared connections: gets of 100 B, of each");
    let pool = setup.builder().connect()?;
    pool.put("key", vec![b'v'; 100])?;
    for connections in [1, 2] {
        let store = setup.builder().shared_connections(connections).connect()?;
        for threads in [1, 4, 16, 64] {
            let each = ALL / threads;
            let get = |store: &mut &RedisStore| (0..each).try_for_each(|_| store.get("key").map(drop));
            let [mut ours, mut peer] = [&store, &pool].map(|store| (0..threads).map(|_| store).collect::<Vec<_>>());
            let some = if threads == 1 { "thread" } else { "threads" };
            let row =
                Row::new(format!("{threads} {some}, {connections} shared")).beside("a pool of 10").operations(ALL);
            let row = match threads {
                1 => row.at_most(1.1),
                64 => row.at_most(0.5),
                _ => row,
            };
            bench.compare_timed(row, || together(&mut ours, get), || together(&mut peer, get))?;
        }
    }
    Ok(())
}

/// A listing, compared with a loop over SCAN with the same COUNT.
fn listings(bench: &mut Bench, setup: &Setup) -> Result {
    let (store, mut bare) = (setup.store(4)?, setup.bare()?);
    store.delete_many(["key"])?;
    bench.section("Growth: keys");
    let mut there = 0;
    for (count, shown) in [(1000, "1 000"), (10_000, "10 000"), (100_000, "100 000"), (1_000_000, "1 000 000")] {
        let name = |what: &str| format!("{what} {shown} keys");
        if !["list", "get, of", "put over, of"].iter().any(|what| bench.wants(&name(what))) {
            continue;
        }
        for chunk in (there..count).collect::<Vec<_>>().chunks(10_000) {
            store.put_many(chunk.iter().map(|number| (format!("user:{number:08}:profile"), "")))?;
        }
        there = count;
        // A different key each time, spread over all keys.
        let mut number = 0;
        let next = move || {
            number = (number + 7_919) % count;
            format!("user:{number:08}:profile")
        };
        let (mut key, mut other) = (next, next);
        bench.compare(
            Row::new(name("get, of")).beside("redis::Connection"),
            || store.get(key()),
            || redis::cmd("GET").arg(other()).query::<Vec<u8>>(&mut bare),
        )?;
        let (mut key, mut other) = (next, next);
        bench.compare(
            Row::new(name("put over, of")).beside("redis::Connection"),
            || store.put(key(), ""),
            || set(&mut bare, &other(), b""),
        )?;
        let row = Row::new(name("list")).beside("SCAN").operations(count);
        let row = if count == 1_000_000 { row.at_most(1.3) } else { row };
        bench.compare(
            row,
            || {
                let keys = store
                    .keys("")?
                    .try_fold(0, |keys, key| key.map(|key| keys + u32::from(!black_box(key).is_empty())))?;
                if keys == count { Ok(()) } else { Err(Error::from(format!("{keys} keys"))) }
            },
            || {
                let (mut cursor, mut all) = ("0".to_owned(), 0);
                loop {
                    let mut scan = redis::cmd("SCAN");
                    let (next, keys): (String, Vec<String>) =
                        scan.arg(&cursor).arg("COUNT").arg(1000).query(&mut bare)?;
                    all += keys.iter().map(black_box).count();
                    cursor = next;
                    if cursor == "0" {
                        return Ok::<_, Error>(all);
                    }
                }
            },
        )?;
    }
    Ok(())
}
