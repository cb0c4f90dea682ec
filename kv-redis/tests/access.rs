//! Who gets in, and how: TLS, users and passwords, unix sockets. And that no secret gets out.

#![cfg(unix)]
#![cfg(feature = "tls")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::error::Error as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls, Ttl};

mod support;
use support::{PATIENCE, Redis, TlsClients};

/// The limit for connecting of a store that nobody told otherwise, a second, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(1000 + 1500);

/// In every password here.
const HUSH: &str = "hush";

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// That a text shows no password, and nothing of a private key, in whatever form.
#[track_caller]
fn shows_no_secret(shown: &str) {
    for secret in [HUSH, "PRIVATE KEY", "%68ush", "104, 117, 115, 104"] {
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
fn refused(builder: RedisStoreBuilder) -> (Error, String) {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let begin = Instant::now();
    let error = builder.connect().unwrap_err();
    let took = begin.elapsed();
    let text = chain(&error);
    assert!(took < WITHIN, "{took:?}: {text}");
    (error, text)
}

#[track_caller]
fn works(store: &RedisStore) {
    shows_no_secret(&format!("{store:?} {store:#?}"));
    // Not in a closure, so that the caller is named.
    if let Err(error) = store.put("works", "v") {
        panic!("{}", chain(&error));
    }
    assert_eq!(store.get("works").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(store.delete("works").unwrap());
}

/// With all but slashes encoded.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect::<Vec<_>>().concat()
}

fn connections(redis: &Redis) -> u64 {
    redis.info("total_connections_received").unwrap().parse().unwrap()
}

mod tls {
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

    /// The authorities of the operating system are read once for a process: so each case is one of its own.
    #[test]
    fn without_an_authority_those_of_the_system_count() {
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
                            matches!(error, Error::Backend(_)) && text.contains("no certificate authority"),
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
            command.args(["--exact", "tls::without_an_authority_those_of_the_system_count", "--nocapture"]);
            command.env("SSL_CERT_FILE", path).env_remove("SSL_CERT_DIR");
            let output = command.env(URL, redis.tls_url()).env(EXPECT, expected).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{expected}: {text}");
        }
        // Whatever this machine trusts, it is not the tests' authority.
        let (error, text) = refused(RedisStore::builder().url(redis.tls_url()));
        assert!(matches!(error, Error::Unavailable(_) | Error::Backend(_)) && text.contains("certificate"), "{text}");
    }

    #[test]
    fn a_server_that_wants_a_certificate_lets_in_who_has_one() {
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
        // What the server says comes after the handshake, together with the end of the connection: it may get lost, but not
        // always.
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
    fn who_takes_one_kind_of_port_for_the_other_is_refused_in_time() {
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
            // Redis waits for the end of what it takes for a line, and says nothing.
            assert!(matches!(&error, Error::Timeout(_)) && error.is_transient(), "{text}");
            assert!(text.contains("(`connect_timeout`): the TLS handshake did not"), "{text}");
            assert!(text.contains("perhaps the server does not speak TLS (`redis://`)"), "{text}");
        }
        let url = |scheme| format!("{scheme}://localhost:{}", redis.tls_port());
        works(&RedisStore::builder().url(url("rediss")).tls(trusting(&redis)).connect().unwrap());
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused_before_anything_is_sent_and_not_shown() {
        if !crate::support::has_tls() {
            return;
        }
        let redis = Redis::start_tls(TlsClients::WithCertificate, &[]);
        let all = redis.certificates();
        let (certificate, key) = (all.client.certificate.as_str(), all.client.key.as_str());
        // A key that is none, with a part of a real one.
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
            // That of another one.
            ("key", identity(certificate, &all.stranger.key)),
            ("key", identity(certificate, &all.server.key)),
        ];
        let before = connections(&redis);
        for (number, (culprit, tls)) in cases.into_iter().enumerate() {
            let builder = RedisStore::builder().url(redis.tls_url()).tls(tls.clone());
            let Err(error) = builder.clone().build() else { panic!("{number}: {tls:?} is taken") };
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{number}: {text}");
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
        let sizes =
            (0..=24).map(|power| 1_usize << power >> 1).flat_map(|size| [size.saturating_sub(1), size, size + 1]);
        for size in sizes.filter(|&size| size <= 8 << 20) {
            // Not to be compressed, and with its position in it.
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
        // And in the middle of nothing: the connection is a second old when it is used next.
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
        // One in use, and a new one.
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
}

mod users {
    use super::*;

    fn add_user(redis: &Redis, user: &str, rules: &[&str]) {
        redis.command(&[&["ACL", "SETUSER", user, "reset", "on", ">user-hush"], rules].concat());
    }

    fn of_user(redis: &Redis, user: &str) -> RedisStoreBuilder {
        RedisStore::builder().url(format!("redis://{user}:user-hush@{}", redis.address()))
    }

    type Act = fn(&RedisStore) -> Result<(), Error>;

    /// Every operation, with the command that it needs.
    const ACTS: [(&str, &str, Act); 14] = [
        ("get", "get", |store| store.get("k").map(drop)),
        ("put", "set", |store| store.put("k", "v-hush")),
        ("put_with_ttl", "set", |store| store.put_with_ttl("k", "v-hush", Duration::from_secs(9))),
        ("create", "set", |store| store.create("k", "v-hush").map(drop)),
        ("delete", "del", |store| store.delete("k").map(drop)),
        ("contains", "exists", |store| store.contains("k").map(drop)),
        ("ttl", "pttl", |store| store.ttl("k").map(drop)),
        ("touch", "pexpire", |store| store.touch("k", Duration::from_secs(9)).map(drop)),
        ("keys", "scan", |store| store.keys("").and_then(|mut keys| keys.find_map(Result::err).map_or(Ok(()), Err))),
        ("get_many", "mget", |store| store.get_many(["k", "l"]).map(drop)),
        ("put_many", "set", |store| store.put_many([("k", "v-hush"), ("l", "v-hush")])),
        ("delete_many", "del", |store| store.delete_many(["k", "l"]).map(drop)),
        ("copy", "copy", |store| store.copy("k", "l")),
        ("rename", "rename", |store| store.rename("k", "l")),
    ];

    #[track_caller]
    fn is_not_allowed(name: &str, result: Result<(), Error>) {
        let Err(error) = result else { panic!("{name} is allowed") };
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)), "{name}: {text}");
        assert!(!error.is_transient() && !error.outcome_unknown(), "{name}: {text}");
        assert!(text.contains("not allowed") && text.contains("NOPERM"), "{name}: {text}");
    }

    #[test]
    fn what_a_user_may_not_do_is_said_and_the_rest_works() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        redis.command(&["SET", "k", "v"]);
        // Where there is no such command it is done by others.
        let has_copy = support::is_since((6, 2, 0));
        for (name, command, act) in ACTS.into_iter().filter(|(name, ..)| *name != "copy" || has_copy) {
            add_user(&redis, "app", &["~*", "+@all", &format!("-{command}")]);
            let store = of_user(&redis, "app").pool_size(1).connect().unwrap();
            redis.command(&["SET", "k", "v"]);
            let before = connections(&redis);
            match command {
                // A script does it, too.
                "copy" => act(&store).unwrap(),
                _ => is_not_allowed(name, act(&store)),
            }
            // The others are, on the same connection.
            let is_needed_by = |other: &str| {
                other == command || !has_copy && other == "copy" && ["get", "pttl", "set"].contains(&command)
            };
            let others: Vec<_> = ACTS.into_iter().filter(|(_, other, _)| !is_needed_by(other)).collect();
            for (other, _, act) in &others {
                redis.command(&["SET", "k", "v"]);
                act(&store).unwrap_or_else(|error| panic!("{other} without {command}: {}", chain(&error)));
            }
            let ours = connections(&redis) - before;
            assert_eq!(ours, others.len() as u64 + 1, "{name}");
        }
    }

    /// It is a transaction: whatever part of it is not allowed, that is what the error says.
    #[test]
    fn touch_for_ever_without_a_permission_says_so() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        for command in ["persist", "exists", "multi", "exec", "@transaction"] {
            redis.command(&["SET", "k", "v", "EX", "1000"]);
            add_user(&redis, "app", &["~*", "+@all", &format!("-{command}")]);
            let store = of_user(&redis, "app").connect().unwrap();
            is_not_allowed(&format!("touch without {command}"), store.touch("k", Ttl::Forever).map(drop));
            // What is left of the transaction does no harm to the next one.
            assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
            store.put_many([("l", "1"), ("m", "2")]).unwrap();
            assert_eq!(redis.command(&["GET", "m"]), redis::Value::BulkString("2".into()));
        }
    }

    #[test]
    fn a_user_may_have_the_keys_of_a_namespace() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        redis.command(&["SET", "k", "other"]);
        redis.command(&["SET", "shops:k", "other"]);
        add_user(&redis, "app", &["~shop:*", "+@all"]);
        let store = of_user(&redis, "app").namespace("shop").connect().unwrap();
        works(&store);
        for (name, _, act) in ACTS {
            store.put("k", "v").unwrap();
            act(&store).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        }
        store.put("k", "v").unwrap();
        assert!(store.touch("k", Ttl::Forever).unwrap());
        store.delete("l").unwrap();
        assert_eq!(store.keys("").unwrap().map(|key| key.unwrap().to_string()).collect::<Vec<_>>(), ["k"]);
        // Without the namespace, or in another one, no key is.
        for namespace in ["", "shops"] {
            let store = of_user(&redis, "app").namespace(namespace).connect().unwrap();
            for (name, _, act) in ACTS.into_iter().filter(|&(name, ..)| name != "keys") {
                is_not_allowed(name, act(&store));
            }
            is_not_allowed("touch for ever", store.touch("k", Ttl::Forever).map(drop));
        }
        assert_eq!(redis.command(&["GET", "k"]), redis::Value::BulkString("other".into()));
    }

    #[test]
    fn a_batch_that_is_allowed_in_part_is_refused() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        add_user(&redis, "app", &["~mine-*", "+@all"]);
        let store = of_user(&redis, "app").pool_size(1).connect().unwrap();
        let keys = ["mine-1", "foreign", "mine-2"];
        is_not_allowed("put_many", store.put_many(keys.map(|key| (key, "v"))));
        is_not_allowed("get_many", store.get_many(keys).map(drop));
        is_not_allowed("delete_many", store.delete_many(keys).map(drop));
        is_not_allowed("copy", store.copy("mine-1", "foreign"));
        is_not_allowed("rename", store.rename("mine-1", "foreign"));
        // The next one's replies are its own.
        store.put_many([("mine-1", "1"), ("mine-2", "2")]).unwrap();
        let values = store.get_many(["mine-2", "mine-3", "mine-1"]).unwrap();
        assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), [Some(&b"2"[..]), None, Some(b"1")]);
    }

    #[test]
    fn who_may_not_ask_for_info_works_all_the_same() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        add_user(&redis, "app", &["~*", "+@all", "-info"]);
        let store = of_user(&redis, "app").page_size(10).connect().unwrap();
        works(&store);
        for (name, _, act) in ACTS {
            store.put("k", "v").unwrap();
            act(&store).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        }
        store.put_many((0..100).map(|number| (format!("many{number}"), ""))).unwrap();
        assert_eq!(store.keys("many").unwrap().map(Result::unwrap).count(), 100);
    }

    #[test]
    fn who_has_no_password_or_a_wrong_one_is_told() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&["--requirepass", "server0hush"]);
        add_admin(&redis);
        works(&RedisStore::connect(redis.url()).unwrap());
        let without = format!("redis://{}", redis.address());
        works(&RedisStore::builder().url(&without).password("server0hush").connect().unwrap());
        works(&RedisStore::builder().url(&without).username("default").password("server0hush").connect().unwrap());
        // What the builder says counts.
        works(
            &RedisStore::builder()
                .url(format!("redis://:no-hush@{}", redis.address()))
                .password("server0hush")
                .connect()
                .unwrap(),
        );

        let (error, text) = refused(RedisStore::builder().url(&without));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
        assert!(text.contains("NOAUTH") && text.contains("password"), "{text}");
        let wrong = [
            RedisStore::builder().url(&without).password("wrong-hush"),
            RedisStore::builder().url(redis.url().replace("server0hush", "wrong-hush")),
            RedisStore::builder().url(redis.url().replace("redis://:", "redis://nobody:")),
            RedisStore::builder().url(redis.url()).password("wrong-hush"),
            RedisStore::builder().url(redis.url()).username("hush-user"),
            RedisStore::builder().url(redis.unix_url().replace("server0hush", "wrong-hush")),
        ];
        for builder in wrong {
            let (error, text) = refused(builder);
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
            assert!(text.contains("WRONGPASS") && text.contains("does not accept"), "{text}");
        }
        // A password that nobody asked for.
        let open = Redis::start(&[]);
        let (error, text) = refused(RedisStore::builder().url(open.url()).password("unasked-hush"));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
        assert!(text.contains("password"), "{text}");
    }

    fn add_admin(redis: &Redis) {
        add_user(redis, "admin", &["~*", "+@all"]);
    }

    #[test]
    fn a_user_without_a_password_is_refused_before_anything_is_sent() {
        let redis = Redis::start(&[]);
        let before = connections(&redis);
        let builders = [
            RedisStore::builder().url(format!("redis://hush@{}", redis.address())),
            RedisStore::builder().url(redis.url()).username("hush"),
            RedisStore::builder().url(format!("{}&user=hush", redis.unix_url())),
        ];
        for builder in builders {
            let error = builder.build().unwrap_err();
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && text.contains("without a password"), "{text}");
        }
        assert_eq!(connections(&redis), before + 1, "only this one");
        // A user of whom none is wanted takes any.
        if !support::is_since((6, 0, 0)) {
            return;
        }
        redis.command(&["ACL", "SETUSER", "anyone", "reset", "on", "nopass", "~*", "+@all"]);
        for password in ["", "any-hush"] {
            works(&RedisStore::builder().url(redis.url()).username("anyone").password(password).connect().unwrap());
        }
    }

    #[test]
    fn passwords_and_users_may_have_any_characters() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        let passwords =
            ["p@ss:w/o?r#d hush", "%41hush%", "hush&pass=x;=+ \"'\\", "hüsh-hush-ß-☃", "a+b hush", "{hush}[|]^`<>"];
        for (number, password) in passwords.into_iter().enumerate() {
            let user = format!("us@er:/?#&%+ü{number}").replace(' ', "");
            redis.command(&["ACL", "SETUSER", &user, "reset", "on", &format!(">{password}"), "~*", "+@all"]);
            let (at, socket) = (redis.address(), redis.unix_url());
            let (in_user, in_password) =
                [&*user, password].map(|text| percent_encoded(text).replace('/', "%2F")).into();
            let builders = [
                RedisStore::builder().url(format!("redis://{in_user}:{in_password}@{at}/1")),
                RedisStore::builder().url(format!("{socket}&user={in_user}&pass={in_password}")),
                RedisStore::builder().url(redis.url()).username(&user).password(password),
                RedisStore::builder().url(socket).username(&user).password(password),
            ];
            for builder in builders {
                for shown in [format!("{builder:?}"), format!("{:?}", builder.clone().build().unwrap())] {
                    assert!(!shown.contains(password) && !shown.contains(&in_password), "{shown}");
                    shows_no_secret(&shown);
                }
                let store = builder.clone().connect();
                works(&store.unwrap_or_else(|error| panic!("{user} {password}: {}", chain(&error))));
                // Nearly it.
                let (_, text) = refused(builder.password(format!("{password}x")));
                assert!(text.contains("WRONGPASS"), "{text}");
            }
        }
    }

    #[test]
    fn a_password_that_comes_up_later_is_asked_of_new_connections() {
        let redis = Redis::start(&[]);
        let store = RedisStore::builder().url(redis.url()).pool_size(1).connect().unwrap();
        works(&store);
        redis.command(&["CONFIG", "SET", "requirepass", "later-hush"]);
        // The one that is open is in, since redis 6.
        if support::is_since((6, 0, 0)) {
            works(&store);
            thread::sleep(Duration::from_millis(1100));
            works(&store);
        }
        // One of the kind that the support makes would be refused.
        let admin = RedisStore::builder().url(redis.url()).password("later-hush");
        works(&admin.connect().unwrap());
        let client = redis::Client::open(format!("redis://:later-hush@{}", redis.address())).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("CLIENT")
            .arg("KILL")
            .arg("TYPE")
            .arg("NORMAL")
            .arg("SKIPME")
            .arg("YES")
            .exec(&mut connection)
            .unwrap();
        thread::sleep(Duration::from_millis(1100));
        for result in [
            store.put("k", "v"),
            store.get("k").map(drop),
            store.keys("").and_then(|mut keys| keys.next().map_or(Ok(()), |key| key.map(drop))),
        ] {
            let error = result.unwrap_err();
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
            assert!(text.contains("NOAUTH") && text.contains("password"), "{text}");
        }
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("").exec(&mut connection).unwrap();
        works(&store);
    }

    #[test]
    fn a_user_who_is_removed_or_locked_out_is_told() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        add_admin(&redis);
        let store = of_user(&redis, "admin").connect().unwrap();
        works(&store);
        // It closes his connections.
        redis.command(&["ACL", "DELUSER", "admin"]);
        thread::sleep(Duration::from_millis(1100));
        let error = store.get("k").unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains("WRONGPASS"), "{text}");
        add_admin(&redis);
        works(&store);
    }
}

mod sockets {
    use super::*;

    #[test]
    fn a_path_may_have_any_characters() {
        let redis = Redis::start(&[]);
        let folder = tempfile::Builder::new().prefix("kv").tempdir_in("/tmp").unwrap();
        for name in ["with space", "ümläut ß", "per%cent%20", "hash#and?query&plus+", "semi;colon=@:"] {
            let path = folder.path().join(name);
            symlink(redis.server().sandbox().dir().join("redis.sock"), &path).unwrap();
            let encoded = percent_encoded(path.to_str().unwrap());
            for scheme in ["redis+unix", "unix"] {
                let store = RedisStore::connect(format!("{scheme}://{encoded}?db=3"));
                works(&store.unwrap_or_else(|error| panic!("{name}: {}", chain(&error))));
            }
        }
    }

    #[test]
    fn the_database_is_chosen() {
        let redis = Redis::start(&[]);
        let [zero, seven] = [0, 7].map(|number| RedisStore::connect(redis.unix_url_of_database(number)).unwrap());
        let by_builder = RedisStore::builder().url(redis.unix_url()).database(7).connect().unwrap();
        let by_tcp = RedisStore::connect(redis.url_of_database(7)).unwrap();
        seven.put("k", "seven").unwrap();
        assert_eq!(zero.get("k").unwrap(), None);
        for store in [&by_builder, &by_tcp] {
            assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"seven"[..]));
        }
        // Not only the first connection.
        redis.command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
        thread::sleep(Duration::from_millis(1100));
        assert_eq!(seven.get("k").unwrap().as_deref(), Some(&b"seven"[..]));
        let (error, text) = refused(RedisStore::builder().url(redis.unix_url()).database(20_000));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains("DB index"), "{text}");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.sock");
        let url = |path: &str| RedisStore::builder().url(format!("redis+unix://{path}"));
        let (error, text) = refused(url(path.to_str().unwrap()));
        assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
        assert!(text.contains("absent.sock") && text.contains("No such file"), "{text}");
        // A file that is none.
        fs::write(&path, "").unwrap();
        let (error, text) = refused(url(path.to_str().unwrap()));
        assert!(matches!(&error, Error::Unavailable(_)) && text.contains("refused"), "{text}");
        let long = format!("/{}", "l".repeat(200));
        let (_, text) = refused(url(&long));
        assert!(text.contains("SUN_LEN") || text.contains("too long"), "{text}");
    }

    /// The connection that is there is used, however many there may be.
    #[test]
    fn one_thread_makes_one_connection() {
        const STORES: usize = 20;
        let redis = Redis::start(&[]);
        let before = connections(&redis);
        // Several at a time, as on a busy machine.
        thread::scope(|scope| {
            for _ in 0..STORES {
                scope.spawn(|| {
                    let store = patient().url(redis.unix_url()).pool_size(50).connect().unwrap();
                    for number in 0..100 {
                        store.put("k", number.to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(connections(&redis) - before, STORES as u64 + 1, "one for each store, and this one");
    }

    #[test]
    fn a_server_that_comes_later_is_used_then() {
        let redis = Redis::start(&[]);
        let store = RedisStore::builder().url(redis.unix_url()).build().unwrap();
        redis.stop();
        let error = store.get("k").unwrap_err();
        assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
        redis.restart();
        works(&store);
        redis.kill();
        redis.restart();
        thread::sleep(Duration::from_millis(1100));
        works(&store);
    }
}

/// Every way in which a store can be configured and fail, and nothing of what it shows has a secret in it: `chain`,
/// `refused` and `works` look at all that they get.
#[test]
fn no_secret_is_shown() {
    let limit: &[&str] = if support::is_since((4, 0, 0)) { &["--proto-max-bulk-len", "1mb"] } else { &[] };
    let redis = Redis::start(&[&["--requirepass", "server0hush"], limit].concat());
    let store = patient().url(redis.url()).largest_value(1 << 20).connect().unwrap();
    works(&store);
    let urls = [
        "hush",
        "redis://user:p-hush@host:port",
        "redis://user:p-hush@host/first-hush",
        "redis://p-hush@host",
        "http://user:p-hush@host",
        "redis://:p-hush@",
        "rediss://user:p-hush@host/#insecure",
        "redis+unix://relative-hush?pass=p-hush",
        "redis+unix:///path?db=hush&pass=p-hush",
        "redis://user:p-hush@host/0?protocol=hush",
        "redis://user:p-%68ush%@host:1:2",
    ];
    for url in urls {
        let builder = RedisStore::builder().url(url);
        shows_no_secret(&format!("{builder:?} {builder:#?}"));
        if let Err(error) = builder.build() {
            chain(&error);
        }
    }
    // A value is no less a secret (E3).
    let value = "v-hush".repeat(1000);
    redis.command(&["HSET", "hash", "field", &value]);
    let mut errors = vec![store.get("hash").unwrap_err(), store.get_into("hash", Vec::new()).unwrap_err()];
    errors.push(store.put("large", "hush".repeat(1 << 19)).unwrap_err());
    errors.push(store.put_with_ttl("k", &*value, Duration::MAX).unwrap_err());
    errors.push(store.copy("absent", "k").unwrap_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.put_many([("k", &*value), ("l", &*value)]).unwrap_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    // A command that is not there: the server repeats its arguments.
    let has_users = support::is_since((6, 0, 0));
    if has_users {
        redis.command(&["ACL", "SETUSER", "app", "reset", "on", ">user-hush", "~*", "+@all", "-set"]);
        let app = RedisStore::builder().url(redis.url()).username("app").password("user-hush").connect().unwrap();
        shows_no_secret(&format!("{app:?}"));
        errors.push(app.put("k", &*value).unwrap_err());
    }
    redis.pause();
    let hurried = RedisStore::builder().url(redis.url()).response_timeout(Duration::from_millis(50));
    errors.push(hurried.clone().connect_timeout(Duration::from_millis(50)).connect().unwrap_err());
    redis.resume();
    let hurried = hurried.connect().unwrap();
    redis.pause();
    errors.push(hurried.put("k", &*value).unwrap_err());
    redis.resume();
    redis.kill();
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.get_many(["k"]).unwrap_err());
    assert_eq!(errors.len(), if has_users { 12 } else { 11 });
    for error in errors {
        assert!(!chain(&error).is_empty());
    }
}

/// A command that a server does not have: it repeats the arguments, the value among them.
#[test]
fn a_server_that_does_not_know_a_command_does_not_give_the_value_away() {
    let redis = Redis::start(&["--rename-command", "SET", "", "--rename-command", "AUTH", ""]);
    let store = RedisStore::connect(redis.url()).unwrap();
    for error in [store.put("k", "v-hush").unwrap_err(), store.put_many([("k", "v-hush")]).unwrap_err()] {
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && text.contains("unknown command"), "{text}");
    }
    let (error, text) = refused(RedisStore::builder().url(redis.url()).password("p-hush"));
    assert!(matches!(&error, Error::Backend(_)) && text.contains("unknown command"), "{text}");
}
