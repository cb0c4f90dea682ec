//! Conditional and atomic updates.

use kv_core::{Bytes, CounterFault, Error, Failure, Result, Version};

use super::client::Client;
use crate::protocol::command::{Command, KeyedCommand, SentKey};
use crate::protocol::reply::{self, Hit, Reply};
use crate::protocol::ttl::Expiry;

/// How often a `take` tries.
const TRIES: u32 = 100;

/// A version that no entry has: the server counts from 1.
const OF_NOTHING: u64 = u64::MAX;

/// The number to compare with, unless nothing has this version.
pub(super) fn number(version: &Version, key: &SentKey<'_>) -> Option<u64> {
    version.number_at(key.sent()).filter(|&number| number != OF_NOTHING)
}

impl Client {
    /// The value of an entry and its version.
    pub(super) async fn read_with_version(&self, key: &SentKey<'_>) -> Result<Option<(Bytes, u64)>> {
        let Some(Hit { value, version, .. }) = self.ask(key, Command::GetVersioned).await?.hit() else {
            return Ok(None);
        };
        if version == 0 {
            let message = "the server has no versions of entries: it was started with `-C` (`--disable-cas`)";
            return Err(Error::Backend(Failure::new(&self.label, message).at(key.given)));
        }
        Ok(Some((value, version)))
    }

    /// Sends a command that stores this value and tells its version. A server that does not tell it is asked: if the value is another one
    /// by then, the version is of nothing.
    pub(super) async fn store_versioned(&self, key: &SentKey<'_>, command: Command<'_>) -> Result<Option<Version>> {
        let Some(Hit { version, .. }) = self.ask(key, command).await?.hit() else { return Ok(None) };
        let version = match version {
            0 => match self.read_with_version(key).await {
                Ok(Some((value, version))) if command.value() == Some(&value) => version,
                // It was stored, whatever came afterwards.
                _ => OF_NOTHING,
            },
            told => told,
        };
        Ok(Some(Version::of_number(key.sent(), version)))
    }

    /// Reads an entry, and then removes it if it is still the same; again if it is not.
    pub(super) async fn take(&self, key: &SentKey<'_>) -> Result<Option<Bytes>> {
        for _ in 0..TRIES {
            let Some((value, version)) = self.read_with_version(key).await? else { return Ok(None) };
            if self.ask(key, Command::DeleteVersion(version)).await?.is_hit() {
                return Ok(Some(value));
            }
        }
        Err(Error::contended(&self.label, key.given, TRIES))
    }

    /// Adds to a number.
    pub(super) async fn add_number(&self, key: &SentKey<'_>, by: u32, expiry: Expiry) -> Result<u64> {
        let command = Command::Add { by, expiry };
        let not_a_counter = |fault| Error::not_a_counter(&self.label, key.given, fault);
        let hit = match self.send(key, command).await? {
            Reply::Refused(refusal) if refusal.is_of_counter() => return Err(not_a_counter(CounterFault::NotANumber)),
            reply => self.no_refusal(self.node(key)?, reply, &KeyedCommand::new(0, key, command))?.hit(),
        };
        let sum = hit.and_then(|hit| reply::number::<u64>(&hit.value)).unwrap_or(u64::MAX);
        if i64::try_from(sum).is_ok() {
            return Ok(sum);
        }
        // memcached counts further than the contract. What was added stands if it cannot be taken back.
        self.ask(key, Command::Subtract(by)).await.map_err(with_unknown_outcome)?;
        Err(not_a_counter(CounterFault::TooLarge))
    }
}

/// Something was written.
fn with_unknown_outcome(error: Error) -> Error {
    match error {
        Error::Backend(failure) => Error::Backend(failure.with_unknown_outcome()),
        Error::Unavailable(failure) => Error::Unavailable(failure.with_unknown_outcome()),
        Error::Timeout(failure) => Error::Timeout(failure.with_unknown_outcome()),
        error => error,
    }
}
