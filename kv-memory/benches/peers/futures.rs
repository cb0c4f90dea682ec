//! What a future costs, beside the blocking call: on the store itself, on a `dyn AsyncKeyValueStore`, and without its box.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kv_conformance::BoxError;
use kv_conformance::bench::{Bench, Row};
use kv_memory::{AsyncKeyValueStore, Bytes, KeyBuf, KeyValueStore, MemoryStore, Ttl};

/// The result of a future that waits for nothing.
fn ready<T>(future: impl Future<Output = T>) -> Result<T, BoxError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err("a store in memory waits for nothing".into()),
    }
}

pub(crate) fn compare(bench: &mut Bench, keys: &[KeyBuf], value: &Bytes) -> Result<(), BoxError> {
    bench.section("Futures: 10 000 keys, 100 B, beside the blocking call");
    let store = MemoryStore::new();
    let shared: Arc<dyn AsyncKeyValueStore> = Arc::new(store.clone());
    for key in keys {
        KeyValueStore::write(&store, key.as_key(), value.clone().into(), Ttl::Forever)?;
    }
    let row = |what: &str| Row::new(what).beside("the blocking get").operations(10_000);
    let blocking = || {
        for key in keys {
            black_box(KeyValueStore::read(&store, key.as_key())?);
        }
        Ok::<_, BoxError>(())
    };
    let concrete = || {
        for key in keys {
            black_box(ready(AsyncKeyValueStore::read(&store, key.as_key()))??);
        }
        Ok::<_, BoxError>(())
    };
    bench.compare(row("async get").at_most(1.2), concrete, blocking)?;
    let dynamic = || {
        for key in keys {
            black_box(ready(shared.read(key.as_key()))??);
        }
        Ok::<_, BoxError>(())
    };
    bench.compare(row("async get, dyn").at_most(1.2), dynamic, blocking)?;
    // What the box costs: the same future without one.
    let unboxed = || {
        for key in keys {
            black_box(ready(async { KeyValueStore::read(&store, key.as_key()) })??);
        }
        Ok::<_, BoxError>(())
    };
    bench.compare(row("the same future without a box, for comparison"), unboxed, blocking)?;
    let put = || {
        for key in keys {
            ready(AsyncKeyValueStore::write(&store, key.as_key(), value.clone().into(), Ttl::Forever))??;
        }
        Ok::<_, BoxError>(())
    };
    let blocking_put = || {
        for key in keys {
            KeyValueStore::write(&store, key.as_key(), value.clone().into(), Ttl::Forever)?;
        }
        Ok::<_, BoxError>(())
    };
    bench.compare(Row::new("async put").beside("the blocking put").operations(10_000).at_most(1.2), put, blocking_put)
}
