//! Receiving replies wrongly.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use kv_core::Bytes;

use crate::connection::{Broken, Connection, Within};
use crate::wire::{self, Field, Request};

/// Where the value begins in the reply to a read of one key: after the head, what the frame is, `+` and a length.
const VALUE: usize = wire::HEAD + 6;

/// Remembers what has been read.
struct Recorder<R> {
    reader: R,
    read: Vec<u8>,
}

impl<R: Read> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// Marks the error of an exchange that ended within the reply.
#[derive(Debug)]
struct WithinReply;

impl fmt::Display for WithinReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of the reply did not come")
    }
}

impl std::error::Error for WithinReply {}

/// Marks the error of an exchange that ended while the request was sent.
#[derive(Debug)]
struct WithinRequest;

impl fmt::Display for WithinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request could not be sent in time")
    }
}

impl std::error::Error for WithinRequest {}

fn broken(error: io::Error) -> Broken {
    match error.kind() {
        io::ErrorKind::InvalidData => Broken::Nonsense,
        io::ErrorKind::WouldBlock => Broken::Lost { cause: io::ErrorKind::TimedOut.into(), sent: true },
        _ => Broken::Lost { cause: error, sent: true },
    }
}

/// An exchange in which the limit counts for each call.
pub(super) fn with_limit_for_each_read(
    connection: &Connection,
    request: &Request,
    limit: Duration,
) -> Result<Vec<Field>, Broken> {
    let mut stream = &connection.0;
    let mut exchange = || {
        stream.set_write_timeout(Some(limit))?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(&request.bytes)?;
        wire::receive(&mut stream, wire::REPLY)
    };
    exchange().map(|(_, fields)| fields).map_err(broken)
}

/// An exchange whose reply says no if it is none of those that are known.
pub(super) fn of_any_kind(connection: &Connection, request: &Request, limit: Duration) -> Result<Vec<Field>, Broken> {
    let mut stream = Within::new(&connection.0, Instant::now() + limit);
    stream.write_all(&request.bytes).map_err(broken)?;
    let (kind, fields) = wire::receive(&mut stream, wire::REPLY).map_err(broken)?;
    Ok(if kind == wire::DONE { fields } else { vec![None; fields.len()] })
}

/// An exchange whose request may take as long as it takes.
pub(super) fn sent_without_limit(
    connection: &Connection,
    request: &Request,
    no_limit: Duration,
    limit: Duration,
) -> Result<Vec<Field>, Broken> {
    Within::new(&connection.0, Instant::now() + no_limit).write_all(&request.bytes).map_err(broken)?;
    wire::receive(&mut Within::new(&connection.0, Instant::now() + limit), wire::REPLY)
        .map(|(_, fields)| fields)
        .map_err(broken)
}

/// An exchange whose reply is what comes first.
pub(super) fn in_one_read(connection: &Connection, request: &Request, limit: Duration) -> Result<Vec<Field>, Broken> {
    let mut stream = Within::new(&connection.0, Instant::now() + limit);
    let mut piece = vec![0; 1 << 20];
    let count = stream.write_all(&request.bytes).and_then(|()| stream.read(&mut piece)).map_err(broken)?;
    match wire::receive(&mut &piece[..count], wire::REPLY) {
        Ok((_, fields)) => Ok(fields),
        Err(error) if count == 0 => Err(broken(error)),
        Err(_) => Err(Broken::Nonsense),
    }
}

/// An exchange that says of an error whether it [was within the reply](is_within_reply).
pub(super) fn telling_where(connection: &Connection, request: &Request, limit: Duration) -> Result<Vec<Field>, Broken> {
    recorded(connection, request, limit).map_err(|(error, read)| match error.kind() {
        io::ErrorKind::TimedOut if !read.is_empty() => broken(io::Error::new(error.kind(), WithinReply)),
        _ => broken(error),
    })
}

/// Whether an exchange that [tells where](telling_where) took too long within the reply.
pub(super) fn is_within_reply(broken: &Broken) -> bool {
    let Broken::Lost { cause, .. } = broken else { return false };
    cause.get_ref().and_then(|error| error.downcast_ref::<WithinReply>()).is_some()
}

/// An exchange that says of an error whether it [was within the request](is_within_request).
pub(super) fn telling_whether_sent(
    connection: &Connection,
    request: &Request,
    limit: Duration,
) -> Result<Vec<Field>, Broken> {
    let mut stream = Within::new(&connection.0, Instant::now() + limit);
    stream.write_all(&request.bytes).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => broken(io::Error::new(error.kind(), WithinRequest)),
        _ => broken(error),
    })?;
    wire::receive(&mut stream, wire::REPLY).map(|(_, fields)| fields).map_err(broken)
}

/// Whether an exchange that [tells that](telling_whether_sent) took too long while the request was sent.
pub(super) fn is_within_request(broken: &Broken) -> bool {
    let Broken::Lost { cause, .. } = broken else { return false };
    cause.get_ref().and_then(|error| error.downcast_ref::<WithinRequest>()).is_some()
}

/// Sends all requests and then receives their replies, one after the other.
pub(super) fn pipelined(
    connection: &mut Connection,
    requests: &[Request],
    deadline: Instant,
    replies: &mut Vec<Vec<Field>>,
) -> Result<(), Broken> {
    let mut stream = Within::new(&connection.0, deadline);
    requests.iter().try_for_each(|request| stream.write_all(&request.bytes)).map_err(broken)?;
    for _ in requests {
        let (kind, fields) = wire::receive(&mut stream, wire::REPLY).map_err(broken)?;
        if kind != wire::DONE {
            return Err(Broken::Nonsense);
        }
        replies.push(fields);
    }
    Ok(())
}

/// A read of a value, or of as much of it as came.
pub(super) fn half(connection: &Connection, request: &Request, limit: Duration) -> Result<Vec<Field>, Broken> {
    recorded(connection, request, limit).or_else(|(error, read)| match read.get(VALUE..) {
        Some(value) if error.kind() != io::ErrorKind::InvalidData => Ok(vec![Some(Bytes::copy_from_slice(value))]),
        _ => Err(broken(error)),
    })
}

/// An exchange; an error comes with what has been read.
fn recorded(connection: &Connection, request: &Request, limit: Duration) -> Result<Vec<Field>, (io::Error, Vec<u8>)> {
    let stream = Within::new(&connection.0, Instant::now() + limit);
    let mut recorder = Recorder { reader: stream, read: Vec::new() };
    let sent = recorder.reader.write_all(&request.bytes);
    let reply = sent.and_then(|()| wire::receive(&mut recorder, wire::REPLY));
    reply.map(|(_, fields)| fields).map_err(|error| (error, recorder.read))
}
