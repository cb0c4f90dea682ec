//! Async stores behind a proxy: a right one, and those that block their thread, or keep what callers that have left had.

use std::fmt;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use kv_conformance::proxy::Proxy;
use kv_conformance::{BoxError, Durability, Fixture, Suite, Verdict};
use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Error, Failure, Key, KeyValueStore, Result, StoreFuture, Ttl, Unblocked,
    Value,
};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use crate::client::Client;
use crate::nothing;
use crate::pool::Limits;
use crate::right::{LONG, SHORT, inexact};
use crate::server::{Persistence, Server};

const BLOCKS: &str = "a2_a_call_does_not_block_its_thread";
const LEFT: &str = "a3_connections_whose_callers_have_left_serve_others";

/// A store that calls the blocking one in a poll.
#[derive(Debug)]
struct InPoll(Client);

/// A store with ten places, which are given back when an operation has ended, and not when its future is dropped.
struct KeepsPlaces {
    inner: Unblocked<Client>,
    places: AtomicUsize,
}

impl fmt::Debug for KeepsPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepsPlaces").finish_non_exhaustive()
    }
}

impl KeepsPlaces {
    async fn within<T>(&self, operation: StoreFuture<'_, Result<T>>) -> Result<T> {
        if self.places.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            return Err(Error::Timeout(Failure::new(self.inner.name(), "all places are taken")));
        }
        let done = operation.await;
        self.places.fetch_add(1, SeqCst);
        done
    }
}

impl AsyncKeyValueStore for InPoll {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { self.0.read(key) })
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move { self.0.write(key, value, ttl) })
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { self.0.remove(key) })
    }
}

impl AsyncKeyValueStore for KeepsPlaces {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(self.within(self.inner.read(key)))
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.within(self.inner.write(key, value, ttl)))
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.within(self.inner.remove(key)))
    }
}

/// How long a call of the bridge waits for a thread at most.
const PATIENCE: Duration = Duration::from_millis(300);

fn unblocked(client: Client) -> Unblocked<Client> {
    Unblocked::builder().patience(PATIENCE).build(client)
}

/// A suite of async stores, each behind a proxy.
fn suite<S: AsyncKeyValueStore + 'static>(make: fn(Client) -> S) -> Suite {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let open = move || -> std::result::Result<Fixture, BoxError> {
        let server = Arc::new(Server::start_new(Persistence::Never)?);
        let proxy = Arc::new(Proxy::tcp(server.address())?);
        let store = make(Client::new(([127, 0, 0, 1], proxy.port()).into(), SHORT));
        Ok(Fixture::of_async(store, RUNTIME.handle())
            .second_handle(Client::new(server.address(), Limits::of_each(LONG)))
            .proxy(proxy)
            .limit(SHORT.sum() + PATIENCE)
            .server(server, Durability::Volatile))
    };
    inexact(Suite::new("asynchronous", nothing)).with_faults(open)
}

pub(crate) fn trials() -> Vec<Trial> {
    let accept = |check: &'static str| {
        Trial::test(format!("asynchronous/right/{check}"), move || {
            let report = suite(unblocked).run_matching(check);
            let mut results = report.results.iter().filter(|result| result.name == check);
            let passed = results.next().is_some_and(|result| result.verdict == Verdict::Passed);
            if passed { Ok(()) } else { Err(report.to_string().into()) }
        })
    };
    // Of those of blocking stores, some that show whether the bridge keeps limits and replies apart.
    let right = [
        BLOCKS,
        LEFT,
        "n2_a_late_reply_reaches_no_other_operation",
        "n5_after_a_cut_at_any_point_reads_are_retried_and_writes_are_not",
        "n1_a_server_that_never_answers_is_an_error_within_the_limit",
        "l3_a_listing_that_is_cut_ends_with_an_error",
    ];
    let mut trials = right.into_iter().map(accept).collect::<Vec<_>>();
    trials.push(Trial::test("asynchronous/wrong/InPoll", || reject(&suite(InPoll), BLOCKS)));
    trials.push(Trial::test("asynchronous/wrong/KeepsPlaces", || {
        reject(&suite(|client| KeepsPlaces { inner: unblocked(client), places: AtomicUsize::new(10) }), LEFT)
    }));
    trials
}

fn reject(suite: &Suite, check: &str) -> std::result::Result<(), Failed> {
    let report = suite.run_matching(check);
    let told = report.failures().any(|failure| failure.name == check);
    if told { Ok(()) } else { Err(report.to_string().into()) }
}
