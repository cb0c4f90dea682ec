//! The alphabet of keys, and the implementations that all checked texts share.

use crate::KeyFault;
use crate::invalid_key::{InvalidKey, Role};

/// The first byte outside the alphabet, usable in constants.
pub(crate) const fn first_foreign_byte(text: &[u8]) -> Option<KeyFault> {
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        if !byte.is_ascii_graphic() {
            return Some(KeyFault::Byte { byte: *byte, index: text.len() - rest.len() });
        }
        rest = tail;
    }
    None
}

/// Whether a text consists of the alphabet; at run time.
#[inline]
pub(crate) fn is_in_alphabet(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    // Checks the last eight bytes again, so that few texts have a rest to check byte by byte.
    let rest_is = match text.last_chunk() {
        Some(&last) => is_graphic(last),
        None => rest.iter().all(u8::is_ascii_graphic),
    };
    rest_is && words.iter().all(|&word| is_graphic(word))
}

/// Finds the first byte of a text that is not in the alphabet. There has to be one.
#[cold]
pub(crate) fn foreign_byte(role: Role, text: &[u8]) -> InvalidKey {
    let fault = first_foreign_byte(text).unwrap_or(KeyFault::Empty);
    InvalidKey::new(role, text, fault)
}

/// Whether all of eight bytes are visible ASCII characters. It checks them at once, because every operation checks a key.
///
/// As in Sean Anderson's [Bit Twiddling Hacks](https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord):
/// no ASCII character has the high bit of its byte set. Adding 1 sets it for 0x7F, and subtracting 0x21 clears it for bytes
/// below 0x21. A byte that has the bit set itself is found directly.
#[inline]
const fn is_graphic(bytes: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    let word = u64::from_ne_bytes(bytes);
    let too_large = word | word.wrapping_add(EACH);
    let large_enough = (word | HIGH) - EACH * 0x21;
    too_large & HIGH == 0 && large_enough & HIGH == HIGH
}

/// Implementations for a checked text, which can be used and compared like a `str`.
macro_rules! impl_text {
    ($($generics:lifetime)?, $type:ty) => {
        impl<$($generics)?> std::ops::Deref for $type {
            type Target = str;
            #[inline]
            fn deref(&self) -> &str {
                self.as_str()
            }
        }

        impl<$($generics)?> AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl<$($generics)?> AsRef<[u8]> for $type {
            fn as_ref(&self) -> &[u8] {
                self.as_str().as_bytes()
            }
        }

        impl<$($generics)?> std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl<$($generics)?> PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl<$($generics)?> PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl<$($generics)?> PartialEq<String> for $type {
            fn eq(&self, other: &String) -> bool {
                self.as_str() == other
            }
        }

        impl<$($generics)?> PartialEq<$type> for str {
            fn eq(&self, other: &$type) -> bool {
                self == other.as_str()
            }
        }

        impl<$($generics)?> PartialEq<$type> for &str {
            fn eq(&self, other: &$type) -> bool {
                *self == other.as_str()
            }
        }

        impl<$($generics)?> PartialEq<$type> for String {
            fn eq(&self, other: &$type) -> bool {
                self == other.as_str()
            }
        }
    };
}
pub(crate) use impl_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_give_the_same_result_as_one_by_one() {
        for place in 0..8 {
            for byte in 0..=255_u8 {
                for others in [b'!', b'a', b'~'] {
                    let mut word = [others; 8];
                    word[place] = byte;
                    assert_eq!(is_graphic(word), byte.is_ascii_graphic(), "{word:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_foreign_byte_is_found_at_every_index() {
        for length in 1..40 {
            for index in 0..length {
                for byte in [0, b' ', 0x7F, 0x80, 0xFF] {
                    let mut text = vec![b'k'; length];
                    text[index] = byte;
                    assert!(!is_in_alphabet(&text));
                    assert_eq!(foreign_byte(Role::Key, &text).fault(), KeyFault::Byte { byte, index });
                }
            }
            assert!(is_in_alphabet(&vec![b'k'; length]));
        }
    }
}
