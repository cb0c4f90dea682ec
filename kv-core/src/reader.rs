//! A value as a stream.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use bytes::Bytes;

/// A value opened for reading: `Read + Seek` ([S1](crate::contract#8-streams-and-files)).
///
/// It is independent of the store: a later write to the key does not change what it reads.
///
/// For authors of backends: a stream that fails may wrap your [`Error`](crate::Error) in its `io::Error`
/// (`io::Error::other(error)`). The operations that read the stream for the caller then return your error. Any other error
/// of the stream becomes [`Error::Backend`](crate::Error::Backend).
///
/// ```
/// use std::io::{Read, Seek, SeekFrom};
/// use kv_core::{Bytes, ValueReader};
///
/// let mut reader = ValueReader::from(Bytes::from("hello, world"));
/// reader.seek(SeekFrom::End(-5))?;
/// let mut word = String::new();
/// reader.read_to_string(&mut word)?;
/// assert_eq!(word, "world");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ValueReader(Source);

enum Source {
    Memory(Cursor<Bytes>),
    Stream(Box<dyn ReadSeek + Send>),
}

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

impl ValueReader {
    /// For authors of backends whose values are not in memory: reads from a stream, such as a file.
    pub fn new(stream: impl Read + Seek + Send + 'static) -> Self {
        Self(Source::Stream(Box::new(stream)))
    }

    /// Writes the rest of the value to `writer`; returns the number of bytes.
    pub(crate) fn copy_to(self, writer: &mut dyn Write) -> Result<u64, CopyError> {
        match self.0 {
            Source::Memory(cursor) => {
                let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
                let unread = cursor.get_ref().get(read..).unwrap_or_default();
                writer.write_all(unread).map_err(CopyError::Write)?;
                Ok(unread.len() as u64)
            }
            Source::Stream(mut stream) => {
                let mut buffer = vec![0; 64 * 1024];
                let mut copied = 0;
                loop {
                    let count = match stream.read(&mut buffer) {
                        Ok(0) => return Ok(copied),
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(CopyError::Read(error)),
                    };
                    writer.write_all(buffer.get(..count).unwrap_or(&buffer)).map_err(CopyError::Write)?;
                    copied += count as u64;
                }
            }
        }
    }
}

/// The side that failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<Bytes> for ValueReader {
    fn from(value: Bytes) -> Self {
        Self(Source::Memory(Cursor::new(value)))
    }
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.read(buffer),
            Source::Stream(stream) => stream.read(buffer),
        }
    }

    fn read_to_end(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.read_to_end(buffer),
            Source::Stream(stream) => stream.read_to_end(buffer),
        }
    }
}

impl Seek for ValueReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Source::Memory(cursor) => cursor.seek(to),
            Source::Stream(stream) => stream.seek(to),
        }
    }
}

impl fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copying_begins_where_reading_stopped() {
        let value = Bytes::from("headbody");
        for mut reader in [ValueReader::from(value.clone()), ValueReader::new(Cursor::new(value))] {
            reader.seek(SeekFrom::Start(4)).unwrap();
            let mut copy = Vec::new();
            assert_eq!(reader.copy_to(&mut copy).unwrap(), 4);
            assert_eq!(copy, b"body");
        }
        let mut beyond = ValueReader::from(Bytes::from("body"));
        beyond.seek(SeekFrom::Start(10)).unwrap();
        assert_eq!(beyond.copy_to(&mut io::sink()).unwrap(), 0);
    }
}
