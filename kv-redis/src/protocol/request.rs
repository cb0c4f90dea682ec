//! What is sent to a server: one command or a pipeline of them, in the serialisation protocol of redis ([RESP2]).
//!
//! [RESP2]: https://redis.io/docs/latest/develop/reference/protocol-spec/

use std::borrow::Cow;
use std::io::IoSlice;
use std::sync::{Mutex, PoisonError};

use redis::Value as Reply;

use crate::protocol::commands::Commands;

/// Values with this length and longer are not copied into the request.
const BORROWED_LENGTH: usize = 16 * 1024;

/// A request with more bytes than this has a connection to itself, so that no other caller waits for a large value.
pub(crate) const SHORT: usize = 16 * 1024;

/// The initial capacity of a request in bytes: a key and a value of 100 bytes each, and what is around them.
const ROOM: usize = 256;

/// An argument of a command.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    Text(&'a [u8]),
    /// A key, with the namespace before it.
    Key(&'a str, &'a str),
    Number(u64),
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Arg<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// What the reply to a command has to be, unless it is an error. A reply of another shape belongs to another command: the connection is
/// desynchronized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string, or nothing.
    Value,
    /// An array with this number of them.
    Values(usize),
    /// A cursor and names, of `SCAN`.
    Page,
    /// `OK`, or nothing where a condition was not met.
    Done,
    Integer,
    /// Any reply: it is checked afterwards.
    Any,
}

/// One or more commands that are sent at once and whose replies come in the same order.
pub(crate) struct Request<'a> {
    /// The commands without the long values.
    encoded: Vec<u8>,
    /// The long values, and where in `encoded` they belong.
    long: Vec<(usize, &'a [u8])>,
    long_bytes: usize,
    shapes: Vec<Shape>,
    writes: bool,
    needs: Commands,
    /// The index of the command that the server may refuse.
    needy: usize,
    /// What the server lacks if it refuses that command.
    of_needy: Commands,
    meanwhile: Meanwhile<'a>,
    then: Option<Box<Then<'a>>>,
}

/// What is sent after the replies to `WATCH` and `GET`, on the same connection and before anything else.
struct Then<'a> {
    /// The value that has to be there; `None` for any.
    value: Option<Cow<'a, [u8]>>,
    /// What is sent if it is.
    transaction: Request<'a>,
    /// What is sent otherwise.
    unwatch: Request<'a>,
}

/// Work that is done once, after a request was sent and before its replies are received.
type Meanwhile<'a> = Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>;

impl<'a> Request<'a> {
    /// A request that changes nothing, so that it can be sent again if its connection proves dead (N5).
    pub(crate) fn reading() -> Self {
        Self {
            encoded: Vec::with_capacity(ROOM),
            long: Vec::new(),
            long_bytes: 0,
            shapes: Vec::new(),
            writes: false,
            needs: Commands::NONE,
            needy: 0,
            of_needy: Commands::NONE,
            meanwhile: Mutex::new(None),
            then: None,
        }
    }

    /// A request that must not be sent twice.
    pub(crate) fn writing() -> Self {
        Self { writes: true, ..Self::reading() }
    }

    /// Says what a server needs to have for the command that was added last, which it may refuse. The request is not sent to a server
    /// without it.
    pub(crate) fn needing(mut self, needs: Commands) -> Self {
        self.needs = self.needs.with(needs);
        self.needy = self.shapes.len().saturating_sub(1);
        self.of_needy = needs;
        self
    }

    /// What the server lacks if it refuses the command that needs something.
    pub(crate) fn may_be_refused(&self) -> Commands {
        self.of_needy
    }

    /// Of all replies, the one to the command that needs something; in a transaction, its result.
    pub(crate) fn reply_to_needy<'r>(&self, replies: &'r [Reply]) -> Option<&'r Reply> {
        match (replies.get(self.needy), replies.last()) {
            // A transaction begins with `MULTI`, whose reply is not in that of its `EXEC`.
            (Some(Reply::SimpleString(queued)), Some(Reply::Array(results))) if queued == "QUEUED" => {
                results.get(self.needy.checked_sub(1)?)
            }
            (reply, _) => reply,
        }
    }

    /// Says what else the server needs to have for this request.
    pub(crate) fn also_needing(mut self, needs: Commands) -> Self {
        self.needs = self.needs.with(needs);
        self
    }

    pub(crate) fn needs(&self) -> Commands {
        self.needs
    }

    /// Adds work to do while the server is busy with the request.
    pub(crate) fn meanwhile(mut self, work: impl FnOnce() + Send + 'a) -> Self {
        self.meanwhile = Mutex::new(Some(Box::new(work)));
        self
    }

    /// Does that work, unless it is done already.
    pub(crate) fn do_meanwhile(&self) {
        let work = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work();
        }
    }

    /// After `WATCH` and `GET`: says what is sent next, on the same connection and before anything else, if the value is this one, or any if
    /// that is `None`. Otherwise the server is told to watch no longer. The replies follow those of this request.
    pub(crate) fn then(mut self, value: Option<&'a [u8]>, transaction: Request<'a>) -> Self {
        let unwatch = Request::reading().with(Shape::Any, ["UNWATCH".into()]);
        self.then = Some(Box::new(Then { value: value.map(Cow::Borrowed), transaction, unwatch }));
        self
    }

    /// What is sent after these replies, if anything.
    pub(crate) fn next(&self, replies: &[Reply]) -> Option<&Request<'a>> {
        let then = self.then.as_ref()?;
        Some(match replies {
            [Reply::Okay, Reply::BulkString(value)]
                if then.value.as_ref().is_none_or(|expected| **expected == **value) =>
            {
                &then.transaction
            }
            _ => &then.unwatch,
        })
    }

    /// The same with bytes of its own, and without work to do meanwhile.
    #[cfg(feature = "tokio")]
    pub(crate) fn to_owned(&self) -> Request<'static> {
        let mut encoded = Vec::with_capacity(self.len());
        self.copy_to(&mut encoded);
        let then = self.then.as_ref().map(|then| {
            Box::new(Then {
                value: then.value.as_ref().map(|value| Cow::Owned(value.to_vec())),
                transaction: then.transaction.to_owned(),
                unwatch: then.unwatch.to_owned(),
            })
        });
        Request {
            encoded,
            long: Vec::new(),
            long_bytes: 0,
            shapes: self.shapes.clone(),
            writes: self.writes,
            needs: self.needs,
            needy: self.needy,
            of_needy: self.of_needy,
            meanwhile: Mutex::new(None),
            then,
        }
    }

    /// A request without a command, to which others are [appended](Self::append).
    pub(crate) const fn empty() -> Self {
        Self {
            encoded: Vec::new(),
            long: Vec::new(),
            long_bytes: 0,
            shapes: Vec::new(),
            writes: false,
            needs: Commands::NONE,
            needy: 0,
            of_needy: Commands::NONE,
            meanwhile: Mutex::new(None),
            then: None,
        }
    }

    /// Copies all bytes.
    pub(crate) fn copy_to(&self, bytes: &mut Vec<u8>) {
        let mut begin = 0;
        for &(at, long) in &self.long {
            bytes.extend_from_slice(self.encoded.get(begin..at).unwrap_or_default());
            bytes.extend_from_slice(long);
            begin = at;
        }
        bytes.extend_from_slice(self.encoded.get(begin..).unwrap_or_default());
    }

    /// Adds the commands of another request. All bytes are copied.
    pub(crate) fn append(&mut self, other: &Request<'_>) {
        other.copy_to(&mut self.encoded);
        self.shapes.extend_from_slice(&other.shapes);
        self.writes |= other.writes;
        self.needs = self.needs.with(other.needs);
    }

    /// Adds a command.
    pub(crate) fn add<const N: usize>(&mut self, shape: Shape, arguments: [Arg<'a>; N]) {
        self.add_all(shape, N, arguments);
    }

    /// Adds a command, as a step of a chain.
    pub(crate) fn with<const N: usize>(mut self, shape: Shape, arguments: [Arg<'a>; N]) -> Self {
        self.add(shape, arguments);
        self
    }

    /// Adds a command of `count` arguments, its name included.
    pub(crate) fn add_all(&mut self, shape: Shape, count: usize, arguments: impl IntoIterator<Item = Arg<'a>>) {
        self.shapes.push(shape);
        self.header(b'*', count);
        for argument in arguments {
            match argument {
                Arg::Text(text) => self.bulk(text),
                Arg::Key(namespace, key) => {
                    self.header(b'$', namespace.len() + key.len());
                    self.encoded.extend_from_slice(namespace.as_bytes());
                    self.encoded.extend_from_slice(key.as_bytes());
                    self.end_of_line();
                }
                Arg::Number(number) => self.bulk_number(number),
            }
        }
    }

    fn bulk(&mut self, text: &'a [u8]) {
        self.header(b'$', text.len());
        if text.len() < BORROWED_LENGTH {
            self.encoded.extend_from_slice(text);
        } else {
            self.long.push((self.encoded.len(), text));
            self.long_bytes += text.len();
        }
        self.end_of_line();
    }

    fn bulk_number(&mut self, number: u64) {
        self.header(b'$', digits(number));
        self.decimal(number);
        self.end_of_line();
    }

    fn header(&mut self, kind: u8, length: usize) {
        self.encoded.push(kind);
        self.decimal(length as u64);
        self.end_of_line();
    }

    fn decimal(&mut self, mut number: u64) {
        let start = self.encoded.len();
        loop {
            // A remainder of ten fits into a byte.
            self.encoded.push(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        if let Some(reversed) = self.encoded.get_mut(start..) {
            reversed.reverse();
        }
    }

    fn end_of_line(&mut self) {
        self.encoded.extend_from_slice(b"\r\n");
    }

    /// The same request after an `ASKING`, which makes a node of a cluster accept a key that it does not own yet.
    #[cfg(feature = "cluster")]
    pub(crate) fn after_asking(&self) -> Request<'a> {
        let mut request = if self.writes { Self::writing() } else { Self::reading() };
        request.add(Shape::Done, ["ASKING".into()]);
        let before = request.encoded.len();
        request.encoded.extend_from_slice(&self.encoded);
        request.long.extend(self.long.iter().map(|&(at, long)| (at + before, long)));
        request.long_bytes = self.long_bytes;
        request.needs = self.needs;
        request.shapes.extend_from_slice(&self.shapes);
        if self.then.is_some() {
            // `ASKING` holds for one command, so no transaction can follow. Twice, so that this shows in the replies.
            request.add(Shape::Any, ["UNWATCH".into()]);
            request.add(Shape::Any, ["UNWATCH".into()]);
        }
        request
    }

    /// What the replies have to be, in their order.
    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// Whether it can be sent together with those of other callers: one command, one key, no large value. The size of the value of a
    /// `GET` is not known before.
    pub(crate) fn is_short(&self) -> bool {
        matches!(*self.shapes, [Shape::Value | Shape::Done | Shape::Integer]) && self.len() <= SHORT
    }

    /// Whether it is one transaction that can be sent together with the requests of other callers: its commands stand together.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_short_transaction(&self) -> bool {
        let is_page = self.needs.has(Commands::PAGES_IN_EXEC);
        self.encoded.starts_with(b"*1\r\n$5\r\nMULTI\r\n") && self.then.is_none() && !is_page && self.len() <= SHORT
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len() + self.long_bytes
    }

    /// The bytes in one piece, if there is no long value.
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
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(request: &Request<'_>) -> Vec<u8> {
        let bytes = request.pieces().iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>();
        assert_eq!(bytes.len(), request.len());
        bytes
    }

    #[test]
    fn a_pipeline_is_what_the_crate_redis_makes_of_it() {
        let long = vec![7; BORROWED_LENGTH];
        let mut request = Request::writing();
        request.add(Shape::Done, ["SET".into(), Arg::Key("ns:", "k"), Arg::Text(b"v\r\n\0"), "PX".into(), 0.into()]);
        request.add(Shape::Done, ["SET".into(), Arg::Key("", "long"), Arg::Text(&long), "PX".into(), u64::MAX.into()]);
        request.add(Shape::Value, ["GET".into(), Arg::Key("", "k")]);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg("ns:k").arg(b"v\r\n\0").arg("PX").arg(0);
        pipeline.cmd("SET").arg("long").arg(&long).arg("PX").arg(u64::MAX);
        pipeline.cmd("GET").arg("k");
        assert_eq!(bytes(&request), pipeline.get_packed_pipeline());
        assert_eq!(request.shapes(), [Shape::Done, Shape::Done, Shape::Value]);
    }

    #[test]
    fn a_long_value_is_not_copied() {
        let long = vec![7; BORROWED_LENGTH];
        let mut request = Request::writing();
        request.add(Shape::Done, ["SET".into(), Arg::Key("", "k"), Arg::Text(&long)]);
        assert!(request.pieces().iter().any(|piece| piece.as_ptr() == long.as_ptr()));
    }

    #[test]
    fn requests_that_are_put_together_are_all_there() {
        let long = vec![7; BORROWED_LENGTH];
        let write = Request::writing().with(Shape::Done, ["SET".into(), Arg::Key("", "k"), Arg::Text(&long)]);
        let read = Request::reading().with(Shape::Value, ["GET".into(), Arg::Key("", "k")]);
        let mut both = Request::empty();
        both.append(&read);
        assert!(!both.writes());
        both.append(&write);
        assert_eq!(bytes(&both), [bytes(&read), bytes(&write)].concat());
        assert_eq!(both.shapes(), [Shape::Value, Shape::Done]);
        assert!(both.writes());
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn asking_comes_before_the_command() {
        let long = vec![7; BORROWED_LENGTH];
        let request = Request::writing().with(Shape::Done, ["SET".into(), Arg::Key("", "k"), Arg::Text(&long)]);
        let asking = request.after_asking();
        assert_eq!(bytes(&asking), [&b"*1\r\n$6\r\nASKING\r\n"[..], &bytes(&request)].concat());
        assert_eq!(asking.shapes(), [Shape::Done, Shape::Done]);
        assert!(asking.writes());
    }

    #[test]
    fn digits_are_counted() {
        for number in [0, 1, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(digits(number), number.to_string().len());
        }
    }
}
