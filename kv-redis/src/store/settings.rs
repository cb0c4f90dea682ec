//! The settings of a store, without those of its servers.

use std::time::Duration;

use crate::connection::pool_settings::PoolSettings;
use crate::protocol::timeouts::Timeouts;

/// The largest value that redis accepts, in bytes, unless its `proto-max-bulk-len` is set.
const LARGEST_VALUE: u64 = 512 << 20;

/// Longer time-outs are cut to this one.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a store.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) namespace: String,
    pub(super) default_ttl: Option<Duration>,
    pub(super) page_size: u64,
    pub(super) largest_value: u64,
    pub(super) timeouts: Timeouts,
    pub(super) pool: PoolSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            namespace: String::new(),
            default_ttl: None,
            page_size: 1000,
            largest_value: LARGEST_VALUE,
            timeouts: Timeouts { pool: second, connect: second, response: second },
            pool: PoolSettings::default(),
        }
    }
}

impl Settings {
    /// The same with time-outs that can be added to any moment, and the namespace with its colon.
    pub(super) fn ready(mut self) -> Self {
        let Timeouts { pool, connect, response } = &mut self.timeouts;
        for limit in [pool, connect, response] {
            *limit = (*limit).min(LONGEST_TIMEOUT);
        }
        if !self.namespace.is_empty() {
            self.namespace.push(':');
        }
        self
    }
}
