//! The store: its operations, and how it is configured.

mod address;
mod batch;
mod build;
pub(crate) mod builder;
mod client;
mod limits;
pub(crate) mod memcache_store;
mod settings;
mod updates;
mod url;
