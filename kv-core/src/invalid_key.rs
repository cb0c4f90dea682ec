//! What is wrong with a text that was to be a key, a prefix or a delimiter.

use std::fmt;

use crate::Key;

/// A text that is not a key, not a prefix or not a delimiter (contract: K1, K2, K4).
///
/// It says what the text was to be, what is wrong with it and where:
///
/// ```
/// use kv_core::{Key, KeyFault};
///
/// let error = Key::new("two words").unwrap_err();
/// assert_eq!(error.fault(), KeyFault::Byte { byte: b' ', index: 3 });
/// assert_eq!(
///     error.to_string(),
///     "invalid key \"two words\": byte 0x20 at index 3 is not a visible ASCII character (0x21 to 0x7E)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {role} \"{excerpt}\": {fault}")]
pub struct InvalidKey {
    role: Role,
    excerpt: Box<str>,
    fault: KeyFault,
}

/// What is wrong with a text, as [`InvalidKey::fault`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// The text is empty.
    Empty,
    /// The text is longer than [`Key::MAX_LEN`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A byte of the text is not a visible ASCII character.
    Byte {
        /// The first such byte.
        byte: u8,
        /// Where it is, counted in bytes from 0.
        index: usize,
    },
}

/// What a text was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Key,
    Prefix,
    Delimiter,
}

impl InvalidKey {
    pub(crate) fn new(role: Role, text: &[u8], fault: KeyFault) -> Self {
        Self { role, excerpt: excerpt(text), fault }
    }

    pub(crate) fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// What is wrong.
    pub fn fault(&self) -> KeyFault {
        self.fault
    }

    /// The text, escaped as in a Rust literal and cut after some 64 bytes.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

fn excerpt(text: &[u8]) -> Box<str> {
    const SHOWN: usize = 64;
    // A character is 4 bytes at most: one that is cut in two is shown whole.
    let end = (SHOWN..SHOWN + 4).find(|&end| text.get(end).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(SHOWN);
    let shown = text.get(..end).unwrap_or(text);
    let mut excerpt = shown
        .utf8_chunks()
        .flat_map(|chunk| {
            let valid = chunk.valid().escape_debug().to_string();
            [valid, chunk.invalid().escape_ascii().to_string()]
        })
        .collect::<String>();
    if shown.len() < text.len() {
        excerpt.push('…');
    }
    excerpt.into_boxed_str()
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty, and at least 1 byte is needed"),
            Self::TooLong { len } => {
                write!(f, "it has {len} bytes, and {} are the most", Key::MAX_LEN)
            }
            Self::Byte { byte, index } => {
                write!(f, "byte 0x{byte:02X} at index {index} is not a visible ASCII character (0x21 to 0x7E)")
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Prefix => "prefix",
            Self::Delimiter => "delimiter",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_escaped_and_cut() {
        assert_eq!(&*excerpt(b"a\r\n\"\xFF"), "a\\r\\n\\\"\\xff");
        let long = excerpt(&[b'x'; 1000]);
        assert_eq!(long.chars().count(), 65);
        assert!(long.ends_with("x…"));
        let cut = excerpt("ü".repeat(33).replacen('ü', "uü", 1).as_bytes());
        assert!(cut.ends_with("ü…"), "{cut}");
    }
}
