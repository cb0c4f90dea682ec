//! What the builder refuses.

use super::*;

#[track_caller]
fn unfit(builder: MemcacheStoreBuilder, says: &str) {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    for result in [builder.clone().build(), builder.connect()] {
        let error = result.unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::InvalidSetting { .. }) && !error.is_transient(), "{text}");
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
}

#[test]
fn settings_that_are_invalid_are_refused() {
    let new = MemcacheStore::builder;
    unfit(new().servers(Vec::<String>::new()), "has no URL of a server");
    for size in [0, 70_000] {
        unfit(new().pool_size(size), &format!("`pool_size` is {size}, and has to be 1 to 65535"));
    }
    for (limit, shown) in [(Duration::ZERO, "0ns"), (Duration::from_millis(1), "1ms")] {
        let says = |name| format!("`{name}` is {shown}, and has to be 10ms or more");
        unfit(new().pool_timeout(limit), &says("pool_timeout"));
        unfit(new().connect_timeout(limit), &says("connect_timeout"));
        unfit(new().response_timeout(limit), &says("response_timeout"));
    }
    for bytes in [0, 1, 1023, (1 << 30) + 1, u64::MAX] {
        unfit(new().largest_item(bytes), &format!("`largest_item` is {bytes}, and has to be 1024 to 1073741824 bytes"));
    }
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let says = format!("`default_ttl` is {century:?}, and the longest that memcached takes is ");
    unfit(new().default_ttl(century), &says);
    for bytes in [1024, 1 << 30] {
        new().largest_item(bytes).build().unwrap();
    }
    // As long as ever.
    let long = new().pool_timeout(Duration::MAX).connect_timeout(Duration::MAX).response_timeout(Duration::MAX);
    let server = Memcached::start(&[]);
    connected(long.url(server.url()));
}

#[test]
fn the_same_server_twice_is_refused() {
    let twice = |one: &str, other: &str| MemcacheStore::builder().servers([one, other]);
    unfit(twice("memcache://cache.example", "memcache://Cache.Example:11211/"), "cache.example:11211 is listed twice");
    unfit(twice("memcache://[::1]", "memcache://[0:0:0:0:0:0:0:1]"), "is listed twice");
    unfit(twice("memcache:///a/b", "memcache:///a/%62"), "is listed twice");
    let secret = "memcache://a:hush@127.0.0.1";
    unfit(twice(secret, secret), "is listed twice");
    twice("memcache://cache.example:1", "memcache://cache.example:2").build().unwrap();
}

#[test]
fn several_servers_must_not_differ_in_tls_user_or_password() {
    let differ = "differ in TLS (`memcache+tls://`), user or password";
    let plain = "memcache://u:hush@127.0.0.1:1";
    for other in [
        "memcache+tls://u:hush@127.0.0.1:2",
        "memcache://u:other-hush@127.0.0.1:2",
        "memcache://v:hush@127.0.0.1:2",
        "memcache://127.0.0.1:2",
    ] {
        for urls in [[plain, other], [other, plain]] {
            unfit(MemcacheStore::builder().servers(urls), differ);
        }
    }
    // The credentials of the builder are for all servers.
    let one = ["memcache://u:hush@127.0.0.1:1", "memcache://127.0.0.1:2"];
    MemcacheStore::builder().servers(one).credentials("u", "hush").build().unwrap();
    let mixed = ["memcache://127.0.0.1:1", "memcache+tls://127.0.0.1:2"];
    unfit(MemcacheStore::builder().servers(mixed).credentials("u", "hush"), differ);
}

#[test]
fn an_invalid_url_is_refused_and_not_shown() {
    for url in [
        "",
        "hush",
        "127.0.0.1:11211",
        "hush:11211",
        "memcached://u:hush@127.0.0.1",
        "redis://u:hush@127.0.0.1",
        "http://u:hush@127.0.0.1",
        "memcache://u:hush@127.0.0.1/path",
        "memcache://u:hush@127.0.0.1/hush",
        "memcache://127.0.0.1?password=hush",
        "memcache://127.0.0.1#hush",
        "memcache://hush@127.0.0.1",
        "memcache://:hush@127.0.0.1",
        "memcache://u:@127.0.0.1",
        "memcache://us%20er:hush@127.0.0.1",
        "memcache://us er:hush@127.0.0.1",
        "memcache://us%3Aer:hush@127.0.0.1",
        "memcache://u:hush%0D%0Aflush_all@127.0.0.1",
        "memcache://u%0Dset:hush@127.0.0.1",
        "memcache://u:hu:sh-hush@host:port",
        "memcache://u:hush@127.0.0.1:70000",
        "memcache://u:hush%FF@127.0.0.1",
        "memcache://u:hush%00@127.0.0.1",
        "memcache://",
        "memcache:///",
        "memcache:hush",
        "memcache+tls:///run/hush.sock",
        "memcache://u:hush@[::1",
        "memcache://u:hush@one:11211,two:11211",
    ] {
        unfit(MemcacheStore::builder().url(url), "the URL cannot be used: ");
        let text = MemcacheStore::builder().url(url).build().unwrap_err().to_string();
        assert!(!text.contains(url) || url.len() < "memcache:///.".len(), "{text}");
    }
}

#[test]
fn credentials_that_cannot_be_sent_are_refused() {
    for (user, password) in [
        ("", "hush"),
        ("us er", "hush"),
        ("us:er", "hush"),
        ("us\r\ner", "hush"),
        ("u\0", "hush"),
        ("u", ""),
        ("u", "hush\r\nflush_all"),
        ("u", "hush\n"),
        ("u", "hush\0"),
        // The server ignores the rest after a space.
        ("u", "two hush"),
        ("u", " hush"),
        ("u", "hush "),
    ] {
        let says = if user == "u" { "password" } else { "the user" };
        unfit(MemcacheStore::builder().credentials(user, password), says);
    }
}
