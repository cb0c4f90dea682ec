//! Real servers for the tests, and how tests look at them.
//!
//! Failures here panic, because these are tests.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

// The files of kv-redis, which contain nothing about redis.
#[path = "../../../kv-redis/tests/support/certificates.rs"]
pub(crate) mod certificates;
mod connection;
#[path = "../../../kv-redis/tests/support/hosts.rs"]
pub(crate) mod hosts;
mod kind;
mod memcached;
mod twemproxy;
mod version;

use std::error::Error as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::proxy::Proxy;
use kv_memcache::{MemcacheStore, MemcacheStoreBuilder};

#[allow(unused_imports, reason = "each test target uses a part")]
pub(crate) use {
    certificates::{Certificates, Identity},
    connection::Connection,
    kind::{Kind, PASSWORD, USER},
    memcached::Memcached,
    twemproxy::Twemproxy,
    version::{Need, can, is_from, program, skip, version},
};

/// The limit for a condition to become true.
const SETTLE: Duration = Duration::from_secs(60);

/// The limit in tests that are not about limits: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A builder for the server's program, with the classic commands if it has no others.
pub(crate) fn builder() -> MemcacheStoreBuilder {
    MemcacheStore::builder().classic(!is_from([1, 6, 0]))
}

/// A proxy on a port of 127.0.0.1 in front of another port.
pub(crate) fn proxy(port: u16) -> Proxy {
    Proxy::tcp((Ipv4Addr::LOCALHOST, port)).unwrap()
}

/// Waits until the condition holds, and returns its result. If that takes too long, this panics with the obstacle.
#[track_caller]
pub(crate) fn wait_until<T>(mut is_so: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SETTLE;
    loop {
        match is_so() {
            Ok(it) => return it,
            Err(obstacle) if Instant::now() >= deadline => panic!("after {SETTLE:?}: {obstacle}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &kv_memcache::Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    chain
}

/// Runs `act`, and measures how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (act(), begin.elapsed())
}
