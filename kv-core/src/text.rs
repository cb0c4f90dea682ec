//! The alphabet of keys, and what every type made of it has in common.

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

/// Whether a text is made of the alphabet, at run time.
#[inline]
pub(crate) fn is_in_alphabet(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    // The last eight bytes once more, so that few texts have a rest to be looked at byte by byte.
    let rest_is = match text.last_chunk() {
        Some(&last) => is_graphic(last),
        None => rest.iter().all(u8::is_ascii_graphic),
    };
    rest_is && words.iter().all(|&word| is_graphic(word))
}

/// Says which byte of a text is not of the alphabet. There has to be one.
#[cold]
pub(crate) fn foreign_byte(role: Role, text: &[u8]) -> InvalidKey {
    let fault = first_foreign_byte(text).unwrap_or(KeyFault::Empty);
    InvalidKey::new(role, text, fault)
}

/// Whether all of eight bytes are visible ASCII characters, found out at once: every operation checks a key.
///
/// As in Sean Anderson's [Bit Twiddling Hacks](https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord):
/// adding 1 carries 0x7F, and taking away 0x21 carries what is less, into the high bit of its byte, which no ASCII
/// character has set. Bytes that have it set are found by that.
#[inline]
const fn is_graphic(bytes: [u8; 8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    let word = u64::from_ne_bytes(bytes);
    let too_large = word | word.wrapping_add(EACH);
    let large_enough = (word | HIGH) - EACH * 0x21;
    too_large & HIGH == 0 && large_enough & HIGH == HIGH
}

/// What callers expect of a type that is a checked text: it can be used and compared as a `str`.
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
    fn eight_bytes_at_once_are_judged_as_one_by_one() {
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
    fn the_first_foreign_byte_is_found_wherever_it_is() {
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
