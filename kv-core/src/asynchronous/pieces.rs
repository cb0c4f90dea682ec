//! What a thread reads of a blocking reader, as a stream for a task: the task asks for each piece.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_channel::mpsc::UnboundedReceiver;
use futures_core::Stream;

use crate::Result;

/// What a task that writes a stream tells the thread that reads it.
pub(super) enum FromTask {
    /// The next piece is to be read.
    Asked,
    Written(Result<()>),
}

/// The most bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// The next bytes of a reader; `None` at its end.
pub(super) fn next_piece(reader: &mut dyn Read) -> io::Result<Option<Bytes>> {
    let mut piece = Vec::new();
    reader.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok((!piece.is_empty()).then(|| piece.into()))
}

/// What a thread reads, as a stream for a task.
pub(super) struct Pieces {
    ask: mpsc::Sender<FromTask>,
    received: UnboundedReceiver<io::Result<Option<Bytes>>>,
    is_asked: bool,
    is_over: bool,
}

impl Pieces {
    pub(super) fn new(ask: mpsc::Sender<FromTask>, received: UnboundedReceiver<io::Result<Option<Bytes>>>) -> Self {
        Self { ask, received, is_asked: false, is_over: false }
    }
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if !self.is_asked {
            self.is_asked = true;
            let _ = self.ask.send(FromTask::Asked);
        }
        let piece = ready!(Pin::new(&mut self.received).poll_next(context));
        self.is_asked = false;
        // If the reader has panicked, the end of the stream must not be taken for the end of the value.
        let piece = piece.unwrap_or_else(|| Err(io::Error::other("the reader is gone")));
        self.is_over = !matches!(piece, Ok(Some(_)));
        Poll::Ready(piece.transpose())
    }
}
