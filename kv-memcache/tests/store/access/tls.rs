//! TLS: trusted authorities and client certificates.

use super::*;

fn start(with_certificate: bool) -> Memcached {
    Memcached::start_as(Kind::Tls { with_certificate }, &[])
}

fn trusting(server: &Memcached) -> Tls {
    Tls::new().certificate_authority(server.certificates().ca.clone())
}

fn with(server: &Memcached, identity: &support::Identity) -> Tls {
    trusting(server).client_certificate(identity.certificate.clone(), identity.key.clone())
}

#[test]
fn a_server_is_trusted_by_its_authority_alone() {
    let server = start(false);
    connected(patient().url(server.url()).tls(trusting(&server)));
    connected(patient().url(format!("memcache+tls://127.0.0.1:{}", server.tls_port())).tls(trusting(&server)));
    let strange = || Tls::new().certificate_authority(server.certificates().stranger_ca.clone());
    // One of several is enough.
    let both = strange().certificate_authority(server.certificates().ca.clone());
    connected(patient().url(server.url()).tls(both));

    let text = refused_for_good(MemcacheStore::builder().url(server.url()).tls(strange()));
    assert!(text.contains("UnknownIssuer") && text.contains("`Tls::certificate_authority`"), "{text}");
    // The machine does not trust the tests' authority.
    for builder in [MemcacheStore::builder(), MemcacheStore::builder().tls(Tls::new())] {
        let text = refused_for_good(builder.url(server.url()));
        assert!(text.contains("certificate"), "{text}");
    }
    // If the store was only built, each operation says it.
    let store = MemcacheStore::builder().url(server.url()).tls(strange()).build().unwrap();
    let error = store.put("k", "v-hush").unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
}

/// The certificate is for localhost and 127.0.0.1.
#[test]
fn a_certificate_for_another_name_is_not_accepted() {
    let server = start(false);
    let listener = TcpListener::bind("127.0.0.2:0");
    // A machine may have only one address of its own.
    if let Ok(listener) = listener {
        let port = forward(listener, server.tls_port());
        let builder = MemcacheStore::builder().url(format!("memcache+tls://127.0.0.2:{port}"));
        let text = refused_for_good(builder.tls(trusting(&server)));
        assert!(text.contains("not valid for name") && text.contains("the host in the URL"), "{text}");
    }
}

/// No certificate can exist for it, so the error is not transient.
#[test]
fn a_host_that_is_not_a_name_is_a_permanent_error() {
    let server = start(false);
    let builder = MemcacheStore::builder().url(format!("memcache+tls://127.1:{}", server.tls_port()));
    let (error, text) = refused(builder.tls(trusting(&server)));
    assert!(matches!(&error, Error::InvalidSetting { .. }) && !error.is_transient(), "{text}");
}

#[test]
fn a_server_that_wants_a_certificate_accepts_clients_with_one() {
    let server = start(true);
    let all = server.certificates();
    connected(patient().url(server.url()).tls(with(&server, &all.client)));
    for (name, tls) in [("none", trusting(&server)), ("a stranger's", with(&server, &all.stranger))] {
        shows_no_secret(&format!("{tls:?} {tls:#?}"));
        // The server's message comes after the handshake, together with the close of the connection. It must not get lost.
        for _ in 0..20 {
            let (error, text) = refused(MemcacheStore::builder().url(server.url()).tls(tls.clone()));
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{name}: {text}");
            assert!(text.contains("client certificate") && text.contains("alert"), "{name}: {text}");
        }
        let store = MemcacheStore::builder().url(server.url()).tls(tls).build().unwrap();
        let error = store.put("k", "v-hush").unwrap_err();
        assert!(!error.outcome_unknown() && !error.is_transient(), "{name}: {}", chain(&error));
    }
    // A client certificate that the server does not ask for does no harm.
    let open = start(false);
    connected(patient().url(open.url()).tls(with(&open, &all.stranger)));
}

/// A memcached that asks for certificates does not resume a session. Each connection has to make a full handshake.
#[test]
fn many_connections_at_once_all_show_their_certificate() {
    const CONNECTIONS: u64 = 24;
    let server = start(true);
    let tls = with(&server, &server.certificates().client);
    let store = patient().url(server.url()).tls(tls).pool_size(30).connect().unwrap();
    works(&store);
    for round in 0..2_u64 {
        let before = server.stat("total_connections");
        server.pause();
        thread::scope(|scope| {
            for thread in 0..CONNECTIONS {
                let store = &store;
                scope.spawn(move || {
                    let (key, value) = (format!("k{thread}"), format!("{round}"));
                    store.put(&key, &value).unwrap_or_else(|error| panic!("{}", chain(&error)));
                    assert_eq!(store.get(&key).unwrap().as_deref(), Some(value.as_bytes()));
                });
            }
            // Nobody gets any further, so that all need a connection of their own.
            thread::sleep(Duration::from_millis(300));
            server.resume();
        });
        let new = server.stat("total_connections") - before;
        assert!(if round == 0 { new > CONNECTIONS / 2 } else { new <= CONNECTIONS }, "{new} in round {round}");
    }
}

#[test]
fn connecting_to_the_wrong_kind_of_port_is_explained_in_time() {
    let server = start(false);
    for _ in 0..5 {
        let (error, text) =
            refused(MemcacheStore::builder().url(format!("memcache://localhost:{}", server.tls_port())));
        assert!(matches!(&error, Error::Unavailable(_) | Error::Backend(_)), "{text}");
        assert!(error.source().is_some() || text.contains("protocol of memcached"), "{text}");
        let builder = MemcacheStore::builder().url(format!("memcache+tls://localhost:{}", server.port()));
        let (error, text) = refused(builder.tls(trusting(&server)));
        // The server may take the bytes for a line, wait for its end, and say nothing.
        let says_so = matches!(&error, Error::Backend(_)) && text.contains("does not speak TLS");
        assert!(says_so || matches!(&error, Error::Unavailable(_) | Error::Timeout(_)), "{text}");
    }
    connected(patient().url(server.url()).tls(trusting(&server)));
    connected(patient().url(format!("memcache://localhost:{}", server.port())));
}

#[test]
fn tls_that_is_configured_is_not_left_out() {
    for url in ["memcache://localhost", "memcache:///run/memcached.sock"] {
        let error = MemcacheStore::builder().url(url).tls(Tls::new()).build().unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::InvalidSetting { .. }) && text.contains("`memcache+tls://`"), "{text}");
    }
}

#[test]
fn an_invalid_certificate_or_key_is_refused_before_anything_is_sent_and_not_shown() {
    let server = start(true);
    let all = server.certificates();
    let (certificate, key) = (all.client.certificate.as_str(), all.client.key.as_str());
    // An invalid key that contains a part of a real one.
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let broken = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &body[..40]);
    let not_base64 = format!("-----BEGIN PRIVATE KEY-----\nhush!{body}\n-----END PRIVATE KEY-----\n");
    let no_certificate = "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n";
    let authority = |pem: &str| Tls::new().certificate_authority(pem);
    let identity = |certificate: &str, key: &str| trusting(&server).client_certificate(certificate, key);
    let cases = [
        ("authority", authority("")),
        ("authority", authority("hush")),
        ("authority", authority(key)),
        ("authority", authority(no_certificate)),
        ("authority", trusting(&server).certificate_authority("hush")),
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
    let before = server.stat("total_connections");
    for (number, (culprit, tls)) in cases.into_iter().enumerate() {
        let builder = MemcacheStore::builder().url(server.url()).tls(tls.clone());
        let Err(error) = builder.clone().connect() else { panic!("{number}: {tls:?} is taken") };
        let text = chain(&error);
        assert!(matches!(&error, Error::InvalidSetting { .. }) && !error.is_transient(), "{number}: {text}");
        assert!(text.contains(culprit), "{number}: {culprit} is not in {text}");
        for shown in [text, format!("{error:?}"), format!("{tls:?}"), format!("{builder:?}")] {
            shows_no_secret(&shown);
            assert!(!shown.contains(&body[..16]) && !shown.contains(&body[40..56]), "{number}: {shown}");
        }
    }
    assert_eq!(server.stat("total_connections"), before + 1, "only this one");
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = start(false);
    let builder = || MemcacheStore::builder().url(server.url()).tls(trusting(&server));
    let store = connected(builder());
    server.pause();
    // A connection in use, and a new one.
    for _ in 0..2 {
        let (error, took) = support::timed(|| store.put("k", vec![0; 1_000_000]).unwrap_err());
        let text = chain(&error);
        assert!(matches!(&error, Error::Timeout(_)), "{text}");
        assert!(took < WITHIN + Duration::from_secs(1), "{took:?}: {text}");
    }
    let (error, text) = refused(builder());
    assert!(matches!(&error, Error::Timeout(_)), "{text}");
    server.resume();
    wait_until(|| store.put("works", "v").map_err(|error| chain(&error)));
    works(&store);
}
