//! Listings that are interrupted (L3).

use super::*;

/// Whether a listing of these keys is complete and exact; if not, its last item is an error.
#[track_caller]
fn is_whole(listed: &[Result<kv_redis::KeyBuf>], keys: &BTreeSet<String>, store: &RedisStore) -> bool {
    let names: Vec<_> = listed.iter().flatten().map(|key| key.as_str().to_owned()).collect();
    let distinct: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(distinct.len(), names.len(), "a key is listed twice");
    assert!(distinct.is_subset(keys));
    let errors = listed.iter().filter(|item| item.is_err()).count();
    let Some(Err(error)) = listed.last() else {
        assert_eq!(errors, 0, "an error that is not the last item");
        assert_eq!(&distinct, keys, "a truncated listing that looks whole");
        return true;
    };
    assert_eq!(errors, 1);
    check(error, store, "keys");
    assert!(!error.outcome_unknown(), "{error:?}");
    false
}

/// Lists, and runs something after this many keys.
fn list_with(store: &RedisStore, after: usize, act: impl FnOnce()) -> Vec<Result<kv_redis::KeyBuf>> {
    let mut listing = store.keys("").unwrap();
    let mut listed: Vec<_> = listing.by_ref().take(after).collect();
    act();
    listed.extend(listing.by_ref());
    assert!(listing.next().is_none(), "there is more after the end");
    listed
}

fn fill(redis: &Redis) -> BTreeSet<String> {
    redis.command(&["FLUSHALL"]);
    let keys: BTreeSet<_> = (0..200).map(|number| format!("key/{number}")).collect();
    for key in &keys {
        redis.command(&["SET", key, "v"]);
    }
    keys
}

#[test]
fn a_listing_whose_connection_is_cut_is_whole_or_ends_with_an_error() {
    let (redis, proxy) = start(&[]);
    let keys = fill(&redis);
    let own = patient(builder(proxy.port())).pool_size(2).page_size(10).connect().unwrap();
    let external = patient(RedisStore::builder()).page_size(10).build_on_pool(pool(proxy.port(), 2)).unwrap();
    for store in [own, external] {
        for after in (0..=200).step_by(5) {
            let cut = if after % 2 == 0 { Cut::Close } else { Cut::Reset };
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            // The page is fetched again.
            let once = || proxy.set(Behaviour::CutAnswer { cut, to: listing(), times: 1 });
            assert!(is_whole(&list_with(&store, after, once), &keys, &store));
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            // It cannot be fetched.
            let always = || proxy.set(Behaviour::CutAnswer { cut, to: listing(), times: usize::MAX });
            let whole = is_whole(&list_with(&store, after, always), &keys, &store);
            assert!(!whole || after > 150, "after {after} keys");
            proxy.set(Behaviour::Pass);
            // It is truncated: an array cut short.
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            let bytes = after * 3;
            let part = || proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes });
            is_whole(&list_with(&store, after, part), &keys, &store);
            proxy.pass();
        }
    }
}

#[test]
fn a_listing_whose_page_does_not_come_ends_with_an_error_in_time() {
    let (redis, proxy) = start(&[]);
    let keys = fill(&redis);
    let store = builder(proxy.port()).pool_size(2).page_size(10).connect().unwrap();
    for after in [0, 10, 50, 100] {
        for behaviour in
            [Behaviour::Hold, Behaviour::HoldReplies, Behaviour::Truncate { of: Direction::Replies, bytes: 40 }]
        {
            let what = format!("{behaviour:?}");
            let listed = within(LIMIT, "keys", || list_with(&store, after, || proxy.set(behaviour)));
            assert!(!is_whole(&listed, &keys, &store), "after {after} keys, {what}");
            assert!(matches!(listed.last(), Some(Err(Error::Timeout(_)))));
            proxy.pass();
        }
    }
}

#[test]
fn a_listing_over_a_restart_ends_with_an_error() {
    let redis = Redis::start(DURABLE_OVER_KILL);
    let keys = fill(&redis);
    let store = patient(builder(redis.port())).pool_size(2).page_size(10).connect().unwrap();
    for end in [Redis::kill, Redis::stop] {
        for after in [0, 1, 30, 100, 150, 200] {
            let restart = || {
                end(&redis);
                redis.restart();
                // It may still be loading its data.
                wait_until(|| redis.try_command(&["PING"]).map_err(|error| error.to_string()));
            };
            let whole = is_whole(&list_with(&store, after, restart), &keys, &store);
            // Before the first page a restart changes nothing, nor after the last one.
            assert!(if after == 0 { whole } else { !whole || after == 200 }, "after {after} keys");
            assert!(is_whole(&store.keys("").unwrap().collect::<Vec<_>>(), &keys, &store));
        }
    }
}
