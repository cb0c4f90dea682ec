//! The owned key.

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

use crate::invalid_key::InvalidKey;
use crate::key::Key;
use crate::text::impl_text;

/// A valid key, owned: 1 to 250 visible ASCII characters ([K1, K2](crate::contract#1-keys)).
///
/// A `KeyBuf` is to [`Key`] what `String` is to `&str`. Listings yield it. It hashes and compares like its text, so a map
/// with `KeyBuf` keys can be searched with a `&str`. Cloning it does not copy the text.
///
/// With the feature `serde` it is a string; reading one that is not a valid key is an error.
///
/// ```
/// use std::collections::HashMap;
/// use kv_core::KeyBuf;
///
/// let key: KeyBuf = "session:42".parse()?;
/// let visits = HashMap::from([(key, 7)]);
/// assert_eq!(visits.get("session:42"), Some(&7));
/// # Ok::<(), kv_core::InvalidKey>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyBuf(Arc<str>);

impl KeyBuf {
    /// Checks a text and makes a key of it.
    ///
    /// # Errors
    /// [`InvalidKey`], as for [`Key::new`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidKey> {
        Key::new(text.as_ref()).map(Self::from)
    }

    /// The key, borrowed.
    #[inline]
    pub fn as_key(&self) -> Key<'_> {
        Key::trusted(&self.0)
    }

    /// The part up to and including the first delimiter that is not before `begin`, if there is one ([L6](crate::contract#5-listing)).
    pub(crate) fn part(&self, delimiter: &str, begin: usize) -> Option<Key<'_>> {
        let at = self.0.get(begin..)?.find(delimiter)?;
        self.0.get(..begin + at + delimiter.len()).map(Key::trusted)
    }

    /// The text of the key.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl_text!(, KeyBuf);

impl Borrow<str> for KeyBuf {
    #[inline]
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Key<'_>> for KeyBuf {
    #[inline]
    fn from(key: Key<'_>) -> Self {
        Self(key.as_str().into())
    }
}

impl<'a> From<&'a KeyBuf> for Key<'a> {
    #[inline]
    fn from(key: &'a KeyBuf) -> Self {
        key.as_key()
    }
}

impl From<KeyBuf> for String {
    #[inline]
    fn from(key: KeyBuf) -> Self {
        key.as_str().to_owned()
    }
}

/// Shares the text without copying it.
impl From<KeyBuf> for Arc<str> {
    #[inline]
    fn from(key: KeyBuf) -> Self {
        key.0
    }
}

impl TryFrom<String> for KeyBuf {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl TryFrom<&str> for KeyBuf {
    type Error = InvalidKey;

    fn try_from(text: &str) -> Result<Self, InvalidKey> {
        Key::new(text).map(Self::from)
    }
}

impl TryFrom<&[u8]> for KeyBuf {
    type Error = InvalidKey;

    fn try_from(text: &[u8]) -> Result<Self, InvalidKey> {
        Key::try_from(text).map(Self::from)
    }
}

impl TryFrom<Vec<u8>> for KeyBuf {
    type Error = InvalidKey;

    fn try_from(text: Vec<u8>) -> Result<Self, InvalidKey> {
        Self::try_from(text.as_slice())
    }
}

impl FromStr for KeyBuf {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::try_from(text)
    }
}

impl PartialEq<Key<'_>> for KeyBuf {
    fn eq(&self, other: &Key<'_>) -> bool {
        self.as_key() == *other
    }
}

impl PartialEq<KeyBuf> for Key<'_> {
    fn eq(&self, other: &KeyBuf) -> bool {
        *self == other.as_key()
    }
}

impl PartialOrd<Key<'_>> for KeyBuf {
    fn partial_cmp(&self, other: &Key<'_>) -> Option<std::cmp::Ordering> {
        self.as_key().partial_cmp(other)
    }
}

impl PartialOrd<KeyBuf> for Key<'_> {
    fn partial_cmp(&self, other: &KeyBuf) -> Option<std::cmp::Ordering> {
        self.partial_cmp(&other.as_key())
    }
}
