//! Changes an entry that others may change at the same time.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;

use super::AsyncKeyValueStore;
use crate::update::{TRIES, pause_before};
use crate::{Change, Error, Key, Result, Ttl};

/// See [`AsyncKeyValueStoreExt::try_update`](super::AsyncKeyValueStoreExt::try_update).
pub(super) async fn try_update<'v, S: AsyncKeyValueStore + ?Sized, T, E: From<Error>>(
    store: &S,
    key: Key<'_>,
    ttl: Ttl,
    mut rule: impl FnMut(Option<Bytes>) -> Result<(Change<'v>, T), E>,
) -> Result<T, E> {
    for done in 0..TRIES {
        if let Some(pause) = pause_before(done) {
            // Nothing here can sleep, because that needs a runtime.
            let until = Instant::now() + pause;
            while Instant::now() < until {
                yield_now().await;
            }
        }
        let (old, version) = store.read_versioned(key).await?.unzip();
        let (change, outcome) = rule(old)?;
        let is_done = match (change, version) {
            (Change::Keep, _) | (Change::Delete, None) => true,
            (Change::Delete, Some(version)) => store.remove_if_version(key, &version).await?,
            (Change::Put(value), Some(version)) => store.write_if_version(key, value, ttl, &version).await?.is_some(),
            (Change::Put(value), None) => store.write_if_absent_versioned(key, value, ttl).await?.is_some(),
        };
        if is_done {
            return Ok(outcome);
        }
    }
    Err(Error::contended(store.name(), key, TRIES).into())
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
