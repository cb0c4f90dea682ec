//! The store is chosen when the program starts, by a URL in the environment:
//!
//! ```sh
//! cargo run -p kv-core --example choose_backend
//! KV_URL=redis://127.0.0.1:6379 cargo run -p kv-core --example choose_backend
//! KV_URL=memcache://127.0.0.1:11211 cargo run -p kv-core --example choose_backend
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt};

mod open;
mod text;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", text::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let url = text::variable("KV_URL", env::var("KV_URL"), "memory:")?;
    let store = open::open(&url).map_err(|error| format!("KV_URL: {}", text::with_causes(&*error)))?;
    Ok(greet(&*store)?)
}

/// What the program does with its store, on any backend.
fn greet(store: &dyn KeyValueStore) -> kv_core::Result<()> {
    let day = Duration::from_secs(24 * 60 * 60);
    let first = store.create_with_ttl("choose_backend:visited", "", day)?;
    println!("{}: {}", store.name(), if first { "welcome" } else { "welcome back; you were here within a day" });
    Ok(())
}
