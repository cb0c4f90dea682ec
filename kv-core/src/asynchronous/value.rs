//! A value as a stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

/// The bytes of a value, piece by piece. It ends after the first error.
///
/// It is a [`Stream`], as HTTP frameworks take and give bodies: `ValueStream::new(stream)` makes one of any other stream of bytes.
#[must_use = "a stream does nothing before it is polled"]
pub struct ValueStream<'a>(Option<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'a>>>);

impl<'a> ValueStream<'a> {
    /// A stream of pieces.
    pub fn new(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'a) -> Self {
        Self(Some(Box::pin(pieces)))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// All bytes, unless there are more than `most`: then it stops when that is clear, and what it returns is longer than that.
    ///
    /// # Errors
    /// That of the stream.
    pub async fn read_up_to(self, most: u64) -> io::Result<Bytes> {
        let mut gathered = Gathered::new(self);
        gathered.read_up_to(most).await?;
        Ok(gathered.so_far())
    }
}

/// A stream, and what was read of it.
pub(super) struct Gathered<'a> {
    stream: ValueStream<'a>,
    /// The first piece. As long as it is the only one, nothing is copied.
    first: Bytes,
    all: BytesMut,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(stream: ValueStream<'a>) -> Self {
        Self { stream, first: Bytes::new(), all: BytesMut::new() }
    }

    /// Reads on until the end, which is `true`, or until there are more bytes than this.
    pub(super) async fn read_up_to(&mut self, most: u64) -> io::Result<bool> {
        while self.first.len().max(self.all.len()) as u64 <= most {
            let Some(piece) = self.stream.next().await.transpose()? else { return Ok(true) };
            if self.first.is_empty() && self.all.is_empty() {
                self.first = piece;
                continue;
            }
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
                self.first = Bytes::new();
            }
            self.all.extend_from_slice(&piece);
        }
        Ok(false)
    }

    /// What was read.
    pub(super) fn so_far(&mut self) -> Bytes {
        if !self.all.is_empty() {
            self.first = self.all.split().freeze();
        }
        self.first.clone()
    }
}

/// What comes after the beginning of a value: nothing, if that was all of it. If not, reading on fails, so that nothing is stored.
pub(super) struct Unfinished {
    pub(super) is_whole: bool,
}

impl Read for Unfinished {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        if self.is_whole { Ok(0) } else { Err(io::Error::other("the value goes on")) }
    }
}

/// A value in one piece.
impl From<Bytes> for ValueStream<'_> {
    fn from(value: Bytes) -> Self {
        struct Once(Option<Bytes>);
        impl Stream for Once {
            type Item = io::Result<Bytes>;
            fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                Poll::Ready(self.0.take().map(Ok))
            }
        }
        Self::new(Once(Some(value)))
    }
}

impl Stream for ValueStream<'_> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(pieces) = &mut self.0 else { return Poll::Ready(None) };
        let item = ready!(pieces.as_mut().poll_next(context));
        if !matches!(item, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(item)
    }
}

/// Shows nothing of the value ([E3](crate::contract#9-errors)).
impl fmt::Debug for ValueStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueStream").field("ended", &self.0.is_none()).finish()
    }
}
