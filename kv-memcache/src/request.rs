//! What is sent to a server: commands of the [meta protocol], one or many at once.
//!
//! The lines are those of the crate `memcache`; the values follow them from where they are.
//!
//! [meta protocol]: https://github.com/memcached/memcached/blob/1.6.18/doc/protocol.txt

use std::fmt::{self, Write as _};
use std::io::IoSlice;
use std::time::Instant;

use kv_core::Key;
use memcache::exp::{MetaCommand, MetaOp, ReturnCode};

use crate::fault::Fault;
use crate::lifetime::{Clock, Lifetime};

/// Values from this length on are sent from where they are; shorter ones are copied into the request.
const BORROWED_FROM: usize = 16 * 1024;

/// How many digits a Unix time has until the year 2286.
const TIME_DIGITS: usize = 10;

/// The longest flags of a command: `1073741824 ME O18446744073709551615 T4294967295`.
const LONGEST_FLAGS: usize = 48;

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
    /// The value, what is left of its lifetime, and the number of this version of the entry.
    GetAll,
    Contains,
    TtlOf,
    /// Its lifetime is not zero.
    Touch(Lifetime),
    /// Its lifetime is not zero.
    Put(&'a [u8], Lifetime),
    /// Only if nothing is there.
    Create(&'a [u8], Lifetime),
    Delete,
    /// Only if it still is this version.
    DeleteVersion(u64),
}

/// What the reply to a command has to be, unless it is an error. Any other is not the reply to this command: the connection
/// is out of step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) hit: ReturnCode,
    pub(crate) misses: &'static [ReturnCode],
    /// The kinds of flags that a hit has.
    pub(crate) flags: &'static str,
    /// What a reply repeats, so that it is known to which command it belongs.
    pub(crate) tag: u64,
}

impl<'a> Command<'a> {
    /// A write. With a lifetime of zero the key is to be absent (T3).
    pub(crate) fn put(value: &'a [u8], lifetime: Lifetime) -> Self {
        if lifetime == Lifetime::Zero { Self::Delete } else { Self::Put(value, lifetime) }
    }

    /// A new lifetime. One of zero removes the entry (T6).
    pub(crate) fn touch(lifetime: Lifetime) -> Self {
        if lifetime == Lifetime::Zero { Self::Delete } else { Self::Touch(lifetime) }
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self, Self::Get | Self::GetAll | Self::Contains | Self::TtlOf)
    }

    fn shape(&self, tag: u64) -> Shape {
        use ReturnCode::{En, Ex, Hd, Nf, Ns, Va};
        let (hit, misses, flags): (_, &[ReturnCode], _) = match self {
            Self::Get => (Va, &[En], ""),
            Self::GetAll => (Va, &[En], "tc"),
            Self::TtlOf => (Hd, &[En], "t"),
            Self::Contains | Self::Touch(_) => (Hd, &[En], ""),
            Self::Put(..) => (Hd, &[], ""),
            Self::Create(..) => (Hd, &[Ns], ""),
            Self::Delete => (Hd, &[Nf], ""),
            Self::DeleteVersion(_) => (Hd, &[Nf, Ex], ""),
        };
        Shape { hit, misses, flags, tag }
    }

    /// The line of the command. Its flags are all in one, which is the same when it is sent; the first is where the length of the value
    /// belongs.
    fn line(&self, key: Key<'_>, tag: u64) -> MetaCommand {
        let (operation, flags) = match *self {
            Self::Get => (MetaOp::Get, flags(format_args!("v O{tag}"))),
            Self::GetAll => (MetaOp::Get, flags(format_args!("v t c O{tag}"))),
            Self::Contains => (MetaOp::Get, flags(format_args!("O{tag}"))),
            Self::TtlOf => (MetaOp::Get, flags(format_args!("t O{tag}"))),
            Self::Touch(lifetime) => (MetaOp::Get, flags(format_args!("O{tag} {lifetime}"))),
            Self::Put(value, lifetime) => (
                MetaOp::Set,
                flags(format_args!("{} O{tag:0digits$} {lifetime}", value.len(), digits = tag_digits(value))),
            ),
            Self::Create(value, lifetime) => (
                MetaOp::Set,
                flags(format_args!("{} ME O{tag:0digits$} {lifetime}", value.len(), digits = tag_digits(value))),
            ),
            Self::Delete => (MetaOp::Delete, flags(format_args!("O{tag}"))),
            Self::DeleteVersion(version) => (MetaOp::Delete, flags(format_args!("C{version} O{tag}"))),
        };
        MetaCommand::new(operation, key.as_str()).flag(flags)
    }

    pub(crate) fn lifetime(&self) -> Option<Lifetime> {
        match *self {
            Self::Touch(lifetime) | Self::Put(_, lifetime) | Self::Create(_, lifetime) => Some(lifetime),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Put(value, _) | Self::Create(value, _) => Some(value),
            _ => None,
        }
    }
}

/// The flags of a line, with room for all of them: `format!` begins with less, and grows.
fn flags(arguments: fmt::Arguments<'_>) -> String {
    let mut flags = String::with_capacity(LONGEST_FLAGS);
    // Writing to a string does not fail.
    let _ = flags.write_fmt(arguments);
    flags
}

/// As it is sent, at the end of a line. That at which a time will stand is filled in later.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("T0"),
            // Gone at once.
            Self::Zero => f.write_str("T-1"),
            Self::Count(seconds) => write!(f, "T{seconds}"),
            Self::Until(_) | Self::UntilOriginal(_) => write!(f, "T{:0TIME_DIGITS$}", 0),
        }
    }
}

/// How many digits the number of a command with this value has at least.
///
/// A kernel that copies with `rep movsb` does so more slowly if its place is a few bytes behind where the value comes from, modulo a
/// page: 500 KiB took 236 µs in place of 90. Large allocations begin 16 bytes into a page, and the line comes before the
/// value: one that is not short keeps clear of that.
fn tag_digits(value: &[u8]) -> usize {
    if value.len() < 128 * 1024 { 0 } else { 20 }
}

/// How much of a server's memory an entry takes, in bytes, which is what its limit (`-I`) is for: the server's own header, a
/// number that identifies the version, the key with a zero byte, and the value with the end of its line. Client flags would
/// take more, and there are none.
pub(crate) fn item_size(key_length: usize, value_length: u64) -> u64 {
    const HEADER: u64 = 48;
    const VERSION: u64 = 8;
    const ENDS: u64 = 1 + END_OF_LINE.len() as u64;
    (HEADER + VERSION + ENDS + key_length as u64).saturating_add(value_length)
}

/// One or more commands that are sent at once and whose replies come in the same order.
pub(crate) struct Request<'a> {
    /// The commands without the long values.
    encoded: Vec<u8>,
    /// Where in `encoded` each command ends.
    #[cfg(feature = "tls")]
    command_ends: Vec<usize>,
    /// The long values, and where in `encoded` they belong.
    long: Vec<(usize, &'a [u8])>,
    long_bytes: usize,
    /// Where in `encoded` there is to be the time at which a lifetime ends, and the index of the command.
    ends: Vec<(usize, usize, Lifetime)>,
    shapes: Vec<Shape>,
    /// The index of the command with the largest item, and the size of that.
    largest: (usize, u64),
    next_tag: u64,
    writes: bool,
}

impl<'a> Request<'a> {
    /// A request whose commands have numbers from `first_tag` on.
    pub(crate) fn new(first_tag: u64) -> Self {
        Self {
            encoded: Vec::with_capacity(ROOM),
            #[cfg(feature = "tls")]
            command_ends: Vec::new(),
            long: Vec::new(),
            long_bytes: 0,
            ends: Vec::new(),
            shapes: Vec::new(),
            largest: (0, 0),
            next_tag: first_tag,
            writes: false,
        }
    }

    /// Adds a command.
    pub(crate) fn add(&mut self, key: Key<'_>, command: Command<'a>) -> Result<(), Fault> {
        let line = command.line(key, self.next_tag);
        line.encode_into(&mut self.encoded).map_err(|_| Fault::unfit("the crate memcache does not take this key"))?;
        if let Some(lifetime @ (Lifetime::Until(_) | Lifetime::UntilOriginal(_))) = command.lifetime() {
            self.ends.push((self.encoded.len() - END_OF_LINE.len() - TIME_DIGITS, self.shapes.len(), lifetime));
        }
        if let Some(value) = command.value() {
            let size = item_size(key.len(), value.len() as u64);
            if size > self.largest.1 {
                self.largest = (self.shapes.len(), size);
            }
            self.add_value(value);
        }
        #[cfg(feature = "tls")]
        self.command_ends.push(self.encoded.len());
        self.shapes.push(command.shape(self.next_tag));
        self.next_tag = self.next_tag.wrapping_add(1);
        self.writes |= command.writes();
        Ok(())
    }

    fn add_value(&mut self, value: &'a [u8]) {
        if value.len() < BORROWED_FROM {
            self.encoded.extend_from_slice(value);
        } else {
            self.long.push((self.encoded.len(), value));
            self.long_bytes += value.len();
        }
        self.encoded.extend_from_slice(END_OF_LINE);
    }

    /// Whether there is a lifetime whose end depends on the clock of the server.
    pub(crate) fn needs_clock(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Fills in the times at which lifetimes end by this clock.
    pub(crate) fn set_clock(&mut self, clock: &Clock, now: Instant) -> Result<(), Fault> {
        for &(at, index, lifetime) in &self.ends {
            let end = clock.end_of(lifetime, now).map_err(|longest| Fault::TtlTooLong { index, longest })?;
            if let Some(digits) = self.encoded.get_mut(at..at + TIME_DIGITS) {
                digits.copy_from_slice(format!("{end:0TIME_DIGITS$}").as_bytes());
            }
        }
        Ok(())
    }

    /// What the replies have to be, in their order.
    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Whether any of it changes anything: such a request must not be sent twice.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// The index of the command with the largest item, and the size of that.
    pub(crate) fn largest(&self) -> (usize, u64) {
        self.largest
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len() + self.long_bytes
    }

    /// The bytes, if they lie together: where there is no long value.
    pub(crate) fn in_one_piece(&self) -> Option<&[u8]> {
        self.long.is_empty().then_some(&self.encoded)
    }

    /// The bytes, in pieces.
    pub(crate) fn pieces(&self) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(2 * self.long.len() + 1);
        let mut begin = 0;
        for &(at, long) in &self.long {
            pieces.extend(self.encoded.get(begin..at).map(IoSlice::new));
            pieces.push(IoSlice::new(long));
            begin = at;
        }
        pieces.extend(self.encoded.get(begin..).map(IoSlice::new));
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
                records.extend(self.encoded.get(begin..end));
                begin = end;
            }
            if let Some((at, value)) = value {
                records.extend(
                    [self.encoded.get(begin..at), Some(value), self.encoded.get(at..command_end)].into_iter().flatten(),
                );
                begin = command_end;
            }
            end = command_end;
        }
        records.extend(self.encoded.get(begin..end));
        records.retain(|record| !record.is_empty());
        records
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kv_core::key;

    use super::*;

    fn bytes(request: &Request<'_>) -> Vec<u8> {
        let bytes = request.pieces().iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>();
        assert_eq!(bytes.len(), request.len());
        bytes
    }

    fn encoded(command: Command<'_>) -> String {
        let mut request = Request::new(7);
        request.add(key!("k"), command).unwrap();
        String::from_utf8(bytes(&request)).unwrap()
    }

    #[test]
    fn commands_are_those_of_the_meta_protocol() {
        let count = Lifetime::Count(3);
        for (command, expected) in [
            (Command::Get, "mg k v O7\r\n"),
            (Command::GetAll, "mg k v t c O7\r\n"),
            (Command::Contains, "mg k O7\r\n"),
            (Command::TtlOf, "mg k t O7\r\n"),
            (Command::touch(count), "mg k O7 T3\r\n"),
            (Command::touch(Lifetime::Forever), "mg k O7 T0\r\n"),
            (Command::touch(Lifetime::Zero), "md k O7\r\n"),
            (Command::put(b"v\r\n", count), "ms k 3 O7 T3\r\nv\r\n\r\n"),
            (Command::put(b"", Lifetime::Forever), "ms k 0 O7 T0\r\n\r\n"),
            (Command::put(b"v", Lifetime::Zero), "md k O7\r\n"),
            (Command::Create(b"v", count), "ms k 1 ME O7 T3\r\nv\r\n"),
            (Command::Create(b"v", Lifetime::Zero), "ms k 1 ME O7 T-1\r\nv\r\n"),
            (Command::Delete, "md k O7\r\n"),
            (Command::DeleteVersion(12), "md k C12 O7\r\n"),
        ] {
            assert_eq!(encoded(command), expected);
        }
    }

    #[test]
    fn a_line_without_its_value_is_what_the_crate_makes_of_the_whole() {
        let whole = MetaCommand::new(MetaOp::Set, "k").flag("ME").flag("O7").flag("T3").value("value");
        let whole = String::from_utf8(whole.encode().unwrap()).unwrap();
        assert_eq!(encoded(Command::Create(b"value", Lifetime::Count(3))), whole);
    }

    #[test]
    fn a_long_value_is_not_copied() {
        let long = vec![7; BORROWED_FROM];
        let mut request = Request::new(0);
        request.add(key!("a"), Command::put(b"short", Lifetime::Forever)).unwrap();
        request.add(key!("k"), Command::put(&long, Lifetime::Forever)).unwrap();
        request.add(key!("z"), Command::Get).unwrap();
        assert!(request.pieces().iter().any(|piece| piece.as_ptr() == long.as_ptr()));
        let start = format!("ms a 5 O0 T0\r\nshort\r\nms k {BORROWED_FROM} O1 T0\r\n");
        assert_eq!(bytes(&request), [start.as_bytes(), &long, b"\r\nmg z v O2\r\n"].concat());
        assert_eq!(request.largest(), (1, item_size(1, BORROWED_FROM as u64)));
        assert!(request.writes());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_record_ends_with_a_command_or_is_a_part_of_one() {
        let (short, middle, long) = (vec![1; 100], vec![2; BORROWED_FROM - 1], vec![3; BORROWED_FROM]);
        let mut values: Vec<&[u8]> = vec![&short; 300];
        values.extend([&middle, &short, &long, &long, &short, &middle, &middle, &long].map(Vec::as_slice));
        let (mut request, mut commands) = (Request::new(0), Vec::new());
        for value in values {
            request.add(key!("k"), Command::put(value, Lifetime::Forever)).unwrap();
            commands.push(bytes(&request).len());
        }
        let (mut at, records) = (0, request.records());
        for record in &records {
            let end = at + record.len();
            let ends_inside = commands.iter().filter(|&&command| at < command && command < end).count();
            let is_short = record.len() <= LARGEST_RECORD && commands.contains(&end);
            assert!(is_short || ends_inside == 0, "from {at} to {end}");
            at = end;
        }
        assert_eq!(records.concat(), bytes(&request));
        assert!(records.len() < 20, "{}", records.len());
    }

    #[test]
    fn the_time_at_which_a_lifetime_ends_is_filled_in() {
        let (mut request, asked) = (Request::new(0), Instant::now());
        let month = Duration::from_secs(60 * 60 * 24 * 30);
        request.add(key!("k"), Command::put(b"v", Lifetime::new(Some(month)))).unwrap();
        request.add(key!("m"), Command::touch(Lifetime::new(Some(2 * month)))).unwrap();
        for told in [1_999_999_998, 5] {
            request.set_clock(&Clock::new(told, asked), asked).unwrap();
            let (one, two) = (told + 2_592_002, told + 2 * 2_592_000 + 2);
            let expected = format!("ms k 1 O0 T{one:010}\r\nv\r\nmg m O1 T{two:010}\r\n");
            assert_eq!(String::from_utf8(bytes(&request)).unwrap(), expected);
        }
        assert!(request.set_clock(&Clock::new(i32::MAX as u64, asked), asked).is_err());
    }
}
