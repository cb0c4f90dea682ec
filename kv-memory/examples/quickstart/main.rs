//! A tour of a store, with the files of a folder as its entries:
//! `cargo run -p kv-memory --example quickstart [FOLDER] [--ttl SECONDS]`.

use std::process::ExitCode;

use kv_memory::MemoryStore;

mod tour;

fn main() -> ExitCode {
    tour::main("quickstart", |_| Ok(MemoryStore::new()))
}
