//! What a check works with.

use std::time::Duration;

use kv_core::{Capabilities, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use super::outcome::{NotPassed, Outcome};
use super::panics;
use super::scope::Scope;
use super::seed::Seed;
use super::show::show_error;
use super::time::{Expiry, Liveness, Time};
use crate::fixture::Fixture;

/// What a check works with: a fresh store, time, a seed, and what the suite offers to all checks.
pub(crate) struct Context<'a> {
    pub(crate) scope: &'a Scope,
    fixture: &'a Fixture,
    /// Grows when a check in real time has to be repeated with longer TTLs.
    patience: u32,
    pub(crate) seed: Seed,
    pub(crate) time: Time<'a>,
}

impl<'a> Context<'a> {
    /// The context for an attempt at a check. Later attempts are more patient.
    pub(crate) fn new(scope: &'a Scope, fixture: &'a Fixture, patience: u32, seed: Seed) -> Self {
        Self { scope, fixture, patience, seed, time: Time::new(fixture.advance.as_ref()) }
    }

    /// The same with the store of another fixture.
    pub(crate) fn with<'b>(&'b self, fixture: &'b Fixture) -> Context<'b> {
        Context::new(self.scope, fixture, 0, self.seed.clone())
    }

    /// The fixture that the store is from.
    pub(crate) fn fixture(&self) -> &'a Fixture {
        self.fixture
    }

    /// The store to be checked.
    pub(crate) fn store(&self) -> &'a dyn KeyValueStore {
        &*self.fixture.store
    }

    /// Another handle on the same data.
    pub(crate) fn second_handle(&self) -> Outcome<&'a dyn KeyValueStore> {
        let handle = self.fixture.second_handle.as_deref();
        handle.ok_or_else(|| NotPassed::Ignored("the fixture has no second handle on the same data".into()))
    }

    /// Puts data beside the store that is not the store's.
    pub(crate) fn plant_foreign_data(&self) -> Outcome {
        match &self.fixture.plant {
            Some(plant) => panics::in_fixture("`foreign_data` ran", plant).map_err(|error| {
                NotPassed::failed_beside_the_store(format_args!(
                    "the fixture's foreign_data failed: {}",
                    show_error(&*error)
                ))
            }),
            None => Err(NotPassed::Ignored("the fixture has no foreign data to put beside the store's own".into())),
        }
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.store().capabilities()
    }

    /// Whether the suite has to check this, because it was not opted out of. If the store lacks it all the same, only a check of O1 says
    /// so.
    pub(crate) fn has(&self, capability: Capability) -> bool {
        !self.scope.is_opted_out(capability) && !self.scope.is_lacking(capability)
    }

    /// This size, or the largest that the store accepts.
    pub(crate) fn size(&self, size: usize) -> usize {
        let limit = self.capabilities().largest_value().unwrap_or(u64::MAX);
        usize::try_from(limit).map_or(size, |limit| limit.min(size))
    }

    /// A TTL that ends within the check, and is long enough to do something before.
    pub(crate) fn short(&self) -> Duration {
        if self.time.is_advanced_by_hand() {
            Duration::from_secs(10)
        } else {
            self.patiently(Duration::from_millis(400))
        }
    }

    /// A short time for a fast machine. It is longer when a check has to be repeated.
    pub(crate) fn patiently(&self, short: Duration) -> Duration {
        short * 4_u32.pow(self.patience)
    }

    /// A TTL that is longer than the check.
    pub(crate) fn long(&self) -> Duration {
        Duration::from_secs(3600).min(self.capabilities().longest_ttl())
    }

    /// Runs something that gives an entry this TTL. Returns when the entry expires.
    pub(crate) fn expiring<T>(&self, ttl: Duration, run: impl FnOnce() -> Result<T, Error>) -> Outcome<(T, Expiry)> {
        let (result, before, after) = self.time.span(run);
        Ok((result?, Expiry::of(ttl, before, after, self.capabilities().ttl_resolution())))
    }

    /// Puts a value with a TTL. Returns when it expires.
    pub(crate) fn put_for(&self, key: &str, value: &'static str, ttl: Duration) -> Outcome<Expiry> {
        let (never, end) = self.expiring(ttl, || self.store().put_with_ttl(key, value, Ttl::After(ttl)))?;
        let () = never;
        Ok(end)
    }

    /// Checks something that holds as long as an entry lives. If it does not hold, but the entry may have expired, the check says nothing.
    pub(crate) fn while_live(&self, end: Expiry, check: impl FnOnce() -> Outcome) -> Outcome {
        let (outcome, before, after) = self.time.span(check);
        match (outcome, end.liveness(before, after)) {
            (Ok(()), _) => Ok(()),
            (Err(failure), Liveness::Live) => Err(failure),
            (Err(_), Liveness::Expired | Liveness::Unknown) => Err(NotPassed::TooSlow),
        }
    }

    /// Waits until an entry has to have expired.
    pub(crate) fn wait_for(&self, end: Expiry) {
        self.time.wait_until(end.latest);
    }
}
