//! What the checks of faults do to a store, what it has to answer, and what has to be there then.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use crate::context::Context;
use crate::rig::value;

/// The size of a large value: several pieces, so that there is a middle of its request.
const LARGE: usize = 200_000;

/// The keys and values of one case, which no other case has.
pub(crate) struct Case {
    prefix: String,
    large: usize,
}

/// What is at each of the keys of a case.
pub(crate) type State = BTreeMap<String, Option<Bytes>>;

/// The names of the keys of a case.
const NAMES: &[&str] = &["k", "other", "new", "to", "more"];

impl Case {
    pub(crate) fn new(context: &Context<'_>, prefix: String) -> Self {
        Self { prefix, large: context.size(LARGE).saturating_sub(100) }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn old(&self, name: &str) -> Bytes {
        value(&self.key(name), 0, 50).into()
    }

    fn new_value(&self, name: &str) -> Bytes {
        value(&self.key(name), 1, 70).into()
    }

    fn large(&self, name: &str) -> Bytes {
        value(&self.key(name), 1, self.large).into()
    }

    /// What is there in the beginning: two of the entries.
    pub(crate) fn before(&self) -> State {
        let old = |name: &&str| ["k", "other"].contains(name).then(|| self.old(name));
        NAMES.iter().map(|name| (self.key(name), old(name))).collect()
    }

    /// Puts there what is there in the beginning.
    pub(crate) fn prepare(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put_many(["k", "other"].map(|name| (self.key(name), self.old(name))))
    }

    /// Puts there what one operation alone needs, which changes nothing.
    pub(crate) fn prepare_for(&self, act: &Act, store: &dyn KeyValueStore) -> Result<(), Error> {
        if act.keys == ["large"] { store.put(self.key("large"), self.large("large")) } else { Ok(()) }
    }

    /// What is there now.
    pub(crate) fn now(&self, store: &dyn KeyValueStore) -> Result<State, Error> {
        let keys = NAMES.iter().map(|name| self.key(name)).collect::<Vec<_>>();
        let values = store.get_many(&keys)?;
        Ok(keys.into_iter().zip(values).collect())
    }
}

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Told(bool),
    ToldOfEach(Vec<bool>),
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Left(Option<Remaining>),
    Keys(Vec<String>),
}

/// Which entry has a lifetime when an operation that gives one has been done.
type Given = Option<&'static str>;

/// An operation on the keys of a case.
pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) needs: Option<Capability>,
    pub(crate) writes: bool,
    /// The keys of which an error has to name one: none of a batch or a listing.
    pub(crate) keys: &'static [&'static str],
    pub(crate) run: fn(&dyn KeyValueStore, &Case) -> Result<Answer, Error>,
    pub(crate) answer: fn(&Case) -> Answer,
    /// What a write changes.
    change: fn(&Case, &mut State),
    /// To which key it gives a lifetime; all others live for ever.
    pub(crate) gives: Given,
}

impl Act {
    /// What is there when it has been done.
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
        self.needs == Some(Capability::Listing)
    }

    /// All that the store can do.
    pub(crate) fn all(context: &Context<'_>) -> Vec<&'static Self> {
        ALL.iter().filter(|act| act.needs.is_none_or(|needs| context.has(needs))).collect()
    }
}

fn nothing(_: &Case, _: &mut State) {}

/// A lifetime that does not end within the check.
fn an_hour(store: &dyn KeyValueStore) -> Ttl {
    Ttl::After(Duration::from_secs(3600).min(store.capabilities().longest_ttl()))
}

const ALL: &[Act] = &[
    Act {
        name: "get",
        needs: None,
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Value(store.get(case.key("k"))?)),
        answer: |case| Answer::Value(Some(case.old("k"))),
        change: nothing,
        gives: None,
    },
    Act {
        name: "get_many",
        needs: None,
        writes: false,
        keys: &[],
        run: |store, case| Ok(Answer::Values(store.get_many(["k", "new", "other"].map(|name| case.key(name)))?)),
        answer: |case| Answer::Values(vec![Some(case.old("k")), None, Some(case.old("other"))]),
        change: nothing,
        gives: None,
    },
    Act {
        name: "contains",
        needs: Some(Capability::Contains),
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Told(store.contains(case.key("k"))?)),
        answer: |_| Answer::Told(true),
        change: nothing,
        gives: None,
    },
    Act {
        name: "ttl",
        needs: Some(Capability::TtlReading),
        writes: false,
        keys: &["k"],
        run: |store, case| Ok(Answer::Left(store.ttl(case.key("k"))?)),
        answer: |_| Answer::Left(Some(Remaining::Forever)),
        change: nothing,
        gives: None,
    },
    Act {
        name: "keys",
        needs: Some(Capability::Listing),
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
    Act {
        name: "prefixes",
        needs: Some(Capability::Listing),
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
    Act {
        name: "get_into",
        needs: None,
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
    Act {
        name: "get of a large value",
        needs: None,
        writes: false,
        keys: &["large"],
        run: |store, case| Ok(Answer::Value(store.get(case.key("large"))?)),
        answer: |case| Answer::Value(Some(case.large("large"))),
        change: nothing,
        gives: None,
    },
    Act {
        name: "put",
        needs: None,
        writes: true,
        keys: &["k"],
        run: |store, case| store.put(case.key("k"), case.new_value("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: None,
    },
    Act {
        name: "put of a large value",
        needs: None,
        writes: true,
        keys: &["k"],
        run: |store, case| store.put(case.key("k"), case.large("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.large("k")))),
        gives: None,
    },
    Act {
        name: "put_from",
        needs: None,
        writes: true,
        keys: &["k"],
        run: |store, case| store.put_from(case.key("k"), &*case.new_value("k")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: None,
    },
    Act {
        name: "put_many",
        needs: None,
        writes: true,
        keys: &[],
        run: |store, case| {
            store.put_many(["k", "more"].map(|name| (case.key(name), case.new_value(name)))).map(|()| Answer::Done)
        },
        answer: |_| Answer::Done,
        change: |case, state| state.extend(["k", "more"].map(|name| (case.key(name), Some(case.new_value(name))))),
        gives: None,
    },
    Act {
        name: "create",
        needs: Some(Capability::Create),
        writes: true,
        keys: &["new"],
        run: |store, case| Ok(Answer::Told(store.create(case.key("new"), case.new_value("new"))?)),
        answer: |_| Answer::Told(true),
        change: |case, state| drop(state.insert(case.key("new"), Some(case.new_value("new")))),
        gives: None,
    },
    Act {
        name: "put with a lifetime",
        needs: Some(Capability::Lifetimes),
        writes: true,
        keys: &["k"],
        run: |store, case| {
            store.put_with_ttl(case.key("k"), case.new_value("k"), an_hour(store)).map(|()| Answer::Done)
        },
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("k"), Some(case.new_value("k")))),
        gives: Some("k"),
    },
    Act {
        name: "put_many with lifetimes",
        needs: Some(Capability::Lifetimes),
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
    Act {
        name: "create with a lifetime",
        needs: Some(Capability::Create),
        writes: true,
        keys: &["new"],
        run: |store, case| {
            // For ever, where there are no lifetimes.
            let has = store.capabilities().supports(Capability::Lifetimes);
            let ttl = if has { an_hour(store) } else { Ttl::Forever };
            Ok(Answer::Told(store.create_with_ttl(case.key("new"), case.new_value("new"), ttl)?))
        },
        answer: |_| Answer::Told(true),
        change: |case, state| drop(state.insert(case.key("new"), Some(case.new_value("new")))),
        gives: Some("new"),
    },
    Act {
        name: "delete",
        needs: None,
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Told(store.delete(case.key("k"))?)),
        answer: |_| Answer::Told(true),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Act {
        name: "delete_many",
        needs: None,
        writes: true,
        keys: &[],
        run: |store, case| Ok(Answer::ToldOfEach(store.delete_many(["k", "new"].map(|name| case.key(name)))?)),
        answer: |_| Answer::ToldOfEach(vec![true, false]),
        change: |case, state| drop(state.insert(case.key("k"), None)),
        gives: None,
    },
    Act {
        name: "touch",
        needs: Some(Capability::Touch),
        writes: true,
        keys: &["k"],
        run: |store, case| Ok(Answer::Told(store.touch(case.key("k"), an_hour(store))?)),
        answer: |_| Answer::Told(true),
        change: nothing,
        gives: Some("k"),
    },
    Act {
        name: "copy",
        needs: Some(Capability::Copy),
        writes: true,
        keys: &["k", "to"],
        run: |store, case| store.copy(case.key("k"), case.key("to")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| drop(state.insert(case.key("to"), Some(case.old("k")))),
        gives: None,
    },
    Act {
        name: "rename",
        needs: Some(Capability::Copy),
        writes: true,
        keys: &["k", "to"],
        run: |store, case| store.rename(case.key("k"), case.key("to")).map(|()| Answer::Done),
        answer: |_| Answer::Done,
        change: |case, state| state.extend([(case.key("to"), Some(case.old("k"))), (case.key("k"), None)]),
        gives: None,
    },
];
