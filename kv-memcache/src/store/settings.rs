//! The settings of a store, without those of its servers.

use std::time::Duration;

use crate::connection::pool_settings::PoolSettings;
use crate::protocol::fault::Timeouts;

/// The largest item of a memcached without the option `-I`, in bytes.
pub(super) const USUAL_ITEM: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What each key begins with on the servers: nothing, or names with a colon after each.
    pub(super) namespace: String,
    pub(super) default_ttl: Option<Duration>,
    /// In bytes, with everything that belongs to an item. With `None` the servers determine it.
    pub(super) largest_item: Option<u64>,
    pub(super) contains: bool,
    /// Whether the classic commands are used instead of the meta commands.
    pub(super) classic: bool,
    pub(super) timeouts: Timeouts,
    pub(super) pool: PoolSettings,
}
