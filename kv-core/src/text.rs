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

/// Checks the alphabet at run time. The fold has no early exit so that the compiler can vectorise it.
pub(crate) fn check_alphabet(role: Role, text: &[u8]) -> Result<(), InvalidKey> {
    if text.iter().fold(true, |all, byte| all & byte.is_ascii_graphic()) {
        return Ok(());
    }
    first_foreign_byte(text).map_or(Ok(()), |fault| Err(InvalidKey::new(role, text, fault)))
}

/// What callers expect of a type that is a checked text: it can be used and compared as a `str`.
macro_rules! impl_text {
    ($($generics:lifetime)?, $type:ty) => {
        impl<$($generics)?> std::ops::Deref for $type {
            type Target = str;
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
