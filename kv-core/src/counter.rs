//! What a counter is.

/// Why a value cannot be incremented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CounterFault {
    /// A counter is the digits of a whole number up to `i64::MAX`, without a sign, blanks, or a zero before them.
    #[error("it is not the decimal digits of a whole number")]
    NotANumber,
    /// The largest counter is `i64::MAX`.
    #[error("the sum would be larger than 9223372036854775807")]
    TooLarge,
}

/// Adds to the number that a value is: what [`increment`](crate::KeyValueStoreExt::increment) does
/// ([U5](crate::contract#12-conditional-and-atomic-updates)), for backends that do it themselves.
///
/// ```
/// use kv_core::{CounterFault, add_to_counter};
///
/// assert_eq!(add_to_counter(b"41", 1), Ok(42));
/// assert_eq!(add_to_counter(b"041", 1), Err(CounterFault::NotANumber));
/// assert_eq!(add_to_counter(b"9223372036854775807", 1), Err(CounterFault::TooLarge));
/// ```
///
/// # Errors
/// See [`CounterFault`]. Digits beyond `i64::MAX` are no counter.
pub fn add_to_counter(value: &[u8], by: u32) -> Result<u64, CounterFault> {
    let is_written_so = match value {
        [b'0'] => true,
        [first, ..] => *first != b'0' && value.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    let digits = str::from_utf8(value).ok().filter(|_| is_written_so);
    let number = digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or(CounterFault::NotANumber)?;
    let sum = number.checked_add(by.into()).ok_or(CounterFault::TooLarge)?;
    u64::try_from(sum).map_err(|_| CounterFault::NotANumber)
}
