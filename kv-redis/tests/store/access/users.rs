//! Users, their permissions and passwords.

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
fn a_forbidden_command_is_named_and_the_rest_works() {
    if !crate::support::can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    redis.command(&["SET", "k", "v"]);
    // If there is no such command, other commands are used.
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
        let is_needed_by =
            |other: &str| other == command || !has_copy && other == "copy" && ["get", "pttl", "set"].contains(&command);
        let others: Vec<_> = ACTS.into_iter().filter(|(_, other, _)| !is_needed_by(other)).collect();
        for (other, _, act) in &others {
            redis.command(&["SET", "k", "v"]);
            act(&store).unwrap_or_else(|error| panic!("{other} without {command}: {}", chain(&error)));
        }
        let ours = connections(&redis) - before;
        assert_eq!(ours, others.len() as u64 + 1, "{name}");
    }
}

/// It is a transaction. The error names the part that is not allowed.
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
        let touched = store.touch("k", Ttl::Forever).map(drop);
        // Without MULTI, PERSIST is carried out at once.
        if redis.command(&["TTL", "k"]) == redis::Value::Int(-1) {
            let error = touched.unwrap_err();
            assert!(["multi", "@transaction"].contains(&command) && error.outcome_unknown(), "{}", chain(&error));
            assert!(chain(&error).contains("not allowed to use the command MULTI"), "{}", chain(&error));
        } else {
            is_not_allowed(&format!("touch without {command}"), touched);
        }
        // The rest of the transaction does not affect the next one.
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
    // A key without the namespace, or in another one, is not allowed.
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
fn a_user_who_may_not_call_info_can_use_the_store() {
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
fn a_missing_or_wrong_password_is_explained() {
    if !crate::support::can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&["--requirepass", "server0hush"]);
    add_admin(&redis);
    works(&RedisStore::connect(redis.url()).unwrap());
    let without = format!("redis://{}", redis.address());
    works(&RedisStore::builder().url(&without).password("server0hush").connect().unwrap());
    works(&RedisStore::builder().url(&without).username("default").password("server0hush").connect().unwrap());
    // The setting of the builder counts.
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
    // A password that the server does not want.
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
        assert!(matches!(&error, Error::InvalidSetting { .. }) && text.contains("without a password"), "{text}");
    }
    assert_eq!(connections(&redis), before + 1, "only this one");
    // A user without a password accepts any password.
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
        let (in_user, in_password) = [&*user, password].map(|text| percent_encoded(text).replace('/', "%2F")).into();
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
            // Nearly the right password.
            let (_, text) = refused(builder.password(format!("{password}x")));
            assert!(text.contains("WRONGPASS"), "{text}");
        }
    }
}

#[test]
fn a_password_that_is_set_later_is_asked_of_new_connections() {
    let redis = Redis::start(&[]);
    let store = RedisStore::builder().url(redis.url()).pool_size(1).connect().unwrap();
    works(&store);
    redis.command(&["CONFIG", "SET", "requirepass", "later-hush"]);
    // An open connection stays authenticated, since redis 6.
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
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("NORMAL").arg("SKIPME").arg("YES").exec(&mut connection).unwrap();
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
    // The server closes the user's connections.
    redis.command(&["ACL", "DELUSER", "admin"]);
    thread::sleep(Duration::from_millis(1100));
    let error = store.get("k").unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains("WRONGPASS"), "{text}");
    add_admin(&redis);
    works(&store);
}

/// What a user needs by the README: the lines without "on a …", "with a …" or "behind …", which are for other servers and settings.
fn rules_of_readme() -> Vec<&'static str> {
    let (_, begin) = include_str!("../../../README.md").split_once("ACL SETUSER app on >secret ").unwrap();
    let (block, _) = begin.split_once("```").unwrap();
    let lines = block.lines().enumerate().filter(|(number, line)| *number == 0 || line.contains("    for `"));
    let words = lines.flat_map(|(_, line)| line.split("    ").next().unwrap().split_whitespace());
    words.collect()
}

#[test]
fn a_user_with_the_commands_of_the_readme_can_use_every_operation() {
    if !crate::support::can_test("ACL", (7, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let rules = rules_of_readme();
    assert!(rules.contains(&"-@all") && rules.contains(&"+getdel") && rules.contains(&"+evalsha"), "{rules:?}");
    add_user(&redis, "app", &rules);
    let store = of_user(&redis, "app").connect().unwrap();
    works(&store);
    for (name, _, act) in ACTS {
        store.put("k", "v").unwrap();
        act(&store).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
    }
    for minute in [Duration::from_secs(60).into(), Ttl::Forever] {
        store.put("k", "v").unwrap();
        let (_, version) = store.get_versioned("k").unwrap().unwrap();
        let version = store.put_if("k", "new", minute, &version).unwrap().unwrap();
        assert!(store.delete_if("k", &version).unwrap());
        assert!(store.create_versioned("k", "v", minute).unwrap().is_some());
        assert!(store.update("k", minute, |_| Some("newer")).unwrap());
        assert_eq!(store.get_and_touch("k", minute).unwrap().as_deref(), Some(&b"newer"[..]));
        assert!(store.touch("k", minute).unwrap());
        assert_eq!(store.take("k").unwrap().as_deref(), Some(&b"newer"[..]));
        assert_eq!(store.increment("k", 2, minute).unwrap(), 2);
    }
}
