//! A store for a URL, and what to say if there is none.

use std::error::Error;
use std::sync::Arc;

use kv_core::KeyValueStore;
use kv_memcache::MemcacheStore;
use kv_memory::MemoryStore;
use kv_redis::RedisStore;

/// Opens the store that a URL names. The backends read their URLs themselves; here only its scheme matters.
///
/// # Errors
/// If nobody knows the scheme, or the store cannot be opened. The URL, which may hold a password, is not in the error.
pub(crate) fn open(url: &str) -> Result<Arc<dyn KeyValueStore>, Box<dyn Error>> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    Ok(match scheme {
        Some("memory") => Arc::new(MemoryStore::new()),
        Some("redis" | "rediss" | "redis+unix") => Arc::new(RedisStore::connect(url)?),
        Some("memcache" | "memcache+tls") => Arc::new(MemcacheStore::connect(url)?),
        _ => {
            let known = "memory:, redis://, rediss://, redis+unix://, memcache://, memcache+tls://";
            return Err(format!("the URL of the store begins with none of {known}").into());
        }
    })
}

/// An error and its causes, on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
