//! Receiving the replies to a request.

use std::io::{self, Read};
use std::mem;

use redis::{ErrorKind, Value as Reply};

use super::channel::Channel;
use super::{Connection, HEAD};
use crate::protocol::fault::Fault;
use crate::protocol::page::{Finder, NoPage, Page};
use crate::protocol::reply::{END, length_of_value};

impl Connection {
    /// Receives the only reply to a request for a value. A long value is read to where it stays; the parser would copy it.
    pub(super) fn receive_value(&mut self) -> Result<Reply, Fault> {
        let mut head = mem::take(&mut self.head);
        let reply = self.read(&mut head).map_err(broken).and_then(|read| {
            let read = head.get(..read).unwrap_or_default();
            match length_of_value(read) {
                Some((start, length)) if start + length + END.len() > read.len() => {
                    self.receive_rest(read.get(start..).unwrap_or_default(), length)
                }
                _ => self.parse(read),
            }
        });
        self.head = head;
        reply
    }

    /// Receives the rest of a value that begins like this.
    fn receive_rest(&mut self, beginning: &[u8], length: usize) -> Result<Reply, Fault> {
        let whole = length + END.len();
        // With room for one unrequested byte, so that it is noticed.
        let mut value = vec![0; whole + 1];
        let mut filled = beginning.len();
        if let Some(start) = value.get_mut(..filled) {
            start.copy_from_slice(beginning);
        }
        while filled < whole {
            match self.read(value.get_mut(filled..).unwrap_or_default()).map_err(broken)? {
                0 => return Err(closed()),
                read => filled += read,
            }
        }
        if value.get(length..filled) != Some(END) {
            return Err(Fault::Desynchronized);
        }
        value.truncate(length);
        Ok(Reply::BulkString(value))
    }

    /// Receives the only reply to a request for a page of a listing.
    pub(super) fn receive_page(&mut self) -> Result<PageOrReply, Fault> {
        let (mut bytes, mut filled, mut finder) = (Vec::new(), 0, Finder::default());
        loop {
            bytes.resize(filled + HEAD, 0);
            match self.read(bytes.get_mut(filled..).unwrap_or_default()).map_err(broken)? {
                0 => return Err(closed()),
                read => filled += read,
            }
            bytes.truncate(filled);
            if !Finder::may_begin(&bytes) {
                return self.parse(&bytes).map(PageOrReply::Other);
            }
            if finder.go_on(&bytes).map_err(|NoPage| Fault::Desynchronized)? {
                return Ok(PageOrReply::Page(finder.page(bytes)));
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.channel.read(buffer)?;
        self.received += read;
        Ok(read)
    }

    pub(super) fn receive(&mut self) -> Result<Reply, Fault> {
        self.parse(&[])
    }

    /// Parses a reply that begins with these received bytes.
    fn parse(&mut self, beginning: &[u8]) -> Result<Reply, Fault> {
        let mut failure = None;
        let incoming =
            Incoming { beginning, channel: &mut self.channel, received: &mut self.received, failure: &mut failure };
        self.parser.parse_value(incoming).map_err(|error| match failure {
            Some(cause) => broken(cause),
            None if error.kind() == ErrorKind::Io => closed(),
            // The parser's own words are not used: they quote the reply.
            None => Fault::Desynchronized,
        })
    }
}

/// The reply to a request for a page.
pub(super) enum PageOrReply {
    Page(Page),
    Other(Reply),
}

fn broken(cause: io::Error) -> Fault {
    Fault::Broken { cause, sent: true }
}

fn closed() -> Fault {
    broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
}

/// The source from which the parser reads. It counts bytes, and keeps the error that the parser's own error would hide.
struct Incoming<'a> {
    /// What was received already.
    beginning: &'a [u8],
    channel: &'a mut Channel,
    received: &'a mut usize,
    failure: &'a mut Option<io::Error>,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.beginning.is_empty() {
            return self.beginning.read(buffer);
        }
        match self.channel.read(buffer) {
            Ok(bytes) => {
                *self.received += bytes;
                Ok(bytes)
            }
            Err(error) => {
                let kind = error.kind();
                *self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}
