//! Counters: what `increment` takes for a number, and what it adds up to (U5).

use std::collections::BTreeSet;

use kv_core::Bytes;

/// The number that a value is, if it is a counter.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let is_written_so = value == b"0" || !value.starts_with(b"0") && value.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(value).ok().filter(|text| is_written_so && !text.is_empty())?.parse::<i64>().ok()?;
    u64::try_from(number).ok()
}

/// What an increment makes of a number, if a counter can be as large.
pub(crate) fn sum(number: u64, by: u32) -> Option<u64> {
    number.checked_add(by.into()).filter(|sum| i64::try_from(*sum).is_ok())
}

/// A number as a counter holds it.
pub(crate) fn text(number: u64) -> Bytes {
    number.to_string().into()
}

/// The counters that increments of these numbers may make of the values and of nothing, each done once or never, in any order.
pub(super) fn all_sums<'v>(
    values: impl IntoIterator<Item = &'v Bytes>,
    increments: impl IntoIterator<Item = u32>,
) -> Vec<Bytes> {
    let before = values.into_iter().filter_map(|value| number(value)).collect::<BTreeSet<_>>();
    let mut sums = BTreeSet::new();
    for by in increments {
        let again = before.union(&sums).filter_map(|number| sum(*number, by)).chain([by.into()]).collect::<Vec<_>>();
        sums.extend(again);
    }
    sums.into_iter().map(text).collect()
}
