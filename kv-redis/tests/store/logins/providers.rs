//! Providers of user and password.

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
fn a_provider_that_fails_or_panics_or_takes_too_long_is_an_error_that_says_so() {
    let redis = Redis::start(&[]);
    let builder = on(redis.url()).credentials_provider(|| Err::<Credentials, _>("the vault is sealed"));
    let error =
        says(&builder, "`credentials_provider` gave no user and password for a new connection: the vault is sealed");
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
    // The provider leaves too little time. That says nothing about the server, so the next operation tries again.
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
    // If the server had enough time, the server is silent.
    let quick = || Ok::<_, Error>(Credentials::from_password("hush"));
    let error = says(&limited.credentials_provider(quick), "connecting took longer than 600ms");
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    redis.resume();
    for credentials in [Credentials::new("", "hush"), Credentials::from_password("")] {
        let provide = move || Ok::<_, Error>(credentials.clone());
        says(&on(redis.url()).credentials_provider(provide), "`credentials_provider` gave an empty ");
    }
    // The provider is not called if the server is unreachable.
    redis.kill();
    says(&on(redis.url()).credentials_provider(panics), "connecting failed");
}

/// A caller that has no time left for its probe learns nothing about the server, so the next caller probes.
#[test]
fn a_slow_provider_says_nothing_about_a_server_that_may_not_answer() {
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

/// The time of the provider is not a part of the time that the nodes or sentinels share.
#[test]
fn a_slow_provider_is_asked_once_for_all_servers_that_may_not_answer() {
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
fn a_provider_beside_a_user_or_a_password_is_refused() {
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
