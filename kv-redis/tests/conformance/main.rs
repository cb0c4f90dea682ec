//! The conformance suite on `RedisStore`, with every kind of connection to a server.

#![cfg(unix)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use kv_conformance::proxy::Proxy;
use kv_conformance::{BoxError, Durability, Fixture, Suite};
use kv_redis::{
    Capability, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls, r2d2, r2d2_redis, redis,
};

mod asynchronous;
#[path = "../support/mod.rs"]
mod support;
use support::{DURABLE_OVER_KILL, PATIENCE, Redis, RedisCluster, Sentinels, TlsClients, version};

/// The largest value of most servers here: the suite tries values of the largest size, and of 16 MiB.
const LARGEST: (&str, u64) = ("32mb", 32 << 20);

fn settings(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE).largest_value(LARGEST.1)
}

/// Numbers for databases and namespaces, each given once.
fn number() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < support::DATABASES, "there are no more databases");
    number
}

/// A suite in which each fixture has its own database or namespace. `open` gets its number, and further settings.
fn suite<S: KeyValueStore + 'static>(
    name: &str,
    open: impl Fn(u16, RedisStoreBuilder) -> Result<S, BoxError> + Clone + Send + Sync + 'static,
) -> Suite {
    let with_ttl = open.clone();
    let fixture = |open: &dyn Fn(u16, RedisStoreBuilder) -> Result<S, BoxError>, builder: RedisStoreBuilder| {
        let number = number();
        let builder = settings(builder);
        Ok(Fixture::new(open(number, builder.clone())?).second_handle(open(number, builder)?))
    };
    Suite::new(name, move || fixture(&open, RedisStore::builder()))
        .with_default_ttl(move |ttl| fixture(&with_ttl, RedisStore::builder().default_ttl(ttl)))
}

/// One server over TCP, with foreign data beside the store's keys.
fn tcp(redis: Arc<Redis>) -> Suite {
    let builder = |redis: &Redis, number| settings(RedisStore::builder().url(redis.url_of_database(number)));
    let second = Arc::clone(&redis);
    let fixture = move || {
        let number = number();
        let (redis, builder) = (Arc::clone(&redis), || builder(&redis, number).connect());
        let fixture = Fixture::new(builder()?).second_handle(builder()?);
        Ok(fixture.foreign_data(move || plant_other_types(&redis.url_of_database(number))))
    };
    Suite::new("tcp", fixture)
        .with_default_ttl(move |ttl| Ok(Fixture::new(builder(&second, number()).default_ttl(ttl).connect()?).guard(())))
        .with_faults(|| behind_a_proxy(Over::Tcp))
}

/// A store behind a proxy in front of a server that keeps acknowledged writes, also over a crash.
fn behind_a_proxy(over: Over) -> Result<Fixture, BoxError> {
    let Behind { proxy, redis, builder } = Behind::new(over)?;
    let builder = if let Over::Shared = over { builder.shared_connections(1) } else { builder };
    let (idle, old) = (builder.clone(), builder.clone());
    let fixture = Fixture::new(builder.build()?)
        .idle_timeout(move |time| Ok(idle.clone().idle_timeout(time).build()?))
        .max_lifetime(move |time| Ok(old.clone().max_lifetime(time).build()?));
    with_faults(fixture, proxy, redis)
}

/// A server, a proxy before it, and the settings of a store behind that.
struct Behind {
    proxy: Proxy,
    redis: Redis,
    builder: RedisStoreBuilder,
}

impl Behind {
    fn new(over: Over) -> Result<Self, BoxError> {
        let redis = match over {
            Over::Tls => Redis::start_tls(TlsClients::Anonymous, DURABLE_OVER_KILL),
            _ => Redis::start(DURABLE_OVER_KILL),
        };
        let (proxy, scheme) = match over {
            Over::Tcp | Over::Shared => (support::proxy(redis.port()), "redis://127.0.0.1"),
            Over::Tls => (support::proxy(redis.tls_port()), "rediss://localhost"),
            Over::Unix => (Proxy::unix(redis.socket())?, "redis+unix"),
        };
        let builder = limited(FAULT_LIMIT).retry_after(RETRY_AFTER).pool_size(4);
        let builder = match proxy.path() {
            Some(path) => builder.url(format!("{scheme}://{}", path.display())),
            None => builder.url(format!("{scheme}:{}", proxy.port())),
        };
        let builder = match over {
            Over::Tls => builder.tls(Tls::new().certificate_authority(redis.certificates().ca.clone())),
            _ => builder,
        };
        Ok(Self { proxy, redis, builder })
    }
}

fn limited(limit: Duration) -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(limit).connect_timeout(limit).response_timeout(limit)
}

/// A fixture whose store is behind a proxy, with what the checks of faults need.
fn with_faults(fixture: Fixture, proxy: Proxy, redis: Redis) -> Result<Fixture, BoxError> {
    let direct = limited(PATIENCE).url(redis.url()).connect()?;
    Ok(fixture
        .second_handle(direct)
        .proxy(Arc::new(proxy))
        .repeated(repeated)
        .limit(3 * FAULT_LIMIT)
        .retry_after(RETRY_AFTER + FAULT_LIMIT)
        .server(redis.into_server(), Durability::OverKill))
}

/// Redis's error for an unknown command: since 7, and since 5.
fn repeated(key: &str, value: &str) -> Vec<Vec<u8>> {
    let since_7 = format!("-ERR unknown command 'SET', with args beginning with: '{key}' '{value}' \r\n");
    let since_5 = format!("-ERR unknown command `SET`, with args beginning with: `{key}`, `{value}`, \r\n");
    vec![since_7.into(), since_5.into()]
}

/// What a proxy is in front of.
#[derive(Clone, Copy)]
enum Over {
    Tcp,
    Unix,
    Tls,
    /// TCP, with a connection that callers share.
    Shared,
}

/// Each of the three limits in the checks of faults.
const FAULT_LIMIT: Duration = Duration::from_millis(500);

/// How long a silent server is left alone. If it is back just after a failed try, the store notices that one limit later.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Objects of other types under valid names, and strings under names that are no keys.
fn plant_other_types(url: &str) -> Result<(), BoxError> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let mut pipeline = redis::pipe();
    pipeline.cmd("HSET").arg("b/hash").arg("field").arg("value");
    pipeline.cmd("RPUSH").arg("b/list").arg("value");
    pipeline.cmd("SADD").arg("set").arg("value");
    pipeline.cmd("ZADD").arg("sorted").arg(1).arg("value");
    if support::is_since((5, 0, 0)) {
        pipeline.cmd("XADD").arg("stream").arg("*").arg("field").arg("value");
    }
    for name in ["two words", "new\nline", "ünïcode", "", &"k".repeat(251), "nul\0"] {
        pipeline.cmd("SET").arg(name).arg("foreign");
    }
    pipeline.cmd("SET").arg(&b"\xFF\xFE"[..]).arg("foreign");
    Ok(pipeline.exec(&mut connection)?)
}

/// One database for all: stores differ in their namespaces. Beside them are foreign keys with similar beginnings.
fn namespaces(redis: Arc<Redis>) -> Suite {
    let url = redis.url_of_database(number());
    let second = url.clone();
    let builder = |url: &str, name: &str| settings(RedisStore::builder().url(url).namespace(name));
    let fixture = move || {
        let _alive = &redis;
        // A star and a bracket: it is no pattern.
        let name = format!("n*[{}]", number());
        let store = || builder(&url, &name).connect();
        let fixture = Fixture::new(store()?).second_handle(store()?).guard(Emptied(store()?));
        let (url, name) = (url.clone(), name.clone());
        Ok(fixture.foreign_data(move || {
            let mut connection = redis::Client::open(url.as_str())?.get_connection()?;
            let mut pipeline = redis::pipe();
            for foreign in [name.clone(), format!("{name}x:k"), format!("{name}/k"), name.replace('*', "star") + ":k"] {
                pipeline.cmd("SET").arg(foreign).arg("foreign");
            }
            Ok(pipeline.exec(&mut connection)?)
        }))
    };
    Suite::new("namespaces", fixture).with_default_ttl(move |ttl| {
        let name = number().to_string();
        let store = || builder(&second, &name).default_ttl(ttl).connect();
        Ok(Fixture::new(store()?).guard(Emptied(store()?)))
    })
}

/// A cluster: stores differ in their namespaces.
fn in_cluster(cluster: Arc<RedisCluster>) -> Suite {
    let fixture = move |builder: RedisStoreBuilder| {
        let builder = settings(builder).cluster(cluster.urls()).namespace(number().to_string());
        let store = || builder.clone().connect();
        Ok(Fixture::new(store()?).second_handle(store()?).guard(Emptied(store()?)))
    };
    let with_ttl = fixture.clone();
    Suite::new("cluster", move || fixture(RedisStore::builder()))
        .with_default_ttl(move |ttl| with_ttl(RedisStore::builder().default_ttl(ttl)))
}

/// Empties a namespace at the end: a listing of another one goes through its keys, too.
struct Emptied(RedisStore);

impl Drop for Emptied {
    fn drop(&mut self) {
        let keys = self.0.keys("").and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let _ = keys.and_then(|keys| self.0.delete_many(keys));
    }
}

/// The largest value that a server is configured to accept. Older ones cannot be configured, and accept 512 MB.
fn largest() -> &'static [&'static str] {
    if support::is_since((4, 0, 0)) { &["--proto-max-bulk-len", LARGEST.0] } else { &[] }
}

fn main() -> ExitCode {
    let redis = Arc::new(Redis::start(largest()));
    let url = {
        let redis = Arc::clone(&redis);
        move |number| redis.url_of_database(number)
    };
    let databases = support::DATABASES.to_string();
    let sentinels = Sentinels::start_with(&[&["--databases", &databases], largest()].concat());
    let sentinels = Arc::new(sentinels.without_failover());

    let mut suites = vec![
        tcp(Arc::clone(&redis)),
        namespaces(Arc::clone(&redis)),
        suite("unix_socket", {
            let redis = Arc::clone(&redis);
            move |number, builder| Ok(builder.url(redis.unix_url_of_database(number)).connect()?)
        })
        .with_faults(|| behind_a_proxy(Over::Unix)),
        suite("pool_of_one", {
            let url = url.clone();
            move |number, builder| Ok(builder.url(url(number)).pool_size(1).connect()?)
        }),
        suite("shared_connections", {
            let url = url.clone();
            move |number, builder| {
                Ok(builder.url(url(number)).shared_connections(1).connect()?.with_namespace("acme")?)
            }
        })
        .with_faults(|| behind_a_proxy(Over::Shared)),
        suite("pool_of_many_as_arc_dyn", {
            let url = url.clone();
            move |number, builder| -> Result<Arc<dyn KeyValueStore>, _> {
                Ok(Arc::new(builder.url(url(number)).pool_size(50).min_idle(3).connect()?))
            }
        }),
        suite("pool_of_the_crate_redis", {
            let url = url.clone();
            move |number, builder| {
                let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(8).min_idle(Some(1));
                Ok(builder.build_on_pool(pool.build(redis::Client::open(url(number))?)?)?)
            }
        }),
        asynchronous::tcp(Arc::clone(&redis)),
        asynchronous::suite("async_unix_socket", {
            let redis = Arc::clone(&redis);
            move |number, builder| builder.url(redis.unix_url_of_database(number))
        }),
        asynchronous::suite("async_pool_of_one", {
            let url = url.clone();
            move |number, builder| builder.url(url(number)).pool_size(1)
        }),
        asynchronous::suite("async_sentinel", {
            let sentinels = Arc::clone(&sentinels);
            move |number, builder| builder.sentinels("mymaster", sentinels.urls()).database(number.into())
        }),
        suite("pool_of_r2d2_redis", move |number, builder| {
            let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(8).min_idle(Some(1));
            let pool = pool.build(r2d2_redis::RedisConnectionManager::new(url(number))?)?;
            Ok(builder.build_on_r2d2_redis_pool(pool)?)
        }),
        suite("sentinel", move |number, builder| {
            Ok(builder.sentinels("mymaster", sentinels.urls()).database(number.into()).connect()?)
        }),
    ];
    if support::has_tls() {
        suites.extend([over_tls(), asynchronous::over_tls()]);
    }
    if support::can_test("cluster", (3, 0, 0)) {
        // No node counts another one as down that is only slow because the machine is busy.
        let patient = ["--cluster-node-timeout", "600000"];
        let cluster = Arc::new(RedisCluster::start_with(3, 0, &[&patient[..], largest()].concat()));
        suites.push(asynchronous::in_cluster(Arc::clone(&cluster)));
        suites.push(in_cluster(cluster));
    }
    let reason = "a version is the value itself, because redis has none of its own";
    let suites = suites.into_iter().map(|suite| suite.opt_out(Capability::ExactVersions, reason).server(version()));
    kv_conformance::main(suites)
}

fn over_tls() -> Suite {
    let tls = Redis::start_tls(TlsClients::WithCertificate, largest());
    let certificates = {
        let all = tls.certificates();
        Tls::new()
            .certificate_authority(all.ca.clone())
            .client_certificate(all.client.certificate.clone(), all.client.key.clone())
    };
    let tls = Arc::new(tls);
    suite("tls", move |number, builder| {
        let builder = builder.url(tls.tls_url()).database(number.into()).tls(certificates.clone());
        Ok(builder.connect()?)
    })
    .with_faults(|| behind_a_proxy(Over::Tls))
}
