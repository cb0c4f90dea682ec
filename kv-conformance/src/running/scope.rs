//! What all checks of a suite may use: ways to make fixtures, and what the store promises.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kv_core::Capability;

use super::outcome::{NotPassed, Outcome};
use super::pace::Pace;
use super::panics;
#[cfg(feature = "tokio")]
use super::trace;
use super::traced::follow;
use super::watchdog::Watchdog;
use super::watched::watch;
use crate::error::BoxError;
use crate::fixture::Fixture;
use crate::history::Weakness;
use crate::report::{CoverageRow, StoreInfo};

pub(crate) type Open = Arc<dyn Fn() -> Result<Fixture, BoxError> + Send + Sync>;
pub(crate) type OpenWithTtl = Arc<dyn Fn(Duration) -> Result<Fixture, BoxError> + Send + Sync>;

/// What the fixture is doing when it panics.
const MADE: &str = "it was made";

/// What all checks of a suite may use.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) open: Open,
    pub(crate) open_with_default_ttl: Option<OpenWithTtl>,
    pub(crate) open_with_faults: Option<Open>,
    /// What the store cannot do, and why.
    pub(crate) opt_outs: BTreeMap<Capability, String>,
    /// What was declared to be weaker, and why.
    pub(crate) weaknesses: BTreeMap<Weakness, String>,
    /// What the first store says of itself that a check got.
    store: Arc<OnceLock<StoreInfo>>,
    /// What random sequences have tried.
    coverage: Arc<Mutex<Vec<CoverageRow>>>,
    /// How long the store takes, once it is known.
    pace: Arc<OnceLock<Pace>>,
    /// What the check does that the scope is for.
    watchdog: Arc<Watchdog>,
}

impl Scope {
    pub(crate) fn new(open: Open) -> Self {
        Self {
            open,
            open_with_default_ttl: None,
            open_with_faults: None,
            opt_outs: BTreeMap::new(),
            weaknesses: BTreeMap::new(),
            store: Arc::default(),
            coverage: Arc::default(),
            pace: Arc::default(),
            watchdog: Arc::default(),
        }
    }

    /// The same scope for a check that is watched.
    pub(crate) fn watched_by(&self, watchdog: &Arc<Watchdog>) -> Self {
        Self { watchdog: Arc::clone(watchdog), ..self.clone() }
    }

    pub(crate) fn open(&self) -> Outcome<Fixture> {
        Ok(self.follow(self.make(&*self.open)?))
    }

    pub(crate) fn open_with_default_ttl(&self, ttl: Duration) -> Outcome<Fixture> {
        match &self.open_with_default_ttl {
            Some(open) => Ok(self.follow(self.make(|| open(ttl))?)),
            None => Err(NotPassed::Ignored("the suite has no store with a default TTL".into())),
        }
    }

    pub(crate) fn open_with_faults(&self) -> Outcome<Fixture> {
        match &self.open_with_faults {
            Some(open) => Ok(self.follow(self.make(&**open)?)),
            None => Err(NotPassed::Ignored("the suite has no store behind a proxy (`with_faults`)".into())),
        }
    }

    /// Makes a fixture, which may hang, too.
    fn make(&self, open: impl FnOnce() -> Result<Fixture, BoxError>) -> Outcome<Fixture> {
        let _making = self.watchdog.begin("the fixture, while it was made,", 1);
        Ok(panics::in_fixture(MADE, open)?)
    }

    /// The same fixture with its store closed and opened again.
    pub(crate) fn reopen(&self, fixture: Fixture) -> Outcome<Fixture> {
        let _reopening = self.watchdog.begin("the fixture, while its store was reopened,", 1);
        match panics::in_fixture("its store was reopened", || fixture.reopened()) {
            // What it has beside its store is watched already.
            Some(reopened) => Ok(follow(reopened?, &self.watchdog)),
            None => Err(NotPassed::Ignored("the fixture has no way to reopen its store (`Fixture::reopen`)".into())),
        }
    }

    /// Watches what is done with a fixture.
    fn follow(&self, fixture: Fixture) -> Fixture {
        if let Some(proxy) = &fixture.proxy {
            self.watchdog.add_proxy(proxy);
        }
        watch(follow(fixture, &self.watchdog), &self.watchdog)
    }

    /// How long the store takes. Before that was measured, it is taken for one that takes no time.
    pub(crate) fn pace(&self) -> Pace {
        self.pace.get().copied().unwrap_or_default()
    }

    /// Sees how long a store takes that nothing else uses. That it fails is for the checks to find.
    pub(crate) fn measure(&self, fixture: &Fixture) {
        if let Ok(pace) = Pace::of(&*fixture.store) {
            let _ = self.pace.set(pace);
        }
    }

    /// The operation of the check that took longest, and its time.
    pub(crate) fn slowest(&self) -> Option<(Arc<str>, Duration)> {
        self.watchdog.slowest()
    }

    /// Does something that is no operation of a store, but may hang or panic like one, and is reported like one.
    #[cfg(feature = "tokio")]
    pub(crate) fn doing<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        let what = trace::located(what);
        let _under_way = self.watchdog.begin(what.as_str(), 1);
        trace::doing(what, run)
    }

    pub(crate) fn is_opted_out(&self, capability: Capability) -> bool {
        self.opt_outs.contains_key(&capability)
    }

    /// Whether `capabilities()` lacks this, as far as is known, and it was not opted out of.
    pub(crate) fn is_lacking(&self, capability: Capability) -> bool {
        let has = self.store().and_then(|store| store.capabilities.get(&capability.to_string()));
        has == Some(&false) && !self.is_opted_out(capability)
    }

    /// The declared weaknesses that are about the order of operations, and why.
    pub(crate) fn weaknesses_of_order(&self) -> impl Iterator<Item = (Weakness, &str)> {
        let declared = self.weaknesses.iter().filter(|(weakness, _)| weakness.is_of_order());
        declared.map(|(weakness, reason)| (*weakness, reason.as_str()))
    }

    /// Notes what random sequences have tried, for the report, unless that was noted before.
    pub(crate) fn covers(&self, rows: Vec<CoverageRow>) {
        let mut coverage = self.coverage.lock().unwrap_or_else(PoisonError::into_inner);
        if coverage.is_empty() {
            *coverage = rows;
        }
    }

    /// What random sequences have tried.
    pub(crate) fn coverage(&self) -> Vec<CoverageRow> {
        self.coverage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the first store says of itself that a check got.
    pub(crate) fn store(&self) -> Option<&StoreInfo> {
        self.store.get()
    }

    /// Keeps what the first store says of itself. That it panics there is for the checks to find.
    pub(crate) fn remember(&self, fixture: &Fixture) {
        if self.store.get().is_none() {
            let store = panics::catch(|| StoreInfo::of(&*fixture.store));
            let _ = store.map(|store| self.store.set(store));
        }
    }
}
