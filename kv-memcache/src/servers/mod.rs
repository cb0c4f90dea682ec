//! The servers of a store: each with its pool of connections, and which of them has a key.

pub(crate) mod node;
pub(crate) mod placement;
