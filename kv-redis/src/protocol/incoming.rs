//! Replies as they come in, in pieces, without I/O.

use std::mem;

use redis::Value as Reply;

use super::fault::Fault;
use super::page::{Finder, NoPage, Page};
use super::reply::{END, LONGEST, length_of_value};
use super::request::Shape;

/// How much room there is at least for what is received next.
const ROOM: usize = 16 * 1024;

/// A buffer that has grown beyond this is given back when it is empty.
const LARGE: usize = 1 << 20;

/// A line of a reply, such as an error, has no more bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// A reply, or the page of a listing in place of one.
pub(crate) enum Received {
    Reply(Reply),
    Page(Page),
}

/// The bytes that were received and not taken yet.
#[derive(Default)]
pub(crate) struct Incoming {
    buffer: Vec<u8>,
    /// Where the next reply begins in the buffer, and how much of the buffer is filled.
    begin: usize,
    end: usize,
    /// What was found of the next reply.
    walk: Walk,
    finder: Finder,
    /// A long value is received to where it stays.
    long: Option<Long>,
}

/// A value that is longer than what was received of it.
struct Long {
    /// With room for the end of the line.
    value: Vec<u8>,
    filled: usize,
}

impl Incoming {
    /// Where to receive to. [`received`](Self::received) says how much it was.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if let Some(Long { value, filled }) = &mut self.long {
            return value.get_mut(*filled..).unwrap_or_default();
        }
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
            if self.buffer.len() > LARGE {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < ROOM {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            // As a vector grows: twice as large each time, so that each byte is moved a few times at most.
            let least = (self.end + ROOM).max(if self.end >= ROOM { 2 * self.buffer.len() } else { 0 });
            if self.buffer.len() < least {
                self.buffer.resize(least, 0);
            }
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that this many bytes were received.
    pub(crate) fn received(&mut self, bytes: usize) {
        match &mut self.long {
            Some(long) => long.filled += bytes,
            None => self.end += bytes,
        }
    }

    /// Whether all that was received was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin == self.end && self.long.is_none()
    }

    /// Takes the next reply, if it is complete. Whether it has its shape is not checked.
    pub(crate) fn next(&mut self, shape: Shape) -> Result<Option<Received>, Fault> {
        match shape {
            Shape::Value => Ok(self.value()?.map(Received::Reply)),
            Shape::Page => self.page(),
            _ => Ok(self.any()?.map(Received::Reply)),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) {
        self.begin += bytes;
        self.walk = Walk::default();
    }

    fn value(&mut self) -> Result<Option<Reply>, Fault> {
        if let Some(long) = self.long.take_if(|long| long.filled == long.value.len()) {
            let mut value = long.value;
            if !value.ends_with(END) {
                return Err(Fault::Desynchronized);
            }
            value.truncate(value.len() - END.len());
            return Ok(Some(Reply::BulkString(value)));
        }
        if self.long.is_some() {
            return Ok(None);
        }
        let rest = self.rest();
        let Some((start, length)) = length_of_value(rest) else { return self.any() };
        let whole = start + length + END.len();
        if let Some(value) = rest.get(start..whole) {
            let value = value.strip_suffix(END).ok_or(Fault::Desynchronized)?.to_vec();
            self.take(whole);
            return Ok(Some(Reply::BulkString(value)));
        }
        if length >= ROOM {
            let beginning = rest.get(start..).unwrap_or_default();
            let (mut value, filled) = (vec![0; length + END.len()], beginning.len());
            if let Some(place) = value.get_mut(..filled) {
                place.copy_from_slice(beginning);
            }
            self.take(self.end - self.begin);
            self.long = Some(Long { value, filled });
        }
        Ok(None)
    }

    fn page(&mut self) -> Result<Option<Received>, Fault> {
        if !Finder::may_begin(self.rest()) {
            return Ok(self.any()?.map(Received::Reply));
        }
        let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
        if !self.finder.go_on(rest).map_err(|NoPage| Fault::Desynchronized)? {
            return Ok(None);
        }
        let page = mem::take(&mut self.finder).page(rest.to_vec());
        self.take(self.end - self.begin);
        Ok(Some(Received::Page(page)))
    }

    fn any(&mut self) -> Result<Option<Reply>, Fault> {
        let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
        if !self.walk.go_on(rest)? {
            return Ok(None);
        }
        let whole = self.walk.at;
        // The parser's own words are not used: they quote the reply.
        let reply = redis::parse_redis_value(rest.get(..whole).unwrap_or_default());
        self.take(whole);
        reply.map(Some).map_err(|_| Fault::Desynchronized)
    }
}

/// The way through a reply of [RESP2], to find its end. It goes on where it stopped.
///
/// [RESP2]: https://redis.io/docs/latest/develop/reference/protocol-spec/
struct Walk {
    /// The bytes before this were looked at.
    at: usize,
    /// How many values are missing.
    missing: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { at: 0, missing: 1 }
    }
}

impl Walk {
    /// Goes on with all bytes that were received so far. Returns whether the reply is complete.
    fn go_on(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        while self.missing > 0 {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(end) = rest.windows(END.len()).take(LONGEST_LINE).position(|bytes| bytes == END) else {
                return if rest.len() > LONGEST_LINE { Err(Fault::Desynchronized) } else { Ok(false) };
            };
            let line = rest.get(..end).unwrap_or_default();
            let after = self.at + end + END.len();
            self.missing -= 1;
            match line.split_first() {
                Some((b'+' | b'-' | b':', _)) => self.at = after,
                Some((b'$', length)) => match count(length)? {
                    Some(length) if length > LONGEST => return Err(Fault::Desynchronized),
                    Some(length) if bytes.len() < after + length + END.len() => {
                        self.missing += 1;
                        return Ok(false);
                    }
                    Some(length) => self.at = after + length + END.len(),
                    None => self.at = after,
                },
                Some((b'*', length)) => {
                    let count = count(length)?.unwrap_or(0);
                    self.missing = self.missing.checked_add(count).ok_or(Fault::Desynchronized)?;
                    self.at = after;
                }
                _ => return Err(Fault::Desynchronized),
            }
        }
        Ok(true)
    }
}

/// The length in the first line of a string or an array; `None` is that of nothing, `-1`.
fn count(digits: &[u8]) -> Result<Option<usize>, Fault> {
    if digits == b"-1" {
        return Ok(None);
    }
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(digits).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or(Fault::Desynchronized)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(incoming: &mut Incoming, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = incoming.room();
            let now = bytes.len().min(room.len());
            room[..now].copy_from_slice(&bytes[..now]);
            incoming.received(now);
            bytes = &bytes[now..];
        }
    }

    fn next(incoming: &mut Incoming, shape: Shape) -> Option<Reply> {
        match incoming.next(shape).unwrap()? {
            Received::Reply(reply) => Some(reply),
            Received::Page(page) => {
                let names = page.names().map(|name| Reply::BulkString(name.to_vec())).collect();
                Some(Reply::Array(vec![Reply::BulkString(page.cursor().to_vec()), Reply::Array(names)]))
            }
        }
    }

    const REPLIES: [(&str, Shape); 12] = [
        ("$5\r\nhello\r\n", Shape::Value),
        ("$0\r\n\r\n", Shape::Value),
        ("$-1\r\n", Shape::Value),
        ("-ERR no such key\r\n", Shape::Value),
        ("+OK\r\n", Shape::Done),
        (":-10\r\n", Shape::Integer),
        ("*2\r\n$1\r\nv\r\n$-1\r\n", Shape::Values(2)),
        ("*-1\r\n", Shape::Any),
        ("*0\r\n", Shape::Any),
        ("*3\r\n$1\r\n0\r\n*1\r\n$5\r\n\r\nkey\r\n:7\r\n", Shape::Any),
        ("*2\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n", Shape::Page),
        ("-LOADING a moment\r\n", Shape::Page),
    ];

    #[test]
    fn replies_are_taken_in_whatever_pieces_they_come() {
        for (text, shape) in REPLIES {
            let reply = redis::parse_redis_value(text.as_bytes()).unwrap();
            for cut in 0..text.len() {
                let mut incoming = Incoming::default();
                receive(&mut incoming, &text.as_bytes()[..cut]);
                assert_eq!(next(&mut incoming, shape), None, "{text:?} up to {cut}");
                receive(&mut incoming, &text.as_bytes()[cut..]);
                assert_eq!(next(&mut incoming, shape).as_ref(), Some(&reply), "{text:?} cut at {cut}");
                assert!(incoming.is_empty());
            }
        }
    }

    #[test]
    fn replies_follow_one_another() {
        let all: String = REPLIES[..10].iter().map(|(text, _)| *text).collect();
        let mut incoming = Incoming::default();
        for _ in 0..3000 {
            receive(&mut incoming, all.as_bytes());
            for (text, shape) in &REPLIES[..10] {
                let reply = redis::parse_redis_value(text.as_bytes()).unwrap();
                assert_eq!(next(&mut incoming, *shape), Some(reply));
            }
        }
        assert!(incoming.is_empty());
    }

    #[test]
    fn long_values_are_whole_wherever_they_are_cut() {
        for length in [ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, LARGE] {
            let value = (b'a'..=b'z').cycle().take(length).collect::<Vec<_>>();
            let mut text = format!("${length}\r\n").into_bytes();
            text.extend(&value);
            text.extend(b"\r\n+OK\r\n");
            for cut in [1, 5, 12, ROOM, length, text.len() - 6, text.len() - 1] {
                let mut incoming = Incoming::default();
                receive(&mut incoming, b":1\r\n");
                receive(&mut incoming, &text[..cut]);
                assert_eq!(next(&mut incoming, Shape::Integer), Some(Reply::Int(1)));
                let early = next(&mut incoming, Shape::Value);
                // What is received to its place does not go beyond the value.
                let mut rest = &text[cut..];
                let mut found = early;
                while found.is_none() {
                    let room = incoming.room();
                    let now = rest.len().min(room.len());
                    room[..now].copy_from_slice(&rest[..now]);
                    incoming.received(now);
                    rest = &rest[now..];
                    found = next(&mut incoming, Shape::Value);
                }
                receive(&mut incoming, rest);
                assert!(found == Some(Reply::BulkString(value.clone())), "{length} cut at {cut}");
                assert_eq!(next(&mut incoming, Shape::Done), Some(Reply::Okay));
                assert!(incoming.is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_noticed() {
        for (text, shape) in [
            ("hello\r\n", Shape::Any),
            ("\r\n", Shape::Any),
            ("_\r\n", Shape::Any),
            ("%1\r\n", Shape::Any),
            ("$5\r\nhello!!", Shape::Value),
            ("$x\r\n", Shape::Value),
            ("$536870913\r\n", Shape::Value),
            ("*99999999999999999999\r\n", Shape::Any),
            ("*2\r\n$1\r\n0\r\n*0\r\n:1\r\n", Shape::Page),
        ] {
            let mut incoming = Incoming::default();
            receive(&mut incoming, text.as_bytes());
            assert!(incoming.next(shape).is_err(), "{text:?}");
        }
        let mut incoming = Incoming::default();
        receive(&mut incoming, &vec![b'+'; LONGEST_LINE + 2]);
        assert!(incoming.next(Shape::Any).is_err());
    }
}
