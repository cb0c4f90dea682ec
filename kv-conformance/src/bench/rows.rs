//! The rows of a bench: what is compared, and the results.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ROUNDS;
use crate::error::BoxError;

/// What is to be compared.
#[derive(Clone, Debug)]
#[must_use]
pub struct Row {
    pub(super) name: String,
    beside: String,
    at_most: Option<f64>,
    operations: u32,
    pub(super) rounds: usize,
}

impl Row {
    /// A row of this name: one operation a call, 15 rounds.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), beside: String::new(), at_most: None, operations: 1, rounds: ROUNDS }
    }

    /// The name of the peer.
    pub fn beside(mut self, peer: impl Into<String>) -> Self {
        self.beside = peer.into();
        self
    }

    /// The goal for the median of the ratios. It is shown beside the median, and a row that misses it is marked.
    pub fn at_most(mut self, ratio: f64) -> Self {
        self.at_most = Some(ratio);
        self
    }

    /// The number of operations in each call. Times are shown for one operation.
    pub fn operations(mut self, operations: u32) -> Self {
        self.operations = operations.max(1);
        self
    }

    /// The number of measured rounds, at least one. A round to warm up comes first.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds.max(1);
        self
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Unit {
    /// Nanoseconds for each operation.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// A plain number.
    Count,
}

/// A row that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The title above it.
    pub section: String,
    /// What was measured.
    pub name: String,
    /// What ours was compared with.
    pub beside: String,
    /// The unit of the figures.
    pub unit: Unit,
    /// Ours: the median.
    pub ours: f64,
    /// The peer's: the median.
    pub peer: f64,
    /// The median of the ratios of ours to the peer's, each of one round. Below 1, ours is faster, or smaller.
    pub ratio: f64,
    /// The 10th percentile of the ratios.
    pub low: f64,
    /// The 90th percentile of the ratios.
    pub high: f64,
    /// The goal for the ratio.
    pub at_most: Option<f64>,
    /// How many rounds were measured.
    pub rounds: usize,
}

impl Comparison {
    pub(super) fn of_times(row: Row, section: &str, rounds: &[[Duration; 2]]) -> Self {
        let each = f64::from(row.operations);
        let figures = |of: fn(&[f64; 2]) -> f64| {
            let pairs = rounds.iter().map(|pair| pair.map(|time| time.as_secs_f64() * 1e9 / each));
            pairs.map(|pair| of(&pair)).collect::<Vec<_>>()
        };
        let ratios = figures(|[ours, peer]| ours / peer);
        Self {
            section: section.to_owned(),
            name: row.name,
            beside: row.beside,
            unit: Unit::Nanoseconds,
            ours: quantile(&figures(|[ours, _]| *ours), 50),
            peer: quantile(&figures(|[_, peer]| *peer), 50),
            ratio: quantile(&ratios, 50),
            low: quantile(&ratios, 10),
            high: quantile(&ratios, 90),
            at_most: row.at_most,
            rounds: rounds.len(),
        }
    }

    pub(super) fn of_counts(row: Row, section: &str, unit: Unit, ours: f64, peer: f64) -> Self {
        let Row { name, beside, at_most, .. } = row;
        let (section, ratio) = (section.to_owned(), ours / peer);
        Self { section, name, beside, unit, ours, peer, ratio, low: ratio, high: ratio, at_most, rounds: 1 }
    }

    /// Whether the median is above its goal. Without a goal it is not.
    pub fn is_missed(&self) -> bool {
        self.at_most.is_some_and(|at_most| self.ratio > at_most)
    }

    /// A figure with its unit.
    pub(super) fn shown(&self, figure: f64) -> String {
        match self.unit {
            Unit::Nanoseconds if figure < 1e4 => format!("{figure:.0} ns"),
            Unit::Nanoseconds if figure < 1e7 => format!("{:.1} µs", figure / 1e3),
            Unit::Nanoseconds if figure < 1e10 => format!("{:.1} ms", figure / 1e6),
            Unit::Nanoseconds => format!("{:.1} s", figure / 1e9),
            Unit::Bytes => format!("{figure:.0} B"),
            Unit::Count => format!("{figure:.1}"),
        }
    }
}

/// The rows of one store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparisons {
    /// Its name.
    pub store: String,
    /// The rows, in the order in which they were measured.
    pub rows: Vec<Comparison>,
}

impl Comparisons {
    /// As JSON.
    ///
    /// # Errors
    /// A number is not finite.
    pub fn to_json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_json(json: &str) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(json)?)
    }
}

/// The first line of a table.
pub(super) fn heading(section: &str) -> String {
    format!(
        "{section:<48} {:<22} {:>10} {:>10} {:>6} {:>6} {:>6}  at most",
        "beside", "ours", "peer", "ratio", "10 %", "90 %"
    )
}

/// A line of a table.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_most = self.at_most.map(|at_most| format!("{at_most:>9.2}")).unwrap_or_default();
        // A ratio far below 1 needs more digits after the point.
        let ratio = |ratio: f64| if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") };
        write!(
            f,
            "{:<48} {:<22} {:>10} {:>10} {:>6} {:>6} {:>6}{at_most}{}",
            self.name,
            self.beside,
            self.shown(self.ours),
            self.shown(self.peer),
            ratio(self.ratio),
            ratio(self.low),
            ratio(self.high),
            if self.is_missed() { "  missed" } else { "" }
        )
    }
}

/// The number below which this many percent of the numbers are.
fn quantile(numbers: &[f64], percent: usize) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) * percent + 50) / 100;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> Vec<[Duration; 2]> {
        // One of them was measured while the machine did something else.
        [[300, 200], [310, 200], [3_000, 2_000], [290, 200], [9_000, 200]]
            .map(|pair| pair.map(Duration::from_nanos))
            .into()
    }

    #[test]
    fn the_median_of_the_ratios_is_not_the_ratio_of_the_medians() {
        let row = Row::new("get").beside("map").at_most(1.4);
        let got = Comparison::of_times(row, "One thread", &rounds());
        assert_eq!((got.ours, got.peer, got.rounds), (310.0, 200.0, 5));
        assert_eq!((got.low, got.ratio, got.high), (1.45, 1.5, 45.0));
        assert!(got.is_missed());
        assert_eq!(
            got.to_string(),
            "get                                              map                        310 ns     200 ns   1.50   1.45  45.00     1.40  missed"
        );
    }

    #[test]
    fn times_are_those_of_one_operation() {
        let got = Comparison::of_times(Row::new("batch").operations(100), "", &rounds());
        assert_eq!((got.ours, got.ratio, got.is_missed()), (3.1, 1.5, false));
    }

    #[test]
    fn it_can_be_written_down_and_read_back() -> Result<(), BoxError> {
        let rows = vec![
            Comparison::of_times(Row::new("get").at_most(1.5), "One thread", &rounds()),
            Comparison::of_counts(Row::new("memory"), "Memory", Unit::Bytes, 120.0, 80.0),
        ];
        let all = Comparisons { store: "mine".into(), rows };
        assert_eq!(Comparisons::from_json(&all.to_json()?)?, all);
        Ok(())
    }

    #[test]
    fn figures_have_units() {
        let row = Comparison::of_times(Row::new("get"), "", &rounds());
        let shown = [999.4, 12_345.0, 12_345_678.0, 12_345_678_901.0].map(|figure| row.shown(figure));
        assert_eq!(shown, ["999 ns", "12.3 µs", "12.3 ms", "12.3 s"]);
    }
}
