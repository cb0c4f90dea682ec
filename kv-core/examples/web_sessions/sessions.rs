//! Sessions with a TTL, on any store. Each call is one round trip.

use std::sync::Arc;
use std::time::Duration;

use kv_core::{AsyncKeyValueStore, AsyncKeyValueStoreExt, Result};
use sha2::{Digest, Sha256};

/// Who is logged in. Clones share the store.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: Arc<dyn AsyncKeyValueStore>,
    ttl: Duration,
}

impl Sessions {
    /// Sessions that expire if nobody uses them for so long.
    pub(crate) fn new(store: Arc<dyn AsyncKeyValueStore>, ttl: Duration) -> Self {
        Self { store, ttl }
    }

    /// Begins a session; returns its token, which nobody can guess.
    pub(crate) async fn begin(&self, user: &str) -> Result<String> {
        loop {
            let token = format!("{:032x}", u128::from_ne_bytes(random()));
            // Not `put`: if the token is taken, the existing session must not change.
            if self.store.create_with_ttl(key(&token), user, self.ttl).await? {
                return Ok(token);
            }
        }
    }

    /// Returns the session's user, if there is a session, and extends the session.
    pub(crate) async fn user(&self, token: &str) -> Result<Option<String>> {
        // Not `get` and then `touch`: that is two round trips, and the session can expire in between.
        let user = self.store.get_and_touch(key(token), self.ttl).await?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    /// Ends a session; returns whether there was one.
    pub(crate) async fn end(&self, token: &str) -> Result<bool> {
        self.store.delete(key(token)).await
    }
}

/// Keys are in errors, and so in logs, and a log must not contain a token that still works. A hash is also a valid key for
/// any token that a stranger sends.
fn key(token: &str) -> String {
    format!("session:{:x}", Sha256::digest(token))
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap_or_else(|error| {
        // Guessable tokens would be worse than no service.
        eprintln!("the system has no random numbers: {error}");
        std::process::abort()
    });
    bytes
}
