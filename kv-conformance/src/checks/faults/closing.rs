//! Section 10, N4: connections that are closed because they are idle, or because they are old.
//!
//! These need a store behind a [proxy](crate::proxy), which counts the connections: see
//! [`Suite::with_faults`](crate::Suite::with_faults).

use std::thread;
use std::time::{Duration, Instant};

use kv_core::{KeyValueStore, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::faults::{MARGIN, ProxiedStore, expect_undisturbed, in_parallel};
use crate::fixture::Closing;
use crate::proxy::Behaviour;
use crate::running::{NotPassed, Outcome, expect_that};

checks![n4_an_idle_connection_is_closed_without_an_operation, n4_an_old_connection_is_closed_although_it_is_used];

/// The idle timeout or the maximum lifetime of the store.
const TIME: Duration = Duration::from_millis(500);

/// How many threads read at the same time, so that there are several connections.
const THREADS: usize = 8;

/// The connections of a store after a burst.
struct Burst<'a> {
    proxied: &'a ProxiedStore<'a>,
    /// The number of other connections before.
    others: usize,
    /// The number of open connections, and of all connections so far.
    open: usize,
    accepted: usize,
}

impl<'a> Burst<'a> {
    /// Lets several threads read at the same time.
    fn of(proxied: &'a ProxiedStore<'a>, store: &dyn KeyValueStore) -> Outcome<Self> {
        let (others, before) = (proxied.proxy.open(), proxied.proxy.accepted());
        proxied.proxy.set(Behaviour::Delay(proxied.limit / 100));
        in_parallel(&[(); THREADS], |()| expect_undisturbed("get", || store.get("absent"), None))?;
        proxied.heal()?;
        let (open, accepted) = (proxied.proxy.open(), proxied.proxy.accepted());
        // Not those that are still open: on a busy machine the burst may have taken longer than `TIME`.
        let what = format!("the connections that the store made while {THREADS} threads read at the same time");
        expect_that(what, accepted > before, "one or more", accepted - before)?;
        Ok(Self { proxied, others, open, accepted })
    }

    /// How many of these are still open, at least.
    fn left(&self) -> usize {
        let made_since = self.proxied.proxy.accepted() - self.accepted;
        self.proxied.proxy.open().saturating_sub(made_since + self.others)
    }

    /// All of them have to be closed in time, while `act` runs again and again.
    fn expect_closed(&self, what: &str, mut meanwhile: impl FnMut() -> Outcome) -> Outcome {
        let begin = Instant::now();
        while self.left() > 0 && begin.elapsed() < TIME * 2 + MARGIN {
            meanwhile()?;
            thread::sleep(Duration::from_millis(20));
        }
        let (left, of, took) = (self.left(), self.open.saturating_sub(self.others), begin.elapsed());
        let got = format!("{left} of {of} are open after {took:?}");
        expect_that(what, left == 0, &format!("none is open that was there before, {TIME:?} later"), got)
    }
}

fn made(make: Option<&Closing>, what: &str) -> Outcome<Box<dyn KeyValueStore>> {
    match make {
        Some(make) => Ok(make(TIME)?),
        None => Err(NotPassed::Ignored(format!("the fixture of `with_faults` does not say how connections {what}"))),
    }
}

/// Lets a store with an idle timeout of half a second make several connections, and then waits: all have to be closed, without an operation
/// that causes it. Afterwards everything works.
pub fn n4_an_idle_connection_is_closed_without_an_operation() -> Check {
    about(&["N4"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let idle = "that are idle are closed (`Fixture::idle_timeout`)";
        let store = made(context.fixture().idle_timeout.as_ref(), idle)?;
        let burst = Burst::of(&proxied, &*store)?;
        burst.expect_closed("the connections of an idle store", || Ok(()))?;
        expect_undisturbed("get after all connections were closed", || store.get("absent"), None)
    })
}

/// Lets a store with a maximum lifetime of half a second make several connections, and reads again and again: all have to be closed, also
/// those in use, and no operation may fail because of it.
pub fn n4_an_old_connection_is_closed_although_it_is_used() -> Check {
    about(&["N4"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let old = "that are old are closed (`Fixture::max_lifetime`)";
        let store = made(context.fixture().max_lifetime.as_ref(), old)?;
        let burst = Burst::of(&proxied, &*store)?;
        burst.expect_closed("the connections of a store that is used all the time", || {
            expect_undisturbed("get while connections are closed", || store.get("absent"), None)?;
            expect_undisturbed("put while connections are closed", || store.put("k", "v"), ())
        })
    })
}
