//! Writing wrongly from a reader: `put_from`.

use std::io::Read;

use kv_core::{Bytes, Error, Key, KeyBuf, KeyValueStore, Result, Ttl};

use super::{Way, Wrong};
use crate::faults::Fault;
use crate::right::read_all;

impl Wrong {
    pub(super) fn put_from(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let limit = self.inner.config.largest_value;
        if self.is(Fault::StreamDeletesFirst) {
            self.inner.remove(key)?;
        }
        let mut piece = vec![0; 8192];
        let mut reader = Interruptible { reader, interrupted: self.is(Fault::StreamInterrupted), given: Vec::new() };
        let held = matches!(self.fault, Fault::StreamHoldsLock | Fault::StreamHoldsOtherLock).then(|| self.hold());
        self.state().poisoned = self.is(Fault::StreamPoisons);
        let value = if self.is(Fault::StreamReadsOnce) {
            let count = reader.read(&mut piece).unwrap_or_default();
            Ok(piece.into_iter().take(count).collect())
        } else {
            read_all(limit, key, &mut reader)
        };
        drop(held);
        self.state().poisoned = false;
        let value = value.or_else(|error| {
            match self.fault {
                Fault::StreamLeavesPart => {
                    if let Ok(beside) = KeyBuf::new(format!("{key}.part")) {
                        self.inner.write(beside.as_key(), Bytes::from(reader.given).into(), ttl)?;
                    }
                }
                Fault::StreamFlushesPieces if reader.given.len() >= 1 << 16 => {
                    reader.given.truncate(1 << 16);
                    self.put(Way::Stream, key, reader.given.into(), ttl)?;
                }
                Fault::StreamStoresPart => self.put(Way::Stream, key, reader.given.into(), ttl)?,
                Fault::StreamFailureClearsTtl => self.change(key, |stored| stored.end = None),
                _ => {}
            }
            Err(match (self.fault, error) {
                (Fault::StreamLosesCause, Error::Io { .. }) => {
                    Error::io(key, "reading the value to be stored", std::io::Error::other("it failed"))
                }
                (Fault::ErrorRepeatsCause, Error::Io { source, .. }) => {
                    Error::io(key, format!("reading the value to be stored: {source}, so it"), source)
                }
                (_, error) => error,
            })
        })?;
        if self.is(Fault::DebugShowsHexOfStream) {
            let last = value.get(value.len().saturating_sub(6)..).unwrap_or_default();
            self.state().shown = format!("{last:02x?}").replace(", ", "");
        }
        self.put(Way::Stream, key, value.into(), ttl)
    }
}

/// A reader that remembers what it has given, and may take an interruption for a failure.
struct Interruptible<'a> {
    reader: &'a mut dyn Read,
    interrupted: bool,
    given: Vec<u8>,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => {
                self.given.extend(buffer.iter().take(count));
                Ok(count)
            }
            Err(error) if self.interrupted && error.kind() == std::io::ErrorKind::Interrupted => {
                Err(std::io::Error::other("interrupted"))
            }
            Err(error) => Err(error),
        }
    }
}
