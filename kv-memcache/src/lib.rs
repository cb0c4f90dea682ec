#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod batch;
mod binary;
mod builder;
mod credentials;
mod dialect;
mod fault;
mod gate;
mod greeting;
mod lifetime;
mod link;
mod node;
mod pool;
mod reply;
mod request;
mod resolve;
mod routes;
mod servers;
mod silence;
mod socket;
mod store;
mod strangers;
mod system;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;
mod url;

pub use builder::MemcacheStoreBuilder;
pub use credentials::Credentials;
pub use store::MemcacheStore;
#[cfg(feature = "tls")]
pub use tls::Tls;

pub use kv_core::{
    AsKey, AsPrefix, Bytes, Capabilities, Capability, Error, Failure, InvalidKey, Key, KeyBuf, KeyFault, KeyValueStore,
    KeyValueStoreExt, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, key,
};

/// The examples of the README, compiled where all that they use is there.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
