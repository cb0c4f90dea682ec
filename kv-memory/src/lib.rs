#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod clock;
mod listing;
mod monotonic;
mod namespace;
mod pairs;
mod shard;
mod shards;
mod store;
mod table;

pub use builder::MemoryStoreBuilder;
pub use clock::{Clock, ManualClock};
pub use store::MemoryStore;

pub use kv_core::{
    AsKey, AsPrefix, Bytes, Capabilities, Capability, Change, CounterFault, Entry, Error, Failure, InvalidKey, Key,
    KeyBuf, KeyFault, KeyValueStore, KeyValueStoreExt, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader,
    Version, key,
};

#[cfg(feature = "async")]
pub use kv_core::{
    AsyncKeyValueStore, AsyncKeyValueStoreExt, Blocking, KeyStream, StoreFuture, Unblocked, UnblockedBuilder,
    ValueStream,
};

/// The examples of the workspace's README, compiled and run as tests. `WORKSPACE.md` is a link to it, because a package
/// contains only files of its own folder.
#[cfg(doctest)]
#[doc = include_str!("../WORKSPACE.md")]
pub struct WorkspaceReadme;
