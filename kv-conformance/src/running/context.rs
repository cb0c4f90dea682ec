//! What a check works with.

use std::cell::OnceCell;
use std::time::Duration;

use fastrand::Rng;
use kv_core::{Capabilities, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use super::outcome::{NotPassed, Outcome};
use super::pace::{ENOUGH, Pace, fitting};
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
    /// The longest TTL when the check began: it may become shorter meanwhile.
    longest: OnceCell<Duration>,
}

/// Where time is real, what [`Context::short`] is at first.
const SHORT: Duration = Duration::from_millis(400);

/// Where time is advanced by hand.
const SHORT_BY_HAND: Duration = Duration::from_secs(10);

/// What [`Context::long`] is at least, if the store takes TTLs as long as that.
const LONG: Duration = Duration::from_secs(3600);

impl<'a> Context<'a> {
    /// The context for an attempt at a check. Later attempts are more patient.
    pub(crate) fn new(scope: &'a Scope, fixture: &'a Fixture, patience: u32, seed: Seed) -> Self {
        Self { scope, fixture, patience, seed, time: Time::new(fixture.advance.as_ref()), longest: OnceCell::new() }
    }

    /// The same with the store of another fixture.
    pub(crate) fn with<'b>(&'b self, fixture: &'b Fixture) -> Context<'b> {
        Context::new(self.scope, fixture, self.patience, self.seed.clone())
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

    /// The length of the longest key that the store takes.
    pub(crate) fn longest_key(&self) -> usize {
        self.capabilities().longest_key()
    }

    /// The longest key of this character alone.
    pub(crate) fn long_key(&self, character: &str) -> String {
        character.repeat(self.longest_key())
    }

    /// How long the store takes.
    pub(crate) fn pace(&self) -> Pace {
        self.scope.pace()
    }

    /// How many of so many items a check tries that does so many operations with each: all of them, or as many as a slow store can do
    /// in some seconds.
    pub(crate) fn items(&self, count: usize, operations: usize) -> usize {
        fitting(count, self.pace().operations(count * operations), ENOUGH)
    }

    /// How many of so many keys a check writes that gives all of them to so many batches, and does so many operations with each besides.
    pub(crate) fn keys(&self, count: usize, batches: usize, operations: usize) -> usize {
        let pace = self.pace();
        fitting(count, pace.batches(batches, count) + pace.operations(count * operations), ENOUGH)
    }

    /// How many of so many keys a check writes that gives all of them to so many batches, and may take this long.
    pub(crate) fn keys_within(&self, count: usize, batches: usize, time: Duration) -> usize {
        fitting(count, self.pace().batches(batches, count), time)
    }

    /// The items that a check tries that does so many operations with each: all of them, or some of them, chosen at random, if the store
    /// is slow.
    pub(crate) fn sample<T>(&self, items: impl IntoIterator<Item = T>, operations: usize) -> Vec<T> {
        let mut items = items.into_iter().collect::<Vec<_>>();
        let few = self.items(items.len(), operations);
        if few < items.len() {
            let mut random = Rng::with_seed(self.seed.used());
            while items.len() > few {
                items.remove(random.usize(..items.len()));
            }
        }
        items
    }

    /// A TTL that passes within the check, and before which something can be done. It is always the same.
    pub(crate) fn short(&self) -> Duration {
        if self.time.is_advanced_by_hand() {
            SHORT_BY_HAND.min(self.longest() / 20)
        } else {
            self.unlimited_short().min(self.longest() / 4)
        }
    }

    fn unlimited_short(&self) -> Duration {
        self.patiently(SHORT.max(self.pace().operation * 10))
    }

    /// A short time for a fast machine. It is longer when a check has to be repeated.
    pub(crate) fn patiently(&self, short: Duration) -> Duration {
        short * 4_u32.pow(self.patience)
    }

    /// A TTL that does not pass within the check, or while several [short](Self::short) ones do: if the store takes one as long as that. If
    /// not, see [`while_live`](Self::while_live). It is always the same.
    pub(crate) fn long(&self) -> Duration {
        let short = self.short().saturating_add(self.capabilities().ttl_resolution());
        // Not the longest: that may have become shorter when it is used.
        LONG.max(short.saturating_mul(20)).min(self.longest() / 8 * 7)
    }

    fn longest(&self) -> Duration {
        *self.longest.get_or_init(|| self.capabilities().longest_ttl())
    }

    /// Why a check that was [too slow](NotPassed::TooSlow) would be so again, if that is so: the TTLs of the store are too short for it.
    pub(crate) fn cannot_tell(&self) -> Option<String> {
        let is_limited = self.time.is_advanced_by_hand() || self.short() < self.unlimited_short();
        is_limited.then(|| {
            format!(
                "the longest TTL of the store, {:?}, with a resolution of {:?}, is too short for this check to tell early from late",
                self.capabilities().longest_ttl(),
                self.capabilities().ttl_resolution(),
            )
        })
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

    /// Puts a value with a [long](Self::long) TTL; when it expires.
    pub(crate) fn put_long(&self, key: &str, value: &'static str) -> Outcome<Expiry> {
        self.put_for(key, value, self.long())
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
