//! Which sentinel is asked, and the words of errors.

use super::*;

#[test]
fn one_sentinel_of_three_will_do() {
    let sentinels = Sentinels::start();
    let store = patient().sentinels(NAME, sentinels.urls()).connect().unwrap();
    for sentinel in &sentinels.sentinels()[..2] {
        sentinel.kill();
    }
    let another = RedisStore::builder().sentinels(NAME, sentinels.urls()).connect().unwrap();
    another.put("k", "v").unwrap();
    // The first one needs a new connection, too.
    sentinels.primary().command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    assert_eq!(value(&store), "v");
    let (closed, url) = silent();
    drop(closed);
    let error = RedisStore::builder().sentinels(NAME, [url]).connect().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
}

#[test]
fn a_sentinel_that_accepts_and_never_answers_does_not_use_up_the_limit() {
    const LIMIT: Duration = Duration::from_secs(4);
    let sentinels = Sentinels::start();
    let (listener, url) = silent();
    let urls = [vec![url.clone()], sentinels.urls()].concat();
    let builder = RedisStore::builder().connect_timeout(LIMIT);
    let (store, took) = timed(|| builder.clone().sentinels(NAME, urls).connect());
    let store = store.unwrap();
    assert!(took < LIMIT + NOISE, "{took:?}");
    // Also by default, and if only one sentinel answers.
    let urls = [url.clone(), sentinels.urls()[2].clone()];
    let (another, took) = timed(|| RedisStore::builder().sentinels(NAME, urls).connect());
    assert!(took < Duration::from_secs(1) + NOISE, "{took:?}");
    another.unwrap_or_else(|error| panic!("{}", chain(&error)));

    // The sentinel that answered is asked first from then on.
    store.put("k", "v").unwrap();
    sentinels.primary().command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    assert_eq!(value(&store), "v");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 2, "one for each store");

    let (_listener, too) = silent();
    let (result, took) = timed(|| RedisStore::builder().sentinels(NAME, [url, too]).connect());
    let error = result.unwrap_err();
    assert!(error.is_transient() && took < Duration::from_secs(1) + NOISE, "{took:?}: {}", chain(&error));
}

#[test]
fn a_name_that_the_sentinels_do_not_know_is_in_the_error() {
    let sentinels = Sentinels::start();
    let error = RedisStore::builder().sentinels("nobody", sentinels.urls()).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("\"nobody\""), "{text}");
}

#[test]
fn a_sentinel_mistaken_for_a_server_or_the_other_way_round_is_explained() {
    let sentinels = Sentinels::start();
    let error = RedisStore::connect(sentinels.urls()[0].clone()).unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("is a sentinel") && text.contains("sentinels("), "{text}");

    let error = RedisStore::builder().sentinels(NAME, [sentinels.primary().url()]).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("sentinel") && !text.contains("with args"), "{text}");
    assert!(text.contains("url("), "it does not say what to do: {text}");
}

/// The functions of the test support know no passwords, so they are not used after passwords are set.
#[test]
fn sentinels_have_a_password_and_the_primary_another_one() {
    const OF_SENTINELS: &str = "s3ntinel-hush";
    const OF_PRIMARY: &str = "pr1mary-hush";
    if !can_test("setting for the password of other sentinels", (6, 2, 0)) {
        return;
    }
    let sentinels = Sentinels::start();
    let (old, new) = (sentinels.primary(), sentinels.replica());
    let urls = sentinels.urls();
    // First the clients use the password, then the server requires it.
    for sentinel in sentinels.sentinels() {
        sentinel.command(&["SENTINEL", "SET", NAME, "auth-pass", OF_PRIMARY]);
        sentinel.command(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", OF_SENTINELS]);
    }
    for server in sentinels.servers() {
        server.command(&["CONFIG", "SET", "masterauth", OF_PRIMARY]);
    }
    for server in sentinels.servers() {
        server.command(&["CONFIG", "SET", "requirepass", OF_PRIMARY]);
    }
    for sentinel in sentinels.sentinels() {
        sentinel.command(&["ACL", "SETUSER", "default", "resetpass", &format!(">{OF_SENTINELS}")]);
    }
    let with = |password: &str| {
        urls.iter().map(|url| url.replace("redis://", &format!("redis://:{password}@"))).collect::<Vec<_>>()
    };

    let store = RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)).password(OF_PRIMARY).connect().unwrap();
    store.put("k", "before").unwrap();
    let refused = [
        (RedisStore::builder().sentinels(NAME, urls.clone()).password(OF_PRIMARY), "NOAUTH"),
        (RedisStore::builder().sentinels(NAME, with(OF_PRIMARY)).password(OF_PRIMARY), "WRONGPASS"),
        (RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)), "NOAUTH"),
        (RedisStore::builder().sentinels(NAME, with(OF_SENTINELS)).password(OF_SENTINELS), "WRONGPASS"),
    ];
    for (builder, code) in refused {
        let error = builder.clone().connect().unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains(code), "{code}: {text}");
        for shown in [text, format!("{error:?}"), format!("{builder:?}"), format!("{store:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    old.kill();
    let errors = write_until_it_works(&store, "after");
    assert!(!errors.is_empty());
    let on_new = RedisStore::builder().url(new.url()).password(OF_PRIMARY).connect().unwrap();
    assert_eq!(value(&on_new), "after");
}

/// Every error that follows from a time-out says which server it is, and which sentinel named it.
#[test]
fn an_error_of_a_silent_primary_has_its_address_and_the_sentinel_that_named_it() {
    const LIMIT: Duration = Duration::from_millis(900);
    let sentinels = Sentinels::start();
    for shared in [0, 1] {
        let builder = RedisStore::builder().sentinels(NAME, sentinels.urls()).shared_connections(shared);
        let builder = builder.connect_timeout(LIMIT).response_timeout(LIMIT).retry_after(Duration::from_secs(60));
        let store = builder.connect().unwrap();
        store.put("k", "v").unwrap();
        let primary = sentinels.primary();
        for sentinel in sentinels.sentinels() {
            sentinel.command(&["SENTINEL", "SET", NAME, "down-after-milliseconds", "600000"]);
        }
        primary.pause();
        let named = format!("{}, which the sentinel named: the server did not answer", primary.address());
        let mut last = String::new();
        wait_until(|| {
            last = chain(&store.put("k", "v").unwrap_err());
            if last.contains("so nothing was sent") { Ok(()) } else { Err(last.clone()) }
        });
        primary.resume();
        assert!(
            last.contains(&named) && last.contains("connecting took longer than 900ms (`connect_timeout`)"),
            "{last}"
        );
        assert!(last.contains("set `map_address`"), "{last}");
    }
}
