//! What is sent to a server at once: one command or many, in the dialect of the connection.
//!
//! Long values are not copied.

use std::io::IoSlice;
use std::time::Instant;

use super::command::KeyedCommand;
use super::dialect::Dialect;
use super::fault::Fault;
use super::handshake::ServerInfo;
use super::mcrouter;
use super::ttl::{Clock, Expiry};

/// Shorter values are copied into the request. One that is as long has a connection of an async store to itself.
const BORROWED_LENGTH: usize = 16 * 1024;

/// The first capacity of a request, in bytes: for a key and a value of 100 bytes each and what is around.
const ROOM: usize = 256;

const END_OF_LINE: &[u8] = b"\r\n";

/// The most bytes of a TLS record ([RFC 8446, section 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)), which is also what
/// memcached reads at once.
#[cfg(feature = "tls")]
pub(crate) const LARGEST_RECORD: usize = 1 << 14;

/// One or more commands that are sent at once and whose replies come in the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    commands: &'a [KeyedCommand<'a>],
    /// The tag of the first command; the others have the next numbers.
    first_tag: u64,
}

impl<'a> Request<'a> {
    pub(crate) fn new(commands: &'a [KeyedCommand<'a>], first_tag: u64) -> Self {
        Self { commands, first_tag }
    }

    /// The commands with their tags.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&'a KeyedCommand<'a>, u64)> + use<'a> {
        let first = self.first_tag;
        self.commands.iter().zip(0..).map(move |(command, index)| (command, first.wrapping_add(index)))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn first_tag(&self) -> u64 {
        self.first_tag
    }

    /// Whether it can be sent together with those of other callers: one command at most, without a large value. The size of the value of a
    /// `get` is not known before.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_short(&self) -> bool {
        matches!(self.commands, [] | [_]) && self.commands.iter().all(|keyed| keyed.len() < BORROWED_LENGTH)
    }

    pub(crate) fn count(&self) -> usize {
        self.commands.len()
    }

    /// Whether a TTL is sent as a Unix time by the server's clock.
    pub(crate) fn needs_clock(&self) -> bool {
        self.commands.iter().filter_map(|keyed| keyed.command.expiry()).any(Expiry::needs_clock)
    }

    /// Whether a command changes anything: then the request must not be sent twice.
    pub(crate) fn writes(&self) -> bool {
        self.commands.iter().any(|keyed| keyed.command.writes())
    }

    /// The index of the first command with an item larger than this.
    fn larger_than(&self, limit: u64) -> Option<usize> {
        self.commands.iter().position(|keyed| keyed.item_size() > limit)
    }

    /// The index of the first command whose key mcrouter takes for a [route](mcrouter).
    fn routed_key(&self) -> Option<usize> {
        self.commands.iter().position(|keyed| mcrouter::is_routed(keyed.key.sent()))
    }

    /// The bytes for this server; a fault if it does not take one of the commands.
    pub(crate) fn encode_for(&self, server: &ServerInfo, now: Instant) -> Result<Encoded<'a>, Fault> {
        if server.is_mcrouter
            && let Some(index) = self.routed_key()
        {
            return Err(Fault::RoutedKey { index });
        }
        if let Some(limit) = server.largest_item
            && let Some(index) = self.larger_than(limit)
        {
            return Err(Fault::ItemTooLarge { index, limit });
        }
        self.encode(server.dialect, server.clock.as_ref(), now)
    }

    /// The bytes for a server with this dialect and this clock; `None` if the server does not tell its time.
    fn encode(&self, dialect: Dialect, clock: Option<&Clock>, now: Instant) -> Result<Encoded<'a>, Fault> {
        let mut encoded = Encoded {
            bytes: Vec::with_capacity(ROOM),
            #[cfg(feature = "tls")]
            command_ends: Vec::with_capacity(self.commands.len()),
            long: Vec::new(),
        };
        for (index, (keyed, tag)) in self.commands().enumerate() {
            let expiry = keyed.command.expiry().unwrap_or(Expiry::Never);
            let exptime = expiry.exptime(clock, now).map_err(|longest| Fault::TtlTooLong { index, longest })?;
            dialect.write_line(&mut encoded.bytes, keyed, exptime, tag)?;
            if let Some(value) = keyed.command.value() {
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
    /// The commands, without the long values.
    bytes: Vec<u8>,
    /// Where in `bytes` each command ends.
    #[cfg(feature = "tls")]
    command_ends: Vec<usize>,
    /// The long values, and where in `bytes` they belong.
    long: Vec<(usize, &'a [u8])>,
}

impl<'a> Encoded<'a> {
    fn add_value(&mut self, value: &'a [u8]) {
        if value.len() < BORROWED_LENGTH {
            self.bytes.extend_from_slice(value);
        } else {
            self.long.push((self.bytes.len(), value));
        }
        self.bytes.extend_from_slice(END_OF_LINE);
    }

    /// The bytes, if there is no long value among them.
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

    /// The bytes, in pieces that each begin a new TLS record.
    ///
    /// memcached before 1.6.39 forgets what OpenSSL has decrypted and memcached has not read, and waits for more ([96e05b7]). So that it
    /// reads each record whole, a record ends with a command, or contains nothing but a part of one command.
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
    use std::time::{Duration, SystemTime};

    use kv_core::key;

    use super::super::command::{Command, SentKey, item_size};
    use super::super::ttl::Moment;
    use super::*;

    const NEW: [u32; 3] = [1, 6, 18];

    fn bytes(encoded: &Encoded<'_>) -> Vec<u8> {
        encoded.pieces().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    fn encoded<'a>(commands: &'a [KeyedCommand<'a>], clock: Option<&Clock>, now: Instant) -> Encoded<'a> {
        Request::new(commands, 0).encode(Dialect::meta(NEW), clock, now).unwrap()
    }

    #[test]
    fn a_long_value_is_not_copied() {
        let long = vec![7; BORROWED_LENGTH];
        let [a, k, z] = [key!("a"), key!("k"), key!("z")].map(SentKey::from);
        let commands = [
            KeyedCommand::new(0, &a, Command::put(b"short", Expiry::Never)),
            KeyedCommand::new(1, &k, Command::put(&long, Expiry::Never)),
            KeyedCommand::new(2, &z, Command::Get),
        ];
        let encoded = encoded(&commands, None, Instant::now());
        assert!(encoded.pieces().iter().any(|piece| piece.as_ptr() == long.as_ptr()));
        let start = format!("ms a 5 O0 T0\r\nshort\r\nms k {BORROWED_LENGTH} O1 T0\r\n");
        assert_eq!(bytes(&encoded), [start.as_bytes(), &long, b"\r\nmg z v O2\r\n"].concat());
        let request = Request::new(&commands, 0);
        let size = item_size(1, BORROWED_LENGTH as u64, 0);
        assert_eq!((request.larger_than(size - 1), request.larger_than(size)), (Some(1), None));
        assert!(request.writes());
    }

    #[test]
    fn a_namespace_stands_before_the_key() {
        let key = SentKey::new("acme:", key!("k")).unwrap();
        assert_eq!((key.given, key.sent()), (key!("k"), key!("acme:k")));
        let command = [KeyedCommand::new(0, &key, Command::put(b"v", Expiry::Never))];
        assert_eq!(bytes(&encoded(&command, None, Instant::now())), b"ms acme:k 1 O0 T0\r\nv\r\n");
        assert_eq!(command[0].item_size(), item_size(6, 1, 0));
        assert!(SentKey::new(&"n".repeat(250), key!("k")).is_none());
    }

    #[test]
    fn the_counted_length_of_a_command_is_its_maximum() {
        let (value, key) = (vec![1; 100], key!("key").into());
        for command in [Command::Get, Command::Delete, Command::put(&value, Expiry::Seconds(9))] {
            let commands = [KeyedCommand::new(0, &key, command)];
            let sent = bytes(&encoded(&commands, None, Instant::now())).len();
            assert!((sent..sent + 24).contains(&commands[0].len()), "{command:?}: {sent}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_record_ends_with_a_command_or_is_a_part_of_one() {
        let (short, middle, long) = (vec![1; 100], vec![2; BORROWED_LENGTH - 1], vec![3; BORROWED_LENGTH]);
        let mut values: Vec<&[u8]> = vec![&short; 300];
        values.extend([&middle, &short, &long, &long, &short, &middle, &middle, &long].map(Vec::as_slice));
        let k = key!("k").into();
        let put = |value| KeyedCommand::new(0, &k, Command::put(value, Expiry::Never));
        let commands: Vec<_> = values.into_iter().map(put).collect();
        let all = encoded(&commands, None, Instant::now());
        let commands: Vec<_> =
            (1..=commands.len()).map(|count| bytes(&encoded(&commands[..count], None, Instant::now())).len()).collect();
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
    fn a_date_is_made_of_the_time_of_the_server() {
        let asked = Instant::now();
        let clock = |told| Clock::new(told, asked, Moment { instant: asked, time: SystemTime::now() });
        let month = Duration::from_secs(60 * 60 * 24 * 30);
        let [k, m] = [key!("k"), key!("m")].map(SentKey::from);
        let commands = [
            KeyedCommand::new(0, &k, Command::put(b"v", Expiry::new(Some(month)))),
            KeyedCommand::new(1, &m, Command::touch(Expiry::new(Some(2 * month)))),
        ];
        for told in [1_999_999_998, 5] {
            let (one, two) = (told + 2_592_002, told + 2 * 2_592_000 + 2);
            let expected = format!("ms k 1 O0 T{one}\r\nv\r\nmg m O1 T{two}\r\n");
            let encoded = encoded(&commands, Some(&clock(told)), asked);
            assert_eq!(String::from_utf8(bytes(&encoded)).unwrap(), expected);
        }
        let request = Request::new(&commands, 0);
        assert!(request.needs_clock());
        for clock in [Some(clock(i32::MAX as u64)), None] {
            let fault = request.encode(Dialect::meta(NEW), clock.as_ref(), asked).err();
            assert!(matches!(fault, Some(Fault::TtlTooLong { index: 0, .. })), "{fault:?}");
        }
    }
}
