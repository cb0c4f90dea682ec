#![doc = include_str!("../README.md")]

mod builder;
mod clock;
mod listing;
mod monotonic;
mod pairs;
mod shard;
mod shards;
mod store;
mod table;

pub use builder::MemoryStoreBuilder;
pub use clock::{Clock, ManualClock};
pub use store::MemoryStore;

pub use kv_core::{
    AsKey, AsPrefix, Bytes, Capabilities, Capability, Error, Failure, InvalidKey, Key, KeyBuf, KeyFault, KeyValueStore,
    KeyValueStoreExt, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, key,
};

/// The examples of the workspace's README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct WorkspaceReadme;
