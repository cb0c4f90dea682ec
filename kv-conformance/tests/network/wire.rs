//! The protocol: a request is a frame, its reply is a frame, and nothing says which reply belongs to which request but their order.
//!
//! A frame is a magic byte, the length of what follows (`u32`, the most significant byte first), a byte that says what it is, and
//! fields: each `-` if it is absent, or `+`, its length and its bytes. A server that takes a connection sends [`GREETING`] first.

use std::io::{self, Read};

use kv_core::Bytes;

/// What a server sends when it takes a connection.
pub(crate) const GREETING: &[u8; 4] = b"kv1\n";

/// How every request begins.
pub(crate) const REQUEST: u8 = 0xA7;

/// How every reply begins.
pub(crate) const REPLY: u8 = 0xB8;

/// What a reply says it is.
pub(crate) const DONE: u8 = b'=';

/// What a reply says that refuses the request: its one field is a text.
pub(crate) const FAILED: u8 = b'!';

/// Magic and length.
pub(crate) const HEAD: usize = 5;

/// What is longer is no frame.
const LONGEST: usize = 1 << 28;

/// A field: bytes, or none.
pub(crate) type Field = Option<Bytes>;

/// What is asked for. The fields of the request, and those of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Keys; for each the value, or none.
    Read = b'r' as isize,
    /// Key, value and TTL, again and again; nothing.
    Write = b'w' as isize,
    /// Key, value and TTL; whether there was none.
    Create = b'c' as isize,
    /// Keys; for each whether it was there.
    Remove = b'd' as isize,
    /// A key; whether it is there.
    Exists = b'e' as isize,
    /// A key; the remaining TTL, or nothing if the key is absent.
    Expiry = b't' as isize,
    /// Key and TTL; whether it is there.
    Touch = b'x' as isize,
    /// Prefix and cursor, which is empty at first; the next cursor, or none at the end, and then the names of this page.
    List = b'l' as isize,
    /// From and to; whether there was something to copy.
    Copy = b'y' as isize,
    /// From and to; whether there was something to rename.
    Rename = b'm' as isize,
    /// Key, value, TTL and the value that has to be there; whether it was.
    WriteIf = b'i' as isize,
    /// Key and the value that has to be there; whether it was.
    RemoveIf = b'f' as isize,
    /// A key; the value that was there, which is removed.
    Take = b'k' as isize,
    /// Key and TTL; the value.
    ReadTouch = b'g' as isize,
    /// Key, number and TTL; the sum, or why there is none.
    Add = b'a' as isize,
}

/// What comes in place of a sum: of what is not a number, and of what is too large.
pub(crate) const NOT_A_NUMBER: &[u8] = b"n";
pub(crate) const TOO_LARGE: &[u8] = b"l";

impl Op {
    const ALL: [Self; 15] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Remove,
        Self::Exists,
        Self::Expiry,
        Self::Touch,
        Self::List,
        Self::Copy,
        Self::Rename,
        Self::WriteIf,
        Self::RemoveIf,
        Self::Take,
        Self::ReadTouch,
        Self::Add,
    ];

    /// Whether it may change something.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::Exists | Self::Expiry | Self::List)
    }

    /// The operation that a frame says it is.
    pub(crate) fn of(kind: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&op| op as isize == isize::from(kind))
    }
}

/// A request, ready to be sent, as often as need be.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) bytes: Bytes,
}

impl Request {
    pub(crate) fn new<'f>(op: Op, fields: impl IntoIterator<Item = &'f [u8]>) -> Self {
        let bytes = frame(REQUEST, op as u8, fields.into_iter().map(Some));
        Self { op, bytes: bytes.into() }
    }
}

/// A frame as it is sent.
pub(crate) fn frame<'f>(magic: u8, kind: u8, fields: impl IntoIterator<Item = Option<&'f [u8]>>) -> Vec<u8> {
    let mut frame = vec![magic, 0, 0, 0, 0, kind];
    for field in fields {
        match field {
            None => frame.push(b'-'),
            Some(bytes) => {
                frame.push(b'+');
                frame.extend_from_slice(&length(bytes.len()));
                frame.extend_from_slice(bytes);
            }
        }
    }
    let size = length(frame.len() - HEAD);
    frame[1..HEAD].copy_from_slice(&size);
    frame
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("no test sends that much").to_be_bytes()
}

/// Receives a frame with this magic: what it says it is, and its fields.
///
/// [`io::ErrorKind::InvalidData`] says that what came is no such frame, [`io::ErrorKind::UnexpectedEof`] that it ended half-way,
/// or did not begin.
pub(crate) fn receive(from: &mut impl Read, magic: u8) -> io::Result<(u8, Vec<Field>)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let size = body_length(head, magic)?;
    // What is not there takes no memory, whatever length was promised.
    let mut body = Vec::new();
    from.take(size as u64).read_to_end(&mut body)?;
    if body.len() < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    parse(body.into()).ok_or_else(nonsense)
}

/// The length of the body of a frame that begins so.
fn body_length(head: [u8; HEAD], magic: u8) -> io::Result<usize> {
    let [found, size @ ..] = head;
    let size = u32::from_be_bytes(size) as usize;
    if found == magic && (1..=LONGEST).contains(&size) { Ok(size) } else { Err(nonsense()) }
}

fn parse(mut body: Bytes) -> Option<(u8, Vec<Field>)> {
    let kind = *body.split_to(1).first()?;
    let mut fields = Vec::new();
    while !body.is_empty() {
        fields.push(match body.split_to(1).first()? {
            b'-' => None,
            b'+' => {
                let (size, rest) = body.split_first_chunk()?;
                let size = u32::from_be_bytes(*size) as usize;
                let field = (size <= rest.len()).then(|| body.slice(4..4 + size))?;
                body = body.slice(4 + size..);
                Some(field)
            }
            _ => return None,
        });
    }
    Some((kind, fields))
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no frame of the protocol")
}
