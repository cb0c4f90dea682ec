//! What the author of a backend says about a store: how to make fixtures, what the store opts out of, and its server.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kv_core::Capability;

use crate::error::BoxError;
use crate::fixture::Fixture;
use crate::history::Weakness;
use crate::report::CheckResult;
use crate::running::Scope;

/// After how long an operation that has not returned counts as hanging.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// The checks of the contract for one store: how to make a fixture, and what the store opts out of.
///
/// See the [crate's front page](crate) for how to use it.
pub struct Suite {
    pub(super) name: String,
    pub(super) server: Option<String>,
    pub(super) scope: Scope,
    /// The results of the checks of the fixture and of the fixture with faults.
    pub(super) fixture: OnceLock<CheckResult>,
    pub(super) fixture_with_faults: OnceLock<CheckResult>,
    pub(super) hangs_after: Duration,
}

impl Suite {
    /// A suite of this name, whose checks get their stores from `open`: each a fresh one, several at the same time.
    pub fn new(name: impl Into<String>, open: impl Fn() -> Result<Fixture, BoxError> + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            server: None,
            scope: Scope::new(Arc::new(open)),
            fixture: OnceLock::new(),
            fixture_with_faults: OnceLock::new(),
            hangs_after: HANGS_AFTER,
        }
    }

    /// How to make a fixture whose store is configured with a default TTL (clause T1).
    ///
    /// Without it the checks of the configured default are ignored.
    #[must_use]
    pub fn with_default_ttl(
        mut self,
        open: impl Fn(Duration) -> Result<Fixture, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.scope.open_with_default_ttl = Some(Arc::new(open));
        self
    }

    /// How to make a fixture whose store talks to its server through a [proxy](Fixture::proxy), and whose
    /// [limits](Fixture::limit) are known, with a [second handle](Fixture::second_handle) that does not, and perhaps with the
    /// [server](Fixture::server) itself: for the checks of what networks and servers do (section 10, L3, L4, E1, E4, E5).
    ///
    /// Without it those are ignored.
    #[must_use]
    pub fn with_faults(mut self, open: impl Fn() -> Result<Fixture, BoxError> + Send + Sync + 'static) -> Self {
        self.scope.open_with_faults = Some(Arc::new(open));
        self
    }

    /// Opts out of what the store cannot do, and says why (clause O3).
    ///
    /// The checks that need it are shown as ignored, with the reason. Another check verifies the opt-out: the
    /// operation has to return `Unsupported` and to change nothing, and `capabilities()` has to lack it. An opt-out
    /// of [`Capability::Ttls`] is also one of [`Capability::TtlReading`], [`Capability::Touch`] and [`Capability::TouchingReads`], and one of
    /// [`Capability::Versions`] also one of [`Capability::ExactVersions`].
    #[must_use]
    pub fn opt_out(mut self, capability: Capability, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let implied: &[Capability] = match capability {
            Capability::Ttls => &[Capability::TtlReading, Capability::Touch, Capability::TouchingReads],
            Capability::Versions => &[Capability::ExactVersions],
            _ => &[],
        };
        for implied in implied {
            self.scope.opt_outs.entry(*implied).or_insert_with(|| reason.clone());
        }
        self.scope.opt_outs.insert(capability, reason);
        self
    }

    /// What the store runs on, for the report: program and version, such as `redis 7.0.15`.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Declares what the store promises where it is not [linearizable](crate::history), or where its counters take more than digits, and
    /// says why.
    ///
    /// The checks of histories then allow for the one, and the checks of counters for the other. Those that make sense only without it are
    /// ignored, with the reason. An empty reason fails them all.
    #[must_use]
    pub fn weaker(mut self, weakness: Weakness, reason: impl Into<String>) -> Self {
        self.scope.weaknesses.insert(weakness, reason.into());
        self
    }

    /// After how long an operation that has not returned counts as hanging. Default: 60 s.
    ///
    /// The check then fails, and names the operation. Nothing can end its thread, which is left behind, and the other checks
    /// go on. A batch has one millisecond more for each of its keys; a check as a whole has ten times this. The
    /// environment variable `KV_CONFORMANCE_HANGS_AFTER`, a number of seconds, overrides it.
    #[must_use]
    pub fn hangs_after(mut self, time: Duration) -> Self {
        self.hangs_after = time;
        self
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("name", &self.name)
            .field("opt_outs", &self.scope.opt_outs)
            .field("weaknesses", &self.scope.weaknesses)
            .finish_non_exhaustive()
    }
}
