//! How long connections are kept, and what is known of each.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// Longer times are cut to this one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Settings of a pool. Zero turns each of them off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSettings {
    /// After this idle time the operating system probes the peer.
    pub(crate) tcp_keepalive: Duration,
    /// An idle connection is closed after this.
    pub(crate) idle_timeout: Duration,
    /// A connection is not used for longer than this.
    pub(crate) max_lifetime: Duration,
    /// A server that did not answer is asked again after this.
    pub(crate) retry_after: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            tcp_keepalive: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(2 * 60),
            max_lifetime: Duration::from_secs(30 * 60),
            retry_after: Duration::from_millis(500),
        }
    }
}

impl PoolSettings {
    /// What is wrong with a setting.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (second, short) = (Duration::from_secs(1), Duration::from_millis(10));
        for (name, time, least) in [
            ("tcp_keepalive", self.tcp_keepalive, second),
            ("idle_timeout", self.idle_timeout, short),
            ("max_lifetime", self.max_lifetime, short),
            ("retry_after", self.retry_after, short),
        ] {
            if !time.is_zero() && time < least {
                return Err(format!("`{name}` is {time:?}, and has to be zero (off), or {least:?} or more"));
            }
        }
        Ok(())
    }

    /// The same with times that can be added to any moment.
    pub(crate) fn ready(mut self) -> Self {
        let Self { tcp_keepalive, idle_timeout, max_lifetime, retry_after } = &mut self;
        for time in [tcp_keepalive, idle_timeout, max_lifetime, retry_after] {
            *time = (*time).min(LONGEST);
        }
        self
    }

    /// Until when a connection that is made now may be used. This is up to a tenth less than the setting, so that connections that were
    /// made together do not expire together.
    pub(crate) fn use_until(&self, now: Instant) -> Instant {
        if self.max_lifetime.is_zero() {
            return now + LONGEST;
        }
        // Each `RandomState` has different keys, so this is a random number.
        let random = RandomState::new().build_hasher().finish();
        let less = self.max_lifetime / 10_000 * u32::try_from(random % 1000).unwrap_or(0);
        now + self.max_lifetime.saturating_sub(less)
    }

    /// When to look next whether connections that are in use now have expired.
    pub(crate) fn pause(&self) -> Duration {
        let both = [self.idle_timeout, self.max_lifetime];
        both.into_iter().filter(|time| !time.is_zero()).min().unwrap_or_default()
    }

    /// Until when an idle connection may be used.
    pub(crate) fn expiry(&self, connection: &impl Reusable) -> Instant {
        if self.idle_timeout.is_zero() {
            return connection.use_until();
        }
        connection.use_until().min(connection.last_used() + self.idle_timeout)
    }
}

/// What a pool has to know about a connection that it keeps.
pub(crate) trait Reusable {
    fn last_used(&self) -> Instant;
    fn use_until(&self) -> Instant;
    /// Whether it is open and has received nothing unrequested. Nothing is sent.
    fn is_quiet(&self) -> bool;
}
