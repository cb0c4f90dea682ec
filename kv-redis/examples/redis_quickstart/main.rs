//! A tour of a store on a redis server, with the files of a folder as its entries:
//! `cargo run -p kv-redis --example redis_quickstart -- redis://127.0.0.1:6379 [FOLDER] [--ttl SECONDS]`.
//!
//! It is the tour of `kv-memory`. All that it writes is in a namespace of its own, and it removes it at its end.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use kv_redis::RedisStore;

#[path = "../../../kv-memory/examples/quickstart/tour.rs"]
mod tour;

fn main() -> ExitCode {
    // Nobody else's: the server may be in use.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let namespace = format!("kv-quickstart-{}-{}", std::process::id(), now.as_micros());
    tour::main("redis_quickstart redis://HOST:PORT", |url| {
        RedisStore::builder().url(url).namespace(namespace).connect()
    })
}
