//! Time as a store sees it: advanced by hand if the fixture can do that, otherwise real.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use super::panics;
use super::trace;
use crate::fixture::Advance;

/// The time of one store.
pub(crate) struct Time<'a> {
    advance: Option<&'a Advance>,
    advanced: Cell<Duration>,
    started: Instant,
}

/// How much time has passed, for a store that is opened again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeSoFar {
    advanced: Duration,
    started: Instant,
}

impl TimeSoFar {
    /// Time begins now.
    pub(crate) fn begin() -> Self {
        Self { advanced: Duration::ZERO, started: Instant::now() }
    }
}

/// When an entry that was given a TTL may expire at the earliest, and has to have expired at the latest (clause T2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) earliest: Duration,
    pub(crate) latest: Duration,
}

/// What is known about an entry that may have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    Live,
    Expired,
    /// The entry may have expired during the operation.
    Unknown,
}

impl<'a> Time<'a> {
    pub(crate) fn new(advance: Option<&'a Advance>) -> Self {
        Self { advance, advanced: Cell::new(Duration::ZERO), started: Instant::now() }
    }

    /// The time of the same data in another fixture, which goes on.
    pub(crate) fn after(so_far: TimeSoFar, advance: Option<&'a Advance>) -> Self {
        Self { advance, advanced: Cell::new(so_far.advanced), started: so_far.started }
    }

    /// How much time has passed.
    pub(crate) fn so_far(&self) -> TimeSoFar {
        TimeSoFar { advanced: self.advanced.get(), started: self.started }
    }

    /// Whether time stands still unless it is advanced.
    pub(crate) fn is_advanced_by_hand(&self) -> bool {
        self.advance.is_some()
    }

    pub(crate) fn now(&self) -> Duration {
        if self.advance.is_some() { self.advanced.get() } else { self.started.elapsed() }
    }

    pub(crate) fn wait(&self, duration: Duration) {
        trace::waited(duration);
        match self.advance {
            Some(advance) => {
                panics::in_fixture("its clock was advanced", || advance(duration));
                self.advanced.set(self.advanced.get() + duration);
            }
            None => thread::sleep(duration),
        }
    }

    pub(crate) fn wait_until(&self, time: Duration) {
        self.wait(time.saturating_sub(self.now()));
    }

    /// Runs something. Returns the time before it and the time after it.
    pub(crate) fn span<T>(&self, run: impl FnOnce() -> T) -> (T, Duration, Duration) {
        let before = self.now();
        let result = run();
        (result, before, self.now())
    }
}

impl Expiry {
    /// When an entry expires that was given its TTL between `before` and `after`, in a store of this resolution.
    pub(crate) fn of(ttl: Duration, before: Duration, after: Duration, resolution: Duration) -> Self {
        Self { earliest: before.saturating_add(ttl), latest: after.saturating_add(ttl).saturating_add(resolution) }
    }

    /// What is known about the entry for an operation between `before` and `after`.
    pub(crate) fn liveness(self, before: Duration, after: Duration) -> Liveness {
        if after < self.earliest {
            Liveness::Live
        } else if before >= self.latest {
            Liveness::Expired
        } else {
            Liveness::Unknown
        }
    }
}
