//! What a check works with.

use std::fmt;
use std::time::Duration;

use kv_core::{Capabilities, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use crate::failure::{NotPassed, Outcome, show_error};
use crate::fixture::Fixture;
use crate::panics;
use crate::property::Seed;
use crate::suite::Suite;
use crate::time::{End, Known, Time};

/// What a check works with: a fresh store of the suite that it belongs to. Made by [`Suite`].
pub struct Context<'a> {
    pub(crate) suite: &'a Suite,
    fixture: &'a Fixture,
    /// Grows when a check in real time has to be repeated with longer lifetimes.
    patience: u32,
    pub(crate) seed: Seed,
    pub(crate) time: Time<'a>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(suite: &'a Suite, fixture: &'a Fixture, patience: u32, seed: Seed) -> Self {
        Self { suite, fixture, patience, seed, time: Time::new(fixture.advance.as_ref()) }
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

    /// Puts data that is not the store's beside it.
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

    /// Whether the suite has to check this: it was not opted out of. If it is lacking all the same, a check of O1 says so, and no
    /// other.
    pub(crate) fn has(&self, capability: Capability) -> bool {
        !self.suite.is_opted_out(capability) && !self.suite.is_lacking(capability)
    }

    /// This size, or the largest that the store takes.
    pub(crate) fn size(&self, size: usize) -> usize {
        let limit = self.capabilities().largest_value().unwrap_or(u64::MAX);
        usize::try_from(limit).map_or(size, |limit| limit.min(size))
    }

    /// A lifetime that ends within the check, and before which something can be done.
    pub(crate) fn short(&self) -> Duration {
        if self.time.is_advanced_by_hand() {
            Duration::from_secs(10)
        } else {
            self.patiently(Duration::from_millis(400))
        }
    }

    /// Something short, on a machine that is quick; longer when a check has to be repeated.
    pub(crate) fn patiently(&self, short: Duration) -> Duration {
        short * 4_u32.pow(self.patience)
    }

    /// A lifetime that does not end within the check.
    pub(crate) fn long(&self) -> Duration {
        Duration::from_secs(3600).min(self.capabilities().longest_ttl())
    }

    /// Does something that gives a lifetime; when that ends.
    pub(crate) fn ending<T>(&self, ttl: Duration, act: impl FnOnce() -> Result<T, Error>) -> Outcome<(T, End)> {
        let (result, before, after) = self.time.span(act);
        Ok((result?, End::of(ttl, before, after, self.capabilities().ttl_resolution())))
    }

    /// Puts a value with a lifetime; when that ends.
    pub(crate) fn put_for(&self, key: &str, value: &'static str, ttl: Duration) -> Outcome<End> {
        let (never, end) = self.ending(ttl, || self.store().put_with_ttl(key, value, Ttl::After(ttl)))?;
        let () = never;
        Ok(end)
    }

    /// Checks something that holds as long as an entry lives. If it does not hold and the lifetime may have ended by then,
    /// that tells nothing.
    pub(crate) fn while_live(&self, end: End, check: impl FnOnce() -> Outcome) -> Outcome {
        let (outcome, before, after) = self.time.span(check);
        match (outcome, end.known(before, after)) {
            (Ok(()), _) => Ok(()),
            (Err(failure), Known::Live) => Err(failure),
            (Err(_), Known::Gone | Known::Either) => Err(NotPassed::TooSlow),
        }
    }

    /// Waits until an entry has to be gone.
    pub(crate) fn wait_for(&self, end: End) {
        self.time.wait_until(end.latest);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("suite", &self.suite).finish_non_exhaustive()
    }
}
