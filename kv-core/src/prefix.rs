//! The prefix of a listing.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::invalid_key::{InvalidKey, Role};
use crate::text::{first_foreign_byte, foreign_byte, impl_text, is_in_alphabet};
use crate::{Key, KeyBuf};

/// A valid prefix, borrowed: empty, or made of visible ASCII characters ([K4](crate::contract#1-keys)).
///
/// Every byte of it is literal: `*`, `?`, `[`, `]`, `^`, `-` and `\` have no meaning. Its length has no limit; a prefix
/// that is longer than the longest key matches no key.
///
/// ```
/// use kv_core::Prefix;
///
/// let sessions = Prefix::new("session:")?;
/// assert!("session:42".starts_with(sessions.as_str()));
/// assert!(Prefix::EMPTY.is_empty());
/// assert!(Prefix::new("two words").is_err());
/// # Ok::<(), kv_core::InvalidKey>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<'a>(&'a str);

impl<'a> Prefix<'a> {
    /// The empty prefix, which matches every key.
    pub const EMPTY: Prefix<'static> = Prefix("");

    /// Checks a text and makes a prefix of it.
    ///
    /// # Errors
    /// [`InvalidKey`] if it has a byte that is not a visible ASCII character (0x21 to 0x7E).
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, InvalidKey> {
        if is_in_alphabet(text.as_bytes()) { Ok(Self(text)) } else { Err(foreign_byte(Role::Prefix, text.as_bytes())) }
    }

    /// Makes a prefix of a literal. In a constant, an invalid literal does not compile.
    ///
    /// ```compile_fail,E0080
    /// const PREFIX: kv_core::Prefix<'_> = kv_core::Prefix::from_static("two words");
    /// # println!("{PREFIX}");
    /// ```
    ///
    /// # Panics
    /// If the literal is not a valid prefix and the call is not evaluated at compile time.
    pub const fn from_static(literal: &'static str) -> Prefix<'static> {
        assert!(
            first_foreign_byte(literal.as_bytes()).is_none(),
            "a prefix consists of visible ASCII characters (0x21 to 0x7E)"
        );
        Prefix(literal)
    }

    /// The text of the prefix.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl_text!('a, Prefix<'a>);

impl<'a> From<Key<'a>> for Prefix<'a> {
    fn from(key: Key<'a>) -> Self {
        Self(key.as_str())
    }
}

impl<'a> From<&'a KeyBuf> for Prefix<'a> {
    fn from(key: &'a KeyBuf) -> Self {
        Self(key.as_str())
    }
}

impl<'a> TryFrom<&'a str> for Prefix<'a> {
    type Error = InvalidKey;

    fn try_from(text: &'a str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// What the listings of [`KeyValueStoreExt`](crate::KeyValueStoreExt) take as a prefix.
///
/// A text is checked; a [`Prefix`], [`Key`] or [`KeyBuf`] is valid already and is not checked again.
pub trait AsPrefix {
    /// Borrows the prefix.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is a text that is not a valid prefix.
    fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey>;
}

impl AsPrefix for Prefix<'_> {
    fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey> {
        Ok(*self)
    }
}

impl AsPrefix for Key<'_> {
    fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey> {
        Ok((*self).into())
    }
}

impl AsPrefix for KeyBuf {
    fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey> {
        Ok(self.into())
    }
}

impl<T: AsPrefix + ?Sized> AsPrefix for &T {
    fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey> {
        (**self).as_prefix()
    }
}

macro_rules! impl_as_prefix_for_text {
    ($($text:ty),*) => {$(
        impl AsPrefix for $text {
            fn as_prefix(&self) -> Result<Prefix<'_>, InvalidKey> {
                Prefix::new(self)
            }
        }
    )*};
}
impl_as_prefix_for_text!(str, String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);
