//! Values that can be recognised.

use std::sync::LazyLock;

use kv_core::Bytes;

/// How long the pattern is that values are parts of.
const LENGTH: usize = 2 << 20;

/// The pattern, made once.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| patterned(LENGTH).into());

/// A value of this size that does not repeat within a short distance, and begins at this place of the pattern. It is copied only if it is larger
/// than the pattern.
pub(crate) fn part_of_pattern(begin: usize, size: usize) -> Bytes {
    let end = begin.saturating_add(size);
    if end <= LENGTH { PATTERN.slice(begin..end) } else { patterned(end).split_off(begin).into() }
}

/// A value of this size that does not repeat within a short distance, so that a missing or misplaced piece shows.
pub(crate) fn patterned(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13).to_le_bytes()[0]).collect()
}
