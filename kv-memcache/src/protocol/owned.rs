//! A request that owns its keys and values, and the bytes that are sent of several.

use std::time::Instant;

use kv_core::KeyBuf;

use super::command::{Command, KeyedCommand, SentKey};
use super::fault::Fault;
use super::handshake::ServerInfo;
use super::incoming::Incoming;
use super::reply::Reply;
#[cfg(feature = "tls")]
use super::request::LARGEST_RECORD;
use super::request::{Encoded, Request};

/// A buffer that has grown beyond this is given back.
const LARGE: usize = 1 << 20;

/// A request with keys and values of its own.
pub(crate) struct OwnedRequest {
    commands: Vec<OwnedCommand>,
    first_tag: u64,
    is_short: bool,
    needs_clock: bool,
    writes: bool,
}

struct OwnedCommand {
    /// As it is sent.
    key: KeyBuf,
    /// Without its value.
    command: Command<'static>,
    value: Vec<u8>,
}

impl OwnedCommand {
    fn command(&self) -> Command<'_> {
        self.command.with_value(&self.value)
    }
}

impl OwnedRequest {
    pub(crate) fn new(request: Request<'_>) -> Self {
        let owned = |(keyed, _): (&KeyedCommand<'_>, u64)| OwnedCommand {
            key: keyed.key.sent().into(),
            command: keyed.command.with_value(b""),
            value: keyed.command.value().unwrap_or_default().to_vec(),
        };
        Self {
            commands: request.commands().map(owned).collect(),
            first_tag: request.first_tag(),
            is_short: request.is_short(),
            needs_clock: request.needs_clock(),
            writes: request.writes(),
        }
    }

    /// Whether it is sent together with others.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether a TTL is sent as a Unix time by the server's clock.
    pub(crate) fn needs_clock(&self) -> bool {
        self.needs_clock
    }

    /// Whether a command changes anything: then the request must not be sent twice.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// How many commands it has.
    pub(crate) fn count(&self) -> usize {
        self.commands.len()
    }

    /// Takes the reply to the command at this index, if there is one and it is complete.
    pub(crate) fn receive(
        &self,
        index: usize,
        incoming: &mut Incoming,
        server: &ServerInfo,
    ) -> Result<Option<Reply>, Fault> {
        let Some(owned) = self.commands.get(index) else { return Ok(None) };
        let key = SentKey::from(owned.key.as_key());
        let keyed = KeyedCommand::new(index, &key, owned.command());
        incoming.reply(server.dialect, (&keyed, self.first_tag.wrapping_add(index as u64)), server.most())
    }
}

/// The bytes of several requests, which are sent together.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Where the records of TLS end; nothing without TLS.
    record_ends: Vec<usize>,
    has_records: bool,
    /// Whether the last record has nothing but whole commands.
    #[cfg(feature = "tls")]
    may_grow: bool,
}

impl Outgoing {
    /// For a connection with TLS or without.
    pub(crate) fn new(has_records: bool) -> Self {
        Self {
            bytes: Vec::new(),
            record_ends: Vec::new(),
            has_records,
            #[cfg(feature = "tls")]
            may_grow: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > LARGE {
            self.bytes = Vec::new();
        }
        self.record_ends.clear();
        #[cfg(feature = "tls")]
        {
            self.may_grow = false;
        }
    }

    /// Adds a request for this server, unless the server does not take it. Returns its length.
    pub(crate) fn add(&mut self, request: &OwnedRequest, server: &ServerInfo, now: Instant) -> Result<usize, Fault> {
        // Most requests have one command.
        if let [owned] = request.commands.as_slice() {
            let key = SentKey::from(owned.key.as_key());
            let commands = [KeyedCommand::new(0, &key, owned.command())];
            let encoded = Request::new(&commands, request.first_tag).encode_for(server, now)?;
            return Ok(self.add_encoded(&encoded));
        }
        let keys = request.commands.iter().map(|owned| SentKey::from(owned.key.as_key())).collect::<Vec<_>>();
        let commands = request.commands.iter().zip(&keys).enumerate();
        let commands = commands.map(|(index, (owned, key))| KeyedCommand::new(index, key, owned.command()));
        let commands = commands.collect::<Vec<_>>();
        let encoded = Request::new(&commands, request.first_tag).encode_for(server, now)?;
        Ok(self.add_encoded(&encoded))
    }

    fn add_encoded(&mut self, encoded: &Encoded<'_>) -> usize {
        let before = self.bytes.len();
        #[cfg(feature = "tls")]
        if self.has_records {
            self.add_records(encoded);
            return self.bytes.len() - before;
        }
        encoded.pieces().iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        self.bytes.len() - before
    }

    /// Short requests go together into a record.
    #[cfg(feature = "tls")]
    fn add_records(&mut self, encoded: &Encoded<'_>) {
        let records = encoded.records();
        let is_whole = records.len() == 1;
        for record in records {
            let begin = self.record_ends.iter().rev().nth(1).copied().unwrap_or_default();
            self.bytes.extend_from_slice(record);
            if self.may_grow && is_whole && self.bytes.len() - begin <= LARGEST_RECORD {
                self.record_ends.pop();
            }
            self.record_ends.push(self.bytes.len());
        }
        self.may_grow = is_whole;
    }

    /// What is to be sent at once after this many bytes; nothing at the end.
    pub(crate) fn after(&self, written: usize) -> Option<&[u8]> {
        let end = if self.has_records {
            let position = self.record_ends.partition_point(|&end| end <= written);
            *self.record_ends.get(position)?
        } else {
            self.bytes.len()
        };
        self.bytes.get(written..end).filter(|rest| !rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use kv_core::key;

    use super::super::dialect::{Deletion, Dialect};
    use super::super::ttl::Expiry;
    use super::*;

    const SERVER: ServerInfo =
        ServerInfo { dialect: Dialect::Classic(Deletion::AtOnce), largest_item: Some(1 << 20), ..ServerInfo::PROXY };

    fn request(values: &[&[u8]]) -> OwnedRequest {
        let key = key!("k").into();
        let commands = values.iter().map(|value| KeyedCommand::new(0, &key, Command::put(value, Expiry::Never)));
        OwnedRequest::new(Request::new(&commands.collect::<Vec<_>>(), 7))
    }

    /// The pieces that are sent, whole.
    fn pieces(outgoing: &Outgoing) -> Vec<&[u8]> {
        let (mut pieces, mut written) = (Vec::new(), 0);
        while let Some(piece) = outgoing.after(written) {
            written += piece.len();
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn requests_are_sent_together_unless_the_server_does_not_take_them() {
        let mut outgoing = Outgoing::new(false);
        for _ in 0..2 {
            outgoing.clear();
            assert_eq!(pieces(&outgoing), Vec::<&[u8]>::new());
            let large = vec![1; 1 << 20];
            let now = Instant::now();
            assert_eq!(outgoing.add(&request(&[b"a"]), &SERVER, now).unwrap(), "set k 0 0 1\r\na\r\n".len());
            let fault = outgoing.add(&request(&[b"b", &large]), &SERVER, now);
            assert!(matches!(fault, Err(Fault::ItemTooLarge { index: 1, .. })), "{fault:?}");
            outgoing.add(&request(&[b"c", b"d"]), &SERVER, now).unwrap();
            assert_eq!(outgoing.add(&request(&[]), &SERVER, now).unwrap(), 0);
            let all = b"set k 0 0 1\r\na\r\nset k 0 0 1\r\nc\r\nset k 0 0 1\r\nd\r\n";
            assert_eq!(pieces(&outgoing), [&all[..]]);
            assert_eq!(outgoing.after(16), Some(&all[16..]));
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_record_has_whole_requests_or_a_part_of_one() {
        let (mut outgoing, now) = (Outgoing::new(true), Instant::now());
        let (short, long) = (vec![1; 5000], vec![2; 20_000]);
        let mut ends = vec![0];
        for values in [&[&short[..]][..], &[&short], &[&short], &[&short, &long], &[&short], &[&short]] {
            let length = outgoing.add(&request(values), &SERVER, now).unwrap();
            ends.push(ends[ends.len() - 1] + length);
        }
        let lengths = pieces(&outgoing).iter().map(|piece| piece.len()).collect::<Vec<_>>();
        let put = |value: &[u8]| format!("set k 0 0 {}\r\n", value.len()).len();
        let (one, line) = (put(&short) + short.len() + 2, put(&long));
        assert_eq!(lengths, [3 * one, one, line, long.len(), 2, 2 * one]);
        // A part of a record is followed by the rest of it.
        assert_eq!(outgoing.after(10).unwrap().len(), 3 * one - 10);
        assert_eq!(outgoing.after(ends[6]), None);
    }
}
