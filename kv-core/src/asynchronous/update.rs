//! Changes an entry that others may change at the same time.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;

use super::AsyncKeyValueStore;
use crate::update::{TRIES, pause_before};
use crate::{Error, Key, Result, Ttl, Value};

/// See [`AsyncKeyValueStoreExt::update`](super::AsyncKeyValueStoreExt::update).
pub(super) async fn update<'v, S: AsyncKeyValueStore + ?Sized, V: Into<Value<'v>>>(
    store: &S,
    key: Key<'_>,
    ttl: Ttl,
    mut change: impl FnMut(Option<Bytes>) -> Option<V>,
) -> Result<bool> {
    for done in 0..TRIES {
        if let Some(pause) = pause_before(done) {
            // Nothing here can sleep, because that needs a runtime.
            let until = Instant::now() + pause;
            while Instant::now() < until {
                yield_now().await;
            }
        }
        let (old, version) = store.read_versioned(key).await?.unzip();
        let Some(new) = change(old).map(Into::into) else { return Ok(false) };
        let stored = match version {
            Some(version) => store.write_if_version(key, new, ttl, &version).await?,
            None => store.write_if_absent_versioned(key, new, ttl).await?,
        };
        if stored.is_some() {
            return Ok(true);
        }
    }
    Err(Error::contended(store.name(), key, TRIES))
}

/// Lets other tasks go first.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
