//! The protocol of redis: requests, replies, and what can go wrong with them. Nothing here does I/O or reads a clock.

pub(crate) mod answer;
pub(crate) mod commands;
pub(crate) mod error;
pub(crate) mod fallbacks;
pub(crate) mod fault;
pub(crate) mod handshake;
#[cfg(feature = "tokio")]
pub(crate) mod incoming;
pub(crate) mod info;
pub(crate) mod page;
pub(crate) mod pattern;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod role;
mod scripts;
pub(crate) mod server_name;
pub(crate) mod silent;
pub(crate) mod timeouts;
pub(crate) mod ttl;
pub(crate) mod updates;
