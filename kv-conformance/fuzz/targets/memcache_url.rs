//! Any text as the URL of a kv-memcache store: it is taken or refused, nothing panics, and a password in it is shown nowhere.
//!
//! Of the input, the first byte says what is made of the rest. Nothing connects.

#![no_main]

use kv_core::KeyValueStore;
use kv_memcache::{MemcacheStore, MemcacheStoreBuilder};
use libfuzzer_sys::fuzz_target;
use secret::{SECRET, encoded, hides, is_to_be_hidden, refuses, with_secret};

mod secret;

fn build(builder: MemcacheStoreBuilder, secret_is_in: bool) -> Option<MemcacheStore> {
    hides(&builder, secret_is_in);
    match builder.build() {
        Ok(store) => {
            hides(&store, secret_is_in);
            assert!(!(secret_is_in && secret::has_secret(store.name())), "{store:?}");
            Some(store)
        }
        Err(error) => {
            refuses(&error, "memcache", secret_is_in);
            None
        }
    }
}

/// The text as a URL, or as several.
fn any(kind: u8, text: &str) {
    let text = with_secret(text);
    let urls = || text.split('\n');
    let secret_is_in = is_to_be_hidden(&text);
    let builder = MemcacheStore::builder();
    let store = match kind % 3 {
        0 => build(builder.url(&text), secret_is_in),
        1 => build(builder.url(&text).credentials("user", SECRET), secret_is_in),
        _ => build(builder.servers(urls()), secret_is_in),
    };
    // What a store is called is a URL of the same place.
    if let Some(store) = store.filter(|store| kind.is_multiple_of(3) && !store.name().starts_with("memcache:///")) {
        let again = build(MemcacheStore::builder().url(store.name()), false);
        assert_eq!(again.as_ref().map(KeyValueStore::name), Some(store.name()));
    }
}

/// The text as a password, of which the secret is a part, in a URL as the documentation has it, and in one as people write it.
fn password(kind: u8, text: &str) {
    let password = format!("{text}{SECRET}{text}");
    let encoded = encoded(&password);
    let (url, name) = match kind % 2 {
        0 => (format!("memcache://user:{encoded}@Host"), "memcache://host:11211"),
        _ => (format!("memcache+tls://user:{encoded}@[::1]:7000/"), "memcache+tls://[::1]:7000"),
    };
    // What memcached cannot have as a password: it ends at a space, and so does a line of its file at its end.
    let is_one = !password.contains([' ', '\r', '\n', '\0']);
    let told = MemcacheStore::builder().url("memcache://host").credentials("user", &password);
    for (builder, name) in [(MemcacheStore::builder().url(url), name), (told, "memcache://host:11211")] {
        let store = build(builder, true);
        assert_eq!(store.as_ref().map(KeyValueStore::name), is_one.then_some(name));
    }

    let url = match kind % 3 {
        0 => format!("memcache://user:{password}@host:7000"),
        1 => format!("memcache+tls://:{password}@[::1]"),
        _ => format!("memcache://user{password}@host/"),
    };
    build(MemcacheStore::builder().url(url), true);
}

fuzz_target!(|input: (u8, &str)| {
    let (kind, text) = input;
    if kind % 8 < 4 { any(kind, text) } else { password(kind, text) }
});
