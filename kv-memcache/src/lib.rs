#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod protocol;
mod servers;
mod store;

pub use connection::credentials::Credentials;
#[cfg(feature = "tls")]
pub use connection::tls::Tls;
#[cfg(feature = "tokio")]
pub use store::async_store::AsyncMemcacheStore;
pub use store::builder::MemcacheStoreBuilder;
pub use store::memcache_store::MemcacheStore;

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

/// The examples of the README, compiled if all features that they use are on.
#[cfg(all(doctest, feature = "tls", feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
