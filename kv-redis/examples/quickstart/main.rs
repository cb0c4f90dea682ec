//! A tour of a store on a redis server, with the files of a folder as its entries:
//! `cargo run -p kv-redis --example quickstart -- redis://127.0.0.1:6379 [FOLDER] [--ttl SECONDS]`.
//!
//! It is the tour of `kv-memory`. All that it writes are keys that begin with `tour/`, which it removes at its end.

use std::process::ExitCode;

use kv_redis::RedisStore;

#[path = "../../../kv-memory/examples/quickstart/tour.rs"]
mod tour;

fn main() -> ExitCode {
    tour::main("redis://HOST:PORT", |url| RedisStore::connect(url))
}
