//! The bridges between blocking and async stores: their limits, and what they do with futures that are dropped and runtimes that end.
#![cfg(feature = "async")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use kv_core::{
    AsyncKeyValueStore, AsyncKeyValueStoreExt, Blocking, Bytes, Capabilities, Change, Error, Key, KeyStream,
    KeyValueStore, Result, StoreFuture, Ttl, Unblocked, Value, ValueStream, Version, key,
};
use kv_memory::MemoryStore;
use tokio::runtime::{Builder, Runtime};

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls a future once.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// A store whose reads wait until the gate is opened, and that counts how many do at a time.
#[derive(Debug, Default)]
struct Gated {
    inner: MemoryStore,
    is_open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
    reads: AtomicUsize,
}

impl Gated {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl KeyValueStore for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn capabilities(&self) -> Capabilities {
        KeyValueStore::capabilities(&self.inner)
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        assert_ne!(key, "panics");
        self.reads.fetch_add(1, SeqCst);
        self.most.fetch_max(self.inside.fetch_add(1, SeqCst) + 1, SeqCst);
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
        drop(is_open);
        self.inside.fetch_sub(1, SeqCst);
        KeyValueStore::read(&self.inner, key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        KeyValueStore::write(&self.inner, key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        KeyValueStore::remove(&self.inner, key)
    }
}

fn gated(threads: u32, patience: Duration) -> (Arc<Gated>, Unblocked<Arc<Gated>>) {
    let store = Arc::new(Gated::default());
    let builder = Unblocked::builder().threads(threads).patience(patience);
    (Arc::clone(&store), builder.build(store))
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn no_more_calls_are_made_at_a_time_than_there_may_be_threads() {
    let (blocking, store) = gated(4, LONG);
    one_thread().block_on(async {
        // Hundreds of callers that leave: their calls go on, or are not made at all.
        for number in 0..300 {
            assert!(once(store.get(format!("k{number}"))).await.is_none());
        }
        let mut last = pin!(store.get("last"));
        assert!(once(last.as_mut()).await.is_none());
        assert!(blocking.inside.load(SeqCst) <= 4);
        blocking.open();
        assert_eq!(last.await.unwrap(), None);
        assert!(blocking.most.load(SeqCst) <= 4, "{}", blocking.most.load(SeqCst));
        assert!(blocking.reads.load(SeqCst) <= 5, "what nobody waits for any more is not read");
    });
}

#[test]
fn a_call_for_which_no_thread_is_free_ends_after_its_patience() {
    let (blocking, store) = gated(2, Duration::from_millis(50));
    one_thread().block_on(async {
        let (mut first, mut second) = (pin!(store.get("a")), pin!(store.get("b")));
        assert!(once(first.as_mut()).await.is_none() && once(second.as_mut()).await.is_none());
        while blocking.inside.load(SeqCst) < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        let begin = Instant::now();
        let error = store.get("c").await.unwrap_err();
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert!(matches!(error, Error::Unavailable(_)) && error.is_transient(), "{error}");
        let says = "gated: no thread was free for 50ms: all 2 were calling the store, key \"c\"";
        assert_eq!(error.to_string(), says);
        let error = store.put("c", "").await.unwrap_err();
        assert!(!error.outcome_unknown(), "nothing was sent: {error}");
        blocking.open();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (None, None));
        assert_eq!(store.get("c").await.unwrap(), None);
    });
}

/// A store that learns how large values may be when it is asked to store a larger one, as one does that has not connected yet.
#[test]
fn a_stream_is_refused_by_the_store_and_not_by_the_bridge() {
    #[derive(Debug)]
    struct Learns(MemoryStore, AtomicUsize);

    impl KeyValueStore for Learns {
        fn name(&self) -> &'static str {
            "learns"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::builder().largest_value(self.1.load(SeqCst) as u64).build()
        }
        fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
            KeyValueStore::read(&self.0, key)
        }
        fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
            KeyValueStore::write(&self.0, key, value, ttl)
        }
        fn remove(&self, key: Key<'_>) -> Result<bool> {
            KeyValueStore::remove(&self.0, key)
        }
        fn write_stream(&self, key: Key<'_>, reader: &mut dyn std::io::Read, ttl: Ttl) -> Result<()> {
            self.1.store(30, SeqCst);
            let mut value = Vec::new();
            let read = reader.take(31).read_to_end(&mut value);
            read.map_err(|error| Error::io(key, "reading", error))?;
            self.capabilities().check_value(self.name(), key, value.len() as u64)?;
            self.write(key, value.into(), ttl)
        }
    }

    let store = Unblocked::new(Learns(MemoryStore::new(), AtomicUsize::new(10)));
    let pieces = |pieces: &'static [&'static str]| ValueStream::new(pieces_of(pieces));
    one_thread().block_on(async {
        store.put_from("k", pieces(&["0123456789", "0123456789", "0123456789"])).await.unwrap();
        assert_eq!(store.get("k").await.unwrap().unwrap().len(), 30);
        let error = store.put_from("k", pieces(&["0123456789", "0123456789", "0123456789", "0"])).await.unwrap_err();
        assert!(matches!(error, Error::ValueTooLarge { size: 31, limit: 30, .. }), "{error}");
        let error = store.put_from("k", pieces(&["0123456789", "FAILS"])).await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(store.get("k").await.unwrap().unwrap().len(), 30);
    });
}

#[test]
fn a_panic_of_the_store_is_an_error_of_its_caller_alone() {
    let (blocking, store) = gated(1, LONG);
    blocking.open();
    one_thread().block_on(async {
        let error = store.get("panics").await.unwrap_err();
        assert_eq!(error.to_string(), "gated: the store panicked, key \"panics\"");
        assert_eq!(store.get("k").await.unwrap(), None);
    });
}

#[test]
fn a_listing_holds_no_thread_between_its_pages() {
    let blocking = MemoryStore::new();
    for number in 0..1000 {
        KeyValueStore::write(
            &blocking,
            format!("k{number:04}").parse::<kv_core::KeyBuf>().unwrap().as_key(),
            "".into(),
            Ttl::Forever,
        )
        .unwrap();
    }
    let store = Unblocked::builder().threads(0).build(blocking);
    one_thread().block_on(async {
        let mut listings = (0..5).map(|_| store.keys("k").unwrap()).collect::<Vec<_>>();
        for keys in &mut listings {
            assert!(keys.next().await.unwrap().is_ok());
        }
        assert!(store.get("k0001").await.unwrap().is_some());
        for keys in listings {
            assert_eq!(keys.collect::<Vec<_>>().await.unwrap().len(), 999);
        }
        let parts = store.prefixes("1", "k").unwrap().collect::<std::collections::BTreeSet<_>>().await.unwrap();
        assert!(parts.contains("k0001") && parts.contains("k001") && parts.contains("k01"));
    });
}

#[test]
fn a_blocking_store_works_inside_the_runtime_of_its_caller() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let store = Blocking::new(MemoryStore::new(), move |task| drop(handle.spawn(task)));
    let put_and_get = || {
        use kv_core::KeyValueStoreExt;
        store.put("k", "v").unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        let mut reader = store.open("k").unwrap();
        assert_eq!(std::io::read_to_string(&mut reader).unwrap(), "v");
        assert_eq!(store.keys("").unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["k"]);
    };
    put_and_get();
    one_thread().block_on(async { put_and_get() });
}

#[test]
fn a_blocking_store_whose_runtime_has_ended_answers() {
    use kv_core::KeyValueStoreExt;

    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let store = Blocking::new(MemoryStore::new(), move |task| drop(handle.spawn(task)));
    store.put("k", "v").unwrap();
    let mut keys = store.keys("").unwrap();
    drop(runtime);
    let error = store.get("k").unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.key() == Some("k"), "{error}");
    assert!(store.put("k", "w").is_err_and(|error| !error.outcome_unknown()), "the task has not begun");
    assert!(store.get_each(["k", "l"]).iter().all(Result::is_err));
    assert!(store.keys("").is_err());
    assert!(keys.next().unwrap().is_err(), "a truncated listing does not look like a whole one");
    assert!(keys.next().is_none());
}

/// If the reader panics, the end of what it gave is not the end of the value.
#[test]
fn a_reader_that_panics_stores_nothing() {
    use kv_core::KeyValueStoreExt;

    struct Panics(usize);
    impl std::io::Read for Panics {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            assert!(self.0 < 3, "on purpose");
            buffer.fill(b'v');
            Ok(buffer.len())
        }
    }

    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let memory = MemoryStore::new();
    let store = Blocking::new(memory.clone(), move |task| drop(handle.spawn(task)));
    let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.put_from("k", Panics(0))));
    assert!(put.is_err());
    drop(runtime);
    assert_eq!(KeyValueStoreExt::get(&memory, "k").unwrap(), None);

    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let store = Blocking::new(memory, move |task| drop(handle.spawn(task)));
    store.put_from("k", vec![b'v'; 200_000].as_slice()).unwrap();
    assert_eq!(store.get("k").unwrap().unwrap().len(), 200_000);
    store.put_from("empty", &b""[..]).unwrap();
    assert_eq!(store.get("empty").unwrap().as_deref(), Some(&b""[..]));
}

/// A write that was begun and whose task is gone may have happened.
#[test]
fn a_write_whose_task_ends_half_way_has_an_unknown_outcome() {
    #[derive(Debug)]
    struct Stuck(Arc<AtomicBool>);

    impl AsyncKeyValueStore for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::builder().build()
        }
        fn read<'a>(&'a self, _: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
            StoreFuture::new(std::future::pending())
        }
        fn write<'a>(&'a self, _: Key<'a>, _: Value<'a>, _: Ttl) -> StoreFuture<'a, Result<()>> {
            StoreFuture::new(async move {
                self.0.store(true, SeqCst);
                std::future::pending().await
            })
        }
        fn remove<'a>(&'a self, _: Key<'a>) -> StoreFuture<'a, Result<bool>> {
            StoreFuture::new(std::future::pending())
        }
    }

    let has_begun = Arc::new(AtomicBool::new(false));
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let store = Blocking::new(Stuck(Arc::clone(&has_begun)), move |task| drop(handle.spawn(task)));
    let written = thread::scope(|scope| {
        let writing = scope.spawn(|| KeyValueStore::write(&store, key!("k"), "v".into(), Ttl::Forever));
        while !has_begun.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        runtime.shutdown_background();
        writing.join().unwrap()
    });
    let error = written.unwrap_err();
    assert!(error.outcome_unknown() && error.is_transient(), "{error}");
}

#[test]
fn a_stream_is_stored_whole_or_not_at_all() {
    #[derive(Debug)]
    struct Small(MemoryStore);

    impl AsyncKeyValueStore for Small {
        fn name(&self) -> &'static str {
            "small"
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::builder().largest_value(10).build()
        }
        fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
            AsyncKeyValueStore::read(&self.0, key)
        }
        fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
            AsyncKeyValueStore::write(&self.0, key, value, ttl)
        }
        fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
            AsyncKeyValueStore::remove(&self.0, key)
        }
    }

    let store = Small(MemoryStore::new());
    let pieces = |pieces: &'static [&'static str]| ValueStream::new(pieces_of(pieces));
    one_thread().block_on(async {
        store.put_from("k", pieces(&["one", "", "two"])).await.unwrap();
        let mut value = store.open("k").await.unwrap();
        assert_eq!(value.next().await.unwrap().unwrap(), "onetwo");
        assert!(value.next().await.is_none());
        let error = store.put_from("k", pieces(&["0123456789", "0", "1"])).await.unwrap_err();
        assert!(matches!(error, Error::ValueTooLarge { size: 11, limit: 10, .. }), "{error}");
        let error = store.put_from("k", pieces(&["new", "FAILS", "more"])).await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(store.get("k").await.unwrap().as_deref(), Some(&b"onetwo"[..]));
        assert!(matches!(store.open("absent").await, Err(Error::NotFound { .. })));
        store.put_from("empty", pieces(&[])).await.unwrap();
        assert_eq!(store.get("empty").await.unwrap().as_deref(), Some(&b""[..]));
        assert!(matches!(store.keys(""), Err(Error::Unsupported { .. })));
        assert!(matches!(store.increment("k", 1, Ttl::Forever).await, Err(Error::Unsupported { .. })));
    });
}

/// A stream of these pieces; one that says so is an error.
fn pieces_of(pieces: &'static [&'static str]) -> impl futures_core::Stream<Item = std::io::Result<Bytes>> + Send {
    struct Pieces(std::slice::Iter<'static, &'static str>);
    impl futures_core::Stream for Pieces {
        type Item = std::io::Result<Bytes>;
        fn poll_next(mut self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next().map(|piece| match *piece {
                "FAILS" => Err(std::io::Error::other("gone")),
                piece => Ok(Bytes::from_static(piece.as_bytes())),
            }))
        }
    }
    Pieces(pieces.iter())
}

#[test]
fn pages_are_read_when_the_keys_before_them_are_taken() {
    one_thread().block_on(async {
        let read = Mutex::new(Vec::new());
        let key = |text: &str| text.parse::<kv_core::KeyBuf>().unwrap();
        let mut keys = KeyStream::pages(0, |page| {
            read.lock().unwrap().push(page);
            StoreFuture::new(async move {
                match page {
                    0 => Ok((vec![key("a"), key("b")], Some(1))),
                    1 => Ok((vec![], Some(2))),
                    2 => Ok((vec![key("c")], Some(3))),
                    _ => Err(Error::unsupported("s", kv_core::Capability::Listing)),
                }
            })
        });
        assert_eq!(*read.lock().unwrap(), [0; 0], "nothing is read before the first poll");
        assert_eq!(keys.next().await.unwrap().unwrap(), "a");
        assert_eq!(keys.next().await.unwrap().unwrap(), "b");
        assert_eq!(*read.lock().unwrap(), [0]);
        assert_eq!(keys.next().await.unwrap().unwrap(), "c");
        assert!(keys.next().await.unwrap().is_err());
        assert!(keys.next().await.is_none() && keys.next().await.is_none());
        assert_eq!(*read.lock().unwrap(), [0, 1, 2, 3]);
    });
}

/// A store that lets other tasks go first before it answers, as one on a network does.
#[derive(Debug)]
struct Late(MemoryStore);

async fn later<T>(answer: impl FnOnce() -> T) -> T {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    answer()
}

impl AsyncKeyValueStore for Late {
    fn name(&self) -> &'static str {
        "late"
    }
    fn capabilities(&self) -> Capabilities {
        AsyncKeyValueStore::capabilities(&self.0)
    }
    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(later(move || KeyValueStore::read(&self.0, key)))
    }
    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(later(move || KeyValueStore::write(&self.0, key, value, ttl)))
    }
    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(later(move || KeyValueStore::remove(&self.0, key)))
    }
    fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
        StoreFuture::new(later(move || KeyValueStore::read_versioned(&self.0, key)))
    }
    fn write_if_absent_versioned<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(later(move || KeyValueStore::write_if_absent_versioned(&self.0, key, value, ttl)))
    }
    fn write_if_version<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
        version: &'a Version,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(later(move || KeyValueStore::write_if_version(&self.0, key, value, ttl, version)))
    }
    fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(later(move || KeyValueStore::remove_if_version(&self.0, key, version)))
    }
}

/// Tasks take from a stock until nothing is left: each number is given to one of them, and the last one deletes the entry.
#[test]
fn rules_of_many_tasks_see_each_other_s_changes() {
    let store = Arc::new(Late(MemoryStore::new()));
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        store.put("stock", "100").await.unwrap();
        let tasks = (0..100).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let take_one = |stock: Option<Bytes>| {
                    let stock = stock.ok_or("nothing is left")?;
                    let left = str::from_utf8(&stock)?.parse::<u32>()? - 1;
                    let change = if left == 0 { Change::Delete } else { Change::put(left.to_string()) };
                    Ok::<_, Box<dyn std::error::Error + Send + Sync>>((change, left))
                };
                store.try_update("stock", Ttl::Forever, take_one).await
            })
        });
        let mut taken = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            taken.push(task.await.unwrap().unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert!(!store.contains("stock").await.unwrap());
        let refused = store.try_update("stock", Ttl::Forever, |old| match old {
            None => Err(Error::not_found("late", Key::new("stock").unwrap())),
            Some(_) => Ok((Change::Keep, ())),
        });
        assert!(matches!(refused.await, Err(Error::NotFound { .. })));
    });
}

/// A hundred tasks change one entry: none of them gives up.
#[test]
fn updates_of_many_tasks_are_not_lost() {
    let store = Arc::new(Late(MemoryStore::new()));
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks = (0..100).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let add = |old: Option<Bytes>| Some([old.as_deref().unwrap_or_default(), b"."].concat());
                store.update("k", Ttl::Forever, add).await
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert!(task.await.unwrap().unwrap());
        }
        assert_eq!(store.get("k").await.unwrap().unwrap().len(), 100);
    });
}
