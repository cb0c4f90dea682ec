//! The guide: from a first program to production, and the reasons for the contract.
//!
//! | page | content |
//! |---|---|
//! | [A first service](first_service) | sessions with TTLs, on redis in production and in memory in the tests; start here |
//! | [Choosing a backend](choosing) | which backend to take, what each one guarantees, and how to choose when the program starts |
//! | [TTLs](ttls) | what a TTL means on each backend; entries that stay while they are used |
//! | [Updates](updates) | locks, limits and counters, one-time codes, sliding sessions, documents that several people edit: whole programs |
//! | [Errors, and trying again](errors) | what to do about each error, what may be tried again, and what an unknown outcome of a write means |
//! | [Async](asynchronous) | async code on every backend: dropped futures, streams, what `Unblocked` does; a backend on an async client |
//! | [Production](production) | limits, pools, threads, logs |
//! | [Coming from simplekv](simplekv) | for users of Python's simplekv: every call of its in-memory stores beside ours |
//! | [Reasons](reasons) | why the [contract](crate::contract) says what it says |
//!
//! To write a backend, start with [`KeyValueStore`](crate::KeyValueStore), or, if its client is async, with the last chapter of
//! [Async](asynchronous#a-backend-on-an-async-client), and check it with the crate `kv-conformance`.

/// A page of the guide, with the targets of its links. The page itself ends with targets for readers of the file. If a name has
/// several targets, the first one counts.
macro_rules! page {
    ($name:ident, $text:expr) => {
        /// [choosing]: crate::guide::choosing
        /// [ttls]: crate::guide::ttls
        /// [updates]: crate::guide::updates
        /// [errors]: crate::guide::errors
        /// [asynchronous]: crate::guide::asynchronous
        /// [production]: crate::guide::production
        /// [reasons]: crate::guide::reasons
        /// [contract]: crate::contract
        /// [KeyValueStore]: crate::KeyValueStore
        /// [capabilities]: crate::KeyValueStore::capabilities
        /// [ttl_resolution]: crate::Capabilities::ttl_resolution
        /// [KeyValueStoreExt]: crate::KeyValueStoreExt
        /// [create]: crate::KeyValueStoreExt::create
        /// [create_with_ttl]: crate::KeyValueStoreExt::create_with_ttl
        /// [touch]: crate::KeyValueStoreExt::touch
        /// [get_each]: crate::KeyValueStoreExt::get_each
        /// [get_versioned]: crate::KeyValueStoreExt::get_versioned
        /// [create_versioned]: crate::KeyValueStoreExt::create_versioned
        /// [put_if]: crate::KeyValueStoreExt::put_if
        /// [delete_if]: crate::KeyValueStoreExt::delete_if
        /// [update]: crate::KeyValueStoreExt::update
        /// [take]: crate::KeyValueStoreExt::take
        /// [get_and_touch]: crate::KeyValueStoreExt::get_and_touch
        /// [increment]: crate::KeyValueStoreExt::increment
        /// [Version]: crate::Version
        /// [Ttl]: crate::Ttl
        /// [Error]: crate::Error
        /// [report]: crate::Error::report
        /// [is_transient]: crate::Error::is_transient
        /// [outcome_unknown]: crate::Error::outcome_unknown
        // Without the feature, these names lead to the sources.
        #[cfg_attr(feature = "async", doc = "[AsyncKeyValueStore]: crate::AsyncKeyValueStore")]
        #[cfg_attr(feature = "async", doc = "[AsyncKeyValueStoreExt]: crate::AsyncKeyValueStoreExt")]
        #[cfg_attr(feature = "async", doc = "[Blocking]: crate::Blocking")]
        #[cfg_attr(feature = "async", doc = "[KeyStream]: crate::KeyStream")]
        #[cfg_attr(feature = "async", doc = "[Unblocked]: crate::Unblocked")]
        #[doc = $text]
        pub mod $name {}
    };
}

page!(first_service, include_str!("../guide/first_service.md"));
page!(choosing, include_str!("../guide/choosing.md"));
page!(ttls, include_str!("../guide/ttls.md"));
page!(updates, include_str!("../guide/updates.md"));
page!(errors, include_str!("../guide/errors.md"));
page!(asynchronous, include_str!("../guide/asynchronous.md"));
page!(production, include_str!("../guide/production.md"));
page!(simplekv, include_str!("../guide/simplekv.md"));
page!(reasons, include_str!("../guide/reasons.md"));
