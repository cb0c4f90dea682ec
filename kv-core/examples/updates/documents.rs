//! Documents that several people edit. The first line of an entry is its `ETag`, a random text that each write makes anew.

use kv_core::{KeyValueStore, KeyValueStoreExt, Result, Ttl};

/// What became of a [`save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is stored: 204.
    Yes,
    /// Somebody else has changed the document: 412.
    Changed,
    /// There is no such document: 404.
    Gone,
}

/// Creates a document; returns `false` if there is one, and it is not this.
pub(crate) fn create(store: &dyn KeyValueStore, name: &str, text: &str, etag: &str) -> Result<bool> {
    let key = format!("document:{name}");
    if store.create_with_ttl(&key, format!("{etag}\n{text}"), Ttl::Forever)? {
        return Ok(true);
    }
    Ok(load(store, name)?.is_some_and(|(current, _)| current == etag))
}

/// Returns the `ETag` of a document, and its text.
pub(crate) fn load(store: &dyn KeyValueStore, name: &str) -> Result<Option<(String, String)>> {
    Ok(store.get(format!("document:{name}"))?.map(|entry| parse(&entry)))
}

/// Replaces the text if the document still has the `ETag` that the client has read (`If-Match`). After an error, call it again with the
/// same `new_etag`.
pub(crate) fn save(store: &dyn KeyValueStore, name: &str, text: &str, if_match: &str, new_etag: &str) -> Result<Saved> {
    let key = format!("document:{name}");
    loop {
        let Some((entry, version)) = store.get_versioned(&key)? else { return Ok(Saved::Gone) };
        let (etag, _) = parse(&entry);
        if etag == new_etag {
            return Ok(Saved::Yes); // an earlier call, whose outcome was unknown, has stored it
        }
        if etag != if_match {
            return Ok(Saved::Changed);
        }
        if store.put_if(&key, format!("{new_etag}\n{text}"), Ttl::Forever, &version)?.is_some() {
            return Ok(Saved::Yes);
        }
    }
}

/// Changes the text by a rule, whatever it is; returns `false` if there is no such document.
pub(crate) fn edit(
    store: &dyn KeyValueStore,
    name: &str,
    new_etag: &str,
    rule: impl Fn(String) -> String,
) -> Result<bool> {
    store.update(format!("document:{name}"), Ttl::Forever, |entry| {
        let (etag, text) = parse(&entry?);
        let text = if etag == new_etag { text } else { rule(text) }; // the same: an earlier call has done it
        Some(format!("{new_etag}\n{text}"))
    })
}

fn parse(entry: &[u8]) -> (String, String) {
    let entry = String::from_utf8_lossy(entry);
    let (etag, text) = entry.split_once('\n').unwrap_or((&entry, ""));
    (etag.to_owned(), text.to_owned())
}
