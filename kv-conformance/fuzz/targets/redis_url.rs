//! Any text as the URL of a kv-redis store: it is taken or refused, nothing panics, and a password in it is shown nowhere.
//!
//! Of the input, the first byte says what is made of the rest. Nothing connects.

#![no_main]

use kv_core::KeyValueStore;
use kv_redis::{RedisStore, RedisStoreBuilder};
use libfuzzer_sys::fuzz_target;
use secret::{SECRET, encoded, hides, is_to_be_hidden, refuses, with_secret};

mod secret;

fn build(builder: RedisStoreBuilder, secret_is_in: bool) -> Option<RedisStore> {
    hides(&builder, secret_is_in);
    match builder.build() {
        Ok(store) => {
            hides(&store, secret_is_in);
            assert!(!(secret_is_in && secret::has_secret(store.name())), "{store:?}");
            Some(store)
        }
        Err(error) => {
            refuses(&error, "redis", secret_is_in);
            None
        }
    }
}

/// The text as a URL, or as several.
fn any(kind: u8, text: &str) {
    let text = with_secret(text);
    let urls = || text.split('\n');
    let secret_is_in = is_to_be_hidden(&text);
    let builder = RedisStore::builder();
    let store = match kind % 4 {
        0 => build(builder.url(&text), secret_is_in),
        1 => build(builder.url(&text).username("user").password(SECRET).database(3), secret_is_in),
        2 => build(builder.cluster(urls()), secret_is_in),
        _ => build(builder.password(SECRET).sentinels("service", urls()), secret_is_in),
    };
    // What a store is called is a URL of the same place.
    if let Some(store) = store.filter(|store| kind.is_multiple_of(4) && !store.name().starts_with("redis+unix")) {
        let again = build(RedisStore::builder().url(store.name()), false);
        assert_eq!(again.as_ref().map(KeyValueStore::name), Some(store.name()));
    }
}

/// The text as a password, of which the secret is a part, in a URL as the documentation has it, and in one as people write it.
fn password(kind: u8, text: &str) {
    let password = format!("{text}{SECRET}{text}");
    let encoded = encoded(&password);
    let (url, name) = match kind % 4 {
        0 => (format!("redis://user:{encoded}@host:7000/3"), "redis://host:7000/3"),
        1 => (format!("rediss://:{encoded}@[::1]"), "rediss://[::1]:6379/0"),
        2 => (format!("valkey://user:{encoded}@Host/"), "redis://Host:6379/0"),
        _ => (format!("redis+unix:///a/socket?pass={encoded}&db=3&user=user"), "redis+unix:///a/socket?db=3"),
    };
    let store = build(RedisStore::builder().url(url), true).expect("a URL that is as documented");
    assert_eq!(store.name(), name);
    build(RedisStore::builder().url("redis://host").password(&password), true).expect("a password of any kind");

    let url = match kind % 4 {
        0 => format!("redis://user:{password}@host:7000/3"),
        1 => format!("rediss://:{password}@[::1]"),
        2 => format!("valkey://{password}@Host/"),
        _ => format!("redis+unix:///a/socket?pass={password}&db=3&user=user"),
    };
    build(RedisStore::builder().url(url), true);
}

fuzz_target!(|input: (u8, &str)| {
    let (kind, text) = input;
    if kind % 8 < 4 { any(kind, text) } else { password(kind, text) }
});
