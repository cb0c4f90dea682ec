//! A store whose operations are noted, and watched.
#![deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide the store's own")]

use std::fmt::{self, Debug};
use std::io::Read;
use std::sync::Arc;

use kv_core::{
    Bytes, Capabilities, Entry, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, Version,
};

use super::followed;
use super::show::shorten;
use super::trace::{self, failed, located};
use super::watchdog::{Operation, Watchdog};
use crate::fixture::Fixture;

/// The most characters that are shown of anything.
const CUT: usize = 40;

/// A store whose operations are noted. Its fields are dropped in this order.
struct Traced {
    inner: Box<dyn KeyValueStore>,
    /// Begins when the store is dropped.
    dropping: Option<Operation>,
    /// The text before each operation.
    name: &'static str,
    watchdog: Arc<Watchdog>,
}

/// Notes and watches the operations on the stores of a fixture from now on.
pub(super) fn follow(mut fixture: Fixture, watchdog: &Arc<Watchdog>) -> Fixture {
    let follow = |inner, name| Box::new(Traced { inner, dropping: None, name, watchdog: Arc::clone(watchdog) });
    fixture.store = follow(fixture.store, "");
    fixture.second_handle =
        fixture.second_handle.map(|inner| -> Box<dyn KeyValueStore> { follow(inner, "second handle: ") });
    fixture
}

/// A key or a prefix, shortened if it is long.
fn quoted(key: &str) -> String {
    shorten(&format!("{key:?}"), CUT)
}

/// The first few, and how many there are.
fn few<T>(of: &[T], what: &str, shown: impl Fn(&T) -> String) -> String {
    let rest = if of.len() > 4 { format!(", … {} {what}", of.len()) } else { String::new() };
    format!("{}{rest}", of.iter().take(4).map(shown).collect::<Vec<_>>().join(", "))
}

fn keys(keys: &[Key<'_>]) -> String {
    few(keys, "keys", |key| quoted(key))
}

/// The entries of a batch, each with its TTL.
fn entries(entries: &[Entry<'_>]) -> String {
    few(entries, "entries", |Entry { key, value: new, ttl, .. }| {
        format!("({}, {}, {ttl:?})", quoted(key), value(new.as_bytes()))
    })
}

fn value(value: &[u8]) -> String {
    let shown = value.get(..CUT).unwrap_or(value).escape_ascii();
    let rest = if value.len() > CUT { format!("… ({} bytes)", value.len()) } else { String::new() };
    format!("\"{shown}\"{rest}")
}

impl Traced {
    /// Watches something that is no operation.
    fn beside(&self, what: &str) -> Operation {
        self.watchdog.begin_beside(located(&format!("{}{what}", self.name)))
    }

    /// Notes an operation, runs it, and notes its result. In this order, so that an operation that panics is noted.
    fn note<T>(
        &self,
        of: &[Key<'_>],
        operation: impl FnOnce() -> String,
        run: impl FnOnce() -> Result<T>,
        came: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let text = trace::located(&format!("{}{}", self.name, operation()));
        let keys = of.iter().take(trace::REMEMBERED).map(|&key| key.into()).collect();
        let under_way = self.watchdog.begin(text.as_str(), of.len());
        let number = trace::begin(keys, text);
        let result = run();
        drop(under_way);
        let came = match &result {
            Ok(got) => came(got),
            Err(error) => trace::failed(error),
        };
        trace::end(number, came);
        trace::merge_repeated();
        result
    }
}

fn debug<T: Debug>(got: &T) -> String {
    format!("{got:?}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is what came, as of the other operations")]
fn done((): &()) -> String {
    "done".into()
}

/// Whether there is a version, which shows nothing.
#[expect(clippy::ref_option, reason = "it is what came, as of the other operations")]
fn is_some(got: &Option<Version>) -> String {
    if got.is_some() { "a version" } else { "None" }.into()
}

fn found(got: Option<&Bytes>) -> String {
    got.map_or_else(|| "None".into(), |got| format!("Some({})", value(got)))
}

/// The beginning of the result of a batch.
fn several<T>(got: &[T], shown: impl Fn(&T) -> String) -> String {
    let end = if got.len() > 4 { format!(", … {} in all", got.len()) } else { String::new() };
    format!("[{}{end}]", got.iter().take(4).map(shown).collect::<Vec<_>>().join(", "))
}

impl KeyValueStore for Traced {
    fn name(&self) -> &str {
        let _asking = self.beside("name()");
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        let _asking = self.beside("capabilities()");
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.note(&[key], || format!("get({})", keys(&[key])), || self.inner.read(key), |got| found(got.as_ref()))
    }

    fn write(&self, key: Key<'_>, new: Value<'_>, ttl: Ttl) -> Result<()> {
        let shown = value(new.as_bytes());
        self.watchdog.writes(1);
        self.note(
            &[key],
            || format!("put({}, {shown}, {ttl:?})", keys(&[key])),
            || self.inner.write(key, new, ttl),
            done,
        )
    }

    fn write_if_absent(&self, key: Key<'_>, new: Value<'_>, ttl: Ttl) -> Result<bool> {
        let operation = format!("create({}, {}, {ttl:?})", keys(&[key]), value(new.as_bytes()));
        self.watchdog.writes(1);
        self.note(&[key], || operation, || self.inner.write_if_absent(key, new, ttl), debug)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.note(&[key], || format!("delete({})", keys(&[key])), || self.inner.remove(key), debug)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.note(&[key], || format!("contains({})", keys(&[key])), || self.inner.exists(key), debug)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.note(&[key], || format!("ttl({})", keys(&[key])), || self.inner.expiry(key), debug)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let run = || self.inner.set_expiry(key, ttl);
        self.note(&[key], || format!("touch({}, {ttl:?})", keys(&[key])), run, debug)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let listing = located(&format!("{}keys({})", self.name, quoted(&prefix)));
        let listed =
            self.note(&[], || format!("keys({})", quoted(&prefix)), || self.inner.list(prefix), |_| "…".into());
        Ok(followed::listing(&self.watchdog, listing, listed?))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let operation = || format!("prefixes({}, {})", keys(&[delimiter]), quoted(&prefix));
        let listed = self.note(&[], operation, || self.inner.list_prefixes(delimiter, prefix), |_| "…".into());
        Ok(followed::listing(&self.watchdog, located(&format!("{}{}", self.name, operation())), listed?))
    }

    fn read_many(&self, of: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        self.note(
            of,
            || format!("get_many([{}])", keys(of)),
            || self.inner.read_many(of),
            |got| several(got, |got| found(got.as_ref())),
        )
    }

    fn read_each(&self, of: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let shown = |outcome: &Result<Option<Bytes>>| match outcome {
            Ok(got) => found(got.as_ref()),
            Err(error) => failed(error),
        };
        // The whole call always works.
        let run = || Ok(self.inner.read_each(of));
        self.note(of, || format!("get_each([{}])", keys(of)), run, |got| several(got, shown)).unwrap_or_default()
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let of = entries.iter().map(|entry| entry.key).collect::<Vec<_>>();
        let operation = format!("put_many([{}])", self::entries(&entries));
        self.watchdog.writes(entries.len());
        self.note(&of, || operation, || self.inner.write_many(entries), done)
    }

    fn remove_many(&self, of: &[Key<'_>]) -> Result<Vec<bool>> {
        self.note(
            of,
            || format!("delete_many([{}])", keys(of)),
            || self.inner.remove_many(of),
            |got| several(got, bool::to_string),
        )
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let of = [from, to];
        self.watchdog.writes(1);
        self.note(&of, || format!("copy({})", keys(&of)), || self.inner.copy_entry(from, to), done)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let of = [from, to];
        self.watchdog.writes(1);
        self.note(&of, || format!("rename({})", keys(&of)), || self.inner.rename_entry(from, to), done)
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        // To callers, `open` and `get_into` of an absent key are an error.
        let came = |got: &Option<ValueReader>| if got.is_some() { "a stream" } else { "Err(NotFound)" }.to_owned();
        let opening = || format!("open({})", keys(&[key]));
        let opened = self.note(&[key], opening, || self.inner.read_stream(key), came)?;
        Ok(opened.map(|reader| followed::reader(&self.watchdog, &format!("{}{}", self.name, opening()), reader)))
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.watchdog.writes(1);
        let run = || self.inner.write_stream(key, reader, ttl);
        self.note(&[key], || format!("put_from({}, a stream, {ttl:?})", keys(&[key])), run, done)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let came = |got: &Option<(Bytes, Version)>| found(got.as_ref().map(|(value, _)| value));
        self.note(&[key], || format!("get_versioned({})", keys(&[key])), || self.inner.read_versioned(key), came)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, new: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let operation = format!("create_versioned({}, {}, {ttl:?})", keys(&[key]), value(new.as_bytes()));
        self.watchdog.writes(1);
        self.note(&[key], || operation, || self.inner.write_if_absent_versioned(key, new, ttl), is_some)
    }

    fn write_if_version(&self, key: Key<'_>, new: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let operation = format!("put_if({}, {}, {ttl:?}, a version)", keys(&[key]), value(new.as_bytes()));
        self.watchdog.writes(1);
        self.note(&[key], || operation, || self.inner.write_if_version(key, new, ttl, version), is_some)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let run = || self.inner.remove_if_version(key, version);
        self.note(&[key], || format!("delete_if({}, a version)", keys(&[key])), run, debug)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let run = || self.inner.read_and_remove(key);
        self.note(&[key], || format!("take({})", keys(&[key])), run, |got| found(got.as_ref()))
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let run = || self.inner.read_and_set_expiry(key, ttl);
        self.note(&[key], || format!("get_and_touch({}, {ttl:?})", keys(&[key])), run, |got| found(got.as_ref()))
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.watchdog.writes(1);
        let operation = || format!("increment({}, {by}, {ttl:?})", keys(&[key]));
        self.note(&[key], operation, || self.inner.add(key, by, ttl), debug)
    }
}

/// Only the `Debug` of the store, because checks read it.
impl Debug for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _showing = self.beside("`Debug` of the store");
        self.inner.fmt(f)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.dropping = Some(self.beside("dropping the store"));
    }
}

#[cfg(test)]
mod tests {
    use kv_core::KeyValueStoreExt;
    use kv_memory::MemoryStore;

    use super::*;

    #[test]
    fn the_sequence_is_what_led_to_the_last_operation() {
        trace::forget();
        let fixture = follow(Fixture::new(MemoryStore::new()), &Arc::default());
        let store = &*fixture.store;
        store.put("a", vec![0; 100]).unwrap();
        store.put("b", "not of interest").unwrap();
        store.copy("a", "c").unwrap();
        store.get_many(["x", "c", "y", "z", "c"]).unwrap();
        store.open("absent").unwrap_err();
        store.delete("c").unwrap();
        let shown = trace::sequence();
        let lines = shown.lines().skip(2).collect::<Vec<_>>();
        assert_eq!(lines.len(), 4, "{shown}");
        assert!(!shown.contains("absent"), "{shown}");
        assert!(lines[0].starts_with("  put(\"a\", \"\\x00\\x00") && lines[0].contains("(100 bytes)"), "{shown}");
        assert_eq!(lines[1], "  copy(\"a\", \"c\") -> done");
        assert!(lines[2].ends_with(", … 5 in all]"), "{shown}");
        assert_eq!(lines[3], "  delete(\"c\") -> true");
        assert_eq!(trace::sequence(), "");
    }

    #[test]
    fn the_sequence_is_that_of_the_callers_layer() {
        trace::forget();
        let fixture = follow(Fixture::new(MemoryStore::new()), &Arc::default());
        let store = &*fixture.store;
        let long = "k".repeat(250);
        let second = std::time::Duration::from_secs(1);
        store.put_many_with_ttl([(&*long, "1", Ttl::After(second)), ("b", "2", Ttl::Forever)]).unwrap();
        store.open("b").unwrap();
        store.delete("b").unwrap();
        store.open("b").unwrap_err();
        store.get("b").unwrap();
        store.get("b").unwrap();
        let shown = trace::sequence();
        let lines = shown.lines().skip(2).collect::<Vec<_>>();
        let key = format!("\"{}…{}\" (250 bytes)", "k".repeat(20), "k".repeat(20));
        assert_eq!(lines[0], format!("  put_many([({key}, \"1\", After(1s)), (\"b\", \"2\", Forever)]) -> done"));
        assert_eq!(
            lines[1..4],
            ["  open(\"b\") -> a stream", "  delete(\"b\") -> true", "  open(\"b\") -> Err(NotFound)"]
        );
        assert_eq!(lines[4..], ["  get(\"b\") -> None (2 times)"]);
    }

    #[test]
    fn an_operation_that_panics_is_in_the_sequence() {
        #[derive(Debug)]
        struct Panics;
        #[allow(clippy::missing_trait_methods, reason = "only one is used")]
        impl KeyValueStore for Panics {
            fn name(&self) -> &'static str {
                "panics"
            }
            fn capabilities(&self) -> Capabilities {
                Capabilities::builder().build()
            }
            fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
                Ok(None)
            }
            fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
                panic!("at the disco")
            }
            fn remove(&self, _: Key<'_>) -> Result<bool> {
                Ok(false)
            }
        }
        trace::forget();
        let fixture = follow(Fixture::new(Panics), &Arc::default());
        let panic = crate::running::panics::catch(|| {
            let _ = fixture.store.get("k");
            let _ = fixture.store.put("k", "v");
        });
        assert_eq!(panic.unwrap_err().operation.as_deref(), Some("put(\"k\", \"v\", Default)"));
        let shown = trace::sequence();
        assert!(shown.ends_with("\n  get(\"k\") -> None\n  put(\"k\", \"v\", Default) -> panicked"), "{shown}");
    }
}
