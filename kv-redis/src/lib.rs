#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(feature = "cluster", feature = "sentinel", feature = "tls")),
    allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "what a feature needs is there without it, too")
)]

mod address;
mod batch;
mod builder;
mod choose;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod credentials;
mod fault;
mod gate;
mod info;
mod lent;
mod link;
mod listing;
mod mapping;
mod node;
mod page;
mod pattern;
mod pool;
mod refusal;
#[cfg(feature = "cluster")]
mod rename;
mod request;
mod resolve;
mod scan;
#[cfg(feature = "sentinel")]
mod sentinel;
mod shared;
mod silence;
mod socket;
mod steps;
mod store;
mod system;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;
mod url;

pub use builder::RedisStoreBuilder;
pub use credentials::Credentials;
pub use store::RedisStore;
#[cfg(feature = "tls")]
pub use tls::Tls;

pub use kv_core::{
    AsKey, AsPrefix, Bytes, Capabilities, Capability, Error, Failure, InvalidKey, Key, KeyBuf, KeyFault, KeyValueStore,
    KeyValueStoreExt, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, key,
};

// For pools that the application makes: they have to be of these versions.
pub use r2d2;
#[cfg(feature = "r2d2_redis")]
pub use r2d2_redis;
pub use redis;

/// The examples of the README, compiled where all that they use is there.
#[cfg(all(doctest, feature = "cluster", feature = "sentinel", feature = "tls"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
