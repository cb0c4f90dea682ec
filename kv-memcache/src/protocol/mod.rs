//! The protocol of memcached: what is sent, and what replies mean. Nothing here does I/O or reads a clock.

pub(crate) mod binary;
pub(crate) mod command;
pub(crate) mod dialect;
pub(crate) mod fault;
pub(crate) mod foreign_protocols;
pub(crate) mod handshake;
pub(crate) mod incoming;
pub(crate) mod mcrouter;
#[cfg(feature = "tokio")]
pub(crate) mod owned;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod silent;
pub(crate) mod ttl;
