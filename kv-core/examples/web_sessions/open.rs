//! Opens the store for a URL, or says why that is not possible.

use std::error::Error;
use std::sync::Arc;

use kv_core::AsyncKeyValueStore;
use kv_memcache::AsyncMemcacheStore;
use kv_memory::MemoryStore;
use kv_redis::AsyncRedisStore;

/// Opens the store that a URL names. The backends parse their URLs themselves; here only the scheme matters.
///
/// # Errors
/// If no backend has this scheme, or the store cannot be opened. The error does not show the URL, which may hold a password.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn AsyncKeyValueStore>, Box<dyn Error>> {
    if url.is_empty() {
        return Err("the URL of the store is empty".into());
    }
    if url.trim() != url {
        return Err("the URL of the store begins or ends with a space or a line end".into());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    Ok(match scheme {
        Some("memory") => Arc::new(MemoryStore::new()),
        Some("redis" | "rediss" | "redis+unix") => Arc::new(AsyncRedisStore::connect(url).await?),
        Some("memcache" | "memcache+tls") => Arc::new(AsyncMemcacheStore::connect(url).await?),
        _ => {
            let known = "memory:, redis://, rediss://, redis+unix://, memcache:// or memcache+tls://";
            return Err(format!("the URL of the store has to begin with {known}").into());
        }
    })
}
