//! The checks that a store has to pass, and how they are run.

mod filters;
mod ground;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::mem;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kv_core::Capability;
use libtest_mimic::{Completion, Failed, Trial};

use crate::checks::{self, Check};
use crate::context::Context;
use crate::failure::{Blame, Finding, NotPassed, Outcome};
use crate::fixture::{BoxError, Fixture};
use crate::history::Weakness;
use crate::panics;
use crate::property::Seed;
use crate::report::{self, CheckResult, FailureDetails, Package, Report, StoreInfo, Verdict};
use crate::trace;
use crate::watch::Watch;

/// How often a check in real time is repeated, with longer lifetimes, before the machine is said to be too slow.
const REPEATS: u32 = 3;

/// How many checks run at a time unless `--test-threads` says otherwise: they mostly wait for lifetimes to end.
const THREADS: usize = 24;

type Open = Arc<dyn Fn() -> Result<Fixture, BoxError> + Send + Sync>;
type OpenWithTtl = Arc<dyn Fn(Duration) -> Result<Fixture, BoxError> + Send + Sync>;

/// The checks of the contract for one store: how to make a fixture, and what the store opts out of.
///
/// See the [crate's front page](crate) for how to use it.
pub struct Suite {
    name: String,
    open: Open,
    open_with_default_ttl: Option<OpenWithTtl>,
    open_with_faults: Option<Open>,
    opt_outs: BTreeMap<Capability, String>,
    server: Option<String>,
    /// What the first store says of itself that a check got.
    store: Arc<OnceLock<StoreInfo>>,
    weaknesses: BTreeMap<Weakness, String>,
    /// What the check of the fixture has found.
    ground: Arc<OnceLock<CheckResult>>,
    ground_of_faults: Arc<OnceLock<CheckResult>>,
    hangs_after: Duration,
    /// What the check that this suite was lent to does.
    watch: Arc<Watch>,
}

impl Suite {
    /// A suite of this name, whose checks get their stores from `open`: each a fresh one, several at the same time.
    pub fn new(name: impl Into<String>, open: impl Fn() -> Result<Fixture, BoxError> + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            open: Arc::new(open),
            open_with_default_ttl: None,
            open_with_faults: None,
            opt_outs: BTreeMap::new(),
            server: None,
            store: Arc::default(),
            weaknesses: BTreeMap::new(),
            ground: Arc::default(),
            ground_of_faults: Arc::default(),
            hangs_after: watched::HANGS_AFTER,
            watch: Arc::default(),
        }
    }

    /// How to make a fixture whose store is configured with a default lifetime (clause T1).
    ///
    /// Without it the checks of the configured default are ignored.
    #[must_use]
    pub fn with_default_ttl(
        mut self,
        open: impl Fn(Duration) -> Result<Fixture, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.open_with_default_ttl = Some(Arc::new(open));
        self
    }

    /// How to make a fixture whose store talks to its server through a [proxy](Fixture::proxy), and whose
    /// [limits](Fixture::limit) are known, with a [second handle](Fixture::second_handle) that does not, and perhaps with the
    /// [server](Fixture::server) itself: for the checks of what networks and servers do (section 10, L3, L4, E1, E4, E5).
    ///
    /// Without it those are ignored.
    #[must_use]
    pub fn with_faults(mut self, open: impl Fn() -> Result<Fixture, BoxError> + Send + Sync + 'static) -> Self {
        self.open_with_faults = Some(Arc::new(open));
        self
    }

    /// Opts out of what the store cannot do, and says why (clause O3).
    ///
    /// The checks that need it are shown as ignored, with the reason. In their place the opt-out is verified: the
    /// operation has to return `Unsupported` and to change nothing, and `capabilities()` has to say the same. An opt-out
    /// of [`Capability::Lifetimes`] is one of [`Capability::TtlReading`] and [`Capability::Touch`] too.
    #[must_use]
    pub fn opt_out(mut self, capability: Capability, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        if capability == Capability::Lifetimes {
            for implied in [Capability::TtlReading, Capability::Touch] {
                self.opt_outs.entry(implied).or_insert_with(|| reason.clone());
            }
        }
        self.opt_outs.insert(capability, reason);
        self
    }

    /// What the store runs on, for the report: program and version, such as `redis 7.0.15`.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Declares what the store promises where it is not [linearizable](crate::history), and says why.
    ///
    /// The checks of histories then allow for it, and those that make sense without it alone are ignored, with the
    /// reason. A reason that is empty fails them all.
    #[must_use]
    pub fn weaker(mut self, weakness: Weakness, reason: impl Into<String>) -> Self {
        self.weaknesses.insert(weakness, reason.into());
        self
    }

    /// Runs the checks as tests, as `cargo test` does: with its arguments (`--list`, a filter, `--exact`,
    /// `--test-threads`, …) and its output. For the `main` of a test target with `harness = false`. Writes a report as
    /// [`main`] does.
    pub fn main(self) -> ExitCode {
        main([self])
    }

    /// Runs all checks, one after the other, and prints nothing.
    pub fn run(&self) -> Report {
        self.run_matching("")
    }

    /// The names of the checks, those that verify opt-outs included.
    pub fn check_names(&self) -> Vec<String> {
        self.checks().iter().map(|check| check.name().to_owned()).collect()
    }

    /// Runs the checks whose name contains `filter`, as [`run`](Self::run) does.
    pub fn run_matching(&self, filter: &str) -> Report {
        let seed = seed();
        let checks = self.checks();
        let matching = checks.iter().filter(|check| check.name().contains(filter));
        let mut results = matching.map(|check| self.run_check(check, seed)).collect::<Vec<_>>();
        results.extend(self.unseen_failures_of_fixtures(&results));
        self.report(seed, results)
    }

    pub(crate) fn is_opted_out(&self, capability: Capability) -> bool {
        self.opt_outs.contains_key(&capability)
    }

    /// Why the store opts out of this, if it does.
    pub(crate) fn reason(&self, capability: Capability) -> Option<&str> {
        self.opt_outs.get(&capability).map(String::as_str)
    }

    /// What was declared to be weaker, and why.
    pub(crate) fn weaknesses(&self) -> &BTreeMap<Weakness, String> {
        &self.weaknesses
    }

    pub(crate) fn open(&self) -> Outcome<Fixture> {
        Ok(self.follow(self.make(&*self.open)?))
    }

    pub(crate) fn open_with_default_ttl(&self, ttl: Duration) -> Outcome<Fixture> {
        match &self.open_with_default_ttl {
            Some(open) => Ok(self.follow(self.make(|| open(ttl))?)),
            None => Err(NotPassed::Ignored("the suite has no store with a default lifetime".into())),
        }
    }

    pub(crate) fn open_with_faults(&self) -> Outcome<Fixture> {
        match &self.open_with_faults {
            Some(open) => Ok(self.follow(self.make(&**open)?)),
            None => Err(NotPassed::Ignored("the suite has no store behind a proxy (`with_faults`)".into())),
        }
    }

    /// The check of the fixture, those of the contract, and those of the opt-outs.
    fn checks(&self) -> Vec<Check> {
        let opt_outs = self.opt_outs.keys().map(|&capability| checks::opt_out_of(capability));
        let of_faults = self.open_with_faults.is_some().then_some(ground::CHECK_OF_FAULTS);
        [ground::CHECK].into_iter().chain(of_faults).chain(checks::all().copied()).chain(opt_outs).collect()
    }

    fn run_check(&self, check: &Check, seed: u64) -> CheckResult {
        if [ground::CHECK, ground::CHECK_OF_FAULTS].iter().any(|of_fixture| of_fixture.name() == check.name()) {
            return self.ground(check.has_faults, seed).clone();
        }
        match self.ignored_because(check, seed) {
            Some(reason) => self.result_of(check, Instant::now(), &Seed::new(seed), Err(NotPassed::Ignored(reason))),
            None => self.run_watched(check, seed),
        }
    }

    fn result_of(&self, check: &Check, started: Instant, seed: &Seed, outcome: Outcome) -> CheckResult {
        let (verdict, failure) = match outcome {
            Ok(()) => (Verdict::Passed, None),
            Err(NotPassed::Ignored(reason)) => (Verdict::Ignored(reason), None),
            Err(NotPassed::TooSlow) => (Verdict::Failed(NotPassed::TooSlow.to_string()), None),
            Err(NotPassed::Failed(finding) | NotPassed::TimedOut(finding)) => {
                let (message, details) = self.explain(check, *finding, seed);
                (Verdict::Failed(message), Some(details))
            }
        };
        let clauses = check.clauses.iter().map(|&clause| clause.to_owned()).collect();
        CheckResult { name: check.name().to_owned(), clauses, verdict, failure, took: started.elapsed() }
    }

    fn try_check(&self, check: &Check, seed: &Seed) -> Outcome {
        // Whether the clause is broken could not be told.
        let mut last = NotPassed::failed_beside_the_store(
            "the machine was too slow to tell early from late, although the lifetimes were made longer",
        );
        for patience in 0..=REPEATS {
            trace::forget();
            let run = || {
                let fixture = if check.has_faults { self.open_with_faults()? } else { self.open()? };
                if !check.has_faults {
                    self.remember(&fixture);
                }
                (check.run)(&Context::new(self, &fixture, patience, seed.clone()))
            };
            match panics::catch(run).unwrap_or_else(|panic| Err(panic.into())) {
                Err(NotPassed::TooSlow) => {}
                Err(timed_out @ NotPassed::TimedOut(_)) => last = timed_out,
                outcome => return outcome,
            }
        }
        Err(last)
    }

    /// Keeps for the report what the first store says of itself. That it panics there is for the checks to find.
    fn remember(&self, fixture: &Fixture) {
        if self.store.get().is_none() {
            let store = panics::catch(|| StoreInfo::of(&*fixture.store));
            let _ = store.map(|store| self.store.set(store));
        }
    }

    /// The report of a run with these results, in any order.
    fn report(&self, seed: u64, results: Vec<CheckResult>) -> Report {
        let mut found = results.into_iter().map(|result| (result.name.clone(), result)).collect::<BTreeMap<_, _>>();
        let (mut results, mut left_out) = (Vec::new(), Vec::new());
        for name in self.check_names() {
            match found.remove(&name) {
                Some(result) => results.push(result.without_passwords()),
                None => left_out.push(name),
            }
        }
        Report {
            suite: self.name.clone(),
            package: Package::under_test(),
            server: self.server.clone(),
            store: self.store.get().cloned(),
            contract: kv_core::contract::VERSION.into(),
            conformance: env!("CARGO_PKG_VERSION").into(),
            seed,
            opt_outs: self.opt_outs.iter().map(|(of, reason)| (of.to_string(), reason.clone())).collect(),
            weaknesses: self.weaknesses.iter().map(|(what, reason)| (what.to_string(), reason.clone())).collect(),
            left_out,
            results,
        }
    }

    /// A finding, with the clauses that it breaks and how to see it again.
    fn explain(&self, check: &Check, finding: Finding, seed: &Seed) -> (String, FailureDetails) {
        let is_sure = match &finding.blame {
            Blame::Check => BASICS.contains(&check.name()),
            Blame::Clauses(several) => several.len() == 1,
            Blame::Unsupported(_) | Blame::Nothing => true,
        };
        let relies_on = if is_sure { Vec::new() } else { BASICS.iter().map(|&name| name.into()).collect() };
        let broken = self.broken(check, finding.blame);
        let message = finding.text;
        // The property of all operations names the clauses itself.
        let quoted = if message.contains("\nclauses: ") && broken.len() > 1 { &[][..] } else { &broken };
        let quoted = quoted.iter().map(|clause| format!("clause {}", checks::clause_text(clause)));
        let quoted = quoted.collect::<Vec<_>>().join("\nor ");
        let quoted = if quoted.is_empty() { quoted } else { format!("\n{quoted}") };
        // What properties found is a sequence or an input already, and the last operations are those of a simpler one.
        let traced = !check.has_faults && !message.contains("\nsimplest: ");
        let sequence = if traced { trace::sequence() } else { String::new() };
        let (what, suite, name) = (check.what(), &self.name, check.name());
        let random = if seed.is_used() { random_input(seed) } else { String::new() };
        let again = format!("{random}{} -- --exact {suite}::{name}", command());
        let message = format!("{what}{quoted}\n{message}{sequence}\nagain:    {again}");
        let Finding { expected, got, panicked_at, .. } = finding;
        (message, FailureDetails { broken, relies_on, expected, got, again, panicked_at })
    }

    /// The clauses of which a failure breaks one at least.
    fn broken(&self, check: &Check, blame: Blame) -> Vec<String> {
        match blame {
            Blame::Clauses(clauses) => clauses,
            Blame::Nothing => Vec::new(),
            // Either it said that it can, or nobody said that it cannot.
            Blame::Unsupported(capability) if !self.is_opted_out(capability) => {
                vec![if self.is_lacking(capability) { "O3" } else { "O1" }.into()]
            }
            Blame::Check | Blame::Unsupported(_) => {
                check.clauses.first().map(|&first| first.into()).into_iter().collect()
            }
        }
    }

    /// The checks as tests, whose results are kept in `found` too.
    ///
    /// `left_out` are the names of those that do not run. If the check of a fixture that does not hold is among them, another one
    /// fails with what it says: or the run would look like one that passed.
    fn trials(self: &Arc<Self>, seed: u64, found: &Found, left_out: &LeftOut) -> Vec<Trial> {
        let is_told = Arc::<AtomicBool>::default();
        let trial = |check: Check| {
            let (suite, found) = (Arc::clone(self), Arc::clone(found));
            let (left_out, is_told) = (Arc::clone(left_out), Arc::clone(&is_told));
            let name = format!("{}::{}", suite.name, check.name());
            Trial::ignorable_test(name, move || {
                let result = suite.run_check(&check, seed);
                found.lock().unwrap_or_else(PoisonError::into_inner).push(result.clone());
                let unseen = suite.unseen_failures_of_fixtures(std::slice::from_ref(&result)).into_iter();
                let mut unseen = unseen.filter(|failure| {
                    let name = format!("{}::{}", suite.name, failure.name);
                    left_out.get().is_some_and(|left_out| left_out.contains(&name))
                });
                if let Some(CheckResult { name, verdict: Verdict::Failed(message), .. }) = unseen.next()
                    && !is_told.swap(true, Ordering::Relaxed)
                {
                    return Err(Failed::from(format!("{name}, which the arguments left out:\n{message}")));
                }
                match result.verdict {
                    Verdict::Passed => Ok(Completion::Completed),
                    Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
                    Verdict::Failed(message) => Err(Failed::from(message)),
                }
            })
        };
        let mut checks = self.checks();
        // What takes longest begins first, and is not waited for at the end.
        checks.sort_by_key(|check| !check.clauses.contains(&"B6"));
        checks.into_iter().map(trial).collect()
    }
}

/// The results of a suite so far.
type Found = Arc<Mutex<Vec<CheckResult>>>;

/// The names of what the arguments left out, as soon as they are known.
type LeftOut = Arc<OnceLock<BTreeSet<String>>>;

/// What all checks rely on: that what was written is read, what was deleted is gone, and an entry ends when it should.
const BASICS: &[&str] = &[
    "g1_an_absent_key_reads_as_none",
    "p1_what_was_written_is_read",
    "p1_many_entries_are_all_there",
    "d1_delete_tells_whether_it_removed_an_entry",
    "t2_an_entry_goes_neither_early_nor_late",
];

/// Runs the checks of several suites as one test target, as [`Suite::main`] does for one.
///
/// If the environment variable `KV_CONFORMANCE_REPORT` names a folder, the [report](Report::write_to) of each suite is
/// written there afterwards, unless the arguments left out all its checks. That it cannot be written fails the run.
pub fn main(suites: impl IntoIterator<Item = Suite>) -> ExitCode {
    let (mut arguments, filters) = filters::arguments();
    let threads = arguments.test_threads.get_or_insert(THREADS);
    *threads = (*threads).max(1);
    let seed = seed();
    let runs = suites.into_iter().map(|suite| (Arc::new(suite), Arc::default())).collect::<Vec<_>>();
    let left_out = LeftOut::default();
    let trials = runs.iter().flat_map(|(suite, found)| suite.trials(seed, found, &left_out)).collect::<Vec<_>>();
    filters::select(&mut arguments, filters, &trials);
    let names = trials.iter().filter(|trial| arguments.is_filtered_out(trial)).map(|trial| trial.name().to_owned());
    left_out.get_or_init(|| names.collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let (folder, mut unseen) = (report::folder(), false);
    for (suite, found) in runs {
        let mut results = mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        let failures = suite.unseen_failures_of_fixtures(&results);
        unseen |= !failures.is_empty();
        results.extend(failures);
        if let Some(folder) = &folder {
            let written = if results.is_empty() { Ok(()) } else { suite.report(seed, results).write_to(folder) };
            if let Err(error) = written {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if unseen && !conclusion.has_failed() { ExitCode::FAILURE } else { conclusion.exit_code() }
}

/// The seed of the properties: `KV_CONFORMANCE_SEED`, or a new one. What is no number is as good a seed as any.
fn seed() -> u64 {
    match std::env::var("KV_CONFORMANCE_SEED") {
        Ok(given) => given.parse().unwrap_or_else(|_| BuildHasherDefault::<DefaultHasher>::default().hash_one(given)),
        Err(_) => RandomState::new().hash_one(Instant::now()),
    }
}

/// The variables that give the same random input again.
fn random_input(seed: &Seed) -> String {
    let cases = std::env::var("KV_CONFORMANCE_CASES").ok().filter(|cases| cases.parse::<u32>().is_ok());
    let cases = cases.map(|cases| format!("KV_CONFORMANCE_CASES={cases} ")).unwrap_or_default();
    format!("KV_CONFORMANCE_SEED={} {cases}", seed.used())
}

/// The command that runs this test target.
fn command() -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|package| format!(" -p {package}")).unwrap_or_default();
    let program = std::env::current_exe().ok();
    let target = program.as_ref().and_then(|path| path.file_stem()?.to_str()?.rsplit_once('-'));
    let target = target.map(|(target, _hash)| format!(" --test {target}")).unwrap_or_default();
    format!("cargo test{package}{target}")
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("name", &self.name)
            .field("opt_outs", &self.opt_outs)
            .field("weaknesses", &self.weaknesses)
            .finish_non_exhaustive()
    }
}
