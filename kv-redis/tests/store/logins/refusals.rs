//! What a server says when it refuses a connection.

use super::*;

/// A password that a server repeats is hidden. If it is just a part of the server's own words, it is shown.
#[test]
fn a_wrong_password_that_is_a_part_of_the_servers_words_hides_none_of_them() {
    let redis = Redis::start(&["--requirepass", "theRightOne"]);
    let own = if support::is_since((6, 2, 0)) {
        "WRONGPASS invalid username-password pair or user is disabled"
    } else if support::is_since((6, 0, 0)) {
        "WRONGPASS invalid username-password pair"
    } else {
        "ERR invalid password"
    };
    for password in ["A", "S", "WRONGPASS", "password", "user", "disabled", "invalid username-password pair", "ERR"] {
        let builder = on(format!("redis://{}", redis.address())).password(password);
        let text = chain(&builder.connect().unwrap_err());
        assert!(text.contains("does not accept user and password") && text.contains(own), "{password}: {text}");
    }
}

#[track_caller]
fn are_too_many(builder: &RedisStoreBuilder) {
    for _ in 0..15 {
        let error = says(builder, "the server takes no more connections (maxclients)");
        assert!(error.is_transient() && chain(&error).contains("max number of clients"), "{}", chain(&error));
    }
    let store = builder.clone().build().unwrap();
    let text = chain(&store.put("k", "v").unwrap_err());
    assert!(text.contains("takes no more connections"), "{text}");
}

#[test]
fn too_many_connections_are_not_mistaken_for_required_tls() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &["--requirepass", "hush", "--maxclients", "1"]);
    let held = redis.connection();
    let at = redis.address();
    are_too_many(&on(redis.url()));
    are_too_many(&on(format!("redis://{at}")));
    are_too_many(&on(format!("redis://app:{}@{at}/3", "hush".repeat(100_000))));
    are_too_many(&on(redis.unix_url()));
    are_too_many(&RedisStore::builder().cluster([redis.url()]));
    are_too_many(&RedisStore::builder().sentinels("mymaster", [redis.url()]));
    // With TLS it just closes the connection.
    let tls = Tls::new().certificate_authority(redis.certificates().ca.clone());
    let error = says(&on(redis.tls_url()).tls(tls), "during the TLS handshake");
    assert!(error.is_transient() && chain(&error).contains("maxclients"), "{}", chain(&error));
    drop(held);
}

/// A server that immediately says this on each connection, and closes it.
fn closing(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:hush@{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            // It is closed with unread bytes, which resets the connection.
            let _ = stream.and_then(|mut stream| stream.write_all(words.as_bytes()));
        }
    });
    url
}

#[test]
fn an_error_contains_what_the_server_said_before_it_closed() {
    for (words, told, transient) in [
        ("-DENIED Redis is running in protected mode because...\r\n", "protected mode", false),
        ("-LOADING Redis is loading the dataset in memory\r\n", "still loading", true),
        ("-ERR max number of clients + cluster connections reached\r\n", "no more connections", true),
        ("-ERR out of hope\r\n", "out of hope", false),
    ] {
        let error = says(&on(closing(words)), told);
        assert_eq!(error.is_transient(), transient, "{}", chain(&error));
    }
    let error = says(&on(closing("")), "perhaps it wants TLS");
    assert!(matches!(error, Error::Unavailable(_)));
    says(&on(closing("-ERR not hu")), "perhaps it wants TLS");
}
