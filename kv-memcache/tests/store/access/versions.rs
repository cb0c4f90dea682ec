//! Versions of memcached that are not installed. A proxy changes what the server says.

use super::*;

/// A server, a proxy in front of it, and a builder that goes through it.
fn start() -> (Memcached, Proxy, MemcacheStoreBuilder) {
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    let builder = patient().url(format!("memcache://127.0.0.1:{}", proxy.port())).pool_size(1);
    (server, proxy, builder)
}

/// Changes the version that the server tells in the next handshake.
fn says(proxy: &Proxy, says: &str) {
    let version = support::version();
    let own = format!("STAT version {}\r\n", version.split(' ').next_back().unwrap());
    proxy.set(instead_of(own.leak(), format!("STAT version {says}\r\n").leak()));
}

#[test]
fn a_server_without_the_meta_commands_is_refused_with_the_setting_that_it_needs() {
    let (_server, proxy, builder) = start();
    for version in ["1.4.39", "1.5.22", "0.9.8", "1.5.22_5_g1234"] {
        says(&proxy, version);
        let text = refused_for_good(builder.clone());
        let expected =
            format!("the server is memcached {version}: it lacks the meta commands of memcached 1.6.0 and newer");
        assert!(text.contains(&expected) && text.contains("`classic(true)`"), "{text}");
        says(&proxy, version);
        let error = builder.clone().build().unwrap().put("k", "v-hush").unwrap_err();
        assert!(matches!(&error, Error::Backend(_)) && !error.outcome_unknown(), "{}", chain(&error));
        assert!(chain(&error).contains(&expected), "{}", chain(&error));
    }
    connected(builder);
}

#[test]
fn a_newer_server_will_do() {
    if !can("a newer server will do", Need::Tags) {
        return;
    }
    let (_server, proxy, builder) = start();
    for version in ["1.6.18", "1.6.39", "1.6.100", "1.7.0-beta", "2.0", "unknown"] {
        says(&proxy, version);
        connected(builder.clone());
    }
}

type Act = fn(&MemcacheStore) -> kv_memcache::Result<bool>;

#[test]
fn a_miss_without_a_tag_is_accepted_from_an_older_server() {
    if !can("a miss without a tag is accepted from an older server", Need::Tags) {
        return;
    }
    for version in ["1.6.13", "1.6.15", "1.6.17"] {
        let (server, proxy, builder) = start();
        says(&proxy, version);
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
            // The replies are in order.
            assert_eq!(store.get("present").unwrap().as_deref(), Some(&b"v"[..]));
        }
        proxy.set(without_tag("EN"));
        let values = store.get_many(["absent", "present", "absent2", "present"]).unwrap();
        let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
        assert_eq!(values, [None, Some(&b"v"[..]), None, Some(b"v")]);
        works(&store);
        assert_eq!(proxy.accepted(), 1, "no connection was given up");
        // A hit must always carry its tag.
        proxy.set(without_tag("VA 1"));
        let error = store.get("present").unwrap_err();
        assert!(matches!(&error, Error::Backend(_)), "{}", chain(&error));
        drop(server);
    }
}

/// Except for the miss of a read, which a server with extstore may notice when it no longer knows the tag.
#[test]
fn a_miss_must_have_a_tag_from_a_server_that_sends_one() {
    if !can("a miss must have a tag from a server that sends one", Need::Tags) {
        return;
    }
    let (_server, proxy, builder) = start();
    let store = builder.contains(true).connect().unwrap();
    for _ in 0..2 {
        proxy.set(without_tag("EN"));
        assert_eq!(store.get("absent").unwrap(), None);
        proxy.set(without_tag("EN"));
        let error = store.contains("absent").unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
        assert!(text.contains("does not belong to this request"), "{text}");
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

/// `delete` of a memcached before 1.5.14 may remove an entry for two callers. `touch` does not.
#[test]
fn an_entry_is_deleted_by_its_expiry_where_delete_may_remove_it_twice() {
    for (version, touches) in [("1.4.25", true), ("1.5.13", true), ("1.5.14", false), ("1.6.0", false)] {
        let (server, proxy, builder) = start();
        says(&proxy, version);
        let store = builder.classic(true).connect().unwrap();
        let reports = |acts: &[Act]| {
            store.put_many([("k", "v"), ("l", "")]).unwrap();
            acts.iter().map(|act| act(&store).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(reports(&[|store| store.delete("k"), |store| store.delete("k")]), [true, false], "{version}");
        let zero: Act = |store| store.touch("k", Duration::ZERO);
        assert_eq!(reports(&[zero, zero, |store| store.create("k", "w")]), [true, false, true], "{version}");
        store.put_many([("k", "v"), ("l", "")]).unwrap();
        assert_eq!(store.delete_many(["l", "k", "l", "absent"]).unwrap(), [true, true, false, false], "{version}");
        store.put("k", "v").unwrap();
        store.put_with_ttl("k", "v", Duration::ZERO).unwrap();
        assert_eq!(store.get_many(["k", "l"]).unwrap(), [None, None], "{version}");
        let expected = if touches { (0, 5) } else { (5, 0) };
        assert_eq!((server.stat("delete_hits"), server.stat("touch_hits")), expected, "{version}");
    }
}

#[test]
fn an_older_server_is_asked_for_the_version_of_what_it_stored() {
    if !can("an older server is asked for the version of what it stored", Need::Tags) {
        return;
    }
    for version in ["1.6.17", "1.6.18"] {
        let (_server, proxy, builder) = start();
        says(&proxy, version);
        let store = builder.connect().unwrap();
        let before = proxy.exchanges();
        let first = store.create_versioned("k", "v", Ttl::Forever).unwrap().unwrap();
        let second = store.put_if("k", "w", Ttl::Forever, &first).unwrap().unwrap();
        assert!(store.put_if("k", "x", Ttl::Forever, &first).unwrap().is_none());
        assert!(store.delete_if("k", &second).unwrap());
        let exchanges = if version == "1.6.17" { 6 } else { 4 };
        assert_eq!(proxy.exchanges() - before, exchanges, "{version}");
        store.put("code", "v").unwrap();
        let before = proxy.exchanges();
        assert_eq!(store.take("code").unwrap().unwrap(), "v");
        assert_eq!(store.take("code").unwrap(), None);
        assert_eq!(store.increment("n", 1, Ttl::Forever).unwrap(), 1);
        assert_eq!(proxy.exchanges() - before, 2 + 1 + 1, "{version}");
    }
}
