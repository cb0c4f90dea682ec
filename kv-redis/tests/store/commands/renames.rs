//! `rename` across slots.

use super::*;

/// A change of a key while it is renamed to a key of another slot, and the expected entries afterwards.
type Meanwhile = (&'static str, &'static [&'static str], Option<&'static str>);

const MEANWHILE: [Meanwhile; 8] = [
    ("nothing", &["PING"], None),
    ("another value", &["SET", "KEY", "other"], Some("other")),
    ("another value with a TTL", &["SET", "KEY", "other", "PX", "5000000"], Some("other")),
    ("the same value for ever", &["SET", "KEY", "v"], Some("v")),
    ("a longer TTL", &["PEXPIRE", "KEY", "99000000"], Some("v")),
    ("a shorter TTL", &["PEXPIRE", "KEY", "1000000"], Some("v")),
    ("a removal", &["DEL", "KEY"], None),
    ("more of the same", &["APPEND", "KEY", "v"], Some("vv")),
];

#[test]
fn a_write_to_the_source_during_a_rename_across_slots_stays() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    // A node that is paused is not given up.
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-node-timeout", "60000"]);
    let store = patient().cluster(cluster.urls()).connect().unwrap();
    let tag = |node| {
        let mut tags = (0..).map(|number| format!("{{{number}}}"));
        tags.find(|tag| cluster.primary_of_slot(cluster.slot_of(tag)) == node).unwrap()
    };
    let ([from, to], [source, target]) = ([tag(0), tag(1)], [&cluster.nodes()[0], &cluster.nodes()[1]]);
    for ttl in [Ttl::After(LONG), Ttl::Forever] {
        for (name, command, expected) in MEANWHILE {
            // An entry with the same value and TTL counts as the same.
            if ttl == Ttl::Forever && name == "the same value for ever" {
                continue;
            }
            store.put_with_ttl(&from, "v", ttl).unwrap();
            store.put(&to, "old").unwrap();
            let before = source.count_of_calls("exec");
            target.pause();
            thread::scope(|scope| {
                let rename = scope.spawn(|| store.rename(&from, &to));
                let is_read = || if source.count_of_calls("exec") > before { Ok(()) } else { Err("not read".into()) };
                wait_until(is_read);
                let command: Vec<_> = command.iter().map(|&word| if word == "KEY" { &*from } else { word }).collect();
                source.command(&command);
                target.resume();
                rename.join().unwrap().unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
            });
            assert_eq!(store.get(&to).unwrap().unwrap(), "v", "{name}");
            assert_eq!(matches!(store.ttl(&to).unwrap(), Some(Remaining::For(_))), ttl != Ttl::Forever, "{name}");
            let left = store.get(&from).unwrap();
            assert_eq!(left.as_deref(), expected.map(str::as_bytes), "{name} {ttl:?}");
        }
    }
}

/// A cluster, and a store on it with a user without some permissions.
fn cluster_without(rights: &[&str]) -> (RedisCluster, RedisStore) {
    let cluster = RedisCluster::start(3, 0);
    let store = patient().cluster(cluster.urls().iter().map(|url| url.replace("redis://", "redis://app:secret@")));
    for node in cluster.nodes() {
        user(node, "", rights);
    }
    let store = store.connect().unwrap();
    (cluster, store)
}

fn allow(cluster: &RedisCluster, right: &str) {
    for node in cluster.nodes() {
        node.command(&["ACL", "SETUSER", "app", right]);
    }
}

#[test]
fn a_rename_across_slots_says_that_the_user_may_not_read_and_works_once_that_is_allowed() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let (cluster, store) = cluster_without(&["-get"]);
    store.put("{1}", "v").unwrap();
    let text = chain(&store.rename("{1}", "{2}").unwrap_err());
    assert!(text.contains("not allowed to use the command GET"), "{text}");
    for node in cluster.nodes() {
        node.command(&["CONFIG", "RESETSTAT"]);
    }
    allow(&cluster, "+get");
    store.rename("{1}", "{2}").unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((store.get("{1}").unwrap(), store.get("{2}").unwrap().unwrap()), (None, "v".into()));
    let [evals, others] =
        ["eval", "multi"].map(|name| cluster.nodes().iter().map(|node| node.count_of_calls(name)).sum::<u64>());
    assert_eq!((evals, others), (2, 1), "a script was refused to nobody: one reads with it, one removes");
}

#[test]
fn a_rename_across_slots_works_as_soon_as_the_user_may_use_what_it_needs() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let (cluster, store) = cluster_without(&["-copy", "-eval"]);
    store.put("{1}", "v").unwrap();
    // So it is known that there is no EVAL for this user.
    store.copy("{1}", "{1}copy").unwrap();
    allow(&cluster, "+eval");
    store.rename("{1}", "{2}").unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((store.get("{1}").unwrap(), store.get("{2}").unwrap().unwrap()), (None, "v".into()));
}

#[test]
fn a_rename_across_slots_without_a_way_to_remove_only_what_was_copied_changes_nothing() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--rename-command", "EVAL", ""]);
    let store = patient().cluster(cluster.urls()).connect().unwrap();
    let [from, to] = ["{1}", "{2}"];
    assert_ne!(cluster.slot_of(from), cluster.slot_of(to));
    store.put_with_ttl(from, "v", LONG).unwrap();
    store.put(to, "old").unwrap();
    let node = &cluster.nodes()[cluster.primary_of_slot(cluster.slot_of(from))];
    let has =
        |command: &[&str]| !matches!(node.try_command(command), Err(error) if error.to_string().contains("unknown"));
    if has(&["DELIFEQ", from, "other"]) || has(&["DELEX", from, "IFEQ", "other"]) {
        store.rename(from, to).unwrap();
        assert_eq!((store.get(from).unwrap(), store.get(to).unwrap().unwrap()), (None, "v".into()));
        return;
    }
    let error = store.rename(from, to).unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
    assert!(text.contains("needs EVAL (or DELIFEQ or DELEX") && text.contains("nothing was changed"), "{text}");
    assert_eq!(error.key(), Some(from));
    assert_eq!((store.get(from).unwrap().unwrap(), store.get(to).unwrap().unwrap()), ("v".into(), "old".into()));
    // Within a slot it is RENAME, and a copy needs nothing of this.
    store.rename(from, format!("{from}x")).unwrap();
    store.copy(format!("{from}x"), to).unwrap();
    assert_eq!(store.get(to).unwrap().unwrap(), "v");
}
