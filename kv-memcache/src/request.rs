//! What is sent to a server: one command or many at once, in the dialect of the connection.
//!
//! The values follow their lines from where they are.

use std::fmt;
use std::io::IoSlice;
use std::time::Instant;

use kv_core::Key;

use crate::batch::Item;
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::lifetime::{Clock, Lifetime};
use crate::routes;

/// Values from this length on are sent from where they are; shorter ones are copied into the request.
const BORROWED_FROM: usize = 16 * 1024;

/// How many bytes a request has room for from the beginning: a key and a value of 100 bytes each, and what is around.
const ROOM: usize = 256;

const END_OF_LINE: &[u8] = b"\r\n";

/// The most bytes of a TLS record ([RFC 8446, section 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)), and of what
/// memcached reads at once.
#[cfg(feature = "tls")]
const LARGEST_RECORD: usize = 1 << 14;

/// What is asked of a server about one key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Get,
    /// The value, what is left of its lifetime, the flags of the client that wrote it, and the number of this version of the entry.
    GetAll,
    Contains,
    TtlOf,
    /// Its lifetime is not zero.
    Touch(Lifetime),
    /// Its lifetime is not zero.
    Put {
        value: &'a [u8],
        lifetime: Lifetime,
        client_flags: u64,
    },
    /// Only if nothing is there.
    Create(&'a [u8], Lifetime),
    Delete,
    /// Only if it still is this version.
    DeleteVersion(u64),
}

impl<'a> Command<'a> {
    /// A write. With a lifetime of zero the key is to be absent (T3).
    pub(crate) fn put(value: &'a [u8], lifetime: Lifetime) -> Self {
        if lifetime == Lifetime::Zero { Self::Delete } else { Self::Put { value, lifetime, client_flags: 0 } }
    }

    /// A new lifetime. One of zero removes the entry (T6).
    pub(crate) fn touch(lifetime: Lifetime) -> Self {
        if lifetime == Lifetime::Zero { Self::Delete } else { Self::Touch(lifetime) }
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self, Self::Get | Self::GetAll | Self::Contains | Self::TtlOf)
    }

    pub(crate) fn lifetime(&self) -> Option<Lifetime> {
        match *self {
            Self::Touch(lifetime) | Self::Put { lifetime, .. } | Self::Create(_, lifetime) => Some(lifetime),
            // Where the server cannot compare versions when it deletes, the entry is replaced by one that has expired.
            Self::DeleteVersion(_) => Some(Lifetime::Zero),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Put { value, .. } | Self::Create(value, _) => Some(value),
            _ => None,
        }
    }

    /// How much of a server's memory the entry takes that this stores.
    fn item_size(&self, key: Key<'_>) -> u64 {
        match *self {
            Self::Put { value, client_flags, .. } => item_size(key.len(), value.len() as u64, client_flags),
            Self::Create(value, _) => item_size(key.len(), value.len() as u64, 0),
            _ => 0,
        }
    }

    /// About how many bytes are sent for it, and at least so many.
    pub(crate) fn len(&self, key: Key<'_>) -> usize {
        const AROUND: usize = 24;
        AROUND + key.len() + self.value().map_or(0, <[u8]>::len)
    }
}

/// How a lifetime is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It has expired when it arrives.
    Past,
    /// So many seconds, a Unix time, or never (0).
    Seconds(u32),
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Past => f.write_str("-1"),
            Self::Seconds(seconds) => seconds.fmt(f),
        }
    }
}

/// How much of a server's memory an entry takes, in bytes, which is what its limit (`-I`) is for: the server's own header, a
/// number that identifies the version, the key with a zero byte, client flags if there are any, and the value with the end of its line.
pub(crate) fn item_size(key_length: usize, value_length: u64, client_flags: u64) -> u64 {
    const HEADER: u64 = 48;
    const VERSION: u64 = 8;
    const ENDS: u64 = 1 + END_OF_LINE.len() as u64;
    let flags = match client_flags {
        0 => 0,
        1..=0xffff_ffff => 4,
        _ => 8,
    };
    (HEADER + VERSION + ENDS + flags + key_length as u64).saturating_add(value_length)
}

/// One or more commands that are sent at once and whose replies come in the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    items: &'a [Item<'a>],
    /// The number of the first command; the others count on.
    first_tag: u64,
}

impl<'a> Request<'a> {
    pub(crate) fn new(items: &'a [Item<'a>], first_tag: u64) -> Self {
        Self { items, first_tag }
    }

    /// The commands, with their keys and numbers.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (Key<'a>, &'a Command<'a>, u64)> + use<'a> {
        let first = self.first_tag;
        self.items.iter().zip(0..).map(move |((_, key, command), index)| (*key, command, first.wrapping_add(index)))
    }

    /// How many commands it has.
    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    /// Whether there is a lifetime whose end depends on the clock of the server.
    pub(crate) fn needs_clock(&self) -> bool {
        let lifetimes = self.items.iter().filter_map(|(_, _, command)| command.lifetime());
        lifetimes.into_iter().any(|lifetime| matches!(lifetime, Lifetime::Until(_) | Lifetime::UntilOriginal(_)))
    }

    /// Whether any of it changes anything: such a request must not be sent twice.
    pub(crate) fn writes(&self) -> bool {
        self.items.iter().any(|(_, _, command)| command.writes())
    }

    /// The index of the first command with an item larger than this.
    pub(crate) fn larger_than(&self, limit: u64) -> Option<usize> {
        self.items.iter().position(|(_, key, command)| command.item_size(*key) > limit)
    }

    /// The index of the first command whose key is [something else](crate::routes) to mcrouter.
    pub(crate) fn routed_key(&self) -> Option<usize> {
        self.items.iter().position(|(_, key, _)| routes::is_other(*key))
    }

    /// The bytes that a server with this dialect and this clock, if it tells it, is sent now.
    pub(crate) fn encode(&self, dialect: Dialect, clock: Option<&Clock>, now: Instant) -> Result<Encoded<'a>, Fault> {
        let mut encoded = Encoded {
            bytes: Vec::with_capacity(ROOM),
            #[cfg(feature = "tls")]
            command_ends: Vec::with_capacity(self.items.len()),
            long: Vec::new(),
        };
        for (index, (key, command, tag)) in self.commands().enumerate() {
            let lifetime = command.lifetime().unwrap_or(Lifetime::Forever);
            let expiry = lifetime.expiry(clock, now).map_err(|longest| Fault::TtlTooLong { index, longest })?;
            dialect.write_line(&mut encoded.bytes, key, command, expiry, tag)?;
            if let Some(value) = command.value() {
                encoded.add_value(value);
            }
            #[cfg(feature = "tls")]
            encoded.command_ends.push(encoded.bytes.len());
        }
        Ok(encoded)
    }
}

/// The bytes of a request.
pub(crate) struct Encoded<'a> {
    /// The commands without the long values.
    bytes: Vec<u8>,
    /// Where in `bytes` each command ends.
    #[cfg(feature = "tls")]
    command_ends: Vec<usize>,
    /// The long values, and where in `bytes` they belong.
    long: Vec<(usize, &'a [u8])>,
}

impl<'a> Encoded<'a> {
    fn add_value(&mut self, value: &'a [u8]) {
        if value.len() < BORROWED_FROM {
            self.bytes.extend_from_slice(value);
        } else {
            self.long.push((self.bytes.len(), value));
        }
        self.bytes.extend_from_slice(END_OF_LINE);
    }

    /// The bytes, if they lie together: where there is no long value.
    pub(crate) fn in_one_piece(&self) -> Option<&[u8]> {
        self.long.is_empty().then_some(&self.bytes)
    }

    /// The bytes, in pieces.
    pub(crate) fn pieces(&self) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(2 * self.long.len() + 1);
        let mut begin = 0;
        for &(at, long) in &self.long {
            pieces.extend(self.bytes.get(begin..at).map(IoSlice::new));
            pieces.push(IoSlice::new(long));
            begin = at;
        }
        pieces.extend(self.bytes.get(begin..).map(IoSlice::new));
        pieces
    }

    /// The bytes, in pieces that each have to begin a new TLS record.
    ///
    /// What OpenSSL has decrypted and memcached has not read yet, a memcached before 1.6.39 forgets, and waits for more to come
    /// ([96e05b7]). So that it reads each record whole, its end is that of a command, or it has a part of one command and
    /// nothing else.
    ///
    /// [96e05b7]: https://github.com/memcached/memcached/commit/96e05b75f0e095e0a603ac64422976ef1e0c9363
    #[cfg(feature = "tls")]
    pub(crate) fn records(&self) -> Vec<&[u8]> {
        let mut records = Vec::new();
        let mut long = self.long.iter().copied().peekable();
        // Short commands from `begin` to `end` go together.
        let (mut begin, mut end) = (0, 0);
        for &command_end in &self.command_ends {
            let value = long.next_if(|&(at, _)| at <= command_end);
            if value.is_some() || command_end - begin > LARGEST_RECORD {
                records.extend(self.bytes.get(begin..end));
                begin = end;
            }
            if let Some((at, value)) = value {
                records.extend(
                    [self.bytes.get(begin..at), Some(value), self.bytes.get(at..command_end)].into_iter().flatten(),
                );
                begin = command_end;
            }
            end = command_end;
        }
        records.extend(self.bytes.get(begin..end));
        records.retain(|record| !record.is_empty());
        records
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kv_core::key;

    use super::*;

    const NEW: [u32; 3] = [1, 6, 18];

    fn bytes(encoded: &Encoded<'_>) -> Vec<u8> {
        encoded.pieces().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    fn encoded<'a>(items: &'a [Item<'a>], clock: Option<&Clock>, now: Instant) -> Encoded<'a> {
        Request::new(items, 0).encode(Dialect::meta(NEW), clock, now).unwrap()
    }

    #[test]
    fn a_long_value_is_not_copied() {
        let long = vec![7; BORROWED_FROM];
        let items = [
            (0, key!("a"), Command::put(b"short", Lifetime::Forever)),
            (1, key!("k"), Command::put(&long, Lifetime::Forever)),
            (2, key!("z"), Command::Get),
        ];
        let encoded = encoded(&items, None, Instant::now());
        assert!(encoded.pieces().iter().any(|piece| piece.as_ptr() == long.as_ptr()));
        let start = format!("ms a 5 O0 T0\r\nshort\r\nms k {BORROWED_FROM} O1 T0\r\n");
        assert_eq!(bytes(&encoded), [start.as_bytes(), &long, b"\r\nmg z v O2\r\n"].concat());
        let request = Request::new(&items, 0);
        let size = item_size(1, BORROWED_FROM as u64, 0);
        assert_eq!((request.larger_than(size - 1), request.larger_than(size)), (Some(1), None));
        assert!(request.writes());
    }

    #[test]
    fn a_command_is_not_longer_than_it_is_counted_for() {
        let (value, key) = (vec![1; 100], key!("key"));
        for command in [Command::Get, Command::Delete, Command::put(&value, Lifetime::Count(9))] {
            let items = [(0, key, command)];
            let sent = bytes(&encoded(&items, None, Instant::now())).len();
            assert!((sent..sent + 24).contains(&command.len(key)), "{command:?}: {sent}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_record_ends_with_a_command_or_is_a_part_of_one() {
        let (short, middle, long) = (vec![1; 100], vec![2; BORROWED_FROM - 1], vec![3; BORROWED_FROM]);
        let mut values: Vec<&[u8]> = vec![&short; 300];
        values.extend([&middle, &short, &long, &long, &short, &middle, &middle, &long].map(Vec::as_slice));
        let put = |value| (0, key!("k"), Command::put(value, Lifetime::Forever));
        let items: Vec<_> = values.into_iter().map(put).collect();
        let all = encoded(&items, None, Instant::now());
        let commands: Vec<_> =
            (1..=items.len()).map(|count| bytes(&encoded(&items[..count], None, Instant::now())).len()).collect();
        let (mut at, records) = (0, all.records());
        for record in &records {
            let end = at + record.len();
            let ends_inside = commands.iter().filter(|&&command| at < command && command < end).count();
            let is_short = record.len() <= LARGEST_RECORD && commands.contains(&end);
            assert!(is_short || ends_inside == 0, "from {at} to {end}");
            at = end;
        }
        assert_eq!(records.concat(), bytes(&all));
        assert!(records.len() < 20, "{}", records.len());
    }

    #[test]
    fn the_time_at_which_a_lifetime_ends_is_that_of_the_server() {
        let asked = Instant::now();
        let month = Duration::from_secs(60 * 60 * 24 * 30);
        let items = [
            (0, key!("k"), Command::put(b"v", Lifetime::new(Some(month)))),
            (1, key!("m"), Command::touch(Lifetime::new(Some(2 * month)))),
        ];
        for told in [1_999_999_998, 5] {
            let (one, two) = (told + 2_592_002, told + 2 * 2_592_000 + 2);
            let expected = format!("ms k 1 O0 T{one}\r\nv\r\nmg m O1 T{two}\r\n");
            let encoded = encoded(&items, Some(&Clock::new(told, asked)), asked);
            assert_eq!(String::from_utf8(bytes(&encoded)).unwrap(), expected);
        }
        let request = Request::new(&items, 0);
        assert!(request.needs_clock());
        for clock in [Some(Clock::new(i32::MAX as u64, asked)), None] {
            let fault = request.encode(Dialect::meta(NEW), clock.as_ref(), asked).err();
            assert!(matches!(fault, Some(Fault::TtlTooLong { index: 0, .. })), "{fault:?}");
        }
    }
}
