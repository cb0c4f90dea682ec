//! The suite on `AsyncMemcacheStore`. Its second handle is the blocking store.

use std::sync::LazyLock;
use std::thread;

use kv_conformance::{BoxError, Fixture, Suite};
use kv_memcache::{AsyncKeyValueStore, AsyncMemcacheStore, Blocking, MemcacheStore, MemcacheStoreBuilder};
use tokio::runtime::{Builder, Handle, Runtime};

use super::support::Kind;
use super::{Behind, of_memcached, on_servers, without_contains, without_ttl_reading};

/// The suites whose stores get behind a proxy, too.
const FAULTY: &[&str] = &["async", "async_tls", "async_classic"];

/// The runtime of the stores.
fn runtime() -> &'static Handle {
    #[expect(clippy::unwrap_used, reason = "a test says so where it cannot go on")]
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    RUNTIME.handle()
}

/// A store that has learned the largest item. The thread of a check may be inside another runtime.
fn connected(builder: MemcacheStoreBuilder) -> Result<AsyncMemcacheStore, BoxError> {
    let connect = || runtime().block_on(builder.connect_async());
    Ok(thread::scope(|scope| scope.spawn(connect).join()).map_err(|_| "making the store panicked")??)
}

/// A suite whose stores are on this many servers of this kind. `set` gets a builder with their URLs.
fn whole_suite(
    name: &str,
    kind: Kind,
    servers: usize,
    set: impl Fn(MemcacheStoreBuilder) -> MemcacheStoreBuilder + Clone + Send + Sync + 'static,
) -> Suite {
    let fixture = move |builder: MemcacheStoreBuilder| {
        let (servers, builder) = on_servers(kind, servers, builder);
        let builder = set(builder);
        let (again, second) = (builder.clone(), builder.clone().connect()?);
        let store = connected(builder)?;
        let made = move |runtime: &Handle| Ok(runtime.block_on(again.clone().connect_async())?);
        Ok(Fixture::of_async(store, runtime()).made_on(made).second_handle(second).guard(servers))
    };
    let with_ttl = fixture.clone();
    let suite = Suite::new(name, move || fixture(MemcacheStore::builder()))
        .with_default_ttl(move |ttl| with_ttl(MemcacheStore::builder().default_ttl(ttl)));
    let is_classic = name == "async_classic";
    let suite = of_memcached(suite, is_classic);
    if FAULTY.contains(&name) { suite.with_faults(move || behind_a_proxy(kind, is_classic)) } else { suite }
}

/// A suite on stores that use the meta commands.
pub(super) fn suite(
    name: &str,
    kind: Kind,
    servers: usize,
    set: impl Fn(MemcacheStoreBuilder) -> MemcacheStoreBuilder + Clone + Send + Sync + 'static,
) -> Suite {
    let suite = whole_suite(name, kind, servers, set);
    if kind == Kind::Unix { suite } else { without_contains(suite) }
}

/// The suite on a store that uses the classic commands.
pub(super) fn classic() -> Suite {
    without_contains(without_ttl_reading(whole_suite("async_classic", Kind::Tcp, 1, |builder| builder.classic(true))))
}

fn behind_a_proxy(kind: Kind, classic: bool) -> Result<Fixture, BoxError> {
    let behind = Behind::new(kind, classic)?;
    let store = |builder: MemcacheStoreBuilder| -> Result<AsyncMemcacheStore, BoxError> { Ok(builder.build_async()?) };
    let (idle, old) = (behind.builder.clone(), behind.builder.clone());
    let fixture = Fixture::of_async(store(behind.builder.clone())?, runtime())
        .idle_timeout(move |time| Ok(blocking(store(idle.clone().idle_timeout(time))?)))
        .max_lifetime(move |time| Ok(blocking(store(old.clone().max_lifetime(time))?)));
    behind.with_faults(fixture)
}

fn blocking(store: impl AsyncKeyValueStore + 'static) -> Blocking<impl AsyncKeyValueStore> {
    Blocking::new(store, |task| drop(runtime().spawn(task)))
}
