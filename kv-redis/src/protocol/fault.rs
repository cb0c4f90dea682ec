//! What can go wrong with an exchange.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::commands::Commands;
use super::refusal::Refusal;
use super::server_name::ServerName;
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
    /// The pool of the application gave no connection. Nothing was sent.
    ExternalPoolFailed(r2d2::Error),
    /// The application's function that provides user and password failed. Nothing was sent.
    NoCredentials(Arc<dyn StdError + Send + Sync>),
    /// The server refused a new connection. Nothing was sent.
    ConnectionRefused(Refusal),
    /// The server, or a setting, is unsuitable: the advice says what to do about it. Nothing was sent.
    Unsuitable { advice: String, cause: Option<io::Error> },
    /// The server lacks a command that the request needs; it has these. Nothing was sent.
    Lacks(Commands),
    /// The connection failed. Whether anything had been sent by then.
    Broken { cause: io::Error, sent: bool },
    /// What came is not the reply to this request.
    Desynchronized,
    /// The server answered with an error.
    Refused(Refusal),
    /// A fault of one of several servers.
    At(ServerName, Box<Self>),
}

impl Fault {
    /// Something that the application has to change.
    pub(crate) fn unsuitable(advice: impl Into<String>) -> Self {
        Self::Unsuitable { advice: advice.into(), cause: None }
    }

    /// The same fault for another caller, whose request was sent together with this one.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Silent(silent) => Self::Silent(silent.clone()),
            // Connections of an application's pool are not shared, so the second one does not come here.
            Self::PoolExhausted | Self::ExternalPoolFailed(_) => Self::PoolExhausted,
            Self::NotConnected(cause) => Self::NotConnected(copy(cause)),
            Self::NoCredentials(cause) => Self::NoCredentials(Arc::clone(cause)),
            Self::ConnectionRefused(refusal) => Self::ConnectionRefused(refusal.clone()),
            Self::Unsuitable { advice, cause } => {
                Self::Unsuitable { advice: advice.clone(), cause: cause.as_ref().map(copy) }
            }
            Self::Broken { cause, sent } => Self::Broken { cause: copy(cause), sent: *sent },
            Self::Lacks(commands) => Self::Lacks(*commands),
            Self::Desynchronized => Self::Desynchronized,
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::At(server, fault) => Self::At(server.clone(), Box::new(fault.copy())),
        }
    }

    /// The same fault with the server where it happened, if there are several.
    pub(crate) fn at(self, server: Option<&ServerName>) -> Self {
        match (server, self) {
            (Some(server), fault) if !matches!(fault, Self::At(..) | Self::Lacks(_)) => {
                Self::At(server.clone(), Box::new(fault))
            }
            (_, fault) => fault,
        }
    }

    /// The same fault of a connection that was still being made: nothing was sent on it.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn while_connecting(self) -> Self {
        match self {
            Self::Broken { cause, .. } => Self::NotConnected(cause),
            other => other,
        }
    }

    /// The fault without the server where it happened.
    pub(crate) fn itself(&self) -> &Self {
        match self {
            Self::At(_, fault) => fault.itself(),
            fault => fault,
        }
    }

    /// Whether nothing was sent because the server was not there or not suitable. Another server may have its keys by now.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self.itself(), Self::NotConnected(_) | Self::ConnectionRefused(_) | Self::Unsuitable { .. })
    }

    /// Whether the connection was probably dead before it was used: it ended, and not by a time-out.
    pub(crate) fn is_dead_connection(&self) -> bool {
        matches!(self.itself(), Self::Broken { cause, .. } if cause.kind() != io::ErrorKind::TimedOut)
    }

    /// Whether the server did not answer in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.itself(), Self::Broken { cause, .. } | Self::NotConnected(cause) if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether it is as well the fault of requests that came later: the server does not answer, or did not a short time ago.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_of_all(&self) -> bool {
        self.is_silence() || matches!(self.itself(), Self::Silent(_))
    }

    /// Whether there was no answer, and the next request would get none either.
    pub(crate) fn is_no_answer(&self) -> bool {
        let has_none = matches!(
            self.itself(),
            Self::PoolExhausted | Self::ExternalPoolFailed(_) | Self::Silent(_) | Self::NoCredentials(_)
        );
        has_none || self.is_silence() || self.is_unsent()
    }

    /// Whether the server may have received a part of the request.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self.itself(), Self::Broken { sent: true, .. } | Self::Desynchronized | Self::Refused(_))
    }
}

fn copy(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), error.get_ref()) {
        (Some(code), _) => io::Error::from_raw_os_error(code),
        (None, None) => error.kind().into(),
        (None, Some(text)) => io::Error::new(error.kind(), text.to_string()),
    }
}

/// A provider of user and password that took most of the time for connecting.
#[derive(Debug, thiserror::Error)]
#[error("it took {took:?}, and left {left:?} of `connect_timeout`")]
pub(crate) struct SlowProvider {
    pub(crate) took: Duration,
    pub(crate) left: Duration,
}
