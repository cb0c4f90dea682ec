//! The same for async code (feature `async`).

mod blocking;
mod each;
mod ext;
mod forward;
mod future;
mod keys;
mod pieces;
mod store;
mod threads;
mod unblocked;
mod update;
mod value;

pub use blocking::Blocking;
pub use ext::AsyncKeyValueStoreExt;
pub use future::StoreFuture;
pub use keys::KeyStream;
pub use store::AsyncKeyValueStore;
pub use unblocked::{Unblocked, UnblockedBuilder};
pub use value::ValueStream;
