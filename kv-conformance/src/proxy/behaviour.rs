//! The behaviours of a proxy.

use std::fmt;
use std::time::Duration;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the store to the server.
    Requests,
    /// From the server to the store.
    Replies,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The other side closes it.
    Close,
    /// The other side has crashed: TCP's RST. On a Unix socket, which has no RST, the same as [`Close`](Self::Close).
    Reset,
}

/// Changes a piece of replies.
pub type Edit = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// What a proxy does to all its connections, from the moment that it is set.
//
// `Shared::step` in `passing.rs` carries it out; a variant that it does not name passes everything.
#[derive(Default)]
#[non_exhaustive]
pub enum Behaviour {
    /// Passes everything on.
    #[default]
    Pass,
    /// Passes each piece, of up to 64 KiB, after this time, together with what has come meanwhile.
    Delay(Duration),
    /// Accepts connections, and passes nothing. Bytes that come meanwhile are passed on when another behaviour is set, whatever that
    /// behaviour does to later bytes.
    Hold,
    /// The same, for replies only.
    HoldReplies,
    /// Passes replies byte for byte, with a pause after each.
    Split(Duration),
    /// Passes this many bytes in one direction, counted over all connections, and cuts the connection on which the next byte comes. Then
    /// it passes.
    CutAfter {
        /// How.
        cut: Cut,
        /// Which bytes count.
        of: Direction,
        /// How many bytes are passed on before.
        bytes: usize,
    },
    /// Cuts a connection in place of passing the reply to a request that has this text near its beginning, a number of times.
    /// Then it passes.
    CutAnswer {
        /// How.
        cut: Cut,
        /// The text.
        to: &'static str,
        /// How many times.
        times: usize,
    },
    /// Passes this many bytes in one direction, and holds the connection on which more come, until another behaviour is set. All other
    /// connections pass.
    Truncate {
        /// Which bytes count.
        of: Direction,
        /// How many bytes are passed on before.
        bytes: usize,
    },
    /// The same on each connection: passes this many bytes in one direction, counted for each connection, and holds it when more come.
    TruncateEach {
        /// Which bytes count.
        of: Direction,
        /// How many are passed on before.
        bytes: usize,
    },
    /// Passes this many bytes of replies, counted over all connections, and the rest of their piece. After some time it adds others. Then
    /// it passes.
    Add {
        /// How many bytes are passed before.
        after: usize,
        /// What is added.
        bytes: Vec<u8>,
        /// How much later.
        later: Duration,
    },
    /// Changes the next piece of replies. Then it passes.
    Edit(Edit),
    /// Flips the highest bit of each of the first 8 bytes of the next reply, so that the reply becomes invalid. Then it passes.
    Garble,
    /// The same of a later reply, after this many others.
    GarbleAfter(usize),
    /// Passes the next piece of replies and, after this time, these bytes. Then it passes.
    InjectLater(Vec<u8>, Duration),
}

impl Behaviour {
    /// An [`Edit`](Self::Edit).
    pub fn edit(change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Self {
        Self::Edit(Box::new(change))
    }

    /// Replaces the byte at this position of the next piece of replies, if the piece is long enough.
    pub fn corrupt(at: usize, byte: u8) -> Self {
        Self::edit(move |piece| {
            if let Some(corrupted) = piece.get_mut(at) {
                *corrupted = byte;
            }
        })
    }

    /// Adds bytes to the next piece of replies.
    pub fn inject(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::edit(move |piece| piece.extend(bytes))
    }

    /// Adds bytes that come some time after the next piece of replies.
    pub fn inject_later(bytes: impl Into<Vec<u8>>, later: Duration) -> Self {
        Self::InjectLater(bytes.into(), later)
    }

    /// Replaces the next piece of replies.
    pub fn replace(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::edit(move |piece| *piece = bytes)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Hold => f.write_str("Hold"),
            Self::HoldReplies => f.write_str("HoldReplies"),
            Self::Split(pause) => write!(f, "Split({pause:?})"),
            Self::CutAfter { cut, of, bytes } => write!(f, "{cut:?} after {bytes} bytes of {of:?}"),
            Self::CutAnswer { cut, to, times } => write!(f, "{cut:?} in place of the answer to {to}, {times} times"),
            Self::Truncate { of, bytes } => write!(f, "Truncate after {bytes} bytes of {of:?}"),
            Self::TruncateEach { of, bytes } => write!(f, "Truncate each after {bytes} bytes of {of:?}"),
            Self::Add { after, later, .. } => write!(f, "Add after {after} bytes of replies and {later:?}"),
            Self::Edit(_) => f.write_str("Edit"),
            Self::Garble => f.write_str("Garble"),
            Self::GarbleAfter(replies) => write!(f, "Garble after {replies} replies"),
            Self::InjectLater(_, time) => write!(f, "InjectLater({time:?})"),
        }
    }
}
