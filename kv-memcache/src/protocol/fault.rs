//! What can go wrong with an exchange, and the error that a caller gets.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kv_core::{Error, Failure, Key};

use super::mcrouter;
use super::refusal::Refusal;
use super::silent::Silent;

/// Why a request has no reply that can be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection of the pool became free in time. Nothing was sent.
    PoolExhausted,
    /// The server did not answer a short time ago, and is not asked again yet. Nothing was sent.
    Silent(Silent<Self>),
    /// No connection could be made. Nothing was sent.
    NotConnected(io::Error),
    /// The application's function that provides user and password failed. Nothing was sent.
    NoCredentials(Arc<dyn StdError + Send + Sync>),
    /// The server refused a new connection. Nothing was sent.
    ConnectionRefused(Refusal),
    /// The server, or a setting, is unsuitable: the advice says what to do about it. Nothing was sent.
    Unsuitable { advice: String, cause: Option<io::Error> },
    /// The command at this index has an item larger than the server's limit, in bytes. Nothing was sent.
    ItemTooLarge { index: usize, limit: u64 },
    /// The TTL of the command at this index cannot be expressed by the server's clock. Nothing was sent.
    TtlTooLong { index: usize, longest: Duration },
    /// The server is mcrouter and takes the key of the command at this index for a [route](mcrouter). Nothing was sent.
    RoutedKey { index: usize },
    /// The connection failed. Whether anything had been sent by then.
    Broken { cause: io::Error, sent: bool },
    /// The received bytes are not the reply to this request.
    Desynchronized,
    /// The server answered with an error.
    Refused(Refusal),
}

/// The time-outs that a message names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For waiting until a connection of the pool is free.
    pub(crate) pool: Duration,
    /// For making a connection.
    pub(crate) connect: Duration,
    /// For sending a request and receiving its replies.
    pub(crate) response: Duration,
}

/// Where a fault happened, for the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) store: &'a str,
    /// The name of the server, if the store has several.
    pub(crate) server: Option<&'a str>,
    pub(crate) key: Option<Key<'a>>,
    /// Whether the request changes anything.
    pub(crate) writes: bool,
    pub(crate) timeouts: Timeouts,
}

/// A provider of user and password that took most of the time for connecting.
#[derive(Debug, thiserror::Error)]
#[error("it took {took:?}, and left {left:?} of `connect_timeout`")]
pub(crate) struct SlowProvider {
    pub(crate) took: Duration,
    pub(crate) left: Duration,
}

impl Fault {
    pub(crate) fn unsuitable(advice: impl Into<String>) -> Self {
        Self::Unsuitable { advice: advice.into(), cause: None }
    }

    /// The server lacks the meta commands. The version is `None` if the server does not tell it.
    pub(crate) fn without_meta(version: Option<String>) -> Self {
        let server = match version {
            Some(version) if version.contains(' ') || version.starts_with(|letter: char| !letter.is_ascii_digit()) => {
                format!("the server says that it is `{version}`")
            }
            Some(version) => format!("the server is memcached {version}"),
            None => "the server is a proxy, or a memcached before 1.6.0".to_owned(),
        };
        Self::unsuitable(format!(
            "{server}: it lacks the meta commands of memcached 1.6.0 and newer; tell the builder `classic(true)`"
        ))
    }

    /// The same for another key of the same request.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::PoolExhausted => Self::PoolExhausted,
            Self::NotConnected(cause) => Self::NotConnected(copy(cause)),
            Self::ConnectionRefused(refusal) => Self::ConnectionRefused(refusal.clone()),
            Self::Unsuitable { advice, cause } => {
                Self::Unsuitable { advice: advice.clone(), cause: cause.as_ref().map(copy) }
            }
            Self::ItemTooLarge { index, limit } => Self::ItemTooLarge { index: *index, limit: *limit },
            Self::TtlTooLong { index, longest } => Self::TtlTooLong { index: *index, longest: *longest },
            Self::RoutedKey { index } => Self::RoutedKey { index: *index },
            Self::Broken { cause, sent } => Self::Broken { cause: copy(cause), sent: *sent },
            Self::Desynchronized => Self::Desynchronized,
            Self::Silent(silent) => Self::Silent(silent.clone()),
            Self::NoCredentials(cause) => Self::NoCredentials(Arc::clone(cause)),
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
        }
    }

    /// The index of the command because of which the request was not sent.
    pub(crate) fn index(&self) -> Option<usize> {
        match *self {
            Self::ItemTooLarge { index, .. } | Self::TtlTooLong { index, .. } | Self::RoutedKey { index } => {
                Some(index)
            }
            _ => None,
        }
    }

    /// Whether the request may be sent once more (N5): the connection was probably dead before it was used, and the request changes nothing,
    /// or nothing of it was sent.
    pub(crate) fn may_be_repeated(&self, writes: bool) -> bool {
        self.is_dead_connection() && !(writes && self.was_sent())
    }

    /// Whether the connection was probably dead before it was used: it ended, and not by a time-out.
    pub(crate) fn is_dead_connection(&self) -> bool {
        matches!(self, Self::Broken { cause, .. } if cause.kind() != io::ErrorKind::TimedOut)
    }

    /// Whether the server may have received a part of the request.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self, Self::Broken { sent: true, .. } | Self::Desynchronized | Self::Refused(_))
    }

    /// Whether it is as well the fault of requests that came later: the server does not answer, or did not a short time ago.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_of_all(&self) -> bool {
        self.is_silence() || matches!(self, Self::Silent(_))
    }

    /// Whether there was no answer, and the next request would get none either.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_no_answer(&self) -> bool {
        let is_unsent = matches!(
            self,
            Self::PoolExhausted
                | Self::Silent(_)
                | Self::NoCredentials(_)
                | Self::NotConnected(_)
                | Self::ConnectionRefused(_)
                | Self::Unsuitable { .. }
        );
        is_unsent || self.is_silence()
    }

    /// Whether the server did not answer in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Broken { cause, .. } | Self::NotConnected(cause) if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// The error that a caller gets.
    pub(crate) fn into_error(self, context: &ErrorContext<'_>) -> Error {
        let failure = |message: &str, cause: Option<Box<dyn StdError + Send + Sync>>| {
            let message = context.server.map_or_else(|| message.to_owned(), |server| format!("{server}: {message}"));
            let failure = Failure::new(context.store, message);
            let failure = failure.at(context.key);
            if let Some(cause) = cause { failure.caused_by(cause) } else { failure }
        };
        let is_doubtful = context.writes
            && match &self {
                Self::Broken { sent, .. } => *sent,
                Self::Refused(refusal) => refusal.is_doubtful(),
                fault => matches!(fault, Self::Desynchronized),
            };
        let in_doubt = |failure: Failure| if is_doubtful { failure.with_unknown_outcome() } else { failure };
        let pool = context.timeouts.pool;
        match self {
            Self::PoolExhausted => {
                let message = format!(
                    "no connection of the pool became free within {pool:?}; a larger `pool_size` or `pool_timeout` may help"
                );
                Error::Unavailable(failure(&message, None))
            }
            Self::Silent(silent) => {
                let cause = silent.cause.as_ref().and_then(|cause| cause.copy().into_time_out(context.timeouts));
                Error::Unavailable(failure(&silent.to_string(), cause.map(Into::into)))
            }
            Self::NoCredentials(cause) => {
                let message = if cause.is::<SlowProvider>() {
                    "`credentials_provider` left too little time for a new connection"
                } else {
                    "`credentials_provider` gave no user and password for a new connection"
                };
                Error::Unavailable(failure(message, Some(Box::new(cause))))
            }
            fault if fault.is_silence() => {
                let TimeOut { message, cause } = fault.into_time_out(context.timeouts).unwrap_or_default();
                Error::Timeout(in_doubt(failure(&message, cause.map(Into::into))))
            }
            Self::NotConnected(cause) => Error::Unavailable(failure("connecting failed", Some(cause.into()))),
            Self::Broken { cause, .. } => {
                let message = "the connection was lost before the reply came";
                Error::Unavailable(in_doubt(failure(message, Some(cause.into()))))
            }
            Self::Desynchronized => {
                let message = "the reply does not belong to this request; the connection was closed";
                Error::Backend(in_doubt(failure(message, None)).transient())
            }
            Self::Unsuitable { advice, cause } => Error::Backend(failure(&advice, cause.map(Into::into))),
            Self::ItemTooLarge { limit, .. } => {
                let message = format!("the server takes items of up to {limit} bytes, and this one has more");
                Error::Backend(failure(&message, None))
            }
            Self::TtlTooLong { longest, .. } => {
                let message = format!("by the clock of the server the longest TTL is {longest:?}");
                Error::Backend(failure(&message, None))
            }
            Self::RoutedKey { .. } => Error::Backend(failure(mcrouter::ADVICE, None)),
            Self::ConnectionRefused(refusal) | Self::Refused(refusal) => {
                let (message, is_transient) = refusal.explain();
                let refused = in_doubt(failure(message, Some(refusal.into())));
                Error::Backend(if is_transient { refused.transient() } else { refused })
            }
        }
    }
}

/// The error of a time-out.
#[derive(Debug, Default, thiserror::Error)]
#[error("{message}")]
struct TimeOut {
    message: String,
    /// The cause, if it says more than that the time was over.
    #[source]
    cause: Option<io::Error>,
}

impl Fault {
    /// The message of a time-out.
    fn into_time_out(self, Timeouts { connect, response, .. }: Timeouts) -> Option<TimeOut> {
        match self {
            Self::NotConnected(cause) => Some(TimeOut {
                message: format!("connecting took longer than {connect:?} (`connect_timeout`)"),
                cause: cause.get_ref().is_some().then_some(cause),
            }),
            Self::Broken { .. } => Some(TimeOut {
                message: format!("the server did not answer within {response:?} (`response_timeout`)"),
                cause: None,
            }),
            _ => None,
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), error.get_ref()) {
        (Some(code), _) => io::Error::from_raw_os_error(code),
        (None, None) => error.kind().into(),
        (None, Some(text)) => io::Error::new(error.kind(), text.to_string()),
    }
}
