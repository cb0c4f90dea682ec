//! The operations, and a server for each.

use super::*;

/// An operation on `k`, or on many keys.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// The commands that it sends, one after the other.
    pub(super) commands: &'static [&'static str],
    /// Whether the first of them changes anything.
    pub(super) writes: bool,
    pub(super) run: fn(&MemcacheStore) -> Result<()>,
}

const fn operation(
    name: &'static str,
    commands: &'static [&'static str],
    writes: bool,
    run: fn(&MemcacheStore) -> Result<()>,
) -> Operation {
    Operation { name, commands, writes, run }
}

pub(super) const MINUTES: Duration = Duration::from_secs(1000);

/// All operations on `k`.
pub(super) const SINGLE: [Operation; 17] = [
    operation("get", &["mg"], false, |store| store.get("k").map(drop)),
    operation("open", &["mg"], false, |store| store.open("k").map(drop)),
    operation("get_into", &["mg"], false, |store| store.get_into("k", io::sink()).map(drop)),
    operation("contains", &["mg"], false, |store| store.contains("k").map(drop)),
    operation("ttl", &["mg"], false, |store| store.ttl("k").map(drop)),
    operation("put", &["ms"], true, |store| store.put("k", "new")),
    operation("put of a large value", &["ms"], true, |store| store.put("k", vec![7; LARGE])),
    operation("put_with_ttl", &["ms"], true, |store| store.put_with_ttl("k", "new", MINUTES)),
    operation("put_with_ttl, zero", &["md"], true, |store| store.put_with_ttl("k", "new", Duration::ZERO)),
    operation("put_from", &["ms"], true, |store| store.put_from("k", &b"new"[..])),
    operation("create", &["ms"], true, |store| store.create("k", "new").map(drop)),
    operation("create_with_ttl", &["ms"], true, |store| store.create_with_ttl("k", "new", MINUTES).map(drop)),
    operation("delete", &["md"], true, |store| store.delete("k").map(drop)),
    operation("touch", &["mg"], true, |store| store.touch("k", MINUTES).map(drop)),
    operation("touch, zero", &["md"], true, |store| store.touch("k", Duration::ZERO).map(drop)),
    operation("copy", &["mg", "ms"], false, |store| store.copy("k", "copy")),
    operation("rename", &["mg", "ms", "md"], false, |store| store.rename("k", "renamed")),
];

/// All operations on many keys.
pub(super) const BATCH: [Operation; 3] = [
    operation("get_many", &["mg"; MANY], false, |store| store.get_many(many()).map(drop)),
    operation("put_many", &["ms"; MANY], true, |store| store.put_many(many().map(|key| (key, "value")))),
    operation("delete_many", &["md"; MANY], true, |store| store.delete_many(many()).map(drop)),
];

pub(super) fn many() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("many/{number}"))
}

/// The operations of [`SINGLE`] that the server supports.
pub(super) fn single() -> impl Iterator<Item = Operation> {
    SINGLE.into_iter().filter(|single| !is_old() || !["ttl", "copy", "rename"].contains(&single.name))
}

pub(super) fn operations() -> impl Iterator<Item = Operation> {
    single().chain(BATCH)
}

/// Whether the server has only the classic commands, so that the store has neither `ttl` nor `copy`.
pub(super) fn is_old() -> bool {
    !support::is_from([1, 6, 0])
}

/// Runs `act` for each operation, all at the same time. Each operation has its own server, proxy, and store with one connection, already
/// made.
pub(super) fn for_each_operation(
    of: impl IntoIterator<Item = Operation>,
    act: impl Fn(Operation, &Memcached, &Proxy, &MemcacheStore) + Sync,
) {
    let started: Vec<_> = of.into_iter().map(|operation| (operation, start())).collect();
    side_by_side(started, |(operation, (server, proxy))| {
        // After a time-out the server is not left alone, so that operations meet the next fault, too.
        let store = builder(proxy.port()).pool_size(1).retry_after(Duration::ZERO).build().unwrap();
        warm(&store);
        act(operation, &server, &proxy, &store);
    });
}
