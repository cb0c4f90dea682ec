#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async")]
mod asynchronous;
mod capabilities;
pub mod contract;
mod counter;
mod each;
mod error;
mod ext;
mod file;
mod forward;
pub mod guide;
mod invalid_key;
mod key;
mod key_buf;
mod keys;
mod prefix;
mod reader;
#[cfg(feature = "serde")]
mod serde;
mod store;
mod text;
mod ttl;
mod update;
mod value;
mod version;

#[cfg(feature = "async")]
pub use asynchronous::{
    AsyncKeyValueStore, AsyncKeyValueStoreExt, Blocking, KeyStream, StoreFuture, Unblocked, UnblockedBuilder,
    ValueStream,
};
pub use capabilities::{Capabilities, CapabilitiesBuilder, Capability};
pub use counter::{CounterFault, add_to_counter};
pub use error::{Error, Failure, Result};
pub use ext::KeyValueStoreExt;
pub use invalid_key::{InvalidKey, KeyFault};
pub use key::{AsKey, Key};
pub use key_buf::KeyBuf;
pub use keys::Keys;
pub use prefix::{AsPrefix, Prefix};
pub use reader::ValueReader;
pub use store::{Entry, KeyValueStore};
pub use ttl::{Remaining, Ttl};
pub use update::Change;
pub use value::Value;
pub use version::Version;

pub use bytes::Bytes;
