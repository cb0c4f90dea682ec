//! A limit for requests, and counters.

use std::error::Error;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt, Result, Ttl};

/// Whether a client has made at most `limit` requests in this window. The first request after the window begins the next one. If a client
/// can choose its name, hash it before.
pub(crate) fn admit(store: &dyn KeyValueStore, client: &str, limit: u64, window: Duration) -> bool {
    match store.increment(format!("requests:{client}"), 1, window) {
        Ok(requests) => requests <= limit,
        Err(error) => {
            eprintln!("WARN {}", error.report());
            // Without the store there is no limit. Where that is worse than no service, return `false`. Other errors are about this client:
            // a name that cannot be part of a key, or a key that is no counter.
            error.is_transient()
        }
    }
}

/// Adds to a counter that stays; returns the sum.
pub(crate) fn count(store: &dyn KeyValueStore, event: &str, by: u32) -> Result<u64> {
    store.increment(format!("count:{event}"), by, Ttl::Forever)
}

/// Reads a counter, which is decimal text.
pub(crate) fn counted(store: &dyn KeyValueStore, event: &str) -> std::result::Result<u64, Box<dyn Error>> {
    let Some(digits) = store.get(format!("count:{event}"))? else { return Ok(0) };
    Ok(str::from_utf8(&digits)?.parse()?)
}
