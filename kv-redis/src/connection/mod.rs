//! Connections to one server: how they are made, used, pooled and shared.

pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod exchange;
pub(crate) mod external_pool;
pub(crate) mod host;
pub(crate) mod per_process;
pub(crate) mod permits;
pub(crate) mod pool;
pub(crate) mod resolve;
pub(crate) mod shared;
pub(crate) mod silence;
pub(crate) mod socket;
pub(crate) mod system;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod upkeep;
