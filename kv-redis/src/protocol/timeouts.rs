//! The time-outs of a store.

use std::time::Duration;

/// The time-outs of a store, which messages name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For waiting until a connection of the pool is free.
    pub(crate) pool: Duration,
    /// For making a connection.
    pub(crate) connect: Duration,
    /// For sending a request and receiving its replies.
    pub(crate) response: Duration,
}
