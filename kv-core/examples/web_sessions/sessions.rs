//! Sessions with a lifetime, on any store. Nothing here knows which one, and nothing here waits for anything but the store.

use std::sync::Arc;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt, Result};
use sha2::{Digest, Sha256};

/// Who is logged in. Clones share the store.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: Arc<dyn KeyValueStore>,
    lifetime: Duration,
}

impl Sessions {
    /// Sessions that end when nobody has asked for them for so long.
    pub(crate) fn new(store: Arc<dyn KeyValueStore>, lifetime: Duration) -> Self {
        Self { store, lifetime }
    }

    /// Begins a session, and returns its token, which nobody can guess.
    pub(crate) fn begin(&self, user: &str) -> Result<String> {
        loop {
            let token = format!("{:032x}", u128::from_ne_bytes(random()));
            // Not `put`: should the token be taken, the session that has it stays what it is.
            if self.store.create_with_ttl(key(&token), user, self.lifetime)? {
                return Ok(token);
            }
        }
    }

    /// Whose session it is, if there is one. It lives on from now.
    pub(crate) fn user(&self, token: &str) -> Result<Option<String>> {
        let key = key(token);
        let Some(user) = self.store.get(&key)? else { return Ok(None) };
        // `false` if it has ended in between: then it has ended.
        let lives = self.store.touch(&key, self.lifetime)?;
        Ok(lives.then(|| String::from_utf8_lossy(&user).into_owned()))
    }

    /// Ends a session; whether there was one.
    pub(crate) fn end(&self, token: &str) -> Result<bool> {
        self.store.delete(key(token))
    }
}

/// Keys are in errors, and so in logs, where nobody is to find a token that still works. A hash is also a valid key, whatever a
/// stranger sends as a token.
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
