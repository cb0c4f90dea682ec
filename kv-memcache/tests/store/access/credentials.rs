//! Where user and password come from, and how a server reacts to them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kv_memcache::Credentials;

use super::*;

#[test]
fn settings_of_the_url_and_of_the_builder_are_checked_together() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let at = format!("127.0.0.1:{}", server.port());
    connected(patient().url(format!("memcache://{USER}@{at}")).credentials(USER, PASSWORD));
    connected(patient().url(format!("memcache://:p-hush@{at}")).credentials(USER, PASSWORD));
    let on = |url: String| MemcacheStore::builder().url(url);
    let words = |builder: MemcacheStoreBuilder, words: &str| {
        let text = invalid(builder);
        assert!(text.contains(words), "{words:?} is not in {text}");
    };
    words(on(format!("memcache://hush@{at}")), "has a user without a password");
    words(on(format!("memcache://:hush@{at}")), "has a user without a password, or the reverse");
    words(on(format!("memcache://{at}")).credentials("", "hush"), "`credentials` cannot be sent: the user");
    words(on(format!("memcache://{at}")).credentials("hush", ""), "`credentials` cannot be sent: the password");
    let two = MemcacheStore::builder().servers(["memcache://u:hush@h1", "memcache://h2/x"]);
    words(two, "the URL cannot be used (number 2 of 2): ");
    let two = MemcacheStore::builder().servers(["memcache://u:hush@h1", "memcache://u@h2"]);
    words(two, "the URL cannot be used (number 2 of 2): it has a user without a password");
    let two = MemcacheStore::builder().servers(["memcache://u:hush@h1", "memcache://u@h2"]);
    two.credentials("u", "hush").build().unwrap();
}

/// A password that a server repeats is hidden. If it is just a part of the server's own words, it is shown.
#[test]
fn a_wrong_password_that_is_a_part_of_the_servers_words_hides_none_of_them() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    for password in ["E", "a", "ERROR", "CLIENT_ERROR", "authentication", "failure"] {
        let builder = patient().url(format!("memcache://127.0.0.1:{}", server.port())).credentials(USER, password);
        let text = refused_for_good(builder);
        assert!(text.contains("CLIENT_ERROR authentication failure"), "{password}: {text}");
        assert!(text.contains("does not accept user and password"), "{password}: {text}");
    }
}

/// This server says so to every client before it reads anything.
#[test]
fn too_many_connections_are_not_mistaken_for_required_tls() {
    if !can("too many connections are not mistaken for required tls", Need::SaysNoMore) {
        return;
    }
    for kind in [Kind::WithPassword, Kind::TlsWithPassword] {
        let server = Memcached::start_as(kind, &["-c", "40"]);
        let (mut held, mut refused_in_a_row) = (Vec::new(), 0);
        // Connections from the start of the server may still count, and make room only later.
        while refused_in_a_row < 10 {
            let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            if connection.read_exact(&mut [0; 5]).is_ok() {
                refused_in_a_row += 1;
            } else {
                held.push(connection);
                refused_in_a_row = 0;
            }
            assert!(held.len() < 80, "it takes more than 40 connections");
        }
        let plain = MemcacheStore::builder().url(format!("memcache://127.0.0.1:{}", server.port()));
        let mut builders = vec![plain.clone(), plain.credentials(USER, PASSWORD)];
        if matches!(kind, Kind::TlsWithPassword) {
            let tls = Tls::new().certificate_authority(server.certificates().ca.clone());
            builders.push(MemcacheStore::builder().url(server.url()).tls(tls));
        }
        for builder in builders {
            for _ in 0..5 {
                let (error, text) = refused(builder.clone());
                assert!(text.contains("the server takes no more connections (-c)") && error.is_transient(), "{text}");
            }
        }
        drop(held);
    }
}

#[test]
fn each_new_connection_has_the_password_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let set = |password: &str| fs::write(&file, format!("{USER}:{PASSWORD}\napp:{password}\n")).unwrap();
    set("first-hush");
    // The last of two such arguments counts.
    let server = Memcached::start_as(Kind::WithPassword, &[&format!("--auth-file={}", file.display())]);
    let current = Arc::new(Mutex::new("first-hush".to_owned()));
    let (shared, calls) = (Arc::clone(&current), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let provide = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(Credentials::new("app", shared.lock().unwrap().as_str()))
    };
    let builder = patient().url(format!("memcache://127.0.0.1:{}", server.port())).credentials_provider(provide);
    let store = connected(builder.clone().pool_size(1));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "once for a connection");
    set("second-hush");
    // memcached reads the file again after a signal.
    let pid = server.server().pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    // It looks once a second.
    thread::sleep(Duration::from_millis(1500));
    works(&store);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "a connection stays what it was");
    let text = refused_for_good(builder.clone());
    assert!(text.contains("does not accept user and password"), "{text}");
    "second-hush".clone_into(&mut current.lock().unwrap());
    connected(builder);
}

#[test]
fn a_provider_that_fails_or_panics_is_an_error_that_says_so() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let url = format!("memcache://127.0.0.1:{}", server.port());
    let on = || MemcacheStore::builder().url(&url);
    let says = "`credentials_provider` gave no user and password for a new connection";
    let (error, text) = refused(on().credentials_provider(|| Err::<Credentials, _>("the vault is sealed")));
    assert!(
        matches!(error, Error::Unavailable(_)) && text.contains(says) && text.contains("the vault is sealed"),
        "{text}"
    );
    let panics = || -> Result<Credentials, Error> { panic!("as the test wants it") };
    // Not in `refused`, because reporting a panic takes time.
    let error = on().credentials_provider(panics).connect().unwrap_err();
    let text = chain(&error);
    assert!(error.is_transient() && text.contains(says) && text.contains("it panicked"), "{text}");
    let slow = || {
        thread::sleep(Duration::from_millis(60));
        Ok::<_, Error>(Credentials::new("u", "hush"))
    };
    let (error, text) = refused(on().connect_timeout(Duration::from_millis(50)).credentials_provider(slow));
    let too_little = "`credentials_provider` left too little time for a new connection";
    assert!(
        matches!(error, Error::Unavailable(_)) && text.contains(too_little) && text.contains(": it took "),
        "{text}"
    );
    // The provider leaves too little time. That says nothing about the server, so the next operation tries again.
    let leaves_some = || {
        thread::sleep(Duration::from_millis(400));
        Ok::<_, Error>(Credentials::new("u", "hush"))
    };
    let limited = on().connect_timeout(Duration::from_millis(600));
    server.pause();
    let store = limited.clone().credentials_provider(leaves_some).build().unwrap();
    for _ in 0..3 {
        let text = chain(&store.put("k", "v").unwrap_err());
        assert!(text.contains(too_little) && text.contains("of `connect_timeout`"), "{text}");
    }
    // If the server had enough time, the server is silent.
    let quick = || Ok::<_, Error>(Credentials::new("u", "hush"));
    let error = limited.credentials_provider(quick).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Timeout(_)) && text.contains("connecting took longer than 600ms"), "{text}");
    server.resume();
    let text = refused_for_good(on().credentials_provider(|| Ok::<_, Error>(Credentials::new("u", "two words, hush"))));
    assert!(text.contains("`credentials_provider` gave user and password that cannot be sent"), "{text}");
    let provide = || Ok::<_, Error>(Credentials::new("u", "hush"));
    let text = invalid(on().credentials("u", "hush").credentials_provider(provide));
    assert!(text.contains("both `credentials_provider` and `credentials`"), "{text}");
    let text = invalid(MemcacheStore::builder().url("memcache://u:hush@h").credentials_provider(provide));
    assert!(text.contains("`credentials_provider` is set, and the URL has a user or a password"), "{text}");
}

/// A caller that probes a silent server and gets no credentials learns nothing about the server, so the next operation probes it.
#[test]
fn a_provider_that_fails_or_is_slow_says_nothing_of_a_server_that_was_silent() {
    if !can("user and password", Need::Password) {
        return;
    }
    let limit = Duration::from_millis(300);
    for too_slow in [false, true] {
        let server = Memcached::start_as(Kind::WithPassword, &[]);
        let works = Arc::new(AtomicBool::new(true));
        let provider_works = Arc::clone(&works);
        let provide = move || {
            if provider_works.load(Ordering::SeqCst) {
                return Ok(Credentials::new(USER, PASSWORD));
            }
            if !too_slow {
                return Err("the vault is sealed");
            }
            thread::sleep(limit);
            Ok(Credentials::new(USER, PASSWORD))
        };
        let builder = MemcacheStore::builder().url(format!("memcache://127.0.0.1:{}", server.port()));
        let builder = builder.credentials_provider(provide).pool_size(1).retry_after(Duration::from_secs(600));
        let store = builder.connect_timeout(limit).response_timeout(limit).build().unwrap();
        wait_until(|| store.put("k", "v").map_err(|error| chain(&error)));
        server.pause();
        assert!(matches!(store.get("k").unwrap_err(), Error::Timeout(_)));
        // This operation has to ask whether the server answers.
        works.store(false, Ordering::SeqCst);
        let error = store.get("k").unwrap_err();
        assert!(chain(&error).contains("`credentials_provider`"), "{}", chain(&error));
        works.store(true, Ordering::SeqCst);
        // So does the next one. It does not get an error that the server is silent.
        let error = store.get("k").unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{}", chain(&error));
        // Now the server is silent, and it did not count as answering in between.
        let error = store.get("k").unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{}", chain(&error));
        assert!(chain(&error).contains("so nothing was sent; it is asked again in"), "{}", chain(&error));
        server.resume();
    }
}
