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

#[doc = include_str!("../guide/first_service.md")]
pub mod first_service {}

#[doc = include_str!("../guide/choosing.md")]
pub mod choosing {}

#[doc = include_str!("../guide/lifetimes.md")]
pub mod lifetimes {}

#[doc = include_str!("../guide/errors.md")]
pub mod errors {}

#[doc = include_str!("../guide/production.md")]
pub mod production {}

#[doc = include_str!("../guide/simplekv.md")]
pub mod simplekv {}

#[doc = include_str!("../guide/reasons.md")]
pub mod reasons {}
