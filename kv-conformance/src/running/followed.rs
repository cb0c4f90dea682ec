//! Listings and readers of a store, watched: from when they are opened until they are dropped.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use kv_core::{Error, Failure, KeyBuf, Keys, Result, ValueReader};

use super::watchdog::{Open, Operation, Watchdog};

/// How many keys a listing may yield beyond those that the check has written.
const FOREIGN: u64 = 10_000;

/// The keys of a listing, up to more than there can be.
pub(super) fn listing<'a>(watchdog: &Arc<Watchdog>, listing: String, keys: Keys<'a>) -> Keys<'a> {
    let listing = Arc::<str>::from(listing);
    let next = format!("the next key of {listing}").into();
    let open = watchdog.open(Arc::clone(&listing));
    let watchdog = Arc::clone(watchdog);
    Keys::new(Listing { keys, dropping: None, open, watchdog, name: listing, next, yielded: 0 })
}

/// A listing that is watched. Its fields are dropped in this order.
struct Listing<'a> {
    keys: Keys<'a>,
    /// Begins when the listing is dropped.
    dropping: Option<Operation>,
    #[expect(dead_code, reason = "it is dropped with the listing")]
    open: Open,
    watchdog: Arc<Watchdog>,
    name: Arc<str>,
    /// What the next step is called.
    next: Arc<str>,
    yielded: u64,
}

impl Iterator for Listing<'_> {
    type Item = Result<KeyBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        let operation = self.watchdog.begin(Arc::clone(&self.next), 1);
        let key = self.keys.next()?;
        drop(operation);
        self.yielded += 1;
        if self.yielded > self.watchdog.written() + FOREIGN {
            self.watchdog.does_not_end(&self.name, self.yielded);
            return Some(Err(Error::Backend(Failure::new("kv-conformance", "the listing does not end"))));
        }
        Some(key)
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.dropping = Some(self.watchdog.begin_beside(format!("dropping {}", self.name)));
    }
}

/// A reader of a value. `opened` is the operation that has opened it.
pub(super) fn reader(watchdog: &Arc<Watchdog>, opened: &str, reader: ValueReader) -> ValueReader {
    let name = Arc::<str>::from(format!("the reader of {opened}"));
    let open = watchdog.open(Arc::clone(&name));
    ValueReader::new(Reader { inner: reader, dropping: None, open, watchdog: Arc::clone(watchdog), name })
}

/// A reader that is watched. Its fields are dropped in this order.
struct Reader {
    inner: ValueReader,
    /// Begins when the reader is dropped.
    dropping: Option<Operation>,
    #[expect(dead_code, reason = "it is dropped with the reader")]
    open: Open,
    watchdog: Arc<Watchdog>,
    name: Arc<str>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _reading = self.watchdog.begin(format!("a read from {}", self.name), 1);
        self.inner.read(buffer)
    }

    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let _reading = self.watchdog.begin(format!("read_to_end of {}", self.name), 1);
        self.inner.read_to_end(buffer)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let _seeking = self.watchdog.begin(format!("seek({to:?}) of {}", self.name), 1);
        self.inner.seek(to)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.dropping = Some(self.watchdog.begin_beside(format!("dropping {}", self.name)));
    }
}
