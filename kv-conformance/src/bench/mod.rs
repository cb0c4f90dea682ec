//! Measures a store beside a peer, such as the bare client underneath it, in one process, alternately.
//!
//! Needs the feature `bench`. A machine that is slow for a while slows both: what counts is the ratio of two runs that follow one another, and
//! of many such ratios the median. Which of the two goes first alternates.
//!
//! ```no_run
//! use kv_conformance::BoxError;
//! use kv_conformance::bench::{Bench, Row};
//! use kv_core::KeyValueStoreExt;
//! use kv_memory::MemoryStore;
//!
//! // benches/peers.rs, with `harness = false`
//! fn main() -> Result<(), BoxError> {
//!     let mut bench = Bench::from_args("my-store");
//!     let store = MemoryStore::new(); // yours
//!     let mut bare = std::collections::BTreeMap::new(); // what it is made of
//!     bench.section("One thread");
//!     bench.compare(
//!         Row::new("put over, 100 B").beside("BTreeMap").at_most(1.5),
//!         || store.put("key", vec![b'v'; 100]),
//!         || Ok::<_, BoxError>(bare.insert("key".to_owned(), vec![b'v'; 100])),
//!     )?;
//!     bench.finish()
//! }
//! ```
//!
//! prints a line for each row:
//!
//! ```text
//! One thread                                    beside              ours       peer  ratio   10 %   90 %  at most
//! put over, 100 B                               BTreeMap          133 ns     101 ns   1.32   1.28   1.37     1.50
//! ```
//!
//! With the environment variable `KV_BENCH_REPORT` naming a folder, [`Bench::finish`] leaves the rows there as JSON, of which `kv-chart`
//! draws a chart. An argument after `cargo bench … --` is a part of the names of the rows to run.

mod chart;
mod rounds;
mod rows;
#[cfg(feature = "tokio")]
mod tasks;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub use chart::chart;
#[cfg(unix)]
pub use rounds::processor_time;
pub use rounds::together;
pub use rows::{Comparison, Comparisons, Row, Unit};
#[cfg(feature = "tokio")]
pub use tasks::in_tasks;

use crate::error::BoxError;

/// How many rounds a row has after its warm-up, unless it says otherwise.
const ROUNDS: usize = 15;

/// How long each of the two is measured in a round, at least.
const ROUND: Duration = Duration::from_millis(4);

/// Rows that are measured one after the other, printed, and written down.
#[derive(Debug)]
pub struct Bench {
    of: Comparisons,
    section: String,
    is_announced: bool,
    /// Only rows whose name contains this are run.
    only: Vec<String>,
}

impl Bench {
    /// A bench of this store. It runs the rows that the arguments of the process name, or all if they name none.
    pub fn from_args(store: impl Into<String>) -> Self {
        // cargo adds `--bench`.
        let only = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let of = Comparisons { store: store.into(), rows: Vec::new() };
        Self { of, section: String::new(), is_announced: false, only }
    }

    /// Begins a section: the rows after this are about something else.
    pub fn section(&mut self, title: impl Into<String>) {
        self.section = title.into();
        self.is_announced = false;
    }

    /// Whether the arguments ask for a row of this name. If not, you can skip an expensive preparation for it.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Measures how long two calls take, each of which does as many operations as the row says.
    ///
    /// Each is called for some milliseconds in a round, one after the other.
    ///
    /// # Errors
    /// The first error of either.
    pub fn compare<O, P, E, F>(
        &mut self,
        row: Row,
        ours: impl FnMut() -> Result<O, E>,
        peer: impl FnMut() -> Result<P, F>,
    ) -> Result<(), BoxError>
    where
        E: Into<BoxError>,
        F: Into<BoxError>,
    {
        if !self.wants(&row.name) {
            return Ok(());
        }
        self.compare_timed(row, rounds::calibrated(ours, ROUND)?, rounds::calibrated(peer, ROUND)?)
    }

    /// Like [`compare`](Self::compare), but each call returns the time that its operations took, without setup and cleanup.
    ///
    /// # Errors
    /// The first error of either.
    pub fn compare_timed<E, F>(
        &mut self,
        row: Row,
        ours: impl FnMut() -> Result<Duration, E>,
        peer: impl FnMut() -> Result<Duration, F>,
    ) -> Result<(), BoxError>
    where
        E: Into<BoxError>,
        F: Into<BoxError>,
    {
        if !self.wants(&row.name) {
            return Ok(());
        }
        let rounds = rounds::take(ours, peer, row.rounds)?;
        self.add(Comparison::of_times(row, &self.section, &rounds));
        Ok(())
    }

    /// Adds a row with counted numbers, which are not measured in rounds.
    pub fn counted(&mut self, row: Row, unit: Unit, ours: f64, peer: f64) {
        if self.wants(&row.name) {
            self.add(Comparison::of_counts(row, &self.section, unit, ours, peer));
        }
    }

    fn add(&mut self, comparison: Comparison) {
        if !self.is_announced {
            println!("\n{}", rows::heading(&self.section));
            self.is_announced = true;
        }
        println!("{comparison}");
        self.of.rows.push(comparison);
    }

    /// The rows measured so far.
    pub fn comparisons(&self) -> &Comparisons {
        &self.of
    }

    /// Writes all rows as `<store>.json` into the folder that `KV_BENCH_REPORT` names, if it names one and all rows were run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), BoxError> {
        let Some(folder) = env::var_os("KV_BENCH_REPORT").map(PathBuf::from) else { return Ok(()) };
        if !self.only.is_empty() {
            println!("\nNothing is written to {}: only some of the rows were run.", folder.display());
            return Ok(());
        }
        let file = folder.join(format!("{}.json", self.of.store));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        fs::write(&file, self.of.to_json()?).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(())
    }
}
