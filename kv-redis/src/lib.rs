#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(feature = "cluster", feature = "sentinel", feature = "tls", feature = "tokio")),
    allow(
        clippy::unnecessary_wraps,
        clippy::unused_async,
        clippy::unused_self,
        reason = "what a feature needs is there without it, too"
    )
)]

mod connection;
mod protocol;
mod servers;
mod store;

pub use connection::credentials::Credentials;
#[cfg(feature = "tls")]
pub use connection::tls::Tls;
#[cfg(feature = "tokio")]
pub use store::AsyncRedisStore;
pub use store::{RedisStore, RedisStoreBuilder};

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

// The application's pools have to be of these versions.
pub use r2d2;
#[cfg(feature = "r2d2_redis")]
pub use r2d2_redis;
pub use redis;

/// The examples of the README, compiled if all features that they use are on.
#[cfg(all(doctest, feature = "cluster", feature = "sentinel", feature = "tls", feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
