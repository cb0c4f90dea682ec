//! N2, N4: unsolicited bytes.

use super::*;

#[test]
fn unsolicited_bytes_after_a_reply_are_not_taken_for_another() {
    if !can("unsolicited bytes after a reply are not taken for another", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    set(&server, "other", &value("other", 1, 10));
    // The third one has the tag of the next command.
    let extras = [
        "VA 5 O1\r\nwrong\r\n",
        "VA 5 O#\r\nwrong\r\n",
        "VA 5 O+\r\nwrong\r\n",
        "HD O+\r\n",
        "EN O+\r\n",
        "ERROR\r\n",
        "VA",
        "\r\n",
        "x",
    ];
    for extra in extras {
        for Operation { name, writes, run, .. } in single() {
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            proxy.set(add(extra));
            let error = run(&store).expect_err(name);
            assert!(matches!(error, Error::Backend(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, &store, name);
            assert_eq!(
                parse(&store.get("other").unwrap().unwrap()),
                ("other".into(), 1),
                "after {name} with {extra:?}"
            );
            assert_eq!(proxy.accepted(), before + 1, "after {name} with {extra:?}");
        }
    }
}

#[test]
fn unsolicited_bytes_on_an_idle_connection_are_not_taken_for_a_reply() {
    if !can("unsolicited bytes on an idle connection are not taken for a reply", Need::Meta) {
        return;
    }
    let replies = ["VA 5 O+\r\nwrong\r\n", "EN O+\r\n", "HD O+\r\n", "ERROR\r\n", "x"];
    let started: Vec<_> = replies.into_iter().map(|reply| (reply, one_connection())).collect();
    side_by_side(started, |(reply, (server, proxy, store))| {
        set(&server, "other", &value("other", 1, 10));
        for idle in [ARRIVAL, IDLE] {
            // The unsolicited bytes come after the reply was read, and have the tag of the next command.
            let tag = next_tag(&store, &proxy);
            let inject = |tag: u64| {
                let later = Duration::from_millis(50);
                proxy.set(Behaviour::inject_later(reply.replace('+', &tag.to_string()), later));
                assert_eq!(store.get("k").unwrap().unwrap(), "v");
                thread::sleep(later + idle);
            };
            let before = proxy.accepted();
            inject(tag + 1);
            let other = store.get("other").unwrap();
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {reply:?}");
            assert_eq!(proxy.accepted(), before + 1, "after {reply:?}");
            // A write does not fail because of them either.
            inject(tag + 3);
            store.put("k", "v").unwrap();
            assert_eq!(proxy.accepted(), before + 2, "after {reply:?}");
        }
    });
}

/// At whatever moment they come.
#[test]
fn unsolicited_bytes_on_a_busy_connection_are_not_taken_for_a_reply() {
    if !can("unsolicited bytes on a busy connection are not taken for a reply", Need::Meta) {
        return;
    }
    let (server, proxy) = start();
    // They may look like the beginning of a reply, and the store waits for the rest.
    let store = builder(proxy.port()).pool_size(1).build().unwrap();
    set(&server, "other", &value("other", 1, 10));
    warm(&store);
    for number in 0..40 {
        let reply = ["VA 5 O1\r\nwrong\r\n", "HD O1\r\n", "EN O1\r\n", "MN\r\n"][number % 4];
        proxy.set(Behaviour::inject_later(reply, Duration::from_micros(number as u64 * 50)));
        for _ in 0..20 {
            match store.get("other") {
                Ok(value) => assert_eq!(parse(&value.unwrap()), ("other".into(), 1)),
                Err(error) => check(&error, &store, "get of other"),
            }
            match store.get("absent") {
                Ok(value) => assert_eq!(value, None),
                Err(error) => check(&error, &store, "get of absent"),
            }
        }
    }
}
