//! A tour of a store on a memcached server, with the files of a folder as its entries:
//! `cargo run -p kv-memcache --example memcache_quickstart -- memcache://127.0.0.1:11211 [FOLDER] [--ttl SECONDS]`.
//!
//! It is the tour of `kv-memory`; what memcached cannot do is said. All keys begin with `tour/`, and are removed at its end.

use std::process::ExitCode;

use kv_memcache::MemcacheStore;

#[path = "../../../kv-memory/examples/quickstart/tour.rs"]
mod tour;

fn main() -> ExitCode {
    tour::main("memcache_quickstart memcache://HOST:PORT", |url| MemcacheStore::connect(url))
}
