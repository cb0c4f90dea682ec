//! Addresses that nodes and sentinels announce, and that cannot be reached from here.

use super::*;

/// Nodes that announce a host that does not exist, and ports that are not known here, as behind port forwarding.
#[test]
fn a_cluster_whose_nodes_announce_what_cannot_be_reached_is_mapped() {
    const SHIFT: u16 = 7;
    if !crate::support::can_test("setting for announced names", (7, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    for node in cluster.nodes() {
        let port = (node.port() ^ SHIFT).to_string();
        for (setting, value) in [
            ("cluster-announce-port", &*port),
            ("cluster-announce-hostname", "inside.invalid"),
            ("cluster-preferred-endpoint-type", "hostname"),
        ] {
            node.command(&["CONFIG", "SET", setting, value]);
        }
    }
    support::wait_until(|| {
        cluster.nodes().iter().try_for_each(|node| {
            let slots = format!("{:?}", node.command(&["CLUSTER", "SLOTS"]));
            // A node may hear of the name of another one before it hears of its port.
            let has_port = |other: &Redis| slots.contains(&(other.port() ^ SHIFT).to_string());
            let has_all = slots.matches("inside.invalid").count() == 3 && cluster.nodes().iter().all(has_port);
            if has_all { Ok(()) } else { Err(slots) }
        })
    });
    // Without it the error says which address there is a problem with.
    let (error, text) = refused(RedisStore::builder().cluster(cluster.urls()));
    assert!(error.is_transient(), "{text}");
    let builder = patient().cluster(cluster.urls()).map_address(|host, port| match host {
        "inside.invalid" => ("127.0.0.1".into(), port ^ SHIFT),
        _ => panic!("{host} was not announced"),
    });
    let store = connected(builder);
    for number in 0..100 {
        store.put(format!("k{number}"), "v").unwrap();
    }
    assert_eq!(store.get_many((0..100).map(|number| format!("k{number}"))).unwrap().iter().flatten().count(), 100);
    assert_eq!(store.keys("").unwrap().count(), 100);
    // What a node says of a slot that it has not is mapped, too.
    let slot = cluster.slot_of("k0");
    // They share the slots in their order.
    let from = usize::from(slot) * 3 / 16_384;
    let to = (from + 1) % 3;
    cluster.nodes()[from].command(&["DEL", "k0"]);
    for node in cluster.nodes() {
        let id: String = redis::from_redis_value(cluster.nodes()[to].command(&["CLUSTER", "MYID"])).unwrap();
        let _ = node.try_command(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
    }
    support::wait_until(|| store.put("k0", "moved").map_err(|error| chain(&error)));
    assert_eq!(store.get("k0").unwrap().as_deref(), Some(&b"moved"[..]));
}

/// The sentinels name an address, and the store connects to the mapped one.
#[test]
fn a_primary_that_sentinels_name_is_mapped() {
    let sentinels = Sentinels::start();
    let primary = sentinels.primary().port();
    let proxy = support::proxy(primary);
    let port = proxy.port();
    let store = connected(patient().sentinels("mymaster", sentinels.urls()).map_address(move |host, named| {
        assert_eq!((host, named), ("127.0.0.1", primary));
        ("localhost".into(), port)
    }));
    assert!(proxy.accepted() > 0 && proxy.exchanges() > 3, "{} exchanges", proxy.exchanges());
    drop(store);
}

#[test]
fn there_is_nothing_to_map_for_one_server() {
    let builder = RedisStore::builder().url("redis://127.0.0.1").map_address(|host, port| (host.into(), port));
    assert!(format!("{builder:?}").contains("Mapping(given)"), "{builder:?}");
    let text = builder.build().unwrap_err().to_string();
    assert!(text.contains("`map_address` is for a cluster, or for sentinels"), "{text}");
}
