//! The servers of a store: each with its pool of connections, and which of them has a key.

#[cfg(feature = "tokio")]
mod async_node;
pub(crate) mod node;
pub(crate) mod placement;
