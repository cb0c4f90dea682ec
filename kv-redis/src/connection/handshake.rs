//! How a connection is made: connecting, TLS, authentication, and a look at the server.

use std::io;
use std::time::Instant;

use redis::{ServerError, Value as Reply};

use super::Connection;
use super::channel::Channel;
use super::credentials::{Credentials, Source};
use super::endpoint::Endpoint;
use super::resolve::Resolver;
use super::socket::{AddressChoice, Socket};
#[cfg(feature = "tls")]
use super::tls;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::Handshake;
#[cfg(feature = "sentinel")]
use crate::protocol::handshake::{is_primary, question_about_role};
use crate::protocol::role::Role;

/// As which user to log in, and what the server has to be.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) credentials: Source,
    pub(crate) database: u32,
    pub(crate) role: Role,
}

impl Connection {
    /// Connects, and checks that the server is suitable. One round trip, besides those of TCP and TLS.
    pub(crate) fn open(
        endpoint: &Endpoint,
        (names, reach): (&Resolver, AddressChoice),
        #[cfg(feature = "tls")] tls: Option<&tls::Connector>,
        login: &Login,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let socket = Socket::connect(endpoint, names, reach, deadline).map_err(Fault::NotConnected)?;
        #[cfg(feature = "tls")]
        let shows_certificate = tls.is_some_and(tls::Connector::shows_certificate);
        let channel = match endpoint {
            #[cfg(feature = "tls")]
            Endpoint::Tcp { host, .. } if tls.is_some() => {
                let Some(connector) = tls else { return Err(Fault::Desynchronized) };
                Channel::Tls(Box::new(connector.wrap(host, socket).map_err(Fault::NotConnected)?))
            }
            _ => Channel::Plain(socket),
        };
        let mut connection = Self::new(channel);
        let asked = login.credentials.ask(deadline)?;
        connection.log_in(login, &asked.credentials, deadline).map_err(|fault| {
            #[cfg(feature = "tls")]
            let fault = with_advice(fault, shows_certificate);
            asked.blame(connection.with_guess(fault, endpoint))
        })?;
        Ok(connection)
    }

    /// Adds a guess to the fault of a new connection: one side may speak TLS and the other not. The reason may also be a slow network, or a
    /// server that goes down.
    fn with_guess(&self, fault: Fault, endpoint: &Endpoint) -> Fault {
        let Fault::NotConnected(cause) = fault else { return fault };
        let guess = match (&self.channel, cause.kind()) {
            (Channel::Plain(_), kind) if has_ended(kind) && matches!(endpoint, Endpoint::Tcp { .. }) => {
                "the server closed the connection at once; perhaps it wants TLS (`rediss://`)"
            }
            // A server that accepts no more connections cannot say so before the TLS handshake: it closes them.
            #[cfg(feature = "tls")]
            (Channel::Tls(stream), kind) if has_ended(kind) && stream.conn.is_handshaking() => {
                "the server closed the connection during the TLS handshake; perhaps it takes no more connections (maxclients)"
            }
            #[cfg(feature = "tls")]
            (Channel::Tls(stream), io::ErrorKind::TimedOut) if stream.conn.is_handshaking() => {
                "the TLS handshake did not come to its end; perhaps the server does not speak TLS (`redis://`)"
            }
            _ => return Fault::NotConnected(cause),
        };
        Fault::NotConnected(io::Error::new(cause.kind(), guess))
    }

    /// Authenticates, and reads what the server says about itself.
    fn log_in(&mut self, login: &Login, credentials: &Credentials, deadline: Instant) -> Result<(), Fault> {
        let handshake = Handshake {
            user: credentials.user.as_deref(),
            password: credentials.password.as_deref(),
            database: login.database,
            role: login.role,
        };
        let mut replies = Vec::new();
        if let Err(fault) = self.exchange_into(&mut replies, &handshake.request(), Instant::now(), deadline) {
            return Err(match fault {
                Fault::Broken { cause, .. } => match self.last_words(replies, &cause) {
                    Some(error) => handshake.refused(error.into()),
                    None => Fault::NotConnected(cause),
                },
                Fault::Refused(refusal) => handshake.refused(refusal),
                Fault::Desynchronized => Fault::unsuitable("what answers there does not speak the protocol of redis"),
                other => other,
            });
        }
        let outcome = handshake.read(replies)?;
        #[cfg(feature = "sentinel")]
        if let Some(refusal) = outcome.role_refused
            && !self.is_primary(deadline)?
        {
            return Err(handshake.refused(refusal));
        }
        self.server_info = outcome.info;
        Ok(())
    }

    /// Asks whether the server is the primary, where `ROLE` is renamed or forbidden. `false` if it does not tell this way either.
    #[cfg(feature = "sentinel")]
    fn is_primary(&mut self, deadline: Instant) -> Result<bool, Fault> {
        let answer = self.exchange(&question_about_role(), Instant::now(), deadline);
        is_primary(answer.map_err(Fault::while_connecting)?.replies.first())
    }

    /// The error with which a server said why it closes a new connection: as the reply to any of the first commands, or before it has read
    /// one.
    fn last_words(&mut self, replies: Vec<Reply>, cause: &io::Error) -> Option<ServerError> {
        let is_error = |reply| if let Reply::ServerError(error) = reply { Some(error) } else { None };
        if replies.is_empty() && cause.kind() != io::ErrorKind::TimedOut {
            return self.receive().ok().and_then(is_error);
        }
        replies.into_iter().find_map(is_error)
    }
}

/// Whether the peer closed the connection.
fn has_ended(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// Adds the advice to an error of TLS, which is permanent: a certificate that is not accepted now is not accepted later.
#[cfg(feature = "tls")]
fn with_advice(fault: Fault, shows_certificate: bool) -> Fault {
    let Fault::NotConnected(cause) = fault else { return fault };
    match tls::advice(&cause, shows_certificate) {
        Some(advice) => Fault::Unsuitable { advice, cause: Some(cause) },
        None => Fault::NotConnected(cause),
    }
}
