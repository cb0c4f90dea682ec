//! Who a store is to its servers: where user and password come from, what a server says to them, and which errors name whom.

#![cfg(unix)]
#![cfg(all(feature = "tls", feature = "cluster", feature = "sentinel"))]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kv_redis::{Credentials, Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls};

mod support;
use support::{PATIENCE, Redis, TlsClients, chain};

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn on(url: impl Into<String>) -> RedisStoreBuilder {
    patient().url(url)
}

#[track_caller]
fn works(builder: RedisStoreBuilder) {
    match builder.connect() {
        Ok(store) => store.put("k", "v").unwrap(),
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// That no store is to be had, and the words that say why.
#[track_caller]
fn says(builder: &RedisStoreBuilder, words: &str) -> Error {
    let error = builder.clone().connect().unwrap_err();
    let text = chain(&error);
    assert!(text.contains(words), "{words:?} is not in {text}");
    assert!(!format!("{builder:?} {error:?} {text}").contains("hush"), "{builder:?} {error:?} {text}");
    error
}

mod settings {
    use super::*;

    #[test]
    fn what_the_url_says_and_what_the_builder_says_are_looked_at_together() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&["--requirepass", "default-hush"]);
        redis.command(&["ACL", "SETUSER", "app", "on", ">app-hush", "~*", "+@all"]);
        let (at, socket) = (redis.address(), redis.socket().display().to_string());
        works(on(format!("redis://app@{at}")).password("app-hush"));
        works(on(format!("redis://:app-hush@{at}")).username("app"));
        works(on(format!("redis://app:no-hush@{at}")).password("app-hush"));
        works(on(format!("redis://no-hush:no-hush@{at}")).username("app").password("app-hush"));
        works(on(format!("redis://:@{at}")).password("default-hush"));
        works(on(format!("redis+unix://{socket}?user=app")).password("app-hush"));
        works(on(format!("unix://{socket}?pass=app-hush")).username("app").database(3));
        works(on(format!("redis://:default-hush@{at}/999999")).database(3));
        says(&on(format!("redis://app@{at}")), "the URL cannot be used: it has a user without a password");
        says(&on(format!("redis://app:@{at}")), "the URL cannot be used: it has a user without a password");
        says(
            &on(format!("redis+unix://{socket}?user=app")),
            "the URL cannot be used: it has a user without a password",
        );
        says(&on(format!("redis://{at}")).username("app"), "`username` is a user without a password");
        says(&on(format!("redis://{at}")).username("").password("hush"), "`username` is empty");
        says(&on(format!("redis://:hush@{at}")).password(""), "`password` is empty");
        says(&on(format!("redis://:app-hush@{at}")).username("app").password(""), "WRONGPASS");
        says(&on(format!("redis://:default-hush@{at}/999999")), "no database of this number");
    }

    #[test]
    fn so_are_those_of_several_servers() {
        let cluster = |urls: [&str; 2]| RedisStore::builder().cluster(urls);
        cluster(["redis://app@h1", "redis://h2"]).username("app").password("hush").build().unwrap();
        cluster(["redis://app@h1", "redis://app@h2"]).password("hush").build().unwrap();
        says(&cluster(["redis://:hush@h1", "redis://h2/x"]), "the URL cannot be used (number 2 of 2): ");
        says(
            &cluster(["redis://app@h1", "redis://app@h2"]),
            "the URL cannot be used (number 1 of 2): it has a user without a password",
        );
        says(
            &cluster(["redis://app@h1", "redis://h2"]).password("hush"),
            "differ in TLS (`rediss://`), user or password",
        );
        says(&cluster(["redis://h1/1", "redis://h2"]), "a cluster has only the database 0");
        let sentinels = |service: &str, url: &str| RedisStore::builder().sentinels(service, [url, "redis://h2:26379"]);
        sentinels("mymaster", "redis://h:26379/0").database(2).password("hush").build().unwrap();
        says(&sentinels("mymaster", "redis://h:26379/2"), "`database` of the builder");
        says(&sentinels("mymaster", "redis://h:26379/2").database(2), "a sentinel (number 1 of 2) names a database");
        says(&sentinels("mymaster", "redis://app@h:26379").password("hush"), "those of the primary");
        says(&sentinels("mymaster", "redis://h:26379").username("app"), "those of the primary");
        says(&sentinels("redis://:hush@h", "redis://h"), "name of the primary");
        says(&sentinels("mymaster,password=hush", "redis://h"), "name of the primary");
        says(&sentinels("", "redis://h"), "name of the primary");
    }
}

mod refusals {
    use super::*;

    /// A password is hidden where a server repeats it. Where it is just a part of the server's own words, it is not.
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
        for password in ["A", "S", "WRONGPASS", "password", "user", "disabled", "invalid username-password pair", "ERR"]
        {
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
    fn a_server_that_takes_no_more_connections_is_told_apart_from_one_that_wants_tls() {
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

    /// Somebody who says this at once to whoever connects, and closes.
    fn closing(words: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://:hush@{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Closed with what has come unread, which resets the connection.
                let _ = stream.and_then(|mut stream| stream.write_all(words.as_bytes()));
            }
        });
        url
    }

    #[test]
    fn what_a_server_says_before_it_closes_is_told() {
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
}

mod providers {
    use super::*;

    /// A password that others change.
    fn current(
        password: &str,
    ) -> (Arc<Mutex<String>>, impl Fn() -> Result<Credentials, String> + Send + Sync + Clone + use<>) {
        let current = Arc::new(Mutex::new(password.to_owned()));
        let shared = Arc::clone(&current);
        let provide = move || Ok(Credentials::new("app", shared.lock().unwrap().as_str()));
        (current, provide)
    }

    #[test]
    fn each_new_connection_has_the_password_of_its_time() {
        if !crate::support::can_test("ACL", (6, 0, 0)) {
            return;
        }
        let redis = Redis::start(&[]);
        let set = |password: &str| {
            redis.command(&["ACL", "SETUSER", "app", "on", "resetpass", &format!(">{password}"), "~*", "+@all"]);
        };
        set("first-hush");
        let (current, provide) = current("first-hush");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let builder = on(redis.url()).pool_size(1).credentials_provider(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            provide()
        });
        assert!(!format!("{builder:?} {:?}", Credentials::new("hush", "hush")).contains("hush"));
        let store = builder.connect().unwrap();
        for _ in 0..100 {
            store.put("k", "v").unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1, "once for a connection");
        // An existing connection stays, a new one needs the new password.
        set("second-hush");
        store.put("k", "v").unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        redis.command(&["CLIENT", "KILL", "USER", "app"]);
        thread::sleep(Duration::from_millis(20));
        let text = chain(&store.put("k", "v").unwrap_err());
        assert!(text.contains("WRONGPASS") && !text.contains("hush"), "{text}");
        "second-hush".clone_into(&mut current.lock().unwrap());
        store.put("k", "v").unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        // A user that is switched off loses its connections.
        redis.command(&["ACL", "DELUSER", "app"]);
        thread::sleep(Duration::from_millis(20));
        set("third-hush");
        "third-hush".clone_into(&mut current.lock().unwrap());
        store.put("k", "v").unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn the_password_of_the_default_user_may_change_too() {
        let redis = Redis::start(&[]);
        let password = Arc::new(Mutex::new("first-hush".to_owned()));
        let shared = Arc::clone(&password);
        let provide = move || Ok::<_, Error>(Credentials::from_password(shared.lock().unwrap().as_str()));
        let builder = on(redis.url()).credentials_provider(provide);
        says(&builder, "the server has no password");
        let admin = redis::Client::open(redis.url()).unwrap();
        let mut admin = admin.get_connection().unwrap();
        let mut set = |now: &str| {
            redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(now).exec(&mut admin).unwrap();
            // Before redis 6 a connection that was open has to log in, too.
            redis::cmd("AUTH").arg(now).exec(&mut admin).unwrap();
        };
        set("first-hush");
        let store = builder.clone().shared_connections(1).connect().unwrap();
        store.put("k", "v").unwrap();
        set("second-hush");
        store.put("k", "v").unwrap();
        says(&builder, if support::is_since((6, 0, 0)) { "WRONGPASS" } else { "invalid password" });
        "second-hush".clone_into(&mut password.lock().unwrap());
        works(builder);
    }

    #[test]
    fn one_that_fails_or_panics_or_takes_too_long_is_an_error_that_says_so() {
        let redis = Redis::start(&[]);
        let builder = on(redis.url()).credentials_provider(|| Err::<Credentials, _>("the vault is sealed"));
        let error = says(
            &builder,
            "`credentials_provider` gave no user and password for a new connection: the vault is sealed",
        );
        assert!(error.is_transient() && !error.outcome_unknown() && matches!(error, Error::Unavailable(_)));
        let shared = builder.shared_connections(2).build().unwrap();
        let text = chain(&shared.put("k", "v").unwrap_err());
        assert!(text.contains("the vault is sealed"), "{text}");
        let error = says(&on(redis.url()).credentials_provider(panics), "a new connection: it panicked");
        assert!(error.is_transient(), "{error:?}");
        let slow = || {
            thread::sleep(Duration::from_millis(60));
            Ok::<_, Error>(Credentials::from_password("hush"))
        };
        let builder = on(redis.url()).connect_timeout(Duration::from_millis(50)).credentials_provider(slow);
        let too_little = "`credentials_provider` left too little time for a new connection";
        let error = says(&builder, &format!("{too_little}: it took "));
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        // It leaves some, and that is not enough: that says nothing of the server, and the next operation tries again.
        let leaves_some = || {
            thread::sleep(Duration::from_millis(400));
            Ok::<_, Error>(Credentials::from_password("hush"))
        };
        let limited = on(redis.url()).connect_timeout(Duration::from_millis(600));
        redis.pause();
        let store = limited.clone().credentials_provider(leaves_some).build().unwrap();
        for _ in 0..3 {
            let text = chain(&store.put("k", "v").unwrap_err());
            assert!(text.contains(too_little) && text.contains("of `connect_timeout`"), "{text}");
        }
        // Where the server had its time it is the server that is silent.
        let quick = || Ok::<_, Error>(Credentials::from_password("hush"));
        let error = says(&limited.credentials_provider(quick), "connecting took longer than 600ms");
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        redis.resume();
        for credentials in [Credentials::new("", "hush"), Credentials::from_password("")] {
            let provide = move || Ok::<_, Error>(credentials.clone());
            says(&on(redis.url()).credentials_provider(provide), "`credentials_provider` gave an empty ");
        }
        // Not asked where nobody is there.
        redis.kill();
        says(&on(redis.url()).credentials_provider(panics), "connecting failed");
    }

    /// Who has to find out whether a server answers, and has no time left for that, has not found out: the next one has to.
    #[test]
    fn a_slow_one_says_nothing_of_a_server_of_which_it_is_not_known_whether_it_answers() {
        let redis = Redis::start(&[]);
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let provide = move || {
            if slow.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(800));
            }
            Ok::<_, Error>(Credentials::from_password("hush"))
        };
        redis.command(&["CONFIG", "SET", "requirepass", "hush"]);
        let limit = Duration::from_millis(500);
        let limited = RedisStore::builder().url(redis.url()).connect_timeout(limit).response_timeout(limit);
        let limited = limited.credentials_provider(provide).retry_after(Duration::from_secs(60));
        for is_back in [false, true] {
            is_slow.store(false, Ordering::SeqCst);
            let store = limited.clone().connect().unwrap();
            let get = || store.get("k").map(drop).map_err(|error| chain(&error));
            redis.pause();
            assert!(get().unwrap_err().contains("did not answer within"));
            is_slow.store(true, Ordering::SeqCst);
            for _ in 0..2 {
                let text = get().unwrap_err();
                assert!(text.contains("`credentials_provider` left too little time"), "{text}");
            }
            is_slow.store(false, Ordering::SeqCst);
            if is_back {
                redis.resume();
                get().unwrap();
            } else {
                let text = get().unwrap_err();
                assert!(text.contains("connecting took longer"), "{text}");
                let text = get().unwrap_err();
                assert!(text.contains("nothing was sent") && text.contains("(`retry_after`)"), "{text}");
                redis.resume();
            }
        }
    }

    fn panics() -> Result<Credentials, Error> {
        panic!("as the test wants it")
    }

    /// What it takes is no part of the time that is shared between the nodes, or the sentinels, that are asked.
    #[test]
    fn a_slow_one_is_asked_once_for_all_the_servers_that_may_not_answer() {
        if !crate::support::can_test("cluster", (3, 0, 0)) {
            return;
        }
        let cluster = support::RedisCluster::start(2, 0);
        let sentinels = support::Sentinels::start();
        let silent: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let silent = || silent.iter().map(|listener| format!("redis://{}", listener.local_addr().unwrap()));
        for node in cluster.nodes().iter().chain(sentinels.servers()) {
            node.command(&["CONFIG", "SET", "masterauth", "hush"]);
        }
        let slow = || {
            thread::sleep(Duration::from_millis(1500));
            Ok::<_, Error>(Credentials::from_password("hush"))
        };
        for node in cluster.nodes() {
            node.command(&["CONFIG", "SET", "requirepass", "hush"]);
        }
        let limited = || RedisStore::builder().connect_timeout(Duration::from_secs(4)).credentials_provider(slow);
        works(limited().cluster(silent().take(1).chain(cluster.urls())));
        let named = sentinels.primary().address();
        for server in sentinels.servers() {
            server.command(&["CONFIG", "SET", "requirepass", "hush"]);
        }
        works(limited().sentinels("mymaster", silent().take(1).chain(sentinels.urls())));
        let text = chain(&limited().sentinels("mymaster", silent()).connect().unwrap_err());
        assert!(!text.contains(&named) && text.contains("the sentinel 127.0.0.1:"), "{text}");
    }

    #[test]
    fn one_beside_a_user_or_a_password_is_refused() {
        let provide = || Ok::<_, Error>(Credentials::new("app", "hush"));
        let with = |url: &str| RedisStore::builder().url(url).credentials_provider(provide);
        says(&with("redis://app@h"), "`credentials_provider` is set, and the URL has a user or a password");
        says(&with("redis://:hush@h"), "`credentials_provider` is set, and the URL has a user or a password");
        says(&with("redis://h").password("hush"), "both `credentials_provider` and `username` or `password`");
        says(&with("redis://h").username("hush"), "both `credentials_provider` and `username` or `password`");
        let cluster = RedisStore::builder().cluster(["redis://h", "redis://:hush@h2"]).credentials_provider(provide);
        says(&cluster, "the URL (number 2 of 2) has a user or a password");
        let sentinels = RedisStore::builder().sentinels("mymaster", ["redis://:hush@h"]);
        sentinels.credentials_provider(provide).build().unwrap();
    }
}

mod names {
    use support::{RedisCluster, Sentinels};

    use super::*;

    #[test]
    fn an_error_behind_sentinels_names_the_primary_and_who_named_it() {
        let sentinels = Sentinels::start();
        let builder = patient().sentinels("mymaster", sentinels.urls());
        let store = builder.connect().unwrap();
        let shared = patient().sentinels("mymaster", sentinels.urls()).shared_connections(1).connect().unwrap();
        let named = format!("{}, which the sentinel named: ", sentinels.primary().address());
        sentinels.primary().command(&["HSET", "hash", "f", "v"]);
        for error in [store.get("hash").unwrap_err(), shared.get("hash").unwrap_err()] {
            let text = chain(&error);
            assert!(text.contains(&format!("{named}what is stored there")), "{text}");
        }
        sentinels.kill_primary();
        let text = chain(&store.put("k", "v").unwrap_err());
        assert!(text.contains(&named) && text.contains("refused") && text.contains("set `map_address`"), "{text}");
        let text = chain(&RedisStore::builder().sentinels("nobody", sentinels.urls()).connect().unwrap_err());
        assert!(text.contains("the sentinel 127.0.0.1:") && text.contains("\"nobody\""), "{text}");
    }

    #[test]
    fn an_error_of_a_cluster_names_the_node_and_who_named_it() {
        if !crate::support::can_test("cluster", (3, 0, 0)) {
            return;
        }
        let cluster = RedisCluster::start(3, 0);
        let seed = cluster.nodes()[0].url();
        let store = patient().cluster([&seed]).connect().unwrap();
        let key = |node: usize| {
            let keys = (0..1000).map(|number| format!("k{number}"));
            let mut keys = keys.filter(|key| {
                store.put(&**key, "v").unwrap();
                cluster.nodes()[node].try_command(&["GET", key]).is_ok()
            });
            keys.next().unwrap()
        };
        for (node, who) in [(0, ""), (1, ", which the cluster named")] {
            let (key, named) = (key(node), format!("{}{who}: ", cluster.nodes()[node].address()));
            cluster.nodes()[node].command(&["DEL", &key]);
            cluster.nodes()[node].command(&["HSET", &key, "f", "v"]);
            let text = chain(&store.get(&*key).unwrap_err());
            assert!(text.contains(&format!("{named}what is stored there")), "{text}");
        }
        // Addresses that lead nowhere from here, as those of containers.
        if !support::can_test("setting for announced ports", (7, 0, 0)) {
            return;
        }
        for node in cluster.nodes() {
            node.command(&["CONFIG", "SET", "cluster-announce-port", "1"]);
        }
        let text = chain(&patient().cluster([&seed]).connect().unwrap_err());
        let named = "127.0.0.1:1, which the cluster named: connecting failed (if another address leads there from here, \
            set `map_address`): Connection refused";
        assert!(text.contains(named), "{text}");
    }

    /// Somebody who answers each request by what it has in it. Its URL, with a password.
    fn impostor(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://:hush@{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    let mut request = vec![0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut request) {
                        let said = answer(&String::from_utf8_lossy(&request[..length]));
                        // That it fails is the peer's doing.
                        let _ = stream.write_all(said.as_bytes());
                    }
                });
            }
        });
        url
    }

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn greeting(mode: &str) -> String {
        format!("+OK\r\n{}", bulk(&format!("redis_version:7.0.15\r\nredis_mode:{mode}\r\nrun_id:1\r\n")))
    }

    /// A server that knows the password could name it as the address of another one.
    #[test]
    fn an_address_that_is_none_or_the_password_is_not_shown() {
        for host in ["hush", "HUSH.example", "a,password=hush", "u:hush@h", "hush h", "hush\r\nh", "127.0.0.1,hush"] {
            let sentinel = impostor(move |request| {
                let asks = request.contains("SENTINEL");
                if asks { format!("*2\r\n{}{}", bulk(host), bulk("6379")) } else { greeting("sentinel") }
            });
            let error = RedisStore::builder().sentinels("mymaster", [sentinel]).password("hush").connect().unwrap_err();
            assert!(!format!("{error:?} {}", chain(&error)).to_lowercase().contains("hush"), "{error:?}");
            let cluster = impostor(move |request| {
                let slots = || format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{}:6379\r\n", bulk(host));
                if request.contains("SLOTS") { slots() } else { greeting("cluster") }
            });
            let builder = RedisStore::builder().cluster([cluster]);
            let error = builder.clone().connect().unwrap_err();
            assert!(!format!("{error:?} {}", chain(&error)).to_lowercase().contains("hush"), "{error:?}");
            let error = builder.build().unwrap().get("k").unwrap_err();
            assert!(!format!("{error:?} {}", chain(&error)).to_lowercase().contains("hush"), "{error:?}");
        }
    }
}
