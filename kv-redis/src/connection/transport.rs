//! What sends requests to a server.

use std::time::Duration;

use super::known_commands::KnownCommands;
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::request::Request;

/// Sends requests to a server, on connections of its own or of the application.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request and receives its replies.
    ///
    /// If the server of the connection is known to lack what the request needs, nothing is sent ([`Fault::Lacks`]).
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault>;

    /// What is known of the commands that the server has.
    fn known_commands(&self) -> &KnownCommands;
}

/// A transport that gives out permits, so that a caller can wait for a connection before it knows what to send.
pub(crate) trait Acquire: Transport {
    /// Allows the use of one connection. No other caller uses that connection until the permit is dropped.
    type Permit<'a>
    where
        Self: 'a;

    /// Whether the server did not answer in time, and has not answered since.
    fn is_in_question(&self) -> bool;

    /// Waits for a permit, within the limit.
    fn acquire(&self, limit: Duration) -> Result<Self::Permit<'_>, Fault>;

    /// Sends a request and receives its replies.
    fn exchange_with<'a>(&'a self, permit: &mut Self::Permit<'a>, request: &Request<'_>) -> Result<Answer, Fault>;
}
