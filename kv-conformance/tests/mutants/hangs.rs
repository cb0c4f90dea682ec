//! Stores that hang: the check that meets it fails within its time and says which operation it was, and the others go on.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Fixture, Report, Suite, Verdict};
use kv_core::{
    Bytes, Capabilities, Entry, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader,
    Version,
};
use libtest_mimic::{Failed, Trial};

use crate::right::{Config, Right, lock};

/// After how long an operation counts as one that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(1);

/// How long one hangs that nothing ends: longer than any test, and not for ever, as the threads are left behind.
const FOR_EVER: Duration = Duration::from_secs(60);

/// In what a store hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A listing holds a lock that everything else needs.
    ListingHoldsLock,
    /// A listing yields its first page again and again.
    CursorStandsStill,
    /// A listing looks for its next key for ever.
    CursorSearches,
    /// A reader holds a lock that writes need.
    ReaderHoldsLock,
    /// `create` waits until the key is absent.
    CreateWaits,
    /// The fixture's clock does not come back.
    ClockHangs,
    /// The second fixture is never made.
    FixtureHangs,
    /// A store that has created something cannot be dropped.
    DropHangs,
    /// Nor can a reader.
    ReaderDropHangs,
    /// Nor a listing.
    ListingDropHangs,
    /// A reader reads for ever.
    ReaderReads,
    /// `Debug` waits for a lock.
    DebugHangs,
    /// After a create, `capabilities()` asks the server, which does not answer.
    CapabilitiesHang,
    /// After a create, `name()` asks the server.
    NameHangs,
    /// `put_from` holds a lock while it reads.
    StreamHoldsLock,
    /// The fixture's `foreign_data` does not come back.
    PlantHangs,
    /// Nor what opens the store again.
    ReopenHangs,
    /// Nor the drop of a guard, of the third fixture and later.
    GuardHangs,
}

/// A store that is right, and hangs.
struct Hanging {
    inner: Right,
    how: How,
    /// The threads that hold the lock.
    holders: Arc<Mutex<Vec<ThreadId>>>,
    has_created: AtomicBool,
}

/// A lock that a thread holds.
struct Held(Arc<Mutex<Vec<ThreadId>>>, ThreadId);

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = lock(&self.0);
        if let Some(at) = holders.iter().position(|holder| *holder == self.1) {
            holders.remove(at);
        }
    }
}

fn wait_while(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while holds() && begun.elapsed() < FOR_EVER {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Hanging {
    fn hold(&self) -> Held {
        let thread = thread::current().id();
        lock(&self.holders).push(thread);
        Held(Arc::clone(&self.holders), thread)
    }

    /// Hangs in this, once something was created.
    fn hang(&self, how: How) {
        if self.how == how && self.has_created.load(Ordering::Relaxed) {
            thread::sleep(FOR_EVER);
        }
    }

    /// Waits for a lock that this thread holds itself.
    fn wait(&self, of: How) {
        let thread = thread::current().id();
        wait_while(|| self.how == of && lock(&self.holders).contains(&thread));
    }
}

impl fmt::Debug for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hang(How::DebugHangs);
        f.debug_struct("Hanging").field("how", &self.how).finish_non_exhaustive()
    }
}

impl KeyValueStore for Hanging {
    fn name(&self) -> &str {
        self.hang(How::NameHangs);
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.hang(How::CapabilitiesHang);
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.wait(How::ListingHoldsLock);
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.wait(How::ListingHoldsLock);
        self.wait(How::ReaderHoldsLock);
        self.wait(How::StreamHoldsLock);
        self.inner.write(key, value, ttl)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        wait_while(|| self.how == How::CreateWaits && self.inner.exists_whole(key));
        self.has_created.store(true, Ordering::Relaxed);
        self.inner.write_if_absent(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.inner.remove(key)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.inner.expiry(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.inner.set_expiry(key, ttl)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let held = (self.how == How::ListingHoldsLock).then(|| self.hold());
        let keys = self.inner.list(prefix)?.collect::<Result<Vec<KeyBuf>>>()?;
        let keys = keys.into_iter().inspect(move |_| {
            let _ = &held;
        });
        match self.how {
            How::CursorStandsStill => {
                let keys = keys.collect::<Vec<_>>();
                Ok(Keys::new(keys.into_iter().cycle().map(Ok)))
            }
            How::CursorSearches => Ok(Keys::new(keys.map(Ok).chain(std::iter::from_fn(|| {
                thread::sleep(FOR_EVER);
                None
            })))),
            How::ListingDropHangs => {
                let hangs = HangsWhenDropped;
                Ok(Keys::new(keys.map(Ok).inspect(move |_| {
                    let _ = &hangs;
                })))
            }
            _ => Ok(Keys::new(keys.map(Ok))),
        }
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let held = (self.how == How::StreamHoldsLock).then(|| self.hold());
        let value = crate::right::read_all(None, key, reader)?;
        drop(held);
        self.write(key, value.into(), ttl)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        entries.into_iter().try_for_each(|entry| self.write(entry.key, entry.value, entry.ttl))
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        let hanging = |reads, drops| {
            let value = self.read(key)?;
            Ok(value.map(|value| ValueReader::new(HangingReader(Cursor::new(value), reads, drops))))
        };
        match self.how {
            How::ReaderHoldsLock => {}
            How::ReaderDropHangs => return hanging(false, Some(HangsWhenDropped)),
            How::ReaderReads => return hanging(true, None),
            _ => return self.inner.read_stream(key),
        }
        Ok(self.read(key)?.map(|value| ValueReader::new(Holding(Cursor::new(value), self.hold()))))
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.inner.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.inner.write_if_absent_versioned(key, value, ttl)
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.inner.write_if_version(key, value, ttl, version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.inner.remove_if_version(key, version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.inner.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.inner.add(key, by, ttl)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.hang(How::DropHangs);
    }
}

/// What cannot be dropped.
struct HangsWhenDropped;

impl Drop for HangsWhenDropped {
    fn drop(&mut self) {
        thread::sleep(FOR_EVER);
    }
}

/// A reader that may hang when it is read from, and when it is dropped.
struct HangingReader(
    Cursor<Bytes>,
    bool,
    #[expect(dead_code, reason = "it is dropped with the reader")] Option<HangsWhenDropped>,
);

impl Read for HangingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1 {
            thread::sleep(FOR_EVER);
        }
        self.0.read(buffer)
    }
}

impl Seek for HangingReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A guard that may hang when it is dropped.
struct Guard(#[expect(dead_code, reason = "it is dropped with the guard")] Option<HangsWhenDropped>);

/// A reader that holds a lock.
struct Holding(Cursor<Bytes>, #[expect(dead_code, reason = "it is dropped with the reader")] Held);

impl Read for Holding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Holding {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn suite(how: How) -> Suite {
    let made = AtomicUsize::new(0);
    let open = move || -> Result<Fixture, BoxError> {
        // The check of the fixture makes two.
        let is_later = made.fetch_add(1, Ordering::Relaxed) >= 2;
        if how == How::FixtureHangs && is_later {
            thread::sleep(FOR_EVER);
        }
        let inner = Right::new(Config::new());
        let clock = inner.config.clock.clone();
        let guard = Guard((how == How::GuardHangs && is_later).then(|| HangsWhenDropped));
        let store = Hanging { inner: inner.clone(), how, holders: Arc::default(), has_created: AtomicBool::new(false) };
        // By less than the check of the fixture advances it.
        let advance = move |by| {
            if how == How::ClockHangs && by < Duration::from_secs(1) {
                thread::sleep(FOR_EVER);
            }
            clock.advance(by);
        };
        let hang = move |of| {
            if how == of {
                thread::sleep(FOR_EVER);
            }
            Ok(())
        };
        let fixture = Fixture::new(store).clock(advance).guard(guard).foreign_data(move || hang(How::PlantHangs));
        Ok(fixture.reopen(move || hang(How::ReopenHangs).map(|()| inner.clone())))
    };
    Suite::new(format!("{how:?}"), open).hangs_after(HANGS_AFTER)
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |how: How, check: &'static str, clause: &'static str, says: &'static [&'static str]| {
        Trial::test(format!("hangs/{how:?}/{check}"), move || hangs(how, check, clause, says))
    };
    vec![
        trial(
            How::ListingHoldsLock,
            "l2_the_store_can_be_used_inside_the_loop",
            "L2",
            &[
                "get(\"k0\"), while this thread has keys(\"k\") open\nexpected: it returns: a listing holds no lock (L2)\n",
            ],
        ),
        trial(
            How::CursorStandsStill,
            "l1_what_is_there_is_listed_exactly_once",
            "L1",
            &["\nexpected: each key once, and then the end: ", "and no end. Does its cursor advance?"],
        ),
        trial(How::CursorStandsStill, "l6_", "L6", &["prefixes(", "and no end. Does its cursor advance?"]),
        // Whatever the check is about.
        trial(How::CursorStandsStill, "b6_a_hundred_thousand", "L1", &["keys(\"\")", "and no end."]),
        trial(
            How::CursorSearches,
            "l1_thousands_of_keys_are_listed_exactly_once",
            "L1",
            &["the next key of keys(\"k/\")", "it hangs, and the suite goes on without it"],
        ),
        trial(
            How::ReaderHoldsLock,
            "s1_",
            "S1",
            &[
                "put(",
                ", while this thread has the reader of open(",
                "expected: it returns: a reader is independent of",
            ],
        ),
        trial(
            How::CreateWaits,
            "p4_create_",
            "P4",
            &["create(", "\nexpected: it returns\n", "KV_CONFORMANCE_HANGS_AFTER="],
        ),
        trial(
            How::ClockHangs,
            "t5_an_expired_entry_is_absent_for_every_operation",
            "",
            &["the fixture, while its clock was advanced,\nexpected: it returns\n", "Before it: put("],
        ),
        trial(
            How::FixtureHangs,
            "g1_an_absent_key_reads",
            "",
            &["the fixture, while it was made,\nexpected: it returns"],
        ),
        trial(
            How::DropHangs,
            "p4_create_stores",
            "P4",
            &["dropping the store\nexpected: it returns\n", "Before it: get("],
        ),
        trial(
            How::ReaderDropHangs,
            "s1_an_opened_value_is_read_piece",
            "S1",
            &["dropping the reader of open(\"", "\nexpected: it returns\n"],
        ),
        trial(How::ListingDropHangs, "l2_a_listing_can_be", "L2", &["dropping keys(\"k\")\nexpected: it returns\n"]),
        trial(How::ReaderReads, "s1_", "S1", &["a read from the reader of open(\"k\")\nexpected: it returns\n"]),
        trial(
            How::DebugHangs,
            "e3_neither",
            "E3",
            &["`Debug` of the store\nexpected: it returns\n", "Before it: create("],
        ),
        trial(How::CapabilitiesHang, "p4_create_takes_a_ttl", "P4", &["capabilities()\nexpected: it returns\n"]),
        trial(How::NameHangs, "e3_neither", "E3", &["name()\nexpected: it returns\n"]),
        trial(
            How::StreamHoldsLock,
            "s2_a_reader_may",
            "S2",
            &[
                "put(",
                ", while put_from(\"k\", a stream, Default) calls the code that does this\nexpected: it returns: ",
            ],
        ),
        trial(How::PlantHangs, "l5_foreign", "", &["the fixture, while `foreign_data` ran,\nexpected: it returns\n"]),
        trial(How::ReopenHangs, "p5_", "", &["the fixture, while its store was reopened,\nexpected: it returns\n"]),
        trial(
            How::GuardHangs,
            "g1_an_absent_key_reads",
            "",
            &["the fixture, while a guard was dropped,\nexpected: it returns\n"],
        ),
    ]
}

/// Of the checks with this in their names, those that hang fail with this clause and words, within their time. Another check goes on.
fn hangs(how: How, check: &str, clause: &str, says: &[&str]) -> Result<(), Failed> {
    let (suite, begun) = (suite(how), Instant::now());
    let report = suite.run_matching(check);
    let took = begun.elapsed();
    let is_it = |report: &Report| {
        report.failures().any(|failure| {
            let broken = failure.failure.as_ref().map(|failure| failure.broken.concat()).unwrap_or_default();
            let Verdict::Failed(message) = &failure.verdict else { return false };
            broken == clause && says.iter().all(|says| message.contains(says))
        })
    };
    if !is_it(&report) {
        return Err(report.to_string().into());
    }
    if took > HANGS_AFTER * 25 {
        return Err(format!("it took {took:?}").into());
    }
    let other = suite.run_matching("d1_delete_tells_whether_it_removed_an_entry");
    if other.passed() || matches!(how, How::FixtureHangs | How::GuardHangs) {
        Ok(())
    } else {
        Err(other.to_string().into())
    }
}
