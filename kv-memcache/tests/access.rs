//! Who gets to a server, and how: URLs, unix sockets, TLS, user and password. Which servers will do. And that no secret gets
//! out.

#![cfg(unix)]
#![cfg(feature = "tls")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::error::Error as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use kv_memcache::{Capability, Error, KeyValueStore, KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Tls, Ttl};

mod support;
use support::proxy::{Behaviour, Proxy};
use support::{Kind, Memcached, PASSWORD, PATIENCE, USER, wait_until};

/// The limit for connecting of a store that nobody told otherwise, a second, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(1000 + 1500);

/// In every password and every value here that is to be kept secret.
const HUSH: &str = "hush";

fn patient() -> MemcacheStoreBuilder {
    MemcacheStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// That a text shows no user, no password, and nothing of a private key, in whatever form.
#[track_caller]
fn shows_no_secret(shown: &str) {
    let secrets = [HUSH, "%68ush", "104, 117, 115, 104", "PRIVATE KEY", USER, PASSWORD, "kv-secret"];
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret:?} is in {shown}");
    }
}

/// An error with all its causes, none of which shows a secret, neither by `Display` nor by `Debug` (E3), and none of which
/// is repeated (E2).
#[track_caller]
fn chain(error: &Error) -> String {
    let mut texts = vec![error.to_string()];
    shows_no_secret(&format!("{error:?} {error:#?}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        shows_no_secret(&format!("{error:?}"));
        let text = error.to_string();
        assert!(!texts[0].contains(&text), "{text} is in {}", texts[0]);
        texts.push(text);
        cause = error.source();
    }
    let chain = texts.join(": ");
    shows_no_secret(&chain);
    chain
}

/// Tries to connect, with limits, and returns why that does not work.
#[track_caller]
fn refused(builder: MemcacheStoreBuilder) -> (Error, String) {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let begin = Instant::now();
    let error = builder.connect().unwrap_err();
    let took = begin.elapsed();
    let text = chain(&error);
    assert!(took < WITHIN, "{took:?}: {text}");
    assert!(!error.outcome_unknown(), "{text}");
    (error, text)
}

/// The same, where no other try will do any better.
#[track_caller]
fn refused_for_good(builder: MemcacheStoreBuilder) -> String {
    let (error, text) = refused(builder);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    text
}

#[track_caller]
fn works(store: &MemcacheStore) {
    shows_no_secret(&format!("{store:?} {store:#?}"));
    // Not in a closure, so that the caller is named.
    if let Err(error) = store.put("works", "v") {
        panic!("{}", chain(&error));
    }
    assert_eq!(store.get("works").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(store.delete("works").unwrap());
}

#[track_caller]
fn connected(builder: MemcacheStoreBuilder) -> MemcacheStore {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let store = match builder.connect() {
        Ok(store) => store,
        Err(error) => panic!("{}", chain(&error)),
    };
    works(&store);
    store
}

/// With all but slashes encoded.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect::<Vec<_>>().concat()
}

/// Passes what comes to a listener on to a port of 127.0.0.1, for as long as the test process lives.
fn forward(listener: TcpListener, to: u16) -> u16 {
    let port = listener.local_addr().unwrap().port();
    impostor_on(listener, move |client| {
        let server = TcpStream::connect(("127.0.0.1", to))?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let copied = io::copy(&mut from_client, &mut to_server);
            to_server.shutdown(Shutdown::Write).and(copied)
        });
        io::copy(&mut &server, &mut &client)?;
        client.shutdown(Shutdown::Write)
    });
    port
}

/// Somebody who does this with each connection. Its port.
fn impostor(act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    impostor_on(listener, act);
    port
}

fn impostor_on(listener: TcpListener, act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let act = act.clone();
            // That it fails is the peer's doing.
            thread::spawn(move || stream.and_then(act));
        }
    });
}

/// Changes a text in the next piece of replies, which has to be there.
fn instead_of(old: &'static str, new: &'static str) -> Behaviour {
    Behaviour::Edit(Box::new(move |piece| {
        let at = piece.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        piece.splice(at..at + old.len(), new.bytes());
    }))
}

mod urls {
    use super::*;

    #[test]
    fn a_server_is_found_by_address_and_by_name() {
        let server = Memcached::start(&[]);
        let port = server.port();
        for url in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LocalHost:{port}/")] {
            let store = connected(patient().url(format!("memcache://{url}")));
            assert_eq!(store.name(), format!("memcache://{}", url.trim_end_matches('/').to_lowercase()));
        }
        works(&MemcacheStore::connect(server.url()).unwrap());
        // Not every machine has it.
        if let Ok(listener) = TcpListener::bind("[::1]:0") {
            let url = format!("memcache://[::1]:{}", forward(listener, port));
            assert_eq!(connected(patient().url(&url)).name(), url);
        }
    }

    #[test]
    fn the_port_is_that_of_memcached_unless_it_is_named() {
        let store = MemcacheStore::builder().build().unwrap();
        assert_eq!(store.name(), "memcache://127.0.0.1:11211");
        let store = MemcacheStore::builder().url("memcache+tls://cache.example").build().unwrap();
        assert_eq!(store.name(), "memcache+tls://cache.example:11211");
        // An address of this machine where nobody will be, unless somebody has that port of all addresses.
        if let Ok(listener) = TcpListener::bind("127.211.11.21:11211") {
            let server = Memcached::start(&[]);
            forward(listener, server.port());
            connected(patient().url("memcache://127.211.11.21"));
        }
    }

    #[test]
    fn a_host_that_nobody_knows_is_said() {
        let (error, text) = refused(MemcacheStore::builder().url("memcache://no-such-host.invalid"));
        // A name server may take its time.
        assert!(matches!(&error, Error::Unavailable(_) | Error::Timeout(_)) && error.is_transient(), "{text}");
        assert!(text.contains("no-such-host.invalid:11211"), "{text}");
    }

    #[test]
    fn the_path_of_a_unix_socket_may_have_any_characters() {
        let server = Memcached::start_as(Kind::Unix, &[]);
        connected(patient().url(server.url()));
        let folder = tempfile::Builder::new().prefix("kv").tempdir_in("/tmp").unwrap();
        for name in ["with space", "ümläut ß", "per%cent%20", "hash#and?query&plus+", "semi;colon=@:"] {
            let path = folder.path().join(name);
            symlink(server.socket(), &path).unwrap();
            let url = format!("memcache://{}", percent_encoded(path.to_str().unwrap()));
            let store = connected(patient().url(url));
            assert_eq!(store.name(), format!("memcache://{}", path.display()));
        }
        // As it is written.
        let spaced = format!("memcache://{}", folder.path().join("with space").display());
        connected(patient().url(spaced));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.sock");
        let url = |path: &str| MemcacheStore::builder().url(format!("memcache://{path}"));
        let (error, text) = refused(url(path.to_str().unwrap()));
        assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
        assert!(text.contains("absent.sock") && text.contains("No such file"), "{text}");
        // A file that is none.
        fs::write(&path, "").unwrap();
        let (error, text) = refused(url(path.to_str().unwrap()));
        assert!(matches!(&error, Error::Unavailable(_)) && text.contains("refused"), "{text}");
        let (_, text) = refused(url(&format!("/{}", "l".repeat(200))));
        assert!(text.contains("SUN_LEN") || text.contains("too long"), "{text}");
    }
}

mod reach {
    use super::*;

    #[test]
    fn connect_names_the_server_that_does_not_answer() {
        let servers = [Memcached::start(&[]), Memcached::start(&[]), Memcached::start(&[])];
        let builder = || MemcacheStore::builder().servers(servers.iter().map(Memcached::url));
        works(&builder().connect().unwrap());
        for dead in &servers {
            dead.kill();
            let (error, text) = refused(builder());
            assert!(matches!(&error, Error::Unavailable(_)), "{text}");
            assert!(text.contains(&format!("127.0.0.1:{}: connecting failed", dead.port())), "{text}");
            assert!(text.contains("refused") && text.contains("and 2 more"), "{text}");
            dead.restart();
        }
        servers[1].pause();
        let (error, text) = refused(builder());
        assert!(matches!(&error, Error::Timeout(_)), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{}: connecting took longer than 1s", servers[1].port())), "{text}");
        servers[1].resume();
    }

    #[test]
    fn a_store_that_is_built_waits_for_its_first_operation() {
        let server = Memcached::start(&[]);
        let proxy = Proxy::start(server.port());
        let url = format!("memcache://127.0.0.1:{}", proxy.port());
        let store = patient().url(url).build().unwrap();
        let _ = (format!("{store:?}"), store.name(), store.capabilities());
        assert_eq!(proxy.accepted(), 0);
        works(&store);
        assert_eq!(proxy.accepted(), 1);
    }

    #[test]
    fn a_server_that_comes_later_is_used_then() {
        for kind in [Kind::Tcp, Kind::Unix] {
            let server = Memcached::start_as(kind, &[]);
            server.kill();
            let store = patient().url(server.url()).build().unwrap();
            let error = store.get("k").unwrap_err();
            let text = chain(&error);
            assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
            let error = store.put("k", "v").unwrap_err();
            assert!(matches!(&error, Error::Unavailable(_)) && !error.outcome_unknown(), "{}", chain(&error));
            server.restart();
            works(&store);
        }
    }

    /// That of a thread is used again, however many there may be.
    #[test]
    fn one_thread_makes_one_connection() {
        let server = Memcached::start(&[]);
        let before = server.stat("total_connections");
        let store = patient().url(server.url()).pool_size(50).connect().unwrap();
        for number in 0..100 {
            store.put("k", number.to_string()).unwrap();
        }
        assert_eq!(server.stat("total_connections"), before + 2, "that of the store, and of this question");
    }

    /// It says so and closes the connection, which is not to be taken for something else.
    #[test]
    fn a_server_that_takes_no_more_connections_says_so() {
        // It keeps a dozen or so for itself.
        let server = Memcached::start(&["--conn-limit=40"]);
        let builder = || MemcacheStore::builder().url(server.url());
        let store = builder().pool_size(50).build().unwrap();
        let mut taken = Vec::new();
        while taken.len() < 40 {
            let mut connection = server.connection();
            match connection.ask(b"mn\r\n") {
                Ok(answer) if answer == "MN" => taken.push(connection),
                answer => {
                    assert!(
                        matches!(&answer, Ok(answer) if answer.contains("Too many open connections")),
                        "{answer:?}"
                    );
                    break;
                }
            }
        }
        assert!((1..40).contains(&taken.len()), "{}", taken.len());
        for _ in 0..20 {
            let errors = [store.get("k").unwrap_err(), store.put("k", "v-hush").unwrap_err(), refused(builder()).0];
            for error in errors {
                let text = chain(&error);
                assert!(matches!(&error, Error::Backend(_)) && error.is_transient(), "{text}");
                assert!(!error.outcome_unknown(), "{text}");
                assert!(text.contains("takes no more connections (-c)"), "{text}");
                assert!(text.contains("Too many open connections"), "{text}");
            }
        }
        taken.pop();
        wait_until(|| store.put("works", "v").map_err(|error| chain(&error)));
        works(&store);
    }

    /// It says so in clear, to those who want TLS, too. This is not a wrong port.
    #[test]
    fn a_server_with_tls_that_takes_no_more_connections_is_worth_another_try() {
        let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &["--conn-limit=40"]);
        let mut taken: Vec<_> = (0..40).map(|_| server.connection()).collect();
        assert!(taken.iter_mut().any(|connection| connection.ask(b"mn\r\n").is_ok_and(|answer| answer != "MN")));
        let tls = Tls::new().certificate_authority(server.certificates().ca.clone());
        let (error, text) = refused(MemcacheStore::builder().url(server.url()).tls(tls.clone()));
        assert!(error.is_transient(), "{text}");
        drop(taken);
        let store =
            wait_until(|| patient().url(server.url()).tls(tls.clone()).connect().map_err(|error| chain(&error)));
        works(&store);
    }
}

mod authentication {
    use super::*;

    /// That the server is the one of the tests, without the credentials.
    fn bare(server: &Memcached) -> String {
        format!("memcache://127.0.0.1:{}", server.port())
    }

    #[test]
    fn who_knows_user_and_password_gets_in() {
        let server = Memcached::start_as(Kind::WithPassword, &[]);
        works(&MemcacheStore::connect(server.url()).unwrap());
        connected(patient().url(server.url()));
        connected(patient().url(bare(&server)).credentials(USER, PASSWORD));
        // What the builder says counts.
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
        // Nothing of it becomes an entry.
        assert_eq!(server.connection().ask(b"mg auth v\r\n").unwrap(), "EN");
        assert_eq!(store.get("auth").unwrap(), None);
    }

    #[test]
    fn who_has_no_password_or_a_wrong_one_is_told_what_to_do() {
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
        // Of a store that was built, each operation says it.
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
        assert_eq!(server.connection().ask(b"mg k\r\n").unwrap(), "EN");
    }

    /// To a server without `-Y` what says who we are is a write like any other: it must not leave the password where everybody
    /// can read it, nor replace an entry of the application.
    #[test]
    fn a_password_that_nobody_asked_for_is_not_left_on_the_server() {
        let server = Memcached::start(&[]);
        let mut raw = server.connection();
        assert_eq!(raw.ask(b"ms auth 4\r\nmine\r\n").unwrap(), "HD");
        let builder = MemcacheStore::builder().url(bare(&server)).credentials("hush-user", "unasked-hush");
        let result = builder.clone().connect();
        let stored = raw.ask(b"mg auth v\r\n").unwrap();
        let value = if stored.starts_with("VA") { raw.line().unwrap() } else { stored };
        assert_eq!(value, "mine", "the entry at key auth");
        // Nor at any other key: of those that are there, this is all.
        raw.send(b"lru_crawler metadump all\r\n").unwrap();
        let mut keys = Vec::new();
        while let line = raw.line().unwrap()
            && line != "END"
        {
            keys.push(line.split(' ').next().unwrap().to_owned());
        }
        assert_eq!(keys, ["key=auth"]);
        let Err(error) = result else { panic!("it is not refused: {result:?}") };
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
        assert!(text.contains("password"), "{text}");
        let error = builder.build().unwrap().put("k", "v-hush").unwrap_err();
        assert!(matches!(&error, Error::Backend(_)) && !error.outcome_unknown(), "{}", chain(&error));
        assert_eq!(raw.ask(b"mg k\r\n").unwrap(), "EN");
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
        // They are not given to a server that is not trusted.
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
        let server = Memcached::start_as(Kind::WithPassword, &[&format!("--auth-file={}", file.display())]);
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
}

mod tls {
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
        // Whatever this machine trusts, it is not the tests' authority.
        for builder in [MemcacheStore::builder(), MemcacheStore::builder().tls(Tls::new())] {
            let text = refused_for_good(builder.url(server.url()));
            assert!(text.contains("certificate"), "{text}");
        }
        // Of a store that was built, each operation says it.
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
        // A machine may have but one address of its own.
        if let Ok(listener) = listener {
            let port = forward(listener, server.tls_port());
            let builder = MemcacheStore::builder().url(format!("memcache+tls://127.0.0.2:{port}"));
            let text = refused_for_good(builder.tls(trusting(&server)));
            assert!(text.contains("not valid for name") && text.contains("the host in the URL"), "{text}");
        }
    }

    /// No certificate can be for it: no other try will do any better.
    #[test]
    fn a_host_that_is_no_name_is_refused_for_good() {
        let server = start(false);
        let builder = MemcacheStore::builder().url(format!("memcache+tls://127.1:{}", server.tls_port()));
        let (error, text) = refused(builder.tls(trusting(&server)));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    }

    #[test]
    fn a_server_that_wants_a_certificate_lets_in_who_has_one() {
        let server = start(true);
        let all = server.certificates();
        connected(patient().url(server.url()).tls(with(&server, &all.client)));
        for (name, tls) in [("none", trusting(&server)), ("a stranger's", with(&server, &all.stranger))] {
            shows_no_secret(&format!("{tls:?} {tls:#?}"));
            // What the server says comes after the handshake, together with the end of the connection: it must not get lost.
            for _ in 0..20 {
                let (error, text) = refused(MemcacheStore::builder().url(server.url()).tls(tls.clone()));
                assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{name}: {text}");
                assert!(text.contains("client certificate") && text.contains("alert"), "{name}: {text}");
            }
            let store = MemcacheStore::builder().url(server.url()).tls(tls).build().unwrap();
            let error = store.put("k", "v-hush").unwrap_err();
            assert!(!error.outcome_unknown() && !error.is_transient(), "{name}: {}", chain(&error));
        }
        // One that nobody asks for does no harm.
        let open = start(false);
        connected(patient().url(open.url()).tls(with(&open, &all.stranger)));
    }

    /// A memcached that asks for certificates does not take back a session that it handed out: each connection has to be one
    /// from scratch.
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
    fn who_takes_one_kind_of_port_for_the_other_is_told_in_time() {
        let server = start(false);
        for _ in 0..5 {
            let (error, text) =
                refused(MemcacheStore::builder().url(format!("memcache://localhost:{}", server.tls_port())));
            assert!(matches!(&error, Error::Unavailable(_) | Error::Backend(_)), "{text}");
            assert!(error.source().is_some() || text.contains("protocol of memcached"), "{text}");
            let builder = MemcacheStore::builder().url(format!("memcache+tls://localhost:{}", server.port()));
            let (error, text) = refused(builder.tls(trusting(&server)));
            // It may wait for the end of what it takes for a line, and say nothing.
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
            assert!(matches!(&error, Error::Backend(_)) && text.contains("`memcache+tls://`"), "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused_before_anything_is_sent_and_not_shown() {
        let server = start(true);
        let all = server.certificates();
        let (certificate, key) = (all.client.certificate.as_str(), all.client.key.as_str());
        // A key that is none, with a part of a real one.
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
            // That of another one.
            ("key", identity(certificate, &all.stranger.key)),
            ("key", identity(certificate, &all.server.key)),
        ];
        let before = server.stat("total_connections");
        for (number, (culprit, tls)) in cases.into_iter().enumerate() {
            let builder = MemcacheStore::builder().url(server.url()).tls(tls.clone());
            let Err(error) = builder.clone().connect() else { panic!("{number}: {tls:?} is taken") };
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{number}: {text}");
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
        // One in use, and a new one.
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
}

/// Who answers there may be anybody.
mod impostors {
    use super::*;

    #[track_caller]
    fn refused_by(act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> (Error, String) {
        let url = format!("memcache://127.0.0.1:{}", impostor(act));
        let (error, text) = refused(MemcacheStore::builder().url(&url));
        assert!(text.starts_with(&url), "{text}");
        // Of a store that was built, the operation says the same, within the same limits.
        let store = MemcacheStore::builder().url(&url).build().unwrap();
        let (later, took) = support::timed(|| store.put("k", "v-hush").unwrap_err());
        assert!(took < WITHIN, "{took:?}: {}", chain(&later));
        assert!(!later.outcome_unknown(), "{}", chain(&later));
        assert_eq!(std::mem::discriminant(&later), std::mem::discriminant(&error), "{}", chain(&later));
        (error, text)
    }

    /// Waits for a request, says this, and closes the connection, or leaves it open.
    fn saying(reply: &'static [u8], and_closes: bool) -> impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static {
        move |mut stream| {
            let _request = stream.read(&mut [0; 1000])?;
            stream.write_all(reply)?;
            if !and_closes {
                thread::sleep(PATIENCE);
            }
            Ok(())
        }
    }

    #[test]
    fn what_speaks_another_protocol_is_said() {
        let replies: [&[u8]; 10] = [
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            b"-ERR unknown command 'stats', with args beginning with: \r\n-ERR unknown command 'stats'\r\n",
            b"-NOAUTH Authentication required.\r\n",
            b"220 mail.example ESMTP\r\n500 what?\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            b"END\r\nEND\r\n",
            b"STAT version 1.6.18\r\nEND\r\nEND\r\n",
            b"STAT pid 1\r\nSTAT version 1.6.18\r\nSTAT time now\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\n",
            b"\r\n\r\n",
            b"\xff\xfe\x00\r\n",
        ];
        for reply in replies {
            for and_closes in [true, false] {
                let (error, text) = refused_by(saying(reply, and_closes));
                assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
                assert!(text.contains("does not speak the protocol of memcached"), "{text}");
            }
        }
    }

    /// What comes after the greeting nobody asked for.
    #[test]
    fn a_greeting_with_something_behind_it_is_refused() {
        let reply = b"STAT pid 1\r\nSTAT version 1.6.18\r\nSTAT time 1700000000\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\nEND\r\n";
        let (error, text) = refused_by(saying(reply, false));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    }

    #[test]
    fn what_refuses_is_repeated() {
        for (reply, text) in [
            (&b"ERROR\r\nERROR\r\n"[..], "ERROR"),
            (b"SERVER_ERROR out of order\r\n", "SERVER_ERROR out of order"),
            (b"STAT pid 1\r\nSERVER_ERROR half-way\r\n", "SERVER_ERROR half-way"),
        ] {
            let (error, whole) = refused_by(saying(reply, true));
            assert!(matches!(&error, Error::Backend(_)), "{whole}");
            assert!(error.source().is_some_and(|cause| cause.to_string() == text), "{whole}");
        }
    }

    #[test]
    fn what_says_nothing_or_half_of_it_is_waited_for_within_the_limit() {
        for reply in [&b""[..], b"STAT", b"STAT pid 1\r\nSTAT version 1.6.18\r\n"] {
            let (error, text) = refused_by(saying(reply, false));
            assert!(matches!(&error, Error::Timeout(_)) && error.is_transient(), "{text}");
            assert!(text.contains("connecting took longer than 1s (`connect_timeout`)"), "{text}");
        }
    }

    #[test]
    fn what_closes_the_connection_is_unavailable() {
        let closing: [fn(TcpStream) -> io::Result<()>; 2] = [
            |stream| {
                drop(stream);
                Ok(())
            },
            // After half of it.
            |mut stream| {
                let _request = stream.read(&mut [0; 1000])?;
                stream.write_all(b"STAT pid 1\r\nSTAT vers")
            },
        ];
        for act in closing {
            let (error, text) = refused_by(act);
            assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
            assert!(text.contains("connecting failed") && error.source().is_some(), "{text}");
        }
    }

    /// Byte by byte, a whole line, or one without an end: the limit is for all of it.
    #[test]
    fn what_never_ends_is_cut_off() {
        fn for_ever(reply: &'static [u8], pause: Duration) -> impl Fn(TcpStream) -> io::Result<()> + Clone + Send {
            move |mut stream| {
                loop {
                    stream.write_all(reply)?;
                    thread::sleep(pause);
                }
            }
        }
        let (error, text) = refused_by(for_ever(b"S", Duration::from_millis(50)));
        // It is no beginning of anything, or it takes too long.
        assert!(matches!(&error, Error::Timeout(_)), "{text}");
        let (error, text) = refused_by(for_ever(b"STAT a b\r\n", Duration::from_millis(5)));
        assert!(matches!(&error, Error::Timeout(_)), "{text}");
        let (error, text) = refused_by(for_ever(&[b'x'; 4096], Duration::ZERO));
        assert!(matches!(&error, Error::Backend(_)) && text.contains("protocol"), "{text}");
    }

    /// The limit for connecting is one for connecting: what comes does not prolong it as a large value may (N1).
    #[test]
    fn what_never_ends_and_is_fast_is_cut_off() {
        let port = impostor(|mut stream| {
            let lines = b"STAT a b\r\n".repeat(10_000);
            loop {
                stream.write_all(&lines)?;
            }
        });
        let (sender, receiver) = mpsc::channel();
        // If it is not cut off, this test has to end all the same.
        thread::spawn(move || {
            let result = MemcacheStore::connect(format!("memcache://127.0.0.1:{port}"));
            // Nobody may be left who wants to know.
            let _ = sender.send(result);
        });
        let Ok(result) = receiver.recv_timeout(PATIENCE) else { panic!("after {PATIENCE:?} it is still listened to") };
        chain(&result.unwrap_err());
    }
}

/// Versions of memcached that are not at hand: through a proxy that changes what the server says.
mod versions {
    use super::*;

    /// A server, a proxy in front of it, and a builder that goes through it.
    fn start() -> (Memcached, Proxy, MemcacheStoreBuilder) {
        let server = Memcached::start(&[]);
        let proxy = Proxy::start(server.port());
        let builder = patient().url(format!("memcache://127.0.0.1:{}", proxy.port())).pool_size(1);
        (server, proxy, builder)
    }

    #[test]
    fn a_server_that_is_too_old_is_refused_with_its_version() {
        let (_server, proxy, builder) = start();
        for (says, version) in [
            ("STAT version 1.4.39\r\n", "1.4.39"),
            ("STAT version 1.6.9\r\n", "1.6.9"),
            ("STAT version 1.6.12\r\n", "1.6.12"),
            ("STAT version 1.5.22_5_g1234\r\n", "1.5.22_5_g1234"),
            ("STAT version 1.6.9-rc1\r\n", "1.6.9-rc1"),
        ] {
            proxy.set(instead_of("STAT version 1.6.18\r\n", says));
            let text = refused_for_good(builder.clone());
            let expected = format!("the server is memcached {version}, and 1.6.13 is the oldest that will do");
            assert!(text.contains(&expected), "{text}");
            proxy.set(instead_of("STAT version 1.6.18\r\n", says));
            let error = builder.clone().build().unwrap().put("k", "v-hush").unwrap_err();
            assert!(matches!(&error, Error::Backend(_)) && !error.outcome_unknown(), "{}", chain(&error));
            assert!(chain(&error).contains(&expected), "{}", chain(&error));
        }
        connected(builder);
    }

    #[test]
    fn a_newer_server_will_do() {
        let (_server, proxy, builder) = start();
        for says in ["1.6.13", "1.6.39", "1.6.100", "1.7.0-beta", "2.0", "unknown"] {
            let says = format!("STAT version {says}\r\n");
            proxy.set(instead_of("STAT version 1.6.18\r\n", says.leak()));
            connected(builder.clone());
        }
    }

    type Act = fn(&MemcacheStore) -> kv_memcache::Result<bool>;

    #[test]
    fn an_older_server_that_does_not_say_which_command_missed_is_believed() {
        for version in ["1.6.13", "1.6.15", "1.6.17"] {
            let (server, proxy, builder) = start();
            proxy.set(instead_of("STAT version 1.6.18\r\n", format!("STAT version {version}\r\n").leak()));
            let store = builder.contains(true).connect().unwrap();
            let misses: [(&str, Act); 6] = [
                ("EN", |store| store.get("absent").map(|value| value.is_some())),
                ("EN", |store| store.contains("absent")),
                ("EN", |store| store.ttl("absent").map(|ttl| ttl.is_some())),
                ("EN", |store| store.touch("absent", Ttl::Forever)),
                ("NF", |store| store.delete("absent")),
                ("NS", |store| store.create("present", "w")),
            ];
            store.put("present", "v").unwrap();
            for (code, act) in misses {
                proxy.set(without_tag(code));
                assert!(!act(&store).unwrap_or_else(|error| panic!("{version} {code}: {}", chain(&error))));
                // In step.
                assert_eq!(store.get("present").unwrap().as_deref(), Some(&b"v"[..]));
            }
            proxy.set(without_tag("EN"));
            let values = store.get_many(["absent", "present", "absent2", "present"]).unwrap();
            let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
            assert_eq!(values, [None, Some(&b"v"[..]), None, Some(b"v")]);
            works(&store);
            assert_eq!(proxy.accepted(), 1, "no connection was given up");
            // A hit has to say to which command it belongs, always.
            proxy.set(without_tag("VA 1"));
            let error = store.get("present").unwrap_err();
            assert!(matches!(&error, Error::Backend(_)), "{}", chain(&error));
            drop(server);
        }
    }

    /// But for a miss of a read, which a server with extstore may find out too late to know the number.
    #[test]
    fn a_server_that_says_which_command_missed_is_held_to_it() {
        let (_server, proxy, builder) = start();
        let store = builder.contains(true).connect().unwrap();
        for _ in 0..2 {
            proxy.set(without_tag("EN"));
            assert_eq!(store.get("absent").unwrap(), None);
            proxy.set(without_tag("EN"));
            let error = store.contains("absent").unwrap_err();
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
            assert!(text.contains("is not the reply to this request"), "{text}");
            works(&store);
            proxy.set(without_tag("NF"));
            let error = store.delete("absent").unwrap_err();
            assert!(matches!(&error, Error::Backend(_)) && error.outcome_unknown(), "{}", chain(&error));
            works(&store);
        }
        assert_eq!(proxy.accepted(), 1 + 4, "none was used again");
    }

    /// Takes the numbers of the commands from the replies with this code, at the beginnings of lines.
    fn without_tag(code: &'static str) -> Behaviour {
        Behaviour::Edit(Box::new(move |piece| {
            let text = String::from_utf8(piece.clone()).unwrap();
            let tagged = format!("{code} O");
            let line = |line: &str| if line.starts_with(&tagged) { format!("{code}\r\n") } else { line.to_owned() };
            let edited: String = text.split_inclusive("\r\n").map(line).collect();
            assert_ne!(edited, text, "there is no {tagged}");
            *piece = edited.into_bytes();
        }))
    }
}

mod builder {
    use super::*;

    #[track_caller]
    fn unfit(builder: MemcacheStoreBuilder, says: &str) {
        shows_no_secret(&format!("{builder:?} {builder:#?}"));
        for result in [builder.clone().build(), builder.connect()] {
            let error = result.unwrap_err();
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
            assert!(text.contains(says), "{says:?} is not in {text}");
        }
    }

    #[test]
    fn settings_that_are_of_no_use_are_refused() {
        let new = MemcacheStore::builder;
        unfit(new().servers(Vec::<String>::new()), "there is no URL");
        unfit(new().pool_size(0), "size of the pool");
        unfit(new().pool_size(70_000), "size of the pool");
        for limit in [Duration::ZERO, Duration::from_millis(1)] {
            unfit(new().pool_timeout(limit), "limits");
            unfit(new().connect_timeout(limit), "limits");
            unfit(new().response_timeout(limit), "limits");
        }
        for bytes in [0, 1, 1023, (1 << 30) + 1, u64::MAX] {
            unfit(new().largest_item(bytes), "1024 to 1073741824 bytes");
        }
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
        unfit(
            twice("memcache://cache.example", "memcache://Cache.Example:11211/"),
            "cache.example:11211 is there twice",
        );
        unfit(twice("memcache://[::1]", "memcache://[0:0:0:0:0:0:0:1]"), "is there twice");
        unfit(twice("memcache:///a/b", "memcache:///a/%62"), "is there twice");
        let secret = "memcache://a:hush@127.0.0.1";
        unfit(twice(secret, secret), "is there twice");
        twice("memcache://cache.example:1", "memcache://cache.example:2").build().unwrap();
    }

    #[test]
    fn nothing_goes_in_clear_or_to_whom_it_is_not_for() {
        let differ = "differ in TLS, user or password";
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
        // The builder's are for all.
        let one = ["memcache://u:hush@127.0.0.1:1", "memcache://127.0.0.1:2"];
        MemcacheStore::builder().servers(one).credentials("u", "hush").build().unwrap();
        let mixed = ["memcache://127.0.0.1:1", "memcache+tls://127.0.0.1:2"];
        unfit(MemcacheStore::builder().servers(mixed).credentials("u", "hush"), differ);
    }

    #[test]
    fn a_url_that_is_none_is_refused_and_not_shown() {
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
            unfit(MemcacheStore::builder().url(url), "the URL is of no use: ");
            let text = MemcacheStore::builder().url(url).build().unwrap_err().to_string();
            assert!(url.is_empty() || !text.contains(url), "{text}");
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
            // The server takes what is before a space for all of it.
            ("u", "two hush"),
            ("u", " hush"),
            ("u", "hush "),
        ] {
            let says = if user == "u" { "password" } else { "the user" };
            unfit(MemcacheStore::builder().credentials(user, password), says);
        }
    }
}

mod capabilities {
    use super::*;

    #[test]
    fn a_store_says_what_it_can_do() {
        let server = Memcached::start(&[]);
        let store = patient().url(server.url()).connect().unwrap();
        let lacking = |store: &MemcacheStore| {
            let capabilities = store.capabilities();
            Capability::ALL.iter().copied().filter(|&one| !capabilities.supports(one)).collect::<Vec<_>>()
        };
        assert_eq!(lacking(&store), [Capability::Listing, Capability::Contains]);
        let with = patient().url(server.url()).contains(true).connect().unwrap();
        assert_eq!(lacking(&with), [Capability::Listing]);
        let without = patient().url(server.url()).contains(true).contains(false).connect().unwrap();
        assert_eq!(lacking(&without), [Capability::Listing, Capability::Contains]);
        let capabilities = store.capabilities();
        let resolution = capabilities.ttl_resolution();
        assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&resolution), "{resolution:?}");
        let days = capabilities.longest_ttl().as_secs() / 86_400;
        assert!(days >= 29 && capabilities.longest_ttl().subsec_nanos() == 0, "{days} days");
    }

    /// Item, key and 59 bytes: for the longest key, that is 309 less than `-I`.
    #[test]
    fn the_largest_value_is_what_the_server_takes() {
        const LESS: u64 = 59 + 250;
        let of = |store: MemcacheStore| store.capabilities().largest_value();
        for (option, bytes) in [("512k", 512 << 10), ("1m", 1 << 20), ("2m", 2 << 20), ("8m", 8 << 20)] {
            let server = Memcached::start(&["-I", option]);
            let builder = || patient().url(server.url());
            assert_eq!(of(builder().connect().unwrap()), Some(bytes - LESS), "{option}");
            // Without asking it is what memcached takes by default.
            assert_eq!(of(builder().build().unwrap()), Some((1 << 20) - LESS), "{option}");
            // What is given counts, unless the server takes less.
            for given in [1024, 100_000, bytes, 100 << 20] {
                let given_to = || builder().largest_item(given);
                assert_eq!(of(given_to().build().unwrap()), Some(given - LESS), "{option}, {given}");
                assert_eq!(of(given_to().connect().unwrap()), Some(given.min(bytes) - LESS), "{option}, {given}");
            }
        }
    }

    #[test]
    fn of_several_servers_the_least_counts() {
        let servers = [Memcached::start(&["-I", "2m"]), Memcached::start(&["-I", "512k"]), Memcached::start(&[])];
        let store = patient().servers(servers.iter().map(Memcached::url)).connect().unwrap();
        assert_eq!(store.capabilities().largest_value(), Some((512 << 10) - 309));
    }

    #[test]
    fn what_debug_shows_is_of_use_and_no_secret() {
        let server = Memcached::start_as(Kind::WithPassword, &[]);
        let builder = patient().url(server.url()).default_ttl(Duration::from_secs(77)).largest_item(345_678);
        let builder = builder.credentials(USER, PASSWORD);
        let store = builder.clone().connect().unwrap();
        for shown in [format!("{builder:?}"), format!("{builder:#?}"), format!("{store:?}"), format!("{store:#?}")] {
            shows_no_secret(&shown);
            for part in [&server.port().to_string(), "127.0.0.1", "77s", "345678", "20s", "hidden"] {
                assert!(shown.contains(part), "{part} is not in {shown}");
            }
        }
        works(&store);
    }

    #[test]
    fn what_cannot_be_done_is_not_done() {
        let server = Memcached::start(&[]);
        for contains in [false, true] {
            let store = patient().url(server.url()).contains(contains).connect().unwrap();
            store.put("k", "v").unwrap();
            let before = server.stat("bytes_read");
            let mut errors = vec![
                (Capability::Listing, store.keys("").unwrap_err()),
                (Capability::Listing, store.keys("k").unwrap_err()),
                (Capability::Listing, store.prefixes("/", "").unwrap_err()),
                (Capability::Listing, store.prefixes("/", "k").unwrap_err()),
            ];
            if !contains {
                errors.push((Capability::Contains, store.contains("k").unwrap_err()));
                errors.push((Capability::Contains, store.contains("absent").unwrap_err()));
            }
            for (what, error) in errors {
                assert!(matches!(&error, Error::Unsupported { operation, .. } if *operation == what), "{error}");
                assert_eq!(error.to_string(), format!("{} does not support {what}", server.url()));
                assert!(!error.is_transient() && !error.outcome_unknown() && error.source().is_none());
            }
            // Two questions of seven bytes.
            let sent = server.stat("bytes_read") - before;
            assert!(sent <= 14, "{sent}");
            assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        }
        // What is no prefix or key is said first.
        let store = patient().url(server.url()).connect().unwrap();
        assert!(matches!(store.keys("with space").unwrap_err(), Error::InvalidKey(_)));
        assert!(matches!(store.contains("").unwrap_err(), Error::InvalidKey(_)));
    }

    #[test]
    fn contains_is_answered_without_the_value_and_without_an_effect() {
        const SIZE: usize = 900_000;
        let server = Memcached::start(&[]);
        let store = patient().url(server.url()).contains(true).connect().unwrap();
        let mut raw = server.connection();
        assert!(!store.contains("k").unwrap());
        store.put_with_ttl("k", vec![b'x'; SIZE], Duration::from_secs(1000)).unwrap();
        let (sent, gets) = (server.stat("bytes_written"), server.stat("cmd_get"));
        for _ in 0..10 {
            assert!(store.contains("k").unwrap());
            assert!(!store.contains("kk").unwrap());
        }
        assert_eq!(server.stat("cmd_get") - gets, 20);
        let sent = server.stat("bytes_written") - sent;
        assert!(sent < SIZE as u64 / 10, "{sent}");
        let left: u64 = raw.ask(b"mg k t\r\n").unwrap().strip_prefix("HD t").unwrap().parse().unwrap();
        assert!((900..=1002).contains(&left), "{left}");
        store.put("empty", "").unwrap();
        assert!(store.contains("empty").unwrap());
        assert!(store.delete("k").unwrap());
        assert!(!store.contains("k").unwrap());
        store.put_with_ttl("k", "v", Duration::ZERO).unwrap();
        assert!(!store.contains("k").unwrap());
    }
}

/// Every way in which a store can be configured and fail, and nothing of what it shows has a secret in it: `chain` looks at
/// all that it gets.
#[test]
fn no_secret_is_shown() {
    let server = Memcached::start_as(Kind::WithPassword, &["--memory-limit=8", "--disable-evictions"]);
    let store = connected(patient().url(server.url()));
    let value = "v-hush".repeat(1000);
    let large = "v-hush".repeat(100_000);
    let mut errors = vec![
        store.put("k", "hush".repeat(1 << 19)).unwrap_err(),
        store.put_with_ttl("k", &*value, Duration::MAX).unwrap_err(),
        store.copy("absent", "k").unwrap_err(),
        store.open("absent").unwrap_err(),
        store.put_from("k", "hush".repeat(1 << 19).as_bytes()).unwrap_err(),
        (0..100).find_map(|number| store.put(format!("k{number}"), &*large).err()).unwrap(),
        store.put_many([("m", &*large), ("n", &*large)]).unwrap_err(),
        store.create("o", &*large).unwrap_err(),
    ];
    let hurried = MemcacheStore::builder().url(server.url()).response_timeout(Duration::from_millis(50));
    let in_use = connected(hurried.clone().response_timeout(Duration::from_secs(1)));
    server.pause();
    errors.push(hurried.connect_timeout(Duration::from_millis(50)).connect().unwrap_err());
    errors.push(in_use.put("k", &*value).unwrap_err());
    server.resume();
    server.kill();
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.get_many(["k"]).unwrap_err());
    for error in errors {
        assert!(!chain(&error).is_empty());
    }
}
