//! The error that a caller gets for a fault.

use std::error::Error as StdError;
use std::io;

use kv_core::{Error, Failure, Key};

use super::fault::{Fault, SlowProvider};
use super::refusal::explain::explain;
use super::server_name::ServerName;
use super::silent::Silent;
use super::timeouts::Timeouts;

impl Fault {
    /// The error for a caller. `writes` is whether the request changes something.
    pub(crate) fn into_error(self, store: &str, key: Option<Key<'_>>, writes: bool, timeouts: Timeouts) -> Error {
        let (server, fault) = match self {
            Self::At(server, fault) => (Some(server), *fault),
            fault => (None, fault),
        };
        // A silent server is named by its time-out.
        let server = fault.silent_server().cloned().or(server);
        let is_as_announced = server.as_ref().is_some_and(ServerName::is_as_announced);
        let may_be_mapped = if is_as_announced { MAY_BE_MAPPED } else { "" };
        // An error of a certificate may contain the host.
        let names_host = matches!(fault, Self::Unsuitable { .. });
        let failure = |message: String, cause: Option<Box<dyn StdError + Send + Sync>>| {
            let (message, cause) = match &server {
                Some(server) => server.tell(&message, cause, names_host),
                None => (message, cause),
            };
            let failure = Failure::new(store, message);
            let failure = failure.at(key);
            if let Some(cause) = cause { failure.caused_by(cause) } else { failure }
        };
        let doubtful = writes && matches!(fault, Self::Broken { sent: true, .. } | Self::Desynchronized);
        let in_doubt = |failure: Failure| if doubtful { failure.with_unknown_outcome() } else { failure };
        match fault {
            // An `At` does not contain another one.
            Self::At(_, fault) => fault.into_error(store, key, writes, timeouts),
            Self::PoolExhausted => {
                let message = format!(
                    "no connection of the pool became free within {:?}; a larger `pool_size` (more `shared_connections`, if there are \
                     any), or `pool_timeout`, may help",
                    timeouts.pool
                );
                Error::Unavailable(failure(message, None))
            }
            Self::ExternalPoolFailed(cause) => {
                let message = format!("the application's pool gave no connection within {:?}", timeouts.pool);
                Error::Unavailable(failure(message, Some(cause.into())))
            }
            Self::Silent(silent) => {
                let cause = silent.cause.as_ref().and_then(|cause| cause.copy().into_time_out(timeouts, may_be_mapped));
                Error::Unavailable(failure(silent.to_string(), cause.map(Into::into)))
            }
            Self::NoCredentials(cause) => {
                let message = if cause.is::<SlowProvider>() {
                    "`credentials_provider` left too little time for a new connection"
                } else {
                    "`credentials_provider` gave no user and password for a new connection"
                };
                Error::Unavailable(failure(message.into(), Some(Box::new(cause))))
            }
            fault if fault.is_silence() => {
                let TimeOut { message, cause } = fault.into_time_out(timeouts, may_be_mapped).unwrap_or_default();
                Error::Timeout(in_doubt(failure(message, cause.map(Into::into))))
            }
            Self::NotConnected(cause) => {
                Error::Unavailable(failure(format!("connecting failed{may_be_mapped}"), Some(cause.into())))
            }
            Self::Broken { cause, .. } => {
                let message = "the connection was lost before the reply came";
                Error::Unavailable(in_doubt(failure(message.into(), Some(cause.into()))))
            }
            Self::Desynchronized => {
                let message = "what came is not the reply to this request; the connection was closed";
                Error::Backend(in_doubt(failure(message.into(), None)).transient())
            }
            Self::Lacks(_) => Error::Backend(failure("the server lacks a command that this needs".into(), None)),
            Self::Unsuitable { advice, cause } => Error::Backend(failure(advice, cause.map(Into::into))),
            Self::ConnectionRefused(refusal) | Self::Refused(refusal) => {
                let (message, transient) = explain(&refusal);
                let refused = failure(message.into_owned(), Some(refusal.into()));
                Error::Backend(if transient { refused.transient() } else { refused })
            }
        }
    }
}

/// What may help if another server announced the address.
const MAY_BE_MAPPED: &str = " (if another address leads there from here, set `map_address`)";

/// The message and the cause of a time-out.
#[derive(Debug, Default, thiserror::Error)]
#[error("{message}")]
struct TimeOut {
    message: String,
    /// Only if it says more than that the time was over.
    #[source]
    cause: Option<io::Error>,
}

impl Fault {
    /// The message and the cause, if this is a time-out.
    fn into_time_out(self, timeouts: Timeouts, may_be_mapped: &str) -> Option<TimeOut> {
        match self {
            Self::At(_, fault) => fault.into_time_out(timeouts, may_be_mapped),
            Self::NotConnected(cause) => Some(TimeOut {
                message: format!(
                    "connecting took longer than {:?} (`connect_timeout`){may_be_mapped}",
                    timeouts.connect
                ),
                cause: cause.get_ref().is_some().then_some(cause),
            }),
            Self::Broken { .. } => Some(TimeOut {
                message: format!("the server did not answer within {:?} (`response_timeout`)", timeouts.response),
                cause: None,
            }),
            _ => None,
        }
    }

    /// The name of the silent server, if it is one of several.
    fn silent_server(&self) -> Option<&ServerName> {
        match self {
            Self::Silent(Silent { cause: Some(cause), .. }) => match &**cause {
                Self::At(server, _) => Some(server),
                _ => None,
            },
            _ => None,
        }
    }
}
