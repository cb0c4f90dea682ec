//! A value as a stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
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
    pub async fn read_up_to(mut self, most: u64) -> io::Result<Bytes> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let mut whole = first;
        let mut gathered = BytesMut::new();
        while whole.len().max(gathered.len()) as u64 <= most {
            let Some(piece) = self.next().await.transpose()? else { break };
            if gathered.is_empty() {
                gathered.extend_from_slice(&std::mem::take(&mut whole));
            }
            gathered.extend_from_slice(&piece);
        }
        Ok(if gathered.is_empty() { whole } else { gathered.freeze() })
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
