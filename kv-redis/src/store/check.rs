//! Checks of the settings and the URLs that a builder was given.

use std::borrow::Cow;
use std::time::Duration;

use kv_core::{Error, Prefix, Result};

use super::address::Address;
use super::builder::RedisStoreBuilder;
use super::settings::Settings;
use crate::connection::credentials::Credentials;
use crate::connection::endpoint::Endpoint;
use crate::connection::system;
use crate::protocol::timeouts::Timeouts;
use crate::protocol::ttl;

/// A thread cannot be relied upon to do anything in less time.
const SHORTEST_LIMIT: Duration = Duration::from_millis(10);

/// There are no more ports than this.
const LARGEST_POOL: u32 = u16::MAX as u32;

impl RedisStoreBuilder {
    pub(super) fn check(&self) -> Result<()> {
        let Settings { namespace, page_size, timeouts, default_ttl, .. } = &self.settings;
        check_namespace(namespace)?;
        let Timeouts { pool, connect, response } = *timeouts;
        self.settings.pool.check().map_err(unsuitable)?;
        for (name, limit) in [("pool_timeout", pool), ("connect_timeout", connect), ("response_timeout", response)] {
            if limit < SHORTEST_LIMIT {
                return Err(unsuitable(format!("`{name}` is {limit:?}, and has to be {SHORTEST_LIMIT:?} or more")));
            }
        }
        if let Some(ttl) = default_ttl.filter(|ttl| *ttl > ttl::LONGEST) {
            let longest = ttl::LONGEST;
            return Err(unsuitable(format!(
                "`default_ttl` is {ttl:?}, and the longest that the store takes is {longest:?}"
            )));
        }
        self.check_credentials()?;
        let Self { pool_size, min_idle, shared_connections, .. } = self;
        if !(1..=LARGEST_POOL).contains(pool_size) {
            return Err(unsuitable(format!("`pool_size` is {pool_size}, and has to be 1 to {LARGEST_POOL}")));
        }
        if *page_size == 0 {
            return Err(unsuitable("`page_size` is 0, and has to be 1 or more"));
        }
        for (name, connections) in [("min_idle", min_idle), ("shared_connections", shared_connections)] {
            if connections > pool_size {
                return Err(unsuitable(format!("`{name}` is {connections}, more than the `pool_size` of {pool_size}")));
            }
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<()> {
        let Credentials { user, password } = &self.credentials;
        if self.provider.is_some() && (user.is_some() || password.is_some()) {
            return Err(unsuitable(
                "both `credentials_provider` and `username` or `password` are set; set one of them",
            ));
        }
        match (user.as_deref(), password.as_deref()) {
            (Some(""), _) => Err(unsuitable("`username` is empty; do not set it for the default user")),
            (None, Some("")) => Err(unsuitable("`password` is empty; do not set it if the server wants none")),
            _ => Ok(()),
        }
    }

    /// What a URL says, with the settings that replace parts of it.
    pub(super) fn address(&self, url: &str, which: &str) -> Result<Address> {
        let mut address = parse(url, which)?;
        address.database = self.database.unwrap_or(address.database);
        let Credentials { user, password } = &mut address.credentials;
        if self.provider.is_some() && (user.is_some() || password.is_some()) {
            return Err(unsuitable(format!(
                "`credentials_provider` is set, and the URL{which} has a user or a password, too; leave them out of the URL"
            )));
        }
        *user = self.credentials.user.clone().or(user.take());
        *password = self.credentials.password.clone().or(password.take());
        match (&self.credentials.user, user, password) {
            (Some(_), _, None) => Err(unsuitable(format!(
                "`username` is a user without a password; set `password`, too, or write it into the URL{which}, \
                redis://:password@host"
            ))),
            (None, Some(_), None) => Err(unsuitable(format!(
                "the URL cannot be used{which}: it has a user without a password; write redis://user:password@host, a password alone \
                redis://:password@host, or set `password`"
            ))),
            _ => Ok(address),
        }
    }
}

/// Several URLs, each with the words by which a message says which one it means.
#[cfg(any(feature = "cluster", feature = "sentinel"))]
pub(super) fn each(urls: &[String]) -> impl Iterator<Item = (String, &String)> {
    let count = urls.len();
    let which = move |number| if count == 1 { String::new() } else { format!(" (number {number} of {count})") };
    urls.iter().enumerate().map(move |(index, url)| (which(index + 1), url))
}

/// Whether sentinels can know a primary by this name. The name is shown, so it must not be a URL with a password.
#[cfg(feature = "sentinel")]
pub(super) fn is_service(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'+');
    !name.is_empty() && name.bytes().all(is_letter) && !name.contains("://")
}

/// What a URL says. `which` says which one of several it is.
pub(super) fn parse(url: &str, which: &str) -> Result<Address> {
    let address =
        Address::parse(url).map_err(|problem| unsuitable(format!("the URL cannot be used{which}: {problem}")))?;
    if address.tls && cfg!(not(feature = "tls")) {
        return Err(unsuitable("the URL wants TLS: compile kv-redis with its feature `tls`"));
    }
    if matches!(&address.endpoint, Endpoint::Unix(path) if system::unix_socket(path).is_err()) {
        return Err(unsuitable(format!("the URL cannot be used{which}: {}", system::NO_UNIX_SOCKET)));
    }
    Ok(address)
}

/// The URL of a sentinel. User, password and database of the builder are those of the primary.
#[cfg(feature = "sentinel")]
pub(super) fn sentinel_address(url: &str, which: &str) -> Result<Address> {
    let address = parse(url, which)?;
    if address.database != 0 {
        return Err(unsuitable(format!(
            "the URL of a sentinel{which} names a database, which sentinels do not have; that of the primary is \
            `database` of the builder"
        )));
    }
    if address.credentials.user.is_some() && address.credentials.password.is_none() {
        return Err(unsuitable(format!(
            "the URL of a sentinel{which} has a user without a password; it needs both, redis://user:password@host, as \
            `username` and `password` are those of the primary"
        )));
    }
    Ok(address)
}

/// Whether keys can begin with this name and a colon. It may be empty, for none.
pub(super) fn check_namespace(name: &str) -> Result<()> {
    if Prefix::new(name).is_err() || name.contains(':') {
        return Err(unsuitable("`namespace` has to be made of visible ASCII characters without a colon"));
    }
    Ok(())
}

/// Checks the name of a handle's namespace.
pub(super) fn check_name_of_namespace(name: &str) -> Result<()> {
    if name.is_empty() { Err(unsuitable("`namespace` is empty")) } else { check_namespace(name) }
}

/// The error of a setting.
pub(super) fn unsuitable(message: impl Into<Cow<'static, str>>) -> Error {
    Error::invalid_setting("redis", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisStore;

    #[track_caller]
    fn refuses(builder: RedisStoreBuilder, says: &str) {
        let error = builder.build().unwrap_err();
        assert!(matches!(&error, Error::InvalidSetting { .. }), "{error}");
        assert!(error.to_string().contains(says), "{says:?} is not in {error}");
    }

    #[test]
    fn a_setting_that_is_invalid_is_named_with_its_value() {
        let new = RedisStore::builder;
        for size in [0, 70_000] {
            refuses(new().pool_size(size), &format!("`pool_size` is {size}, and has to be 1 to 65535"));
        }
        refuses(new().page_size(0), "`page_size` is 0, and has to be 1 or more");
        for (limit, shown) in [(Duration::ZERO, "0ns"), (Duration::from_millis(1), "1ms")] {
            let says = |name| format!("`{name}` is {shown}, and has to be 10ms or more");
            refuses(new().pool_timeout(limit), &says("pool_timeout"));
            refuses(new().connect_timeout(limit), &says("connect_timeout"));
            refuses(new().response_timeout(limit), &says("response_timeout"));
        }
        refuses(new().min_idle(11), "`min_idle` is 11, more than the `pool_size` of 10");
        refuses(new().shared_connections(11), "`shared_connections` is 11, more than the `pool_size` of 10");
        let long = Duration::MAX;
        refuses(
            new().default_ttl(long),
            &format!("`default_ttl` is {long:?}, and the longest that the store takes is "),
        );
        new().default_ttl(ttl::LONGEST).build().unwrap();
    }
}
