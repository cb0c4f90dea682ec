//! The guide: from a first program to production, and why things are as they are.
//!
//! | page | for whom |
//! |---|---|
//! | [A first service](first_service) | everybody: sessions with lifetimes, on redis in production and in memory in the tests |
//! | [Choosing a backend](choosing) | which backend, what each of them guarantees, and how to leave the choice open until the program runs |
//! | [Lifetimes](lifetimes) | what a lifetime means on each backend, sessions that live on, locks that let go |
//! | [Errors, and trying again](errors) | what to do about an error, what may be tried again, and what to make of a write whose outcome is unknown |
//! | [Production](production) | limits, pools, threads and async, logs |
//! | [Coming from simplekv](simplekv) | those who come from Python's simplekv: every call of its stores in memory beside ours |
//! | [Reasons](reasons) | why the [contract](crate::contract) says what it says |
//!
//! Who writes a backend begins at [`KeyValueStore`](crate::KeyValueStore), and proves it with the crate `kv-conformance`.

/// A page, and where its links lead here. Those at its end are for readers of the file: of several with one name the first counts.
macro_rules! page {
    ($name:ident, $text:expr) => {
        /// [lifetimes]: crate::guide::lifetimes
        /// [errors]: crate::guide::errors
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
        /// [Ttl]: crate::Ttl
        /// [Error]: crate::Error
        /// [report]: crate::Error::report
        /// [is_transient]: crate::Error::is_transient
        /// [outcome_unknown]: crate::Error::outcome_unknown
        #[doc = $text]
        pub mod $name {}
    };
}

page!(first_service, include_str!("../guide/first_service.md"));
page!(choosing, include_str!("../guide/choosing.md"));
page!(lifetimes, include_str!("../guide/lifetimes.md"));
page!(errors, include_str!("../guide/errors.md"));
page!(production, include_str!("../guide/production.md"));
page!(simplekv, include_str!("../guide/simplekv.md"));
page!(reasons, include_str!("../guide/reasons.md"));
