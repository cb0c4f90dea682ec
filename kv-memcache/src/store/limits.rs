//! Which values and TTLs the servers take (V3, T4).
//!
//! The connection in use decides. Before there is one, only what the server last said is known: a store that was only built has not asked,
//! and a server may have been restarted with other options. So a connection confirms the limit before anything is refused.

use std::time::{Duration, SystemTime};

use kv_core::{Error, Result, Ttl};

use super::client::{Client, largest_value};
use super::settings::USUAL_ITEM;
use crate::protocol::command::{Command, KeyedCommand, SentKey, item_size};
use crate::protocol::dialect::CLASSIC_EXTRA;
use crate::protocol::ttl::{self, Expiry};
use crate::servers::node::Node;

impl Client {
    /// Makes a connection to each server, so that all are known to answer, and their limits are known.
    pub(super) async fn warm_up(&self) -> Result<()> {
        for node in self.servers.all() {
            let limits = node.warm_up().await.map_err(|fault| self.error(node, fault, &[]))?;
            let default_ttl = self.settings.default_ttl.filter(|ttl| *ttl > ttl::LONGEST_WITHOUT_CLOCK);
            if let Some(ttl) = default_ttl.filter(|_| limits.lacks_clock) {
                let which = if self.servers.all().len() > 1 { format!("{}: ", node.name()) } else { String::new() };
                let message = format!(
                    "{which}`default_ttl` is {ttl:?}, and the longest TTL on this server is {:?}: it does not tell its time, which longer \
                    ones need, as a proxy or a managed service",
                    ttl::LONGEST_WITHOUT_CLOCK
                );
                return Err(Error::invalid_setting(&self.label, message));
            }
        }
        Ok(())
    }

    /// The expiry of an entry with this TTL (T1, T4). Whether the server accepts it is known only when a connection is.
    pub(super) fn expiry_of(&self, key: &SentKey<'_>, ttl: Ttl) -> Result<Expiry> {
        let expiry = Expiry::new(ttl.or_default(self.settings.default_ttl));
        if let Expiry::After(ttl) = expiry
            && ttl > ttl::longest(SystemTime::now())
        {
            return Err(Error::invalid_ttl(&self.label, key.given, ttl, longest_ttl(self.node(key)?)));
        }
        Ok(expiry)
    }

    /// An error if the server of this key does not tell its time, and the TTL needs that (T4).
    pub(super) async fn check_clock(&self, key: &SentKey<'_>, expiry: Expiry) -> Result<()> {
        let (node, Expiry::After(ttl)) = (self.node(key)?, expiry) else { return Ok(()) };
        if node.limits().lacks_clock
            && node
                .warm_up()
                .await
                .map_err(|fault| self.error(node, fault, &[KeyedCommand::new(0, key, Command::Get)]))?
                .lacks_clock
        {
            return Err(Error::invalid_ttl(&self.label, key.given, ttl, ttl::LONGEST_WITHOUT_CLOCK));
        }
        Ok(())
    }

    /// The longest TTL that all servers are known to accept now. A server that does not tell its time accepts what it can count.
    pub(super) fn longest_ttl(&self) -> Duration {
        self.servers.all().iter().map(longest_ttl).min().unwrap_or(ttl::LONGEST_WITHOUT_CLOCK)
    }

    /// The largest item of a server that has told this limit.
    pub(super) fn largest_item(&self, told: Option<u64>) -> u64 {
        let given = self.settings.largest_item;
        match told {
            Some(told) => told.min(given.unwrap_or(told)),
            None if self.settings.classic => given.unwrap_or(USUAL_ITEM).saturating_sub(CLASSIC_EXTRA),
            None => given.unwrap_or(USUAL_ITEM),
        }
    }

    /// The length of the largest value with this key, as far as is known.
    pub(super) fn largest_value_at(&self, key: &SentKey<'_>) -> Result<u64> {
        let told = self.node(key)?.limits().largest_item;
        Ok(largest_value(key.sent().len(), self.largest_item(told)))
    }

    /// The length of the largest value with this key, if it is less than `length` (V3).
    pub(super) async fn less_than(&self, key: &SentKey<'_>, length: u64, client_flags: u64) -> Result<Option<u64>> {
        let (node, size) = (self.node(key)?, item_size(key.sent().len(), length, client_flags));
        let mut told = node.limits().largest_item;
        if size <= self.largest_item(told) {
            return Ok(None);
        }
        if self.settings.largest_item.is_none_or(|given| size <= given) {
            told = match (node.warm_up().await, told) {
                (Ok(limits), _) => limits.largest_item,
                // The limit that it told last.
                (Err(_), Some(told)) => Some(told),
                (Err(fault), None) => return Err(self.error(node, fault, &[KeyedCommand::new(0, key, Command::Get)])),
            };
        }
        let limit = self.largest_item(told);
        Ok((size > limit).then(|| largest_value(key.sent().len(), limit)))
    }

    pub(super) async fn check_size(&self, key: &SentKey<'_>, length: usize) -> Result<()> {
        let length = length as u64;
        match self.less_than(key, length, 0).await? {
            Some(limit) => Err(Error::value_too_large(&self.label, key.given, length, limit)),
            None => Ok(()),
        }
    }
}

/// The longest TTL that this server is known to accept now.
fn longest_ttl(node: &Node) -> Duration {
    if node.limits().lacks_clock { ttl::LONGEST_WITHOUT_CLOCK } else { ttl::longest(SystemTime::now()) }
}
