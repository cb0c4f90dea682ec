//! A prefix as a pattern of redis.
//!
//! It uses nothing else of the crate, so that the fuzz target `redis_prefix` can compile it alone.

/// The pattern that matches what begins with this text, and nothing else (K4).
pub(crate) fn of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}
