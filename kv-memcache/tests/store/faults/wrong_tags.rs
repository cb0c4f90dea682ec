//! N2: replies that belong to another command.

use super::*;

type Tagged = (&'static str, usize, bool, fn(&MemcacheStore) -> Result<()>);

/// Replies of each kind, whose tag a test replaces: its name, how many other replies come before it, whether the
/// command writes, and the operation.
const TAGGED: [Tagged; 18] = [
    ("VA, get", 0, false, |store| store.get("k").map(drop)),
    ("VA, get_many", 0, false, |store| store.get_many(["k"]).map(drop)),
    ("VA, copy", 0, false, |store| store.copy("k", "copy")),
    ("EN, get", 0, false, |store| store.get("absent").map(drop)),
    ("EN, ttl", 0, false, |store| store.ttl("absent").map(drop)),
    ("EN, contains", 0, false, |store| store.contains("absent").map(drop)),
    ("EN, touch", 0, true, |store| store.touch("absent", MINUTES).map(drop)),
    ("HD, ttl", 0, false, |store| store.ttl("k").map(drop)),
    ("HD, contains", 0, false, |store| store.contains("k").map(drop)),
    ("HD, touch", 0, true, |store| store.touch("k", MINUTES).map(drop)),
    ("HD, put", 0, true, |store| store.put("new", "v")),
    ("HD, create", 0, true, |store| store.create("created", "v").map(drop)),
    ("HD, delete", 0, true, |store| store.delete("k").map(drop)),
    ("HD, copy", 1, true, |store| store.copy("k", "copy")),
    ("HD, rename", 2, true, |store| store.rename("k", "renamed")),
    ("NS, create", 0, true, |store| store.create("k", "v").map(drop)),
    ("NF, delete", 0, true, |store| store.delete("absent").map(drop)),
    ("NF, delete_many", 0, true, |store| store.delete_many(["absent"]).map(drop)),
];

#[test]
fn a_reply_with_the_tag_of_another_command_is_not_accepted() {
    if !can("a reply with the tag of another command is not accepted", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let proxy = Arc::new(proxy);
    let tags: [fn(u64) -> String; 9] = [
        |tag| format!(" O{}", tag + 1),
        |tag| format!(" O{}", tag - 1),
        |tag| format!(" O{}", tag + 1024),
        |tag| format!(" O{tag}0"),
        |_| " O0".into(),
        |tag| format!(" O-{tag}"),
        |_| " O".into(),
        |_| String::new(),
        |tag| format!(" o{tag}"),
    ];
    for (name, others, writes, run) in TAGGED {
        for (number, tag) in tags.into_iter().enumerate() {
            let what = format!("{name}, tag {number}");
            if name == "EN, get" && tag(7).is_empty() {
                // A miss of a server with an extstore may lack the tag.
                continue;
            }
            let _ = store.delete("created");
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let see = Arc::clone(&seen);
            let change = move |piece: &mut Vec<u8>| {
                let at = tag_in(piece);
                let other = tag(tag_of(piece));
                piece.splice(at.start - 2..at.end, other.bytes());
                see.lock().unwrap().clone_from(piece);
            };
            edit_after(&proxy, others, Box::new(change));
            let error = run(&store).expect_err(&what);
            let reply = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
            assert!(reply.starts_with(&name[..2]), "{what}: {reply:?}");
            assert!(matches!(error, Error::Backend(_)), "{what}: {reply:?}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{what}: {reply:?}: {error:?}");
            check(&error, &store, &what);
            // A batch of one key names it, too.
            assert!(error.key().is_some(), "{what}: {error:?}");
            assert_eq!(store.get("absent").unwrap(), None, "{what}");
            assert_eq!(proxy.accepted(), before + 1, "{what}");
        }
    }
}

/// Another client writes between the second and the third step of a rename: the third step says that the version has changed.
#[test]
fn a_rename_keeps_a_source_that_another_client_changes() {
    if !can("a rename keeps a source that another client changes", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let (server, proxy) = (Arc::new(server), Arc::new(proxy));
    for wrong in [false, true] {
        set(&server, "k", "v");
        warm(&store);
        let (of_change, of_edit) = (Arc::clone(&server), Arc::clone(&proxy));
        edit_after(
            &proxy,
            1,
            Box::new(move |_| {
                set(&of_change, "k", "new");
                of_edit.set(edit(move |piece| {
                    assert!(piece.starts_with(b"EX"), "{piece:?}");
                    let (at, tag) = (tag_in(piece), tag_of(piece));
                    piece.splice(at, (tag + u64::from(wrong)).to_string().into_bytes());
                }));
            }),
        );
        let result = store.rename("k", "renamed");
        if wrong {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
            check(&error, &store, "rename");
        } else {
            result.unwrap();
        }
        assert_eq!(store.get("k").unwrap().unwrap(), "new");
        assert_eq!(store.get("renamed").unwrap().unwrap(), "v");
    }
}

/// Both replies belong to the batch, but each to the other command.
#[test]
fn swapped_replies_of_a_batch_are_not_accepted() {
    if !can("swapped replies of a batch are not accepted", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    set(&server, "a", "1");
    set(&server, "b", "2");
    let swap = || {
        edit(|piece| {
            let text = String::from_utf8(piece.clone()).unwrap();
            let mut lines: Vec<_> = text.split_inclusive("\r\n").collect();
            let half = lines.len() / 2;
            lines.rotate_left(half);
            *piece = lines.concat().into_bytes();
        })
    };
    for _ in 0..10 {
        assert_eq!(store.get_many(["a", "b"]).unwrap().into_iter().flatten().collect::<Vec<_>>(), ["1", "2"]);
        proxy.set(swap());
        let error = store.get_many(["a", "b"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        check(&error, &store, "get_many");
        store.get("a").unwrap();
        proxy.set(swap());
        let error = store.delete_many(["no/1", "no/2"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "delete_many");
        // One reply is missing, and another one belongs to no command of the batch.
        store.get("a").unwrap();
        proxy.set(edit(|piece| {
            let half = piece.len() / 2;
            piece.truncate(half);
            piece.extend_from_slice(b"HD O1\r\n");
        }));
        let error = store.put_many([("a", "1"), ("b", "2")]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put_many");
    }
}
