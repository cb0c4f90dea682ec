//! The runtimes, and everything that is done inside them.

use std::any::Any;
use std::io::{self, Read, Seek, SeekFrom};

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining};
use tokio::runtime::Builder;

use crate::checks::entries::sorted;
use crate::fixture::Fixture;
use crate::property::values::patterned;
use crate::running::panics::Panic;
use crate::running::{Context, NotPassed, Outcome, Scope, Seed, expect, expect_error, expect_that, panics, trace};

/// Where a thread is.
#[derive(Clone, Copy)]
enum Location {
    /// In `block_on` of a runtime with one thread, which is this one.
    OneThread,
    /// In `block_on` of a runtime that has a worker besides.
    SeveralThreads,
    /// On the only worker of a runtime.
    Worker,
    /// On a thread of a runtime where blocking is allowed.
    SpawnBlocking,
    /// Inside an entered runtime with one thread that nobody drives.
    Entered,
}

/// All locations, in words that follow an operation, and the words for an operation after the runtime has ended.
const LOCATIONS: [(Location, &str, &str); 5] = [
    (
        Location::OneThread,
        ", inside `block_on` of a current-thread runtime of tokio",
        ", after the end of the current-thread runtime of tokio in which the store was made",
    ),
    (
        Location::SeveralThreads,
        ", inside `block_on` of a multi-thread runtime of tokio",
        ", after the end of the multi-thread runtime of tokio in which the store was made",
    ),
    (
        Location::Worker,
        ", in a task on a worker of a multi-thread runtime of tokio",
        ", after the end of the runtime of tokio on whose worker the store was made",
    ),
    (
        Location::SpawnBlocking,
        ", inside `spawn_blocking` of tokio",
        ", after the end of the runtime of tokio in whose `spawn_blocking` the store was made",
    ),
    (
        Location::Entered,
        ", where a runtime of tokio is entered (`Runtime::enter`)",
        ", after the end of the runtime of tokio that was entered when the store was made",
    ),
];

impl Location {
    /// Runs something in this location.
    fn run<T: Send + 'static>(self, run: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
        let builder = match self {
            Self::OneThread | Self::Entered => Builder::new_current_thread().enable_all().build(),
            _ => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
        };
        let runtime = builder.map_err(|error| beside("no runtime of tokio could be made", &error))?;
        let run = move || panics::catch(run).unwrap_or_else(|panic| Err(panic.into()));
        let joined = match self {
            Self::OneThread | Self::SeveralThreads => Ok(runtime.block_on(async { run() })),
            Self::Worker => runtime.block_on(runtime.spawn(async { run() })),
            Self::SpawnBlocking => runtime.block_on(runtime.spawn_blocking(run)),
            Self::Entered => {
                let _entered = runtime.enter();
                Ok(run())
            }
        };
        joined.unwrap_or_else(|error| Err(beside("the task of the check has ended", &error)))
    }
}

fn beside(what: &str, error: &dyn std::error::Error) -> NotPassed {
    NotPassed::failed_beside_the_store(format_args!("{what}: {error}"))
}

/// What has to be dropped outside of a location: a store that has panicked may panic again when it is dropped, and two panics at once end
/// the process.
#[derive(Default)]
struct Left {
    fixture: Option<Fixture>,
    /// The stores of a fixture, which are dropped one after the other, and the rest of the fixture.
    stores: Vec<Box<dyn KeyValueStore>>,
    rest: Option<Box<dyn Any + Send>>,
}

pub(super) fn everywhere(context: &Context<'_>) -> Outcome {
    let mut fixture = context.scope.open()?;
    let locations = context.sample(LOCATIONS, 150);
    for (number, (location, inside, afterwards)) in locations.into_iter().enumerate() {
        let (scope, seed) = (context.scope.clone(), context.seed.clone());
        let (outcome, left) = location.run(move || {
            trace::set_location(inside);
            let mut left = Left { fixture: Some(fixture), ..Left::default() };
            let outcome = panics::catch(|| stay(&scope, &seed, number, inside, &mut left));
            Ok((outcome.unwrap_or_else(|panic| Err(panic.into())), left))
        })?;
        trace::set_location(afterwards);
        outcome?;
        let Some(made) = left.fixture else { return Ok(()) };
        use_handles(context.scope, &made, &context.seed, "afterwards/")?;
        fixture = made;
    }
    Ok(())
}

/// Everything that is done in one location.
fn stay(scope: &Scope, seed: &Seed, number: usize, inside: &str, left: &mut Left) -> Outcome {
    // With a store that was made elsewhere.
    if let Some(fixture) = &left.fixture {
        use_handles(scope, fixture, seed, &format!("{number}/"))?;
    }
    drop_stores(scope, left);
    // With a store that is made here.
    left.fixture = Some(make(inside, "making the store", || scope.open())?);
    if let Some(fixture) = &left.fixture {
        use_handles(scope, fixture, seed, "made/")?;
    }
    if let Some(fixture) = left.fixture.take_if(|fixture| fixture.reopen.is_some()) {
        let fixture = make(inside, "closing the store and opening it again", || scope.reopen(fixture))?;
        use_handles(scope, left.fixture.insert(fixture), seed, "reopened/")?;
    }
    Ok(())
}

/// Makes a store with the fixture's function. A panic counts as the store's.
fn make(inside: &str, what: &str, make: impl FnOnce() -> Outcome<Fixture>) -> Outcome<Fixture> {
    panics::catch(make).unwrap_or_else(|panic| {
        let panic = Panic { fixture: None, operation: Some(format!("{what}{inside}")), ..panic };
        let advice = "(If other code of the fixture blocks here, and not the store, run that code on its own thread.)";
        Err(NotPassed::from(panic).map_text(|text| format!("{text}\n{advice}")))
    })
}

/// Drops only the stores. The rest of the fixture does not matter here.
fn drop_stores(scope: &Scope, left: &mut Left) {
    if let Some(fixture) = left.fixture.take() {
        let (stores, rest) = fixture.apart();
        (left.stores, left.rest) = (stores, Some(rest));
    }
    while let Some(store) = left.stores.pop() {
        scope.doing("dropping the store", || drop(store));
    }
}

/// Runs every operation with each handle of a fixture.
fn use_handles(scope: &Scope, fixture: &Fixture, seed: &Seed, prefix: &str) -> Outcome {
    let context = Context::new(scope, fixture, 0, seed.clone());
    use_store(&context, &*fixture.store, &format!("{prefix}one/"))?;
    match &fixture.second_handle {
        Some(second) => use_store(&context, &**second, &format!("{prefix}two/")),
        None => Ok(()),
    }
}

/// Runs every operation of a store. Each method of [`KeyValueStore`] is called by one of [`KeyValueStoreExt`].
fn use_store(context: &Context<'_>, store: &dyn KeyValueStore, prefix: &str) -> Outcome {
    let key = |name: &str| format!("{prefix}{name}");
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let shown = context.scope.doing("the name and `Debug` of the store", || format!("{} {store:?}", store.name()));
    expect_that("the name and `Debug` of the store", !shown.trim().is_empty(), "a text", &shown)?;
    expect("get of an absent key", store.get(key("absent")), None)?;
    expect("put", store.put(key("a"), "1"), ())?;
    expect("get", store.get(key("a")), value("1"))?;
    let large = Bytes::from(patterned(context.size(70_000)));
    expect("put of a large value", store.put(key("large"), &large), ())?;
    expect("get of a large value", store.get(key("large")), Some(large.clone()))?;
    expect("put_many", store.put_many([(key("b"), "2"), (key("c"), "3")]), ())?;
    let keys = ["a", "absent", "b", "c"].map(key);
    let all = vec![value("1"), None, value("2"), value("3")];
    expect("get_many", store.get_many(&keys), all.clone())?;
    expect("get_each", store.get_each(&keys).into_iter().collect::<Result<Vec<_>, _>>(), all)?;
    expect("delete", store.delete(key("b")), true)?;
    expect("delete_many", store.delete_many([key("b"), key("c")]), vec![false, true])?;
    if context.has(Capability::Contains) {
        expect("contains", store.contains(key("a")), true)?;
    }
    if context.has(Capability::Create) {
        expect("create", store.create(key("new"), "v"), true)?;
        expect("create of what is there", store.create(key("new"), "other"), false)?;
    }
    use_ttls(context, store, &key)?;
    if context.has(Capability::Copy) {
        expect("copy", store.copy(key("a"), key("copy")), ())?;
        expect("rename", store.rename(key("copy"), key("renamed")), ())?;
        expect("get of what was renamed", store.get(key("renamed")), value("1"))?;
        let absent = |error: &Error| matches!(error, Error::NotFound { .. });
        expect_error("rename of an absent key", store.rename(key("absent"), key("to")), "NotFound", absent)?;
    }
    if context.has(Capability::Listing) {
        list(context, store, prefix)?;
    }
    use_streams(context, store, &key)
}

fn use_ttls(context: &Context<'_>, store: &dyn KeyValueStore, key: &dyn Fn(&str) -> String) -> Outcome {
    if !context.has(Capability::Ttls) {
        return Ok(());
    }
    let long = context.long();
    expect("put with a TTL", store.put_with_ttl(key("ttl"), "v", long), ())?;
    expect("put_many with TTLs", store.put_many_with_ttl([(key("ttl/many"), "v", long)]), ())?;
    if context.has(Capability::Create) {
        expect("create with a TTL", store.create_with_ttl(key("ttl/new"), "v", long), true)?;
    }
    if context.has(Capability::TtlReading) {
        let left = store.ttl(key("ttl"))?;
        expect_that("ttl", matches!(left, Some(Remaining::For(_))), "what is left of it", left)?;
    }
    if context.has(Capability::Touch) {
        expect("touch", store.touch(key("ttl"), long), true)?;
    }
    Ok(())
}

fn list(context: &Context<'_>, store: &dyn KeyValueStore, prefix: &str) -> Outcome {
    let keys = store.keys(prefix)?;
    let listed = context.scope.doing("the next keys of a listing", || sorted(keys))?;
    let is_there = listed.contains(&format!("{prefix}a")) && listed.contains(&format!("{prefix}large"));
    expect_that("the keys of a listing", is_there, "those that were put", listed)?;
    // A listing that is dropped early, while the store is used.
    let mut keys = store.keys(prefix)?;
    let first = context.scope.doing("the next key of a listing", || keys.next().transpose())?;
    expect_that("the first key of a listing", first.is_some(), "a key", &first)?;
    expect("get inside the loop", store.get(format!("{prefix}a")), Some("1".into()))?;
    context.scope.doing("dropping a listing", || drop(keys));
    let parts = store.prefixes("/", prefix)?;
    let parts = context.scope.doing("the next parts of a listing", || sorted(parts))?;
    expect_that("the parts of a listing", parts.contains(&format!("{prefix}a")), "those of the keys", parts)
}

fn use_streams(context: &Context<'_>, store: &dyn KeyValueStore, key: &dyn Fn(&str) -> String) -> Outcome {
    let failed = |error: &io::Error| NotPassed::failed(format_args!("a stream\nexpected: it works\ngot:      {error}"));
    let value = patterned(context.size(70_000));
    expect("put_from", store.put_from(key("stream"), &*value), ())?;
    let mut reader = store.open(key("stream"))?;
    let read = context.scope.doing("reading from a stream and seeking in it", || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read)?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(read)
    });
    expect_that("what a stream gives", read.map_err(|error| failed(&error))? == value, "the value", "another one")?;
    context.scope.doing("dropping a stream", || drop(reader));
    let mut written = Vec::new();
    expect("get_into", store.get_into(key("stream"), &mut written), value.len() as u64)?;
    expect_that("what get_into wrote", written == value, "the value", "another one")?;
    let folder = tempfile::tempdir().map_err(|error| beside("no folder could be made", &error))?;
    let path = folder.path().join("value");
    expect("get_file", store.get_file(key("stream"), &path), value.len() as u64)?;
    expect("put_file", store.put_file(key("file"), &path), ())
}
