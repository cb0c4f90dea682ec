#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod act;
mod actor;
#[cfg(feature = "bench")]
pub mod bench;
pub mod checks;
mod context;
mod failure;
mod fault;
mod fixture;
pub mod history;
mod lane;
mod model;
mod operation;
mod panics;
mod port;
mod property;
pub mod proxy;
mod report;
mod rig;
#[cfg(unix)]
pub mod server;
mod suite;
mod time;
mod trace;
mod watch;

pub use context::Context;
pub use failure::{Finding, NotPassed, Outcome};
pub use fixture::{BoxError, Durability, Fixture, ServerControl};
pub use history::Weakness;
pub use report::{CheckResult, FailureDetails, Matrix, Package, Report, ServerTable, StoreInfo, Verdict};
pub use suite::{Suite, main};
