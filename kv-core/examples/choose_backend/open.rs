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
    if url.is_empty() {
        return Err("the URL of the store is empty".into());
    }
    if url.trim() != url {
        return Err("the URL of the store begins or ends with a space or a line end".into());
    }
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

/// What was read from a variable of the environment, and the default if it is not set. One that is set and cannot be read is not just
/// left out: the program would run on another store than it was told.
pub(crate) fn variable(name: &str, read: Result<String, std::env::VarError>, default: &str) -> Result<String, String> {
    match read {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Ok(default.into()),
        // Not the error's own words: they quote the value.
        Err(_) => Err(format!("{name} is not UTF-8")),
    }
}
