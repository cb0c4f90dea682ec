//! Stores that hang: the check that meets it fails within its time and says which operation it was, and the others go on.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Fixture, Report, Suite, Verdict};
use kv_core::{
    Bytes, Capabilities, Entry, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader,
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
}

/// A store that is right, and hangs.
struct Hanging {
    inner: Right,
    how: How,
    /// The threads that hold the lock.
    holders: Arc<Mutex<Vec<ThreadId>>>,
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

    /// Waits for a lock that this thread holds itself.
    fn wait(&self, of: How) {
        let thread = thread::current().id();
        wait_while(|| self.how == of && lock(&self.holders).contains(&thread));
    }
}

impl fmt::Debug for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hanging").field("how", &self.how).finish_non_exhaustive()
    }
}

impl KeyValueStore for Hanging {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.wait(How::ListingHoldsLock);
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.wait(How::ListingHoldsLock);
        self.wait(How::ReaderHoldsLock);
        self.inner.write(key, value, ttl)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        wait_while(|| self.how == How::CreateWaits && self.inner.exists_whole(key));
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
            _ => Ok(Keys::new(keys.map(Ok))),
        }
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        entries.into_iter().try_for_each(|entry| self.write(entry.key, entry.value, entry.ttl))
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        if self.how != How::ReaderHoldsLock {
            return self.inner.read_stream(key);
        }
        Ok(self.read(key)?.map(|value| ValueReader::new(Holding(Cursor::new(value), self.hold()))))
    }
}

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
        if how == How::FixtureHangs && made.fetch_add(1, Ordering::Relaxed) >= 2 {
            thread::sleep(FOR_EVER);
        }
        let inner = Right::new(Config::new());
        let clock = inner.config.clock.clone();
        let store = Hanging { inner, how, holders: Arc::default() };
        // By less than the check of the fixture advances it.
        let advance = move |by| {
            if how == How::ClockHangs && by < Duration::from_secs(1) {
                thread::sleep(FOR_EVER);
            }
            clock.advance(by);
        };
        Ok(Fixture::new(store).clock(advance))
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
        trial(How::ReaderHoldsLock, "s1_", "S1", &["put(", "expected: it returns\n", "Before it: open("]),
        trial(
            How::CreateWaits,
            "p4_create_",
            "P4",
            &["create(", "\nexpected: it returns\n", "KV_CONFORMANCE_HANGS_AFTER="],
        ),
        trial(
            How::ClockHangs,
            "t5_an_expired_entry_is_absent_for_every_operation",
            "T5",
            &["the check\nexpected: it ends\n", "Before it: put("],
        ),
        trial(
            How::FixtureHangs,
            "g1_an_absent_key_reads",
            "",
            &["the fixture, while it was made,\nexpected: it returns"],
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
            (clause.is_empty() || broken == clause) && says.iter().all(|says| message.contains(says))
        })
    };
    if !is_it(&report) {
        return Err(report.to_string().into());
    }
    if took > HANGS_AFTER * 25 {
        return Err(format!("it took {took:?}").into());
    }
    let other = suite.run_matching("d1_a_deleted_key_can_be_written_again");
    if other.passed() || how == How::FixtureHangs { Ok(()) } else { Err(other.to_string().into()) }
}
