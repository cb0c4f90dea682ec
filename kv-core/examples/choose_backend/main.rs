//! The store is chosen when the program starts, by a URL in the environment:
//!
//! ```sh
//! cargo run -p kv-core --example choose_backend
//! KV_URL=redis://127.0.0.1:6379 cargo run -p kv-core --example choose_backend
//! KV_URL=memcache://127.0.0.1:11211 cargo run -p kv-core --example choose_backend
//! ```

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt};

mod open;

fn main() -> ExitCode {
    let url = env::var("KV_URL").unwrap_or_else(|_| "memory:".into());
    match open::open(&url).and_then(|store| Ok(greet(&*store)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", open::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What the program does with its store, whichever it is.
fn greet(store: &dyn KeyValueStore) -> kv_core::Result<()> {
    let day = Duration::from_secs(24 * 60 * 60);
    let first = store.create_with_ttl("choose_backend:visited", "", day)?;
    println!("{}: {}", store.name(), if first { "welcome" } else { "welcome back; you were here within a day" });
    Ok(())
}
