//! The operations that the checks of faults try: what each does, what it has to answer, and which entries there have to be then.

use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use super::case::{Case, State};
use crate::running::Context;

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Bool(bool),
    Bools(Vec<bool>),
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Ttl(Option<Remaining>),
    Keys(Vec<String>),
    Sum(u64),
}

/// An operation on the keys of a case.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Capability],
    pub(crate) writes: bool,
    /// An error has to name one of these keys. Empty for a batch or a listing.
    pub(crate) keys: &'static [&'static str],
    pub(crate) run: fn(&dyn KeyValueStore, &Case) -> Result<Answer, Error>,
    pub(crate) answer: fn(&Case) -> Answer,
    /// What a write changes.
    change: fn(&Case, &mut State),
    /// The key that it gives a TTL; the other entries never expire.
    pub(crate) gives: Option<&'static str>,
}

impl Operation {
    /// The entries after the operation.
    pub(crate) fn after(&self, case: &Case) -> State {
        let mut state = case.before();
        (self.change)(case, &mut state);
        state
    }

    pub(crate) fn is_on_several_keys(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether its request or its reply is in many pieces.
    pub(crate) fn is_large(&self) -> bool {
        self.name.ends_with(" of a large value")
    }

    pub(crate) fn is_listing(&self) -> bool {
        self.needs.contains(&Capability::Listing)
    }

    /// All operations that the store supports.
    pub(crate) fn all(context: &Context<'_>) -> Vec<&'static Self> {
        ALL.iter().filter(|operation| operation.needs.iter().all(|&needs| context.has(needs))).collect()
    }
}

fn nothing(_: &Case, _: &mut State) {}

/// A TTL that is longer than the check.
fn an_hour(store: &dyn KeyValueStore) -> Ttl {
    Ttl::After(Duration::from_secs(3600).min(store.capabilities().longest_ttl()))
}

const ALL: &[Operation] = &[
    Operation {
        name: "get",
        needs: &[],
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Value(store.get(case.key("k"))?)),
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "get_many",
        needs: &[],
        writes: false,
        keys: &[],
        run: |store, case| Ok(Answer::Values(store.get_many(["k", "new", "other"].map(|name| case.key(name)))?)),
        answer: |case| Answer::Values(vec![Some(case.old("k")), None, Some(case.old("other"))]),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "contains",
        needs: &[Capability::Contains],
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Bool(store.contains(case.key("k"))?)),
        answer: |_| Answer::Bool(true),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "ttl",
        needs: &[Capability::TtlReading],
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Ttl(store.ttl(case.key("k"))?)),
        answer: |_| Answer::Ttl(Some(Remaining::Forever)),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "keys",
        needs: &[Capability::Listing],
        writes: false,
        keys: &[],
        run: |store, case| {
            let listed = store.keys(&case.prefix)?.map(|key| Ok(key?.into()));
            let mut listed = listed.collect::<Result<Vec<String>, Error>>()?;
            listed.sort_unstable();
            Ok(Answer::Keys(listed))
        },
        answer: |case| Answer::Keys(vec![case.key("k"), case.key("other")]),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "prefixes",
        needs: &[Capability::Listing],
        writes: false,
        keys: &[],
        run: |store, case| {
            let listed = store.prefixes("/", &case.prefix)?.map(|key| Ok(key?.into()));
            let mut listed = listed.collect::<Result<Vec<String>, Error>>()?;
            listed.sort_unstable();
            Ok(Answer::Keys(listed))
        },
        answer: |case| Answer::Keys(vec![case.key("k"), case.key("other")]),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "get_into",
        needs: &[],
        writes: false,
        keys: &["k"],
        run: |store, case| {
            let mut value = Vec::new();
            store.get_into(case.key("k"), &mut value)?;
            Ok(Answer::Value(Some(value.into())))
        },
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "get of a large value",
        needs: &[],
        writes: false,
        keys: &["large"],
        run: |store, case| Ok(Answer::Value(store.get(case.key("large"))?)),
        answer: |case| Answer::Value(Some(case.large("large"))),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "put",
        needs: &[],
        writes: true,
        keys: &["k"],
        run: |store, case| store.put(case.key("k"), case.new_value("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: None,
    },
    Operation {
        name: "put of a large value",
        needs: &[],
        writes: true,
        keys: &["k"],
        run: |store, case| store.put(case.key("k"), case.large("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.large("k")))),
        gives: None,
    },
    Operation {
        name: "put_from",
        needs: &[],
        writes: true,
        keys: &["k"],
        run: |store, case| store.put_from(case.key("k"), &*case.new_value("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: None,
    },
    Operation {
        name: "put_many",
        needs: &[],
        writes: true,
        keys: &[],
        run: |store, case| {
            store.put_many(["k", "more"].map(|name| (case.key(name), case.new_value(name)))).map(|()| Answer::Done)
        },
        answer: |_| Answer::Done,
        change: |case, state| state.extend(["k", "more"].map(|name| (case.key(name), Some(case.new_value(name))))),
        gives: None,
    },
    Operation {
        name: "create",
        needs: &[Capability::Create],
        writes: true,
        keys: &["new"],
        run: |store, case| Ok(Answer::Bool(store.create(case.key("new"), case.new_value("new"))?)),
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("new"), Some(case.new_value("new")))),
        gives: None,
    },
    Operation {
        name: "put with a TTL",
        needs: &[Capability::Ttls],
        writes: true,
        keys: &["k"],
        run: |store, case| {
            store.put_with_ttl(case.key("k"), case.new_value("k"), an_hour(store)).map(|()| Answer::Done)
        },
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: Some("k"),
    },
    Operation {
        name: "put_many with TTLs",
        needs: &[Capability::Ttls],
        writes: true,
        keys: &[],
        run: |store, case| {
            let entry = |name: &str| (case.key(name), case.new_value(name), an_hour(store));
            store.put_many_with_ttl(["more"].map(entry)).map(|()| Answer::Done)
        },
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("more"), Some(case.new_value("more")))),
        gives: Some("more"),
    },
    Operation {
        name: "create with a TTL",
        needs: &[Capability::Create],
        writes: true,
        keys: &["new"],
        run: |store, case| {
            // For ever, if the store has no TTLs.
            let has = store.capabilities().supports(Capability::Ttls);
            let ttl = if has { an_hour(store) } else { Ttl::Forever };
            Ok(Answer::Bool(store.create_with_ttl(case.key("new"), case.new_value("new"), ttl)?))
        },
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("new"), Some(case.new_value("new")))),
        gives: Some("new"),
    },
    Operation {
        name: "delete",
        needs: &[],
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Bool(store.delete(case.key("k"))?)),
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Operation {
        name: "delete_many",
        needs: &[],
        writes: true,
        keys: &[],
        run: |store, case| Ok(Answer::Bools(store.delete_many(["k", "new"].map(|name| case.key(name)))?)),
        answer: |_| Answer::Bools(vec![true, false]),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Operation {
        name: "touch",
        needs: &[Capability::Touch],
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Bool(store.touch(case.key("k"), an_hour(store))?)),
        answer: |_| Answer::Bool(true),
        change: nothing,
        gives: Some("k"),
    },
    Operation {
        name: "copy",
        needs: &[Capability::Copy],
        writes: true,
        keys: &["k", "to"],
        run: |store, case| store.copy(case.key("k"), case.key("to")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("to"), Some(case.old("k")))),
        gives: None,
    },
    Operation {
        name: "rename",
        needs: &[Capability::Copy],
        writes: true,
        keys: &["k", "to"],
        run: |store, case| store.rename(case.key("k"), case.key("to")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| state.extend([(case.key("to"), Some(case.old("k"))), (case.key("k"), None)]),
        gives: None,
    },
    Operation {
        name: "get_versioned",
        needs: &[Capability::Versions],
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Value(store.get_versioned(case.key("k"))?.map(|(value, _)| value))),
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: nothing,
        gives: None,
    },
    Operation {
        name: "create_versioned",
        needs: &[Capability::Versions, Capability::Create],
        writes: true,
        keys: &["new"],
        run: |store, case| {
            let created = store.create_versioned(case.key("new"), case.new_value("new"), Ttl::Default)?;
            Ok(Answer::Bool(created.is_some()))
        },
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("new"), Some(case.new_value("new")))),
        gives: None,
    },
    Operation {
        name: "put_if",
        needs: &[Capability::Versions],
        writes: true,
        keys: &["k"],
        run: |store, case| {
            let version = case.version(store)?;
            let stored = store.put_if(case.key("k"), case.new_value("k"), Ttl::Default, &version)?;
            Ok(Answer::Bool(stored.is_some()))
        },
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: None,
    },
    Operation {
        name: "put_if with a TTL",
        needs: &[Capability::Versions, Capability::Ttls],
        writes: true,
        keys: &["k"],
        run: |store, case| {
            let version = case.version(store)?;
            let stored = store.put_if(case.key("k"), case.new_value("k"), an_hour(store), &version)?;
            Ok(Answer::Bool(stored.is_some()))
        },
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: Some("k"),
    },
    Operation {
        name: "delete_if",
        needs: &[Capability::Versions],
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Bool(store.delete_if(case.key("k"), &case.version(store)?)?)),
        answer: |_| Answer::Bool(true),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Operation {
        name: "take",
        needs: &[Capability::Take],
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Value(store.take(case.key("k"))?)),
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Operation {
        name: "get_and_touch",
        needs: &[Capability::TouchingReads],
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Value(store.get_and_touch(case.key("k"), an_hour(store))?)),
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: nothing,
        gives: Some("k"),
    },
    Operation {
        name: "increment",
        needs: &[Capability::Counters],
        writes: true,
        keys: &["new"],
        run: |store, case| Ok(Answer::Sum(store.increment(case.key("new"), 7, Ttl::Default)?)),
        answer: |_| Answer::Sum(7),
        change: |case, state| drop(state.insert(case.key("new"), Some(Bytes::from_static(b"7")))),
        gives: None,
    },
    Operation {
        name: "increment with a TTL",
        needs: &[Capability::Counters, Capability::Ttls],
        writes: true,
        keys: &["new"],
        run: |store, case| Ok(Answer::Sum(store.increment(case.key("new"), 7, an_hour(store))?)),
        answer: |_| Answer::Sum(7),
        change: |case, state| drop(state.insert(case.key("new"), Some(Bytes::from_static(b"7")))),
        gives: Some("new"),
    },
];
