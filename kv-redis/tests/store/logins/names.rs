//! How errors name one of several servers.

use crate::support::{RedisCluster, Sentinels};

use super::*;

#[test]
fn an_error_behind_sentinels_names_the_primary_and_the_sentinel_that_named_it() {
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

/// A server that answers each request by its content. Returns its URL, with a password.
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
                    // If this fails, the peer is the reason.
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
fn an_address_that_is_invalid_or_the_password_is_not_shown() {
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
