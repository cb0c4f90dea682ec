//! The async store of a fixture, and what is done with it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kv_core::{
    AsyncKeyValueStore, AsyncKeyValueStoreExt, Bytes, Capability, Entry, Error, KeyValueStoreExt, Ttl, ValueStream,
    Version, key,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::faults::ProxiedStore;
use crate::fixture::Asynchronous;
use crate::proxy::Behaviour;
use crate::running::{Context, NotPassed, Outcome, expect, expect_that, mismatch, show_error};

/// After how long something that is awaited counts as one that hangs, and how much more time there is for what an operation takes: so many
/// of its operations a check waits for, one after the other.
const HANGS_AFTER: Duration = Duration::from_secs(20);
const OPERATIONS: u32 = 1000;

/// How many tasks there are at a time, and how many futures each of them begins.
const TASKS: usize = 64;
const ROUNDS: usize = 60;

/// How many operations are started on a silent server: more than a pool has places.
const STARTED: usize = 40;

/// How many futures are kept without being polled: more than a queue of requests has places.
const KEPT: usize = 300;

/// A call on a store that answers late is tried so often: a poll may take long because the machine is busy.
const ATTEMPTS: usize = 5;

type Store = Arc<dyn AsyncKeyValueStore>;

/// An operation, what it needs, and how it is called and its future dropped.
type CallAndDrop<'a> = (&'a str, Option<Capability>, &'a dyn Fn());

pub(super) fn of<'a>(context: &Context<'a>) -> Outcome<&'a Asynchronous> {
    let lacking = || NotPassed::Ignored("its store is not async (`Fixture::of_async`)".into());
    context.fixture().asynchronous.as_ref().ok_or_else(lacking)
}

/// A runtime with one thread, which is this one.
fn one_thread() -> Outcome<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| NotPassed::failed_beside_the_store(format_args!("no runtime of tokio could be made: {error}")))
}

/// Runs this on one thread, unless it hangs.
pub(super) fn run<T>(context: &Context<'_>, what: &str, future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let limit = hangs_after(context);
    one_thread()?.block_on(async {
        let hangs = || mismatch(what, "it ends", &format!("it has not ended after {limit:?}")).timed_out_if(true);
        tokio::time::timeout(limit, future).await.unwrap_or_else(|_| Err(hangs()))
    })
}

pub(super) fn hangs_after(context: &Context<'_>) -> Duration {
    HANGS_AFTER + context.pace().operation * OPERATIONS
}

/// Polls a future so many times at most. `None`: it was not ready.
pub(super) async fn polled<F: Future + ?Sized>(times: usize, future: Pin<&mut F>) -> Option<F::Output> {
    let (mut left, mut future) = (times, future);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

pub(super) fn nothing_is_done_before_the_first_poll(context: &Context<'_>) -> Outcome {
    use Capability::{Copy, Counters, Create, Take, Touch, TouchingReads, Versions};

    let (asynchronous, blocking) = (of(context)?, context.store());
    let store = &*asynchronous.store;
    blocking.put("k", "1")?;
    let version = if context.has(Versions) { blocking.get_versioned("k")?.map(|(_, version)| version) } else { None };
    let version = version.unwrap_or_else(|| Version::of_number(key!("another"), 1));
    let has = |capability: Option<Capability>| capability.is_none_or(|capability| context.has(capability));
    // As backends implement them: the futures of the callers' layer do not even call the store before they are polled.
    let (k, new) = (key!("k"), key!("new"));
    let entry = |key| Entry::new(key, "2".into(), Ttl::Default);
    let operations: &[CallAndDrop<'_>] = &[
        ("write", None, &|| drop(store.write(k, "2".into(), Ttl::Default))),
        ("write of a new key", None, &|| drop(store.write(new, "2".into(), Ttl::Default))),
        ("write_many", None, &|| drop(store.write_many(vec![entry(k), entry(new)]))),
        ("write_stream", None, &|| drop(store.write_stream(k, ValueStream::from(Bytes::from("2")), Ttl::Default))),
        ("write_if_absent", Some(Create), &|| drop(store.write_if_absent(new, "2".into(), Ttl::Default))),
        ("remove", None, &|| drop(store.remove(k))),
        ("remove_many", None, &|| drop(store.remove_many(&[k, new]))),
        ("set_expiry", Some(Touch), &|| drop(store.set_expiry(k, Duration::ZERO.into()))),
        ("copy_entry", Some(Copy), &|| drop(store.copy_entry(k, new))),
        ("rename_entry", Some(Copy), &|| drop(store.rename_entry(k, new))),
        ("write_if_absent_versioned", Some(Versions), &|| {
            drop(store.write_if_absent_versioned(new, "2".into(), Ttl::Forever));
        }),
        ("write_if_version", Some(Versions), &|| {
            drop(store.write_if_version(k, "2".into(), Ttl::Forever, &version));
        }),
        ("remove_if_version", Some(Versions), &|| drop(store.remove_if_version(k, &version))),
        ("read_and_remove", Some(Take), &|| drop(store.read_and_remove(k))),
        ("read_and_set_expiry", Some(TouchingReads), &|| drop(store.read_and_set_expiry(k, Duration::ZERO.into()))),
        ("add", Some(Counters), &|| drop(store.add(k, 1, Ttl::Forever))),
    ];
    for (operation, _, call) in operations.iter().filter(|(_, capability, _)| has(*capability)) {
        // In a runtime, where a store could start a task.
        let runtime = one_thread()?;
        runtime.block_on(async {
            call();
            tokio::time::sleep(Duration::from_millis(5)).await;
        });
        let what =
            |key| format!("get({key:?}) after {operation} was called and its future dropped before it was polled");
        expect(what("k"), blocking.get("k"), Some("1".into()))?;
        expect(what("new"), blocking.get("new"), None)?;
    }
    Ok(())
}

pub(super) fn a_dropped_future_disturbs_nobody(context: &Context<'_>) -> Outcome {
    let store = Arc::clone(&of(context)?.store);
    let rounds = context.items(ROUNDS, TASKS * 2);
    let (seed, can_list) = (context.seed.used(), context.has(Capability::Listing));
    let can_count = context.has(Capability::Counters);
    run(context, "many tasks that drop their futures", async {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let random = Rng::with_seed(seed.wrapping_add(task as u64));
            let caller = Caller { store: Arc::clone(&store), task, random, can_list, can_count };
            tasks.spawn(caller.call_and_drop(rounds));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| mismatch("a task that calls and drops", "no panic", &error.to_string()))??;
        }
        // Nothing is used up: no permit, no connection, no lock.
        for number in 0..TASKS {
            let (key, value) = (format!("afterwards/{number}"), format!("value {number}"));
            expect(format_args!("put({key:?}) after futures were dropped"), store.put(&key, &value).await, ())?;
            let what = format!("get({key:?}) after futures were dropped");
            expect(what, store.get(&key).await, Some(Bytes::from(value)))?;
        }
        Ok(())
    })
}

/// A task that calls a store and drops most of its futures.
struct Caller {
    store: Store,
    task: usize,
    random: Rng,
    can_list: bool,
    can_count: bool,
}

impl Caller {
    fn key(&self, number: usize) -> String {
        format!("task{}/{number}", self.task)
    }

    /// A value that says whose it is.
    fn value(&self, number: usize, round: usize) -> String {
        format!("of task{}/{number}, round {round}", self.task)
    }

    /// That a value is this task's, if there is one.
    fn expect_own(&self, what: &str, number: usize, value: Option<&Bytes>) -> Outcome {
        let own = format!("of {},", self.key(number));
        let is_own = value.is_none_or(|value| value.starts_with(own.as_bytes()));
        let want = format!("nothing, or a value that begins with {own:?}");
        expect_that(format_args!("{what} of {:?} beside dropped futures", self.key(number)), is_own, &want, value)
    }

    /// Runs a future to its end, or drops it on the way. `None`: it was dropped.
    async fn drop_some<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        match self.random.u8(..8) {
            0..=3 => polled(self.random.usize(..4), pin!(future)).await,
            4 => tokio::time::timeout(Duration::from_micros(self.random.u64(..3000)), future).await.ok(),
            _ => Some(future.await),
        }
    }

    async fn call_and_drop(mut self, rounds: usize) -> Outcome {
        let store = Arc::clone(&self.store);
        for round in 0..rounds {
            let number = self.random.usize(..4);
            let key = self.key(number);
            match self.random.u8(..8) {
                0 | 1 => {
                    let put = store.put(&key, self.value(number, round));
                    self.drop_some(put).await.transpose()?;
                }
                2 => {
                    let entries = (0..4).map(|number| (self.key(number), self.value(number, round)));
                    let put = store.put_many(entries.collect::<Vec<_>>());
                    self.drop_some(put).await.transpose()?;
                }
                3 => {
                    let keys = (0..4).map(|number| self.key(number)).collect::<Vec<_>>();
                    let values = self.drop_some(store.get_many(&keys)).await.transpose()?;
                    for (number, value) in values.iter().flatten().enumerate() {
                        self.expect_own("get_many", number, value.as_ref())?;
                    }
                }
                4 => {
                    self.drop_some(store.delete(&key)).await.transpose()?;
                }
                5 if self.can_count => {
                    let count = format!("task{}/count", self.task);
                    self.drop_some(store.increment(&count, 1, Ttl::Forever)).await.transpose()?;
                }
                6 if self.can_list => {
                    let prefix = format!("task{}/", self.task);
                    let mut keys = store.keys(&prefix)?;
                    if let Some(Some(listed)) = self.drop_some(keys.next()).await {
                        let listed = listed?;
                        let what = format_args!("a key of keys({prefix:?}) beside dropped futures");
                        expect_that(what, listed.starts_with(&prefix), &format!("it begins with {prefix:?}"), &listed)?;
                    }
                }
                _ => {
                    let value = self.drop_some(store.get(&key)).await.transpose()?;
                    self.expect_own("get", number, value.flatten().as_ref())?;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

pub(super) fn a_future_that_is_not_polled_holds_up_nobody(context: &Context<'_>) -> Outcome {
    let store = &*of(context)?.store;
    run(context, "operations beside futures that are not polled any more", async {
        store.put("k", "1").await?;
        let (mut get, mut put) = (pin!(store.get("k")), pin!(store.put("other", "2")));
        let mut many = pin!(store.get_many(["k", "absent"]));
        let early = (polled(1, get.as_mut()).await, polled(1, put.as_mut()).await, polled(1, many.as_mut()).await);
        let mut keys = if context.has(Capability::Listing) { Some(store.keys("")?) } else { None };
        if let Some(keys) = &mut keys {
            polled(1, pin!(keys.next())).await;
        }
        let mut kept = Vec::new();
        for number in 0..KEPT {
            let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = match number % 3 {
                0 => Box::pin(async { drop(store.get("k").await) }),
                1 => Box::pin(async { drop(store.get_many(["k", "absent"]).await) }),
                _ => Box::pin(async { drop(store.put("other", "2").await) }),
            };
            if polled(1, future.as_mut()).await.is_none() {
                kept.push(future);
            }
        }
        for number in 0..STARTED {
            let key = format!("beside/{number}");
            expect(format_args!("put({key:?}) beside futures that wait"), store.put(&key, "v").await, ())?;
            let what = format!("get({key:?}) beside futures that wait");
            expect(what, store.get(&key).await, Some("v".into()))?;
        }
        expect("delete beside futures that wait", store.delete("beside/0").await, true)?;
        drop(kept);
        // They go on where they were.
        let (got, written, read) = early;
        let got = if let Some(got) = got { got } else { get.await };
        expect("get that was polled again later", got, Some("1".into()))?;
        let written = if let Some(written) = written { written } else { put.await };
        expect("put that was polled again later", written, ())?;
        let read = if let Some(read) = read { read } else { many.await };
        expect("get_many that was polled again later", read, vec![Some("1".into()), None])
    })
}

pub(super) fn a_call_does_not_block_its_thread(context: &Context<'_>) -> Outcome {
    let asynchronous = of(context)?;
    let proxied = ProxiedStore::new(context.fixture())?;
    let store = &*asynchronous.store;
    let late = (proxied.limit / 8).min(Duration::from_millis(200));
    run(context, "operations on a server that answers late", async {
        store.put("k", "v").await?;
        proxied.proxy.set(Behaviour::Delay(late));
        let mut longest = [Duration::MAX; 3];
        for _ in 0..ATTEMPTS {
            let mut took = [Duration::ZERO; 3];
            let [get, put, many] = &mut took;
            timing_polls(get, store.get("k")).await?;
            timing_polls(put, store.put("k", "v")).await?;
            timing_polls(many, store.get_many(["k", "absent"])).await?;
            for (longest, took) in longest.iter_mut().zip(took) {
                *longest = took.min(*longest);
            }
        }
        proxied.heal()?;
        for (operation, longest) in ["get", "put", "get_many"].iter().zip(longest) {
            let what = format_args!("the longest poll of a {operation}, with replies that come after {late:?}");
            expect_that(what, longest < late / 2, "less than half of that", longest)?;
        }
        Ok(())
    })
}

/// Awaits a future, and notes how long its longest poll takes.
async fn timing_polls<T>(longest: &mut Duration, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let begin = Instant::now();
        let polled = future.as_mut().poll(context);
        *longest = begin.elapsed().max(*longest);
        polled
    })
    .await
}

pub(super) fn connections_whose_callers_have_left_serve_others(context: &Context<'_>) -> Outcome {
    let asynchronous = of(context)?;
    let proxied = ProxiedStore::new(context.fixture())?;
    let store = &*asynchronous.store;
    run(context, "operations after callers have left on a silent server", async {
        store.put("k", "v").await?;
        proxied.proxy.set(Behaviour::Hold);
        for number in 0..STARTED {
            let key = format!("left/{number}");
            polled(1, pin!(store.get(&key))).await;
            // So that it is sent.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let begin = Instant::now();
        let answered = store.get("k").await;
        let took = begin.elapsed();
        let want = "Timeout or Unavailable: the server is silent";
        let is_error = matches!(answered, Err(Error::Timeout(_) | Error::Unavailable(_)));
        expect_that("get on a silent server, after callers have left", is_error, want, answered.map(drop))?;
        proxied.expect_in_time("get on a silent server, after callers have left", &Ok::<(), Error>(()), took)?;
        proxied.heal_without_what_was_held()?;
        let begin = Instant::now();
        let recovers_in = proxied.retry_after + 2 * proxied.limit;
        loop {
            match store.get("k").await {
                Ok(value) => return expect("get after the server is back", Ok(value), Some("v".into())),
                Err(error) if begin.elapsed() < recovers_in && error.is_transient() => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => {
                    let want = format!("the value, after {recovers_in:?} at the latest (N6)");
                    return Err(mismatch("get after the server is back", &want, &show_error(&error)).timed_out_if(true));
                }
            }
        }
    })
}
