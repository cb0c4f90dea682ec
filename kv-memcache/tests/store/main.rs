//! What `MemcacheStore` does on real servers, beyond the shared suite. One program: several would each be built with the same support.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "clippy does not see that the helpers of tests are tests"
)]

mod access;
mod faults;
#[path = "../../../kv-redis/tests/support/firewall.rs"]
mod firewall;
mod guide;
#[cfg(target_os = "linux")]
#[path = "../../../kv-redis/tests/support/keepalive.rs"]
mod keepalive;
mod limits;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tokio")]
mod tasks;
