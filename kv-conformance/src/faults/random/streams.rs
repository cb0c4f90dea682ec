//! Readers and writers that fail or panic in the middle of a value.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kv_core::{Error, Key};

use super::calls::Stream;

/// What a reader or writer panics with.
const PANIC: &str = "the reader or writer of the check panics on purpose";

/// Something to be read or to be written to, which may break in the middle.
pub(crate) struct Breaking {
    /// After how many bytes it breaks.
    after: usize,
    panics: bool,
    /// What is to be read.
    value: Vec<u8>,
    read: usize,
    /// What was written.
    pub(super) passed: Vec<u8>,
}

impl Breaking {
    /// A writer of a value of about this length.
    pub(crate) fn after(stream: Stream, length: usize) -> Self {
        let (after, panics) = match stream {
            Stream::Whole => (usize::MAX, false),
            Stream::Fails(percent) => (length * percent / 100, false),
            Stream::Panics(percent) => (length * percent / 100, true),
        };
        Self { after, panics, value: Vec::new(), read: 0, passed: Vec::new() }
    }

    /// A reader of this value.
    pub(crate) fn of(stream: Stream, value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        Self { value, ..Self::after(stream, 0) }.with_length(stream)
    }

    fn with_length(self, stream: Stream) -> Self {
        Self { after: Self::after(stream, self.value.len()).after, ..self }
    }

    fn breaks(&self) -> io::Error {
        if self.panics {
            // It prints nothing.
            resume_unwind(Box::new(PANIC));
        }
        io::Error::other("it fails on purpose")
    }
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.after.min(self.value.len());
        let rest = self.value.get(self.read..end).unwrap_or_default();
        if rest.is_empty() && end < self.value.len() {
            return Err(self.breaks());
        }
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.read += count;
        Ok(count)
    }
}

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.after.saturating_sub(self.passed.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(self.breaks());
        }
        self.passed.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does something with a reader or writer that may panic on purpose: none if it has.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => Some(done),
        Err(payload) if payload.downcast_ref::<&str>() == Some(&PANIC) => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// What a panic on purpose counts as.
pub(super) fn failed(key: &str) -> Error {
    let cause = io::Error::other(PANIC);
    Key::new(key).map_or_else(Error::from, |key| Error::io(key, "reading or writing", cause))
}
