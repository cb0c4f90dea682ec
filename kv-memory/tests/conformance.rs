//! The conformance suite on `MemoryStore`: directly, through every pointer to a store, and in real time.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kv_conformance::{BoxError, Fixture, Suite};
use kv_memory::{KeyValueStore, KeyValueStoreExt as _, ManualClock, MemoryStore, MemoryStoreBuilder};

/// A suite of stores with a manual clock. The suite uses them through the pointer that `point` makes.
fn suite<S: KeyValueStore + 'static>(name: &str, point: fn(Arc<MemoryStore>) -> S) -> Suite {
    let fixture = move |builder: MemoryStoreBuilder| -> Result<Fixture, BoxError> {
        let clock = ManualClock::new();
        let store = Arc::new(builder.clock(clock.clone()).build()?);
        Ok(Fixture::new(point(Arc::clone(&store))).second_handle(store).clock(move |by| clock.advance(by)))
    };
    Suite::new(name, move || fixture(MemoryStore::builder()))
        .with_default_ttl(move |ttl: Duration| fixture(MemoryStore::builder().default_ttl(ttl)))
}

/// Stores in a namespace of another store, which has entries beside them.
fn namespace() -> Suite {
    let fixture = |builder: MemoryStoreBuilder| -> Result<Fixture, BoxError> {
        let clock = ManualClock::new();
        let all = builder.clock(clock.clone()).build()?;
        let store = all.with_namespace("acme")?.with_namespace("eu")?;
        let plant = move || {
            let beside =
                ["acme", "acme:", "acme:eu", "acme:eu:", "acme:euro", "acme:e", "acme:k", "eu:k", "acmf:eu:k", "k"];
            beside.iter().try_for_each(|key| all.put(*key, "of another")).map_err(Into::into)
        };
        Ok(Fixture::new(store.clone()).second_handle(store).foreign_data(plant).clock(move |by| clock.advance(by)))
    };
    Suite::new("namespace", move || fixture(MemoryStore::builder()))
        .with_default_ttl(move |ttl: Duration| fixture(MemoryStore::builder().default_ttl(ttl)))
}

/// The runtime of the async stores.
#[cfg(feature = "async")]
fn runtime() -> &'static tokio::runtime::Handle {
    use std::sync::LazyLock;

    use tokio::runtime::{Builder, Runtime};

    #[expect(clippy::unwrap_used, reason = "a test says so where it cannot go on")]
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).build().unwrap());
    RUNTIME.handle()
}

/// A suite of async stores: of the store's own futures, or of the bridge that `make` builds. The second handle is the blocking store.
#[cfg(feature = "async")]
fn asynchronous<S: kv_memory::AsyncKeyValueStore + 'static>(
    name: &str,
    make: impl Fn(MemoryStore) -> S + Clone + Send + Sync + 'static,
) -> Suite {
    let fixture = move |builder: MemoryStoreBuilder| -> Result<Fixture, BoxError> {
        let clock = ManualClock::new();
        let store = builder.clock(clock.clone()).build()?;
        let again = make.clone();
        let fixture = Fixture::of_async(make(store.clone()), runtime()).second_handle(store);
        Ok(fixture.made_on(move |_| Ok(again(MemoryStore::new()))).clock(move |by| clock.advance(by)))
    };
    let with_ttl = fixture.clone();
    Suite::new(name, move || fixture(MemoryStore::builder()))
        .with_default_ttl(move |ttl: Duration| with_ttl(MemoryStore::builder().default_ttl(ttl)))
}

fn main() -> ExitCode {
    kv_conformance::main([
        #[cfg(feature = "async")]
        asynchronous("async", |store| store),
        #[cfg(feature = "async")]
        asynchronous("unblocked", |store| {
            // On a busy machine a thread may be slow to begin.
            kv_memory::Unblocked::builder().patience(Duration::from_secs(60)).build(store)
        }),
        suite("memory", |store| store),
        suite("reference", |store| -> &'static MemoryStore { Box::leak(Box::new(store)) }),
        suite("box_dyn", |store| -> Box<dyn KeyValueStore> { Box::new(store) }),
        suite("arc_dyn", |store| -> Arc<dyn KeyValueStore> { store }),
        namespace(),
        Suite::new("real_time", || Ok(Fixture::new(MemoryStore::new())))
            .with_default_ttl(|ttl| Ok(Fixture::new(MemoryStore::builder().default_ttl(ttl).build()?))),
    ])
}
