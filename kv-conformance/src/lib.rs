#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "bench")]
pub mod bench;
pub mod checks;
mod error;
mod faults;
mod fixture;
pub mod history;
mod isolation;
mod model;
mod property;
pub mod proxy;
mod report;
mod running;
#[cfg(unix)]
pub mod server;
mod suite;

pub use error::BoxError;
pub use fixture::{Durability, Fixture, ServerControl};
pub use history::Weakness;
pub use report::{CheckResult, CoverageRow, FailureDetails, Matrix, Package, Report, ServerTable, StoreInfo, Verdict};
pub use suite::{Suite, main};
