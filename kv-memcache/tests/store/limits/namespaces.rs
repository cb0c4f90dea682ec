//! Handles to namespaces, which share connections.

use super::*;

#[test]
fn four_hundred_namespaces_share_a_pool() {
    let (server, store, mut raw) = start(&[]);
    drop(store);
    let store = patient(&server).namespace("app").pool_size(10).connect().unwrap();
    let tenants = (0..400).map(|number| store.with_namespace(&format!("tenant-{number}")).unwrap()).collect::<Vec<_>>();
    let before = server.stat("total_connections");
    thread::scope(|scope| {
        for (part, tenants) in tenants.chunks(20).enumerate() {
            scope.spawn(move || {
                for (number, tenant) in tenants.iter().enumerate() {
                    assert!(tenant.create("k", format!("{part}/{number}")).unwrap());
                    assert_eq!(tenant.get("k").unwrap().unwrap(), format!("{part}/{number}"));
                }
            });
        }
    });
    assert!(server.stat("total_connections") - before <= 10, "nine, and the one that asks");
    assert_eq!(tenants[41].clone().get("k").unwrap().unwrap(), "2/1");
    assert_eq!(value_of(&mut raw, "app:tenant-41:k").as_deref(), Some("2/1"));
    assert_eq!(store.get("tenant-41:k").unwrap().unwrap(), "2/1");
    assert_eq!(store.get("k").unwrap(), None);

    // A namespace in a namespace is a part of it, and outlives the store that it came from.
    let inner = tenants[3].with_namespace("inner").unwrap();
    drop((store, tenants));
    inner.put("k", "deep").unwrap();
    assert_eq!(value_of(&mut raw, "app:tenant-3:inner:k").as_deref(), Some("deep"));
    assert!(inner.name().ends_with(" (namespace app:tenant-3:inner)"), "{}", inner.name());
}

#[test]
fn a_name_has_visible_characters_no_colon_and_leaves_room_for_a_key() {
    let (server, store, _raw) = start(&[]);
    for refused in ["", "a:b", ":", "two words", "ü", "new\nline", &"n".repeat(249), &"n".repeat(1000)] {
        let error = store.with_namespace(refused).unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("namespace"), "{error}");
        if !refused.is_empty() {
            let error = patient(&server).namespace(refused).build().unwrap_err();
            assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
            assert!(error.to_string().contains("namespace"), "{error}");
        }
    }
    let shortest = store.with_namespace(&"n".repeat(248)).unwrap();
    assert_eq!(shortest.capabilities().longest_key(), 1);
    shortest.put("k", "v").unwrap();
    assert_eq!(shortest.get("k").unwrap().unwrap(), "v");
    assert!(shortest.with_namespace("x").is_err());
}

/// Errors name the key as the caller gave it.
#[test]
fn an_error_in_a_namespace_names_the_callers_key() {
    let (server, store, mut raw) = start(&[]);
    let tenant = store.with_namespace("acme").unwrap();
    let too_large = vec![b'v'; 2 << 20];
    assert_eq!(raw.ask(b"set acme:text 0 0 4\r\ntext\r\n").unwrap(), "STORED");
    let mut errors = vec![
        tenant.put("k", &too_large).unwrap_err(),
        tenant.put_many([("k", &too_large)]).unwrap_err(),
        tenant.put_from("k", &*too_large).unwrap_err(),
        tenant.create("k", &too_large).unwrap_err(),
        tenant.put_with_ttl("k", "v", Duration::MAX).unwrap_err(),
        tenant.touch("k", Duration::MAX).unwrap_err(),
        tenant.get_each(["k", &"k".repeat(246)]).swap_remove(1).unwrap_err(),
    ];
    if !is_old() {
        errors.push(tenant.copy("absent", "k").unwrap_err());
        errors.push(tenant.increment("text", 1, Ttl::Forever).unwrap_err());
    }
    drop(server);
    errors.push(tenant.get("k").unwrap_err());
    errors.push(tenant.put("k", "v").unwrap_err());
    errors.extend(tenant.get_each(["k", "l"]).into_iter().map(Result::unwrap_err));
    for error in errors {
        let told = error.report().to_string();
        assert!(!told.contains("acme:") && error.key().is_some(), "{told}");
        assert!(told.contains(" (namespace acme)"), "{told}");
    }
}

#[test]
fn a_version_is_good_through_every_handle_to_its_entry_and_at_no_other() {
    if is_old() {
        return;
    }
    let (_server, store, _raw) = start(&[]);
    let (one, two) = (store.with_namespace("a").unwrap(), store.with_namespace("b").unwrap());
    for store in [&one, &two] {
        store.put("k", "v").unwrap();
    }
    let (_, version) = store.get_versioned("a:k").unwrap().unwrap();
    assert!(two.put_if("k", "w", Ttl::Forever, &version).unwrap().is_none());
    assert!(!two.delete_if("k", &version).unwrap());
    let version = one.put_if("k", "w", Ttl::Forever, &version).unwrap().unwrap();
    assert!(store.delete_if("a:k", &version).unwrap());
    assert_eq!(two.get("k").unwrap().as_deref(), Some(&b"v"[..]));
}
