//! Stores that keep their data when they are closed, and those that lose some of it.

use std::time::Duration;

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::{
    Bytes, Capabilities, Capability, Entry, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value,
    ValueReader,
};
use libtest_mimic::{Failed, Trial};

use crate::right::{Config, Right};

/// What is not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Everything,
    Deletes,
    Renames,
    Touches,
    Ttls,
    Batches,
    Creates,
    Copies,
}

/// A store, and what of it is on its disk.
#[derive(Debug)]
struct Journaled {
    live: Right,
    disk: Right,
    lost: Lost,
}

impl Journaled {
    /// What has been on the disk is live.
    fn open(disk: Right, lost: Lost) -> Self {
        let live = Right::new(disk.config.clone());
        if lost != Lost::Everything {
            live.lock().clone_from(&disk.lock());
        }
        if lost == Lost::Ttls {
            live.lock().values_mut().for_each(|stored| stored.end = None);
        }
        Self { live, disk, lost }
    }

    /// Does the same to both, unless what is done is what gets lost.
    fn both<T>(&self, what: Lost, act: impl Fn(&Right) -> Result<T>) -> Result<T> {
        if self.lost != what {
            let _ = act(&self.disk);
        }
        act(&self.live)
    }
}

impl KeyValueStore for Journaled {
    fn name(&self) -> &str {
        self.live.name()
    }

    fn capabilities(&self) -> Capabilities {
        use Capability::{Counters, Take, TouchingReads, Versions};
        // The two stores would have two versions of each entry.
        let lacks = [Versions, Take, TouchingReads, Counters];
        lacks.into_iter().fold(self.live.capabilities().to_builder(), kv_core::CapabilitiesBuilder::without).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.live.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let value = value.into_bytes();
        self.both(Lost::Everything, |store| store.write(key, value.clone().into(), ttl))
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let value = value.into_bytes();
        self.both(Lost::Creates, |store| store.write_if_absent(key, value.clone().into(), ttl))
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.both(Lost::Deletes, |store| store.remove(key))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.live.expiry(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.both(Lost::Touches, |store| store.set_expiry(key, ttl))
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.live.list(prefix)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        self.both(Lost::Batches, |store| store.write_many(entries.clone()))
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.both(Lost::Copies, |store| store.copy_entry(from, to))
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.both(Lost::Renames, |store| store.rename_entry(from, to))
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        self.live.read_stream(key)
    }
}

fn suite(lost: Lost) -> Suite {
    let open = move || -> std::result::Result<Fixture, BoxError> {
        let disk = Right::new(Config::new());
        let clock = disk.config.clock.clone();
        let store = Journaled::open(disk.clone(), lost);
        let reopen = move || Ok(Journaled::open(disk.clone(), lost));
        Ok(Fixture::new(store).clock(move |by: Duration| clock.advance(by)).reopen(reopen))
    };
    Suite::new(format!("{lost:?}"), open)
}

pub(crate) fn trials() -> Vec<Trial> {
    let all = [
        Lost::Nothing,
        Lost::Everything,
        Lost::Deletes,
        Lost::Renames,
        Lost::Touches,
        Lost::Ttls,
        Lost::Batches,
        Lost::Creates,
        Lost::Copies,
    ];
    all.map(|lost| Trial::test(format!("reopening/{lost:?}"), move || check(lost))).into()
}

/// A store that loses nothing passes, and any other breaks P5.
fn check(lost: Lost) -> std::result::Result<(), Failed> {
    let report = suite(lost).run_matching("reopening");
    let broken =
        report.failures().filter_map(|failure| failure.failure.as_ref()).all(|failure| failure.broken == ["P5"]);
    let ran = report.results.iter().all(|result| !matches!(result.verdict, Verdict::Ignored(_)));
    if ran && broken && report.passed() == (lost == Lost::Nothing) { Ok(()) } else { Err(report.to_string().into()) }
}
