//! Codes that are used once, and are void once replaced; and invitations that are used once.

use std::time::Duration;

use kv_core::{Bytes, KeyValueStore, KeyValueStoreExt, Result};

const TTL: Duration = Duration::from_secs(10 * 60);

/// So many guesses a user has in the time of a code.
const GUESSES: u64 = 5;

/// Stores a user's code. The code before it is void. Send the code to the user only after this has returned `Ok`.
pub(crate) fn issue(store: &dyn KeyValueStore, user: &str, code: &str) -> Result<()> {
    store.put_with_ttl(format!("code:{user}"), code, TTL)
}

/// Whether this is the user's code. Of several callers with the right code one gets `true`.
pub(crate) fn redeem(store: &dyn KeyValueStore, user: &str, guess: &str) -> Result<bool> {
    // Counted before it is compared, so that guesses at the same time are no way around the limit.
    if store.increment(format!("guesses:{user}"), 1, TTL)? > GUESSES {
        return Ok(false);
    }
    let key = format!("code:{user}");
    let Some((code, version)) = store.get_versioned(&key)? else { return Ok(false) };
    // A wrong guess leaves the code as it is. `false` from `delete_if`: the code was used or replaced since it was read.
    Ok(code == guess && store.delete_if(&key, &version)?)
}

/// Stores an invitation. `digest` is a hash of the link's random part; returns `false` if there is one with this hash.
pub(crate) fn invite(store: &dyn KeyValueStore, digest: &str, to: &str) -> Result<bool> {
    store.create_with_ttl(format!("invitation:{digest}"), to, TTL)
}

/// What the link of this hash invites to. Of several callers one gets it.
pub(crate) fn accept(store: &dyn KeyValueStore, digest: &str) -> Result<Option<Bytes>> {
    store.take(format!("invitation:{digest}"))
}
