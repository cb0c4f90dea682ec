//! Values made to be recognised.

/// A value of this size that does not repeat within a short distance, so that a missing or misplaced piece shows.
pub(crate) fn patterned(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13).to_le_bytes()[0]).collect()
}
