//! Sessions that expire some time after their last use. A session is a user and a basket: one line for the user, and one for each item.

use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt, Result};

const TTL: Duration = Duration::from_secs(30 * 60);

/// Begins a session; returns `false` if there is one with this id.
pub(crate) fn begin(store: &dyn KeyValueStore, id: &str, user: &str) -> Result<bool> {
    store.create_with_ttl(format!("session:{id}"), user, TTL)
}

/// Returns the lines of a session, and extends it; `None` if there is no session, or if it has expired.
pub(crate) fn read(store: &dyn KeyValueStore, id: &str) -> Result<Option<Vec<String>>> {
    let session = store.get_and_touch(format!("session:{id}"), TTL)?;
    Ok(session.map(|session| String::from_utf8_lossy(&session).lines().map(str::to_owned).collect()))
}

/// Puts an item into the basket, once, and extends the session; returns `false` if there is no session.
pub(crate) fn add_item(store: &dyn KeyValueStore, id: &str, item: &str) -> Result<bool> {
    store.update(format!("session:{id}"), TTL, |session| {
        let mut session = String::from_utf8_lossy(&session?).into_owned(); // no session: nothing is stored
        if !session.lines().skip(1).any(|line| line == item) {
            session.push('\n');
            session.push_str(item);
        }
        Some(session)
    })
}

/// Ends a session; returns whether there was one.
pub(crate) fn end(store: &dyn KeyValueStore, id: &str) -> Result<bool> {
    store.delete(format!("session:{id}"))
}
