//! The exchange of an operation with the server: where a fault can hit it, and which outcomes are possible then.

use kv_core::Error;

use crate::proxy::Direction;

/// A point in an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// After this many bytes of the request, and the length of the request.
    Request(usize, usize),
    /// After this many bytes of the reply, and the length of the reply.
    Reply(usize, usize),
}

impl Point {
    /// From before the request to before the end of the reply.
    pub(crate) fn of(exchange: &Exchange) -> Vec<Self> {
        let offsets = |length: usize| {
            let mut offsets = vec![0, 1, length / 2, length.saturating_sub(1)];
            offsets.retain(|&offset| offset < length);
            offsets.dedup();
            offsets
        };
        let requests = offsets(exchange.request).into_iter().map(|at| Self::Request(at, exchange.request));
        requests.chain(offsets(exchange.reply).into_iter().map(|at| Self::Reply(at, exchange.reply))).collect()
    }

    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Request(..) => Direction::Requests,
            Self::Reply(..) => Direction::Replies,
        }
    }

    pub(crate) fn bytes(self) -> usize {
        let (Self::Request(bytes, _) | Self::Reply(bytes, _)) = self;
        bytes
    }

    pub(crate) fn shown(self) -> String {
        match self {
            Self::Request(at, of) => format!("after {at} of {of} bytes of its request"),
            Self::Reply(at, of) => format!("after {at} of {of} bytes of the reply"),
        }
    }
}

/// What an operation exchanges with the server without a fault.
pub(crate) struct Exchange {
    pub(super) request: usize,
    pub(crate) reply: usize,
    /// Whether that is one request and one reply.
    pub(crate) is_one: bool,
}

/// Which outcomes of an operation are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedResult {
    Works,
    WorksOrFails,
    /// It fails with an error of this kind. If given: whether the outcome of a write is unknown.
    Fails {
        unknown: Option<bool>,
    },
}

/// The kind that an error has to have.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Timeout,
    Unavailable,
    /// Any kind, if trying again may help.
    Transient,
    Any,
}

impl Kind {
    pub(super) fn is_of(self, error: &Error) -> bool {
        match self {
            Self::Timeout => matches!(error, Error::Timeout(_)),
            Self::Unavailable => matches!(error, Error::Unavailable(_)),
            Self::Transient | Self::Any => true,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "Timeout",
            Self::Unavailable => "Unavailable",
            Self::Transient | Self::Any => "any",
        }
    }
}
