//! The version of an entry.

use std::fmt;

use bytes::Bytes;

use crate::{Key, KeyBuf};

/// Which content an entry had when it was read or written: for [conditional writes](crate::KeyValueStoreExt::put_if)
/// ([U1, U2](crate::contract#12-conditional-and-atomic-updates)).
///
/// It belongs to one key of one store. At another key it matches nothing. Callers compare versions and pass them on; only a backend
/// looks inside. `Debug` shows nothing of a value ([E3](crate::contract#9-errors)).
///
/// A backend makes it of what it can compare in one step: a [number](Self::of_number), or the [content](Self::of_content) itself.
///
/// ```
/// use kv_core::{Version, key};
///
/// let version = Version::of_number(key!("a"), 7);
/// assert_eq!(version.number_at(key!("a")), Some(7));
/// assert_eq!(version.number_at(key!("b")), None);
/// assert_eq!(format!("{version:?}"), "Version(\"a\")");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Version {
    key: KeyBuf,
    token: Token,
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    Number(u64),
    Content(Bytes),
}

impl Version {
    /// A version of the entry at this key, for a backend that numbers versions. A `KeyBuf` is shared, not copied.
    pub fn of_number(key: impl Into<KeyBuf>, number: u64) -> Self {
        Self { key: key.into(), token: Token::Number(number) }
    }

    /// A version of the entry at this key, for a backend that compares values. `content` is the value; `Bytes` are shared, not copied.
    pub fn of_content(key: impl Into<KeyBuf>, content: Bytes) -> Self {
        Self { key: key.into(), token: Token::Content(content) }
    }

    /// The number; `None` if it is a version of another key, or has no number. Then nothing at this key has this version.
    pub fn number_at(&self, key: Key<'_>) -> Option<u64> {
        match self.token {
            Token::Number(number) if self.key == key => Some(number),
            _ => None,
        }
    }

    /// The content; `None` if it is a version of another key, or of a store that numbers versions. Then nothing at this key has this
    /// version.
    pub fn content_at(&self, key: Key<'_>) -> Option<&Bytes> {
        match &self.token {
            Token::Content(content) if self.key == key => Some(content),
            _ => None,
        }
    }
}

/// Shows the key.
impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").field(&self.key.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    #[test]
    fn a_version_is_of_one_key_and_one_kind() {
        let (number, content) = (Version::of_number(key!("a"), 1), Version::of_content(key!("a"), "secret".into()));
        assert_eq!((number.number_at(key!("a")), number.content_at(key!("a"))), (Some(1), None));
        assert_eq!((content.number_at(key!("a")), content.content_at(key!("a"))), (None, Some(&"secret".into())));
        assert_eq!((number.number_at(key!("b")), content.content_at(key!("b"))), (None, None));
        assert!(number != content && number == number.clone() && number != Version::of_number(key!("b"), 1));
        assert_eq!(format!("{content:?}"), "Version(\"a\")");
    }
}
