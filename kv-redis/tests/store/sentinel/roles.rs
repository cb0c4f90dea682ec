//! Servers that are the primary, and servers that no longer are.

use super::*;

type Write = fn(&RedisStore) -> Result<(), Error>;

const WRITES: [(&str, Write); 9] = [
    ("put", |store| store.put("k", "v")),
    ("create", |store| store.create("new", "v").map(drop)),
    ("delete", |store| store.delete("k").map(drop)),
    ("touch", |store| store.touch("k", Duration::from_secs(100)).map(drop)),
    ("touch for ever", |store| store.touch("k", Ttl::Forever).map(drop)),
    ("put_many", |store| store.put_many([("k", "v"), ("l", "v")])),
    ("delete_many", |store| store.delete_many(["k", "l"]).map(drop)),
    ("copy", |store| store.copy("k", "l")),
    ("rename", |store| store.rename("k", "l")),
];

fn is_readonly(error: &Error) -> bool {
    let text = chain(error);
    matches!(error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown() && text.contains("READONLY")
}

#[test]
fn a_server_that_became_a_replica_is_left_and_used_again_when_it_is_no_replica_any_more() {
    let [server, other] = [(); 2].map(|()| Redis::start(&[]));
    let store = patient().url(server.url()).pool_size(1).connect().unwrap();
    for (name, write) in WRITES {
        store.put("k", "v").unwrap();
        let before = wait_for_clients(&server, 1);
        // No more than a moment without an answer: there is nothing to replicate.
        server.command(&[replicaof(), "127.0.0.1", &other.port().to_string()]);
        let error = write(&store).expect_err(name);
        assert!(is_readonly(&error), "{name}: {}", chain(&error));
        wait_until(|| match clients(&server).intersection(&before).count() {
            0 => Ok(()),
            _ => Err(format!("{name}: the connection is still open")),
        });
        server.command(&[replicaof(), "NO", "ONE"]);
        store.put("k", "again").unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        assert_eq!(value(&store), "again", "{name}");
        assert!(clients(&server).is_disjoint(&before), "{name}");
    }
}

#[test]
fn a_primary_that_became_a_replica_is_left_for_the_one_that_the_sentinels_name_then() {
    let sentinels = Sentinels::start();
    let store = RedisStore::builder().sentinels(NAME, sentinels.urls()).pool_size(1).connect().unwrap();
    store.put("k", "before").unwrap();
    let (old, new) = (sentinels.primary(), sentinels.replica());
    let before = wait_for_clients(old, 1);
    // Without telling the sentinels, which would close the connections of the old primary. They notice it, and make the other one the
    // primary.
    for sentinel in sentinels.sentinels() {
        sentinel.pause();
    }
    new.command(&[replicaof(), "NO", "ONE"]);
    old.command(&[replicaof(), "127.0.0.1", &new.port().to_string()]);
    let result = store.put("k", "refused");
    for sentinel in sentinels.sentinels() {
        sentinel.resume();
    }
    let error = result.unwrap_err();
    assert!(is_readonly(&error), "{}", chain(&error));
    wait_until(|| match clients(old).intersection(&before).count() {
        0 => Ok(()),
        _ => Err("the connection is still open".into()),
    });
    write_until_it_works(&store, "after");
    sentinels.wait_for_failover();
    store.put("k", "last").unwrap();
    assert_eq!(value(&store), "last");
    assert_eq!(sentinels.primary().command(&["GET", "k"]), redis::Value::BulkString("last".into()));
}

/// Without `ROLE`, `INFO` tells which server is the primary. Without both, the error names the command.
#[test]
fn a_primary_is_known_without_the_command_role() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let sentinels = Sentinels::start();
    let allow = |without: &[&str]| {
        for server in sentinels.servers() {
            let all = ["ACL", "SETUSER", "app", "reset", "on", ">app-hush", "~*", "+@all"];
            server.command(&[&all[..], without].concat());
        }
    };
    let builder = || patient().sentinels(NAME, sentinels.urls()).username("app").password("app-hush");
    let replica = sentinels.replica();
    allow(&["-role"]);
    let store = builder().connect().unwrap();
    store.put("k", "w").unwrap();
    assert_eq!(value(&store), "w");
    // A server that is not the primary says so by `INFO`, too.
    let port = replica.port();
    let at_replica = move |host: &str, _: u16| (host.to_owned(), port);
    let error = RedisStore::builder()
        .sentinels(NAME, sentinels.urls())
        .username("app")
        .password("app-hush")
        .map_address(at_replica)
        .connect()
        .unwrap_err();
    assert!(is_readonly(&error), "{}", chain(&error));
    // Neither of the two.
    allow(&["-role", "-info"]);
    let error = builder().connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("the user is not allowed to use the command ROLE; add it to the rights (ACL)"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    // A user who may ask for the role need not be able to call `INFO`.
    allow(&["-info"]);
    let store = builder().connect().unwrap();
    store.put("k", "x").unwrap();
    assert_eq!(value(&store), "x");
}
