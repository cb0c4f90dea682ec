//! The suite on `AsyncRedisStore`. Its second handle is the blocking store.

use std::sync::{Arc, LazyLock};

use kv_conformance::{BoxError, Fixture, Suite};
use kv_redis::{AsyncKeyValueStore, AsyncRedisStore, Blocking, RedisStore, RedisStoreBuilder, Tls};
use tokio::runtime::{Builder, Handle, Runtime};

use super::support::{Redis, RedisCluster, TlsClients};
use super::{Behind, Emptied, Over, largest, number, plant_other_types, settings, with_faults};

/// The runtime of the stores.
fn runtime() -> &'static Handle {
    #[expect(clippy::unwrap_used, reason = "a test says so where it cannot go on")]
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    RUNTIME.handle()
}

/// The async store of these settings and the blocking one.
fn fixture(builder: &RedisStoreBuilder) -> Result<Fixture, BoxError> {
    let (again, second) = (builder.clone(), builder.clone().connect()?);
    let store = builder.clone().build_async()?;
    let made = move |runtime: &Handle| Ok(runtime.block_on(again.clone().connect_async())?);
    Ok(Fixture::of_async(store, runtime()).made_on(made).second_handle(second))
}

/// A suite in which each fixture has its own database or namespace. `open` gets its number, and further settings.
pub(super) fn suite(
    name: &str,
    open: impl Fn(u16, RedisStoreBuilder) -> RedisStoreBuilder + Clone + Send + Sync + 'static,
) -> Suite {
    let with_ttl = open.clone();
    Suite::new(name, move || fixture(&open(number(), settings(RedisStore::builder()))))
        .with_default_ttl(move |ttl| fixture(&with_ttl(number(), settings(RedisStore::builder().default_ttl(ttl)))))
}

/// One server over TCP, with foreign data beside the store's keys.
pub(super) fn tcp(redis: Arc<Redis>) -> Suite {
    let (url, second) = (Arc::clone(&redis), redis);
    let fixture_of = move || {
        let number = number();
        let url = url.url_of_database(number);
        let fixture = fixture(&settings(RedisStore::builder().url(&url)))?;
        Ok(fixture.foreign_data(move || plant_other_types(&url)))
    };
    Suite::new("async", fixture_of)
        .with_default_ttl(move |ttl| {
            fixture(&settings(RedisStore::builder().url(second.url_of_database(number())).default_ttl(ttl)))
        })
        .with_faults(|| behind_a_proxy(Over::Tcp))
}

pub(super) fn over_tls() -> Suite {
    let tls = Arc::new(Redis::start_tls(TlsClients::Anonymous, largest()));
    let certificates = Tls::new().certificate_authority(tls.certificates().ca.clone());
    suite("async_tls", move |number, builder| {
        builder.url(tls.tls_url()).database(number.into()).tls(certificates.clone())
    })
    .with_faults(|| behind_a_proxy(Over::Tls))
}

/// A cluster: stores differ in their namespaces.
pub(super) fn in_cluster(cluster: Arc<RedisCluster>) -> Suite {
    let fixture = move |builder: RedisStoreBuilder| {
        let builder = settings(builder).cluster(cluster.urls()).namespace(number().to_string());
        Ok(fixture(&builder)?.guard(Emptied(builder.connect()?)))
    };
    let with_ttl = fixture.clone();
    Suite::new("async_cluster", move || fixture(RedisStore::builder()))
        .with_default_ttl(move |ttl| with_ttl(RedisStore::builder().default_ttl(ttl)))
}

fn behind_a_proxy(over: Over) -> Result<Fixture, BoxError> {
    let Behind { proxy, redis, builder } = Behind::new(over)?;
    let store = |builder: RedisStoreBuilder| -> Result<AsyncRedisStore, BoxError> { Ok(builder.build_async()?) };
    let (idle, old) = (builder.clone(), builder.clone());
    let fixture = Fixture::of_async(store(builder)?, runtime())
        .idle_timeout(move |time| Ok(blocking(store(idle.clone().idle_timeout(time))?)))
        .max_lifetime(move |time| Ok(blocking(store(old.clone().max_lifetime(time))?)));
    with_faults(fixture, proxy, redis)
}

fn blocking(store: impl AsyncKeyValueStore + 'static) -> Blocking<impl AsyncKeyValueStore> {
    Blocking::new(store, |task| drop(runtime().spawn(task)))
}
