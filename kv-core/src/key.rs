//! The borrowed key.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::invalid_key::{InvalidKey, Role};
use crate::text::{first_foreign_byte, foreign_byte, impl_text, is_in_alphabet};
use crate::{KeyBuf, KeyFault};

/// A valid key, borrowed: 1 to 250 visible ASCII characters ([K1, K2](crate::contract#1-keys)).
///
/// A `Key` is to [`KeyBuf`] what `&str` is to `String`. Its text is checked once, when it is made, so code that takes a
/// `Key` need not check it again. Two keys are the same if and only if their bytes are: case matters, and nothing is
/// normalised or decoded ([K3](crate::contract#1-keys)).
///
/// ```
/// use kv_core::{Key, key};
///
/// const GREETING: Key<'_> = Key::from_static("greeting");  // checked at compile time
/// let session = Key::new("session:42")?;                   // checked here
/// assert!(session.starts_with("session:"));                // a key is used like a str
/// assert_eq!(key!("greeting"), GREETING);                  // a literal, checked at compile time
/// assert!(Key::new("").is_err());
/// assert!(Key::new("two words").is_err());
/// # Ok::<(), kv_core::InvalidKey>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// The maximum length of a key in bytes, which is [memcached's limit].
    ///
    /// [memcached's limit]: https://github.com/memcached/memcached/blob/master/doc/protocol.txt
    pub const MAX_LEN: usize = 250;

    /// Checks a text and makes a key of it.
    ///
    /// # Errors
    /// [`InvalidKey`] if the text is empty, longer than [`MAX_LEN`](Self::MAX_LEN) bytes, or has a byte that is not a
    /// visible ASCII character (0x21 to 0x7E).
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, InvalidKey> {
        if is_key(text.as_bytes()) { Ok(Self(text)) } else { Err(invalid(text.as_bytes())) }
    }

    /// Makes a key of a literal. In a constant, an invalid literal does not compile.
    ///
    /// Outside of constants, use [`key!`](crate::key!), which always checks at compile time.
    ///
    /// ```compile_fail,E0080
    /// const KEY: kv_core::Key<'_> = kv_core::Key::from_static("two words");
    /// # println!("{KEY}");
    /// ```
    ///
    /// # Panics
    /// If the literal is not a valid key and the call is not evaluated at compile time.
    pub const fn from_static(literal: &'static str) -> Key<'static> {
        assert!(!literal.is_empty(), "a key has at least 1 byte");
        assert!(literal.len() <= Self::MAX_LEN, "a key has at most 250 bytes");
        assert!(
            first_foreign_byte(literal.as_bytes()).is_none(),
            "a key consists of visible ASCII characters (0x21 to 0x7E)"
        );
        Key(literal)
    }

    /// The text of the key.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// An owned copy.
    pub fn to_key_buf(self) -> KeyBuf {
        KeyBuf::from(self)
    }

    /// For a text that is known to be a valid key: a part of a key, or a [`KeyBuf`].
    #[inline]
    pub(crate) const fn trusted(text: &'a str) -> Self {
        Self(text)
    }
}

/// Makes a [`Key`] of a literal, which is checked at compile time.
///
/// ```
/// let key = kv_core::key!("greeting");
/// assert_eq!(key, "greeting");
/// ```
///
/// A literal that is not a key does not compile:
///
/// ```compile_fail,E0080
/// kv_core::key!("two words");
/// ```
/// ```compile_fail,E0080
/// kv_core::key!("");
/// ```
#[macro_export]
macro_rules! key {
    ($literal:expr) => {
        const { $crate::Key::from_static($literal) }
    };
}

/// Whether a text is a key.
#[inline]
fn is_key(text: &[u8]) -> bool {
    matches!(text.len(), 1..=Key::MAX_LEN) && is_in_alphabet(text)
}

/// Says why a text is not a key: its length, or a byte of it.
#[cold]
fn invalid(text: &[u8]) -> InvalidKey {
    match text.len() {
        0 => InvalidKey::new(Role::Key, text, KeyFault::Empty),
        1..=Key::MAX_LEN => foreign_byte(Role::Key, text),
        len => InvalidKey::new(Role::Key, text, KeyFault::TooLong { len }),
    }
}

impl_text!('a, Key<'a>);

impl<'a> From<Key<'a>> for &'a str {
    fn from(key: Key<'a>) -> Self {
        key.0
    }
}

impl From<Key<'_>> for String {
    fn from(key: Key<'_>) -> Self {
        key.0.to_owned()
    }
}

impl<'a> TryFrom<&'a str> for Key<'a> {
    type Error = InvalidKey;

    fn try_from(text: &'a str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl<'a> TryFrom<&'a String> for Key<'a> {
    type Error = InvalidKey;

    fn try_from(text: &'a String) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl<'a> TryFrom<&'a [u8]> for Key<'a> {
    type Error = InvalidKey;

    fn try_from(text: &'a [u8]) -> Result<Self, InvalidKey> {
        match str::from_utf8(text) {
            Ok(checked) if is_key(text) => Ok(Self(checked)),
            _ => Err(invalid(text)),
        }
    }
}

/// What the methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt) take as a key.
///
/// A text is checked; a [`Key`] or [`KeyBuf`] is valid already and is not checked again.
pub trait AsKey {
    /// Borrows the key.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is a text that is not a valid key.
    fn as_key(&self) -> Result<Key<'_>, InvalidKey>;
}

impl AsKey for Key<'_> {
    #[inline]
    fn as_key(&self) -> Result<Key<'_>, InvalidKey> {
        Ok(*self)
    }
}

impl AsKey for KeyBuf {
    #[inline]
    fn as_key(&self) -> Result<Key<'_>, InvalidKey> {
        Ok(self.as_key())
    }
}

impl<T: AsKey + ?Sized> AsKey for &T {
    #[inline]
    fn as_key(&self) -> Result<Key<'_>, InvalidKey> {
        (**self).as_key()
    }
}

macro_rules! impl_as_key_for_text {
    ($($text:ty),*) => {$(
        impl AsKey for $text {
            #[inline]
            fn as_key(&self) -> Result<Key<'_>, InvalidKey> {
                Key::new(self)
            }
        }
    )*};
}
impl_as_key_for_text!(str, String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);
