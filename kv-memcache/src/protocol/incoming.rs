//! Replies as they come in, in pieces, without I/O.

use kv_core::Bytes;

use super::command::KeyedCommand;
use super::dialect::Dialect;
use super::fault::Fault;
use super::reply::{FirstLine, Hit, Reply};

/// How much room there is at least for what is received next.
const ROOM: usize = 16 * 1024;

/// A buffer that has grown beyond this is given back when it is empty.
const LARGE: usize = 4 * ROOM;

/// The most bytes of a line, with its end.
pub(crate) const LONGEST_LINE: usize = 2048;

/// The bytes that were received and not taken yet.
#[derive(Default)]
pub(crate) struct Incoming {
    buffer: Vec<u8>,
    /// Where the next reply begins in the buffer, and how much of the buffer is filled.
    begin: usize,
    end: usize,
    /// How many bytes after `begin` are known to have no line feed among them.
    searched: usize,
    /// The value that comes next, after its first line.
    value: Option<Awaited>,
}

/// A value whose first line was taken.
struct Awaited {
    length: usize,
    /// What the first line says.
    hit: Hit,
    /// What comes after the value.
    end: &'static [u8],
    /// A long value is received to where it stays.
    long: Option<Long>,
}

/// A value that is longer than what was received of it.
struct Long {
    /// With room for its end.
    value: Vec<u8>,
    filled: usize,
}

impl Incoming {
    /// Where to receive to. [`received`](Self::received) says how much it was.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if let Some(Awaited { long: Some(Long { value, filled }), .. }) = &mut self.value {
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
        match &mut self.value {
            Some(Awaited { long: Some(long), .. }) => long.filled += bytes,
            _ => self.end += bytes,
        }
    }

    /// Whether all that was received was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin == self.end && self.value.is_none()
    }

    /// What was not taken, unless it belongs to a long value.
    pub(crate) fn rest(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    /// Takes a line up to its line feed, if it is complete. It has at most this many bytes with the line feed.
    pub(crate) fn line(&mut self, longest: usize) -> Result<Option<&mut [u8]>, Fault> {
        let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
        let unsearched = rest.get(self.searched..longest.min(rest.len())).unwrap_or_default();
        let Some(end) = unsearched.iter().position(|&byte| byte == b'\n') else {
            self.searched = rest.len();
            return if rest.len() >= longest { Err(Fault::Desynchronized) } else { Ok(None) };
        };
        let (begin, end) = (self.begin, self.begin + self.searched + end);
        (self.begin, self.searched) = (end + 1, 0);
        Ok(self.buffer.get_mut(begin..end))
    }

    /// Takes this many bytes, if they are there.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (begin, end) = (self.begin, self.begin + count);
        if end > self.end {
            return None;
        }
        (self.begin, self.searched) = (end, 0);
        self.buffer.get(begin..end)
    }

    /// Takes the reply to a command with this tag, if it is complete. No value is as large as the largest item.
    pub(crate) fn reply(
        &mut self,
        dialect: Dialect,
        (command, tag): (&KeyedCommand<'_>, u64),
        largest_item: u64,
    ) -> Result<Option<Reply>, Fault> {
        if self.value.is_none() {
            let Some(line) = self.line(LONGEST_LINE)? else { return Ok(None) };
            let [line @ .., b'\r'] = line else { return Err(Fault::Desynchronized) };
            match dialect.read_first_line(line, command, tag, largest_item)? {
                FirstLine::Whole(reply) => return Ok(Some(reply)),
                FirstLine::Value { length, hit } => {
                    self.value = Some(Awaited { length, hit, end: dialect.end_of_value(), long: None });
                }
            }
        }
        Ok(self.hit()?.map(Reply::Hit))
    }

    /// Takes the value that comes next, and what comes after it.
    fn hit(&mut self) -> Result<Option<Hit>, Fault> {
        let rest = self.buffer.get(self.begin..self.end).unwrap_or_default();
        let Some(awaited) = &mut self.value else { return Ok(None) };
        let whole = awaited.length + awaited.end.len();
        let value: Bytes = match &mut awaited.long {
            Some(long) if long.filled < whole => return Ok(None),
            // The end of a large value would take a system call of its own. Therefore it is received with the value and cut off, at the
            // price of a small allocation.
            Some(Long { value, .. }) if value.ends_with(awaited.end) => {
                value.truncate(awaited.length);
                std::mem::take(value).into()
            }
            Some(_) => return Err(Fault::Desynchronized),
            None => match rest.get(..whole) {
                Some(value) => {
                    let value = value.strip_suffix(awaited.end).ok_or(Fault::Desynchronized)?.to_vec();
                    self.begin += whole;
                    value.into()
                }
                None if awaited.length >= ROOM => {
                    let (mut value, filled) = (vec![0; whole], rest.len());
                    if let Some(place) = value.get_mut(..filled) {
                        place.copy_from_slice(rest);
                    }
                    awaited.long = Some(Long { value, filled });
                    self.begin = self.end;
                    return Ok(None);
                }
                None => return Ok(None),
            },
        };
        Ok(self.value.take().map(|awaited| Hit { value, ..awaited.hit }))
    }
}

#[cfg(test)]
mod tests {
    use kv_core::key;

    use super::*;
    use crate::protocol::command::Command;
    use crate::protocol::ttl::Expiry;

    const META: [u32; 3] = [1, 6, 18];

    fn receive(incoming: &mut Incoming, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = incoming.room();
            let now = bytes.len().min(room.len());
            room[..now].copy_from_slice(&bytes[..now]);
            incoming.received(now);
            bytes = &bytes[now..];
        }
    }

    fn next(incoming: &mut Incoming, dialect: Dialect, command: Command<'_>) -> Option<Reply> {
        let key = key!("k").into();
        incoming.reply(dialect, (&KeyedCommand::new(0, &key, command), 7), 1 << 22).unwrap()
    }

    fn show(reply: Option<&Reply>) -> Option<String> {
        reply.map(|reply| format!("{reply:?}"))
    }

    fn replies() -> Vec<(String, Dialect, Command<'static>)> {
        let (meta, classic) = (Dialect::meta(META), Dialect::classic(META));
        vec![
            ("VA 5 O7\r\nhello\r\n".into(), meta, Command::Get),
            ("VA 0 O7\r\n\r\n".into(), meta, Command::Get),
            ("VA 7 O7\r\nEN O7\r\n\r\n".into(), meta, Command::Get),
            ("EN O7\r\n".into(), meta, Command::Get),
            ("HD O7\r\n".into(), meta, Command::put(b"v", Expiry::Never)),
            ("SERVER_ERROR out of memory storing object\r\n".into(), meta, Command::Delete),
            ("VALUE k 0 5\r\nEND\r\n\r\nEND\r\n".into(), classic, Command::Get),
            ("END\r\n".into(), classic, Command::Get),
            ("STORED\r\n".into(), classic, Command::put(b"v", Expiry::Never)),
        ]
    }

    #[test]
    fn replies_are_taken_in_whatever_pieces_they_come() {
        for (text, dialect, command) in replies() {
            let mut whole = Incoming::default();
            receive(&mut whole, text.as_bytes());
            let reply = show(next(&mut whole, dialect, command).as_ref());
            assert!(reply.is_some() && whole.is_empty());
            for cut in 0..text.len() {
                let mut incoming = Incoming::default();
                receive(&mut incoming, &text.as_bytes()[..cut]);
                assert!(next(&mut incoming, dialect, command).is_none(), "{text:?} up to {cut}");
                receive(&mut incoming, &text.as_bytes()[cut..]);
                assert_eq!(show(next(&mut incoming, dialect, command).as_ref()), reply, "{text:?} cut at {cut}");
                assert!(incoming.is_empty());
            }
        }
    }

    #[test]
    fn replies_follow_one_another() {
        let replies = replies();
        let all = replies.iter().map(|(text, ..)| text.as_str()).collect::<String>();
        let mut incoming = Incoming::default();
        for _ in 0..3000 {
            receive(&mut incoming, all.as_bytes());
            for (_, dialect, command) in &replies {
                assert!(next(&mut incoming, *dialect, *command).is_some());
            }
        }
        assert!(incoming.is_empty());
    }

    #[test]
    fn long_values_are_whole_wherever_they_are_cut() {
        for length in [ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, 1 << 20] {
            let value = (b'a'..=b'z').cycle().take(length).collect::<Vec<_>>();
            let mut text = format!("VA {length} O7\r\n").into_bytes();
            text.extend(&value);
            text.extend(b"\r\nEN O7\r\n");
            for cut in [1, 5, 15, ROOM, length, text.len() - 8, text.len() - 1] {
                let mut incoming = Incoming::default();
                receive(&mut incoming, b"HD O7\r\n");
                receive(&mut incoming, &text[..cut]);
                assert!(next(&mut incoming, Dialect::meta(META), Command::Contains).is_some());
                // What is received to its place does not go beyond the value.
                let (mut rest, mut found) = (&text[cut..], next(&mut incoming, Dialect::meta(META), Command::Get));
                while found.is_none() {
                    let room = incoming.room();
                    let now = rest.len().min(room.len());
                    room[..now].copy_from_slice(&rest[..now]);
                    incoming.received(now);
                    rest = &rest[now..];
                    found = next(&mut incoming, Dialect::meta(META), Command::Get);
                }
                receive(&mut incoming, rest);
                assert!(found.and_then(Reply::hit).unwrap().value == value, "{length} cut at {cut}");
                assert!(matches!(next(&mut incoming, Dialect::meta(META), Command::Get), Some(Reply::Miss)));
                assert!(incoming.is_empty());
            }
        }
    }
}
