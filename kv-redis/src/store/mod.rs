//! The store: its operations, and how it is configured.

pub(crate) mod address;
mod batch;
pub(crate) mod builder;
mod choose;
mod copy;
mod listing;
pub(crate) mod redis_store;
#[cfg(feature = "cluster")]
mod rename;
mod scan;
mod url;
