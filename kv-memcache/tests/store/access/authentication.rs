//! User and password.

use super::*;

/// Checks that the process is the memcached of the tests, without credentials.
fn bare(server: &Memcached) -> String {
    format!("memcache://127.0.0.1:{}", server.port())
}

#[test]
fn a_client_with_user_and_password_is_accepted() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    works(&MemcacheStore::connect(server.url()).unwrap());
    connected(patient().url(server.url()));
    connected(patient().url(bare(&server)).credentials(USER, PASSWORD));
    // The setting of the builder counts.
    let wrong = format!("memcache://hush:p-hush@127.0.0.1:{}", server.port());
    connected(patient().url(&wrong).credentials(USER, PASSWORD));
    connected(patient().credentials(USER, PASSWORD).url(&wrong));
    let encoded =
        format!("memcache://{}:{}@127.0.0.1:{}", percent_encoded(USER), "kv%2Dsecret%2fpassword", server.port());
    connected(patient().url(encoded));
    // Every connection, not only the first one.
    let store = patient().url(server.url()).pool_size(5).build().unwrap();
    thread::scope(|scope| {
        for thread in 0..5 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    store.put(format!("k{thread}"), round.to_string()).unwrap();
                }
            });
        }
    });
    // No part of it becomes an entry.
    assert_eq!(server.connection().ask(b"get auth\r\n").unwrap(), "END");
    assert_eq!(store.get("auth").unwrap(), None);
}

#[test]
fn a_missing_or_wrong_password_is_explained() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let text = refused_for_good(MemcacheStore::builder().url(bare(&server)));
    assert!(text.contains("wants user and password; put them into the URL, or into the builder"), "{text}");
    assert!(text.contains("unauthenticated"), "{text}");
    let builder = || MemcacheStore::builder().url(server.url());
    for wrong in [
        builder().credentials(USER, "p-hush"),
        builder().credentials(USER, format!("{PASSWORD}-hush")),
        builder().credentials(USER, &PASSWORD[..PASSWORD.len() - 1]),
        builder().credentials("hush", PASSWORD),
        builder().credentials(&USER[1..], PASSWORD),
        MemcacheStore::builder().url(format!("memcache://{USER}:p-hush@127.0.0.1:{}", server.port())),
    ] {
        let text = refused_for_good(wrong);
        assert!(text.contains("does not accept user and password"), "{text}");
    }
    // If the store was only built, each operation says it.
    let store = builder().credentials(USER, "p-hush").build().unwrap();
    shows_no_secret(&format!("{store:?} {store:#?}"));
    for error in [
        store.put("k", "v-hush").unwrap_err(),
        store.get("k").unwrap_err(),
        store.put_many([("k", "v-hush"), ("l", "v-hush")]).unwrap_err(),
    ] {
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
        assert!(text.contains("does not accept user and password"), "{text}");
    }
    assert_eq!(server.connection().ask(b"get k\r\n").unwrap(), "END");
}

/// A server without `-Y` takes the authentication for an ordinary write. It must neither leave the password where everybody can read it,
/// nor replace an entry of the application.
#[test]
fn a_password_that_nobody_asked_for_is_not_left_on_the_server() {
    let server = Memcached::start(&[]);
    let mut raw = server.connection();
    assert_eq!(raw.ask(b"set auth 0 0 4\r\nmine\r\n").unwrap(), "STORED");
    let builder = MemcacheStore::builder().url(bare(&server)).credentials("hush-user", "unasked-hush");
    let result = builder.clone().connect();
    let stored = raw.ask(b"mg auth v\r\n").unwrap();
    let value = if stored.starts_with("VA") { raw.line().unwrap() } else { stored };
    assert_eq!(value, "mine", "the entry at key auth");
    // Nor at any other key: these are all entries.
    raw.send(b"lru_crawler metadump all\r\n").unwrap();
    let mut keys = Vec::new();
    while let line = raw.line().unwrap()
        && line != "END"
    {
        // Newer ones say `OK` first.
        keys.extend(line.split(' ').next().filter(|word| word.starts_with("key=")).map(str::to_owned));
    }
    assert_eq!(keys, ["key=auth"]);
    let Err(error) = result else { panic!("it is not refused: {result:?}") };
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("password"), "{text}");
    let error = builder.build().unwrap().put("k", "v-hush").unwrap_err();
    assert!(matches!(&error, Error::Backend(_)) && !error.outcome_unknown(), "{}", chain(&error));
    assert_eq!(raw.ask(b"get k\r\n").unwrap(), "END");
}

#[test]
fn user_and_password_go_over_tls() {
    let server = Memcached::start_as(Kind::TlsWithPassword, &[]);
    let tls = || Tls::new().certificate_authority(server.certificates().ca.clone());
    let url = |scheme, port| format!("{scheme}://localhost:{port}");
    let builder = || MemcacheStore::builder().url(url("memcache+tls", server.tls_port())).tls(tls());
    connected(patient().url(server.url()).tls(tls()));
    connected(patient().url(url("memcache+tls", server.tls_port())).tls(tls()).credentials(USER, PASSWORD));
    connected(patient().url(url("memcache", server.port())).credentials(USER, PASSWORD));
    let text = refused_for_good(builder());
    assert!(text.contains("wants user and password"), "{text}");
    let text = refused_for_good(builder().credentials(USER, "p-hush"));
    assert!(text.contains("does not accept user and password"), "{text}");
    // A server that is not trusted does not get them.
    let strange = Tls::new().certificate_authority(server.certificates().stranger_ca.clone());
    let text = refused_for_good(builder().tls(strange).credentials(USER, PASSWORD));
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn user_and_password_may_have_any_characters() {
    let all = [
        ("us@er/?#%+ü", "p@ss:w/o?r#d-hush"),
        ("plus+&=", "%41hush%"),
        ("\"quoted\"", "hush&pass=x;=+\"'\\"),
        ("größe", "hüsh-hush-ß-☃"),
        ("<{[|]}>", "{hush}[|]^`<>"),
        ("x", ":hush:"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let lines: Vec<_> =
        [(USER, PASSWORD)].iter().chain(&all).map(|(user, password)| format!("{user}:{password}\n")).collect();
    fs::write(&file, lines.concat()).unwrap();
    // The last of them counts.
    let server = Memcached::start_as(Kind::WithPassword, &[&format!("-Y{}", file.display())]);
    for (user, password) in all {
        let [in_user, in_password] = [user, password].map(|text| percent_encoded(text).replace('/', "%2F"));
        let builders = [
            patient().url(format!("memcache://{in_user}:{in_password}@127.0.0.1:{}", server.port())),
            patient().url(bare(&server)).credentials(user, password),
        ];
        for builder in builders {
            for shown in [format!("{builder:?}"), format!("{:?}", builder.clone().build().unwrap())] {
                assert!(!shown.contains(password) && !shown.contains(&in_password), "{shown}");
            }
            works(&builder.connect().unwrap_or_else(|error| panic!("{user} {password}: {}", chain(&error))));
        }
        let nearly = format!("x{password}");
        let text = refused_for_good(MemcacheStore::builder().url(bare(&server)).credentials(user, nearly));
        assert!(text.contains("does not accept user and password"), "{text}");
    }
}
