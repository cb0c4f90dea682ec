#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod connection;
mod gate;
mod pool;
mod protocol;
mod resolve;
mod servers;
mod silence;
mod socket;
mod store;
mod system;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;
mod url;

use protocol::fault;

pub use connection::credentials::Credentials;
pub use store::{MemcacheStore, MemcacheStoreBuilder};
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
