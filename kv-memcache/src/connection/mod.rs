//! Connections to one server: how they are made, used and pooled.

mod channel;
mod circuit_breaker;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod exchange;
pub(crate) mod handshake;
pub(crate) mod host;
#[cfg(feature = "tokio")]
pub(crate) mod multiplexed;
mod per_process;
pub(crate) mod permits;
mod pool;
pub(crate) mod pool_settings;
mod receive;
pub(crate) mod resolve;
mod socket;
pub(crate) mod sweeper;
pub(crate) mod system;
#[cfg(feature = "tls")]
pub(crate) mod tls;
