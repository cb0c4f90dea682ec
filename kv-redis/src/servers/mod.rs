//! Servers: one with its pool of connections, a cluster, and a primary that sentinels know.

#[cfg(feature = "tokio")]
mod async_node;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub(crate) mod dialer;
pub(crate) mod mapping;
pub(crate) mod node;
#[cfg(feature = "sentinel")]
pub(crate) mod sentinel;
