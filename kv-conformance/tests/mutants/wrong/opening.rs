//! Readers that are wrong: of `open`.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::{Arc, Weak};

use kv_core::{Bytes, Key, KeyBuf, KeyValueStore, ValueReader};

use super::Wrong;
use crate::faults::Fault;
use crate::right::Right;

/// How much a reader has of a value when it is opened, if it reads the rest later.
const FIRST: usize = 1 << 16;

/// How much it buffers.
const BUFFER: u64 = 8192;

impl Wrong {
    pub(super) fn open_wrongly(&self, key: Key<'_>, value: Bytes) -> ValueReader {
        ValueReader::new(Opened {
            cursor: Cursor::new(value),
            fault: self.fault,
            store: self.inner.clone(),
            key: key.into(),
            alive: Arc::downgrade(&self.alive),
            has_ended: false,
        })
    }
}

/// A reader with the fault of its store.
struct Opened {
    cursor: Cursor<Bytes>,
    fault: Fault,
    store: Right,
    key: KeyBuf,
    alive: Weak<()>,
    has_ended: bool,
}

impl Opened {
    /// What the store has at the key now.
    fn now(&self) -> io::Result<Option<Bytes>> {
        self.store.read(self.key.as_key()).map_err(io::Error::other)
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_ended |= buffer.is_empty();
        let at = usize::try_from(self.cursor.position()).map_err(io::Error::other)?;
        match self.fault {
            Fault::ReaderEndsAtNothing if self.has_ended => Ok(0),
            Fault::ReaderNeedsStore if self.alive.upgrade().is_none() => Err(io::Error::other("the pool was closed")),
            Fault::ReaderExpires if self.now()?.is_none() => Ok(0),
            Fault::ReaderReadsLate if at < FIRST => {
                let most = buffer.len().min(FIRST - at);
                self.cursor.read(buffer.get_mut(..most).unwrap_or_default())
            }
            Fault::ReaderReadsLate => {
                let count = self.now()?.unwrap_or_default().get(at..).unwrap_or_default().read(buffer)?;
                self.cursor.set_position((at + count) as u64);
                Ok(count)
            }
            _ => self.cursor.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (at, length) = (self.cursor.position(), self.cursor.get_ref().len() as u64);
        self.has_ended = false;
        match (self.fault, to) {
            (Fault::ReaderTellsBuffer, SeekFrom::Current(0)) if at < length => {
                Ok(at.next_multiple_of(BUFFER).min(length))
            }
            (Fault::ReaderSeekOverflows, SeekFrom::Current(by)) => {
                let at = i64::try_from(at).unwrap().checked_add(by).expect("attempt to add with overflow");
                self.cursor.seek(SeekFrom::Start(u64::try_from(at).map_err(io::Error::other)?))
            }
            (_, to) => self.cursor.seek(to),
        }
    }
}
