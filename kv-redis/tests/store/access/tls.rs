//! TLS: trusted authorities, and what works over TLS.

use super::*;

fn trusting(redis: &Redis) -> Tls {
    Tls::new().certificate_authority(redis.certificates().ca.clone())
}

#[test]
fn a_server_is_trusted_by_its_authority_alone() {
    if !crate::support::has_tls() {
        return;
    }
    // 127.0.0.2 is this machine, too, and not in the certificate.
    let redis = Redis::start_tls(TlsClients::Anonymous, &["--bind", "127.0.0.1", "127.0.0.2"]);
    let builder = || RedisStore::builder().url(redis.tls_url());
    works(&builder().tls(trusting(&redis)).connect().unwrap());
    let ip = format!("rediss://127.0.0.1:{}", redis.tls_port());
    works(&RedisStore::builder().url(ip).tls(trusting(&redis)).connect().unwrap());
    let strange = || Tls::new().certificate_authority(redis.certificates().stranger_ca.clone());
    // One of several is enough.
    let both = strange().certificate_authority(redis.certificates().ca.clone());
    works(&builder().tls(both).connect().unwrap());

    let (error, text) = refused(builder().tls(strange()));
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("certificate")), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
    let url = format!("rediss://127.0.0.2:{}", redis.tls_port());
    let (error, text) = refused(RedisStore::builder().url(url).tls(trusting(&redis)));
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("certificate not valid for name"), "{text}");
}

/// The authorities of the operating system are read once in a process, so each case has its own process.
#[test]
fn without_an_authority_the_systems_authorities_are_trusted() {
    const URL: &str = "KV_REDIS_TEST_URL";
    const EXPECT: &str = "KV_REDIS_TEST_EXPECT";
    if !crate::support::has_tls() {
        return;
    }
    if let Ok(url) = env::var(URL) {
        for tls in [None, Some(Tls::new())] {
            let builder = RedisStore::builder().url(&url);
            let result = match tls {
                Some(tls) => builder.tls(tls).connect(),
                None => builder.connect(),
            };
            match (env::var(EXPECT).unwrap().as_str(), result) {
                ("trusted", Ok(store)) => works(&store),
                ("unknown", Err(error)) => {
                    let text = chain(&error);
                    let cause = error.source().unwrap().to_string();
                    assert!(cause.contains("certificate") && cause.contains("UnknownIssuer"), "{text}");
                }
                ("none", Err(error)) => {
                    let text = chain(&error);
                    assert!(
                        matches!(error, Error::InvalidSetting { .. }) && text.contains("no certificate authority"),
                        "{text}"
                    );
                }
                (expected, result) => panic!("{expected} is expected, not {result:?}"),
            }
        }
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let certificates = redis.certificates();
    let cases = [
        (file("ca.pem", &certificates.ca), "trusted"),
        (file("stranger.pem", &certificates.stranger_ca), "unknown"),
        (file("empty.pem", ""), "none"),
    ];
    for (path, expected) in cases {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([
            "--exact",
            "access::tls::without_an_authority_the_systems_authorities_are_trusted",
            "--nocapture",
        ]);
        command.env("SSL_CERT_FILE", path).env_remove("SSL_CERT_DIR");
        let output = command.env(URL, redis.tls_url()).env(EXPECT, expected).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{expected}: {text}");
    }
    // The machine does not trust the tests' authority.
    let (error, text) = refused(RedisStore::builder().url(redis.tls_url()));
    assert!(matches!(error, Error::Unavailable(_) | Error::Backend(_)) && text.contains("certificate"), "{text}");
}

#[test]
fn a_server_that_wants_a_certificate_accepts_clients_with_one() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::WithCertificate, &[]);
    let all = redis.certificates();
    let builder = || RedisStore::builder().url(redis.tls_url());
    let with = |identity: &support::Identity| {
        trusting(&redis).client_certificate(identity.certificate.clone(), identity.key.clone())
    };
    works(&builder().tls(with(&all.client)).connect().unwrap());
    // The server's message comes after the handshake, together with the close of the connection. It may get lost, but not always.
    let mut texts = Vec::new();
    for (name, tls) in [("none", trusting(&redis)), ("a stranger's", with(&all.stranger))] {
        shows_no_secret(&format!("{tls:?} {tls:#?}"));
        let says_why = (0..20).any(|_| {
            let (error, text) = refused(builder().tls(tls.clone()));
            let says_why = error.source().unwrap().to_string().contains("alert");
            assert_eq!(says_why, matches!(&error, Error::Backend(_)) && !error.is_transient(), "{name}: {text}");
            assert!(says_why || matches!(&error, Error::Unavailable(_)), "{name}: {text}");
            texts.push(text);
            says_why
        });
        assert!(says_why, "{name}: {texts:#?}");
    }
}

#[test]
fn tls_that_is_configured_is_not_left_out() {
    let builder = RedisStore::builder().url("redis://localhost").tls(Tls::new());
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("`rediss://`"), "{error}");
}

#[test]
fn nothing_goes_in_clear_to_one_of_several_servers() {
    let (clear, tls) = ("redis://:one@127.0.0.1:1", "rediss://:one@127.0.0.1:2");
    for urls in [[clear, tls], [tls, clear]] {
        for builder in [RedisStore::builder().cluster(urls), RedisStore::builder().sentinels("mymaster", urls)] {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains("TLS") || error.contains("rediss"), "{error}");
        }
    }
    let others = RedisStore::builder().cluster([clear, "redis://:other@127.0.0.1:2"]);
    assert!(others.build().unwrap_err().to_string().contains("password"));
}

#[test]
fn connecting_to_the_wrong_kind_of_port_is_explained_in_time() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    for _ in 0..5 {
        let (error, text) = refused(RedisStore::builder().url(format!("redis://localhost:{}", redis.tls_port())));
        assert!(matches!(&error, Error::Unavailable(_)), "{text}");
        assert!(text.contains("perhaps it wants TLS (`rediss://`)"), "{text}");
        let url = format!("rediss://{}", redis.address());
        let (error, text) = refused(RedisStore::builder().url(url).tls(trusting(&redis)));
        // Redis takes the bytes for a line, waits for its end, and says nothing.
        assert!(matches!(&error, Error::Timeout(_)) && error.is_transient(), "{text}");
        assert!(text.contains("(`connect_timeout`): the TLS handshake did not"), "{text}");
        assert!(text.contains("perhaps the server does not speak TLS (`redis://`)"), "{text}");
    }
    let url = |scheme| format!("{scheme}://localhost:{}", redis.tls_port());
    works(&RedisStore::builder().url(url("rediss")).tls(trusting(&redis)).connect().unwrap());
}

#[test]
fn an_invalid_certificate_or_key_is_refused_before_anything_is_sent_and_not_shown() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::WithCertificate, &[]);
    let all = redis.certificates();
    let (certificate, key) = (all.client.certificate.as_str(), all.client.key.as_str());
    // An invalid key that contains a part of a real one.
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &body[..40]);
    let not_base64 = format!("-----BEGIN PRIVATE KEY-----\nhush!{body}\n-----END PRIVATE KEY-----\n");
    let no_certificate = "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n";
    let authority = |pem: &str| Tls::new().certificate_authority(pem);
    let identity = |certificate: &str, key: &str| trusting(&redis).client_certificate(certificate, key);
    let cases = [
        ("authority", authority("")),
        ("authority", authority("hush")),
        ("authority", authority(key)),
        ("authority", authority(no_certificate)),
        ("authority", trusting(&redis).certificate_authority("hush")),
        ("client certificate", identity("", key)),
        ("client certificate", identity("hush", key)),
        ("client certificate", identity(key, key)),
        ("client", identity(no_certificate, key)),
        ("key", identity(certificate, "")),
        ("key", identity(certificate, "hush")),
        ("key", identity(certificate, certificate)),
        ("key", identity(certificate, &broken)),
        ("key", identity(certificate, &not_base64)),
        // The key of another certificate.
        ("key", identity(certificate, &all.stranger.key)),
        ("key", identity(certificate, &all.server.key)),
    ];
    let before = connections(&redis);
    for (number, (culprit, tls)) in cases.into_iter().enumerate() {
        let builder = RedisStore::builder().url(redis.tls_url()).tls(tls.clone());
        let Err(error) = builder.clone().build() else { panic!("{number}: {tls:?} is taken") };
        let text = chain(&error);
        assert!(matches!(&error, Error::InvalidSetting { .. }) && !error.is_transient(), "{number}: {text}");
        assert!(text.contains(culprit), "{number}: {culprit} is not in {text}");
        for shown in [text, format!("{error:?}"), format!("{tls:?}"), format!("{builder:?}")] {
            shows_no_secret(&shown);
            assert!(!shown.contains(&body[..16]) && !shown.contains(&body[40..56]), "{number}: {shown}");
        }
    }
    assert_eq!(connections(&redis), before + 1, "only this one");
}

#[test]
fn values_of_all_sizes_come_back() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let store = patient().url(redis.tls_url()).tls(trusting(&redis)).pool_size(1).connect().unwrap();
    let before = connections(&redis);
    let sizes = (0..=24).map(|power| 1_usize << power >> 1).flat_map(|size| [size.saturating_sub(1), size, size + 1]);
    for size in sizes.filter(|&size| size <= 8 << 20) {
        // Bytes that cannot be compressed, and that contain their position.
        let value: Vec<u8> = (0_u32..).flat_map(|word| (word ^ 0xA5C3_1D0A).to_le_bytes()).take(size).collect();
        let value = value.as_slice();
        store.put("k", value).unwrap();
        assert!(store.get("k").unwrap().as_deref() == Some(value), "{size}");
    }
    assert_eq!(connections(&redis), before + 1, "only this one");
}

#[test]
fn batches_are_in_order() {
    const KEYS: usize = 10_000;
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let store = patient().url(redis.tls_url()).tls(trusting(&redis)).connect().unwrap();
    let value = |number: usize| number.to_string().repeat(number % 50);
    store.put_many((0..KEYS).map(|number| (format!("k{number}"), value(number)))).unwrap();
    let values = store.get_many((0..=KEYS).rev().map(|number| format!("k{number}"))).unwrap();
    assert_eq!(values.len(), KEYS + 1);
    for (got, number) in values.iter().zip((0..=KEYS).rev()) {
        let expected = (number < KEYS).then(|| value(number));
        assert_eq!(got.as_deref(), expected.as_deref().map(str::as_bytes), "k{number}");
    }
    assert_eq!(store.keys("k").unwrap().map(Result::unwrap).count(), KEYS);
    let removed = store.delete_many((0..=KEYS).map(|number| format!("k{number}"))).unwrap();
    assert_eq!(removed, [vec![true; KEYS], vec![false]].concat());
}

#[test]
fn an_idle_connection_is_used_again() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let store = patient().url(redis.tls_url()).tls(trusting(&redis)).pool_size(1).connect().unwrap();
    let before = connections(&redis);
    for round in 0..3 {
        thread::sleep(Duration::from_millis(1500));
        store.put("k", round.to_string()).unwrap();
        assert_eq!(store.get("k").unwrap().as_deref(), Some(round.to_string().as_bytes()));
    }
    assert_eq!(connections(&redis), before + 1, "only this one");
}

#[test]
fn a_server_that_was_killed_and_is_back_is_used_again() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let store = RedisStore::builder().url(redis.tls_url()).tls(trusting(&redis)).min_idle(3).connect().unwrap();
    store.put("k", "v").unwrap();
    redis.kill();
    for _ in 0..3 {
        let error = store.get("k").unwrap_err();
        assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
    }
    redis.restart();
    assert_eq!(store.get("k").unwrap(), None);
    works(&store);
    // And while nothing is sent: the connection was idle for a second when it is used next.
    redis.restart();
    thread::sleep(Duration::from_millis(1100));
    works(&store);
    redis.restart();
    // It was used just now: a read is sent once more.
    assert_eq!(store.get("k").unwrap(), None);
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    if !crate::support::has_tls() {
        return;
    }
    let redis = Redis::start_tls(TlsClients::Anonymous, &[]);
    let builder = RedisStore::builder().url(redis.tls_url()).tls(trusting(&redis));
    let store = builder.clone().connect().unwrap();
    works(&store);
    redis.pause();
    // A connection in use, and a new one.
    let large = vec![0; 8 << 20];
    for _ in 0..2 {
        let begin = Instant::now();
        let error = store.put("k", &large).unwrap_err();
        let took = begin.elapsed();
        assert!(matches!(&error, Error::Timeout(_)), "{}", chain(&error));
        // 0.1 s more for each megabyte that was sent.
        assert!(took < WITHIN + Duration::from_secs(1), "{took:?}");
    }
    let (error, text) = refused(builder);
    assert!(matches!(&error, Error::Timeout(_)), "{text}");
    redis.resume();
    works(&store);
}
