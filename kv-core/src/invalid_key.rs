//! The error for a text that is not a valid key, prefix or delimiter.

use std::fmt;

use crate::Key;

/// A text is not a valid key, prefix or delimiter ([K1, K2, K4](crate::contract#1-keys)).
///
/// The error says which of these was expected, what is wrong with the text, and where:
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

/// What is wrong with a text; returned by [`InvalidKey::fault`].
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
        /// Its index, in bytes from 0.
        index: usize,
    },
}

/// What the text was given as.
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

    /// The text, escaped as in a Rust literal and cut after about 64 bytes.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

fn excerpt(text: &[u8]) -> Box<str> {
    const SHOWN: usize = 64;
    // A character has at most 4 bytes; one at the cut is shown whole.
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
            Self::Empty => f.write_str("it is empty; at least 1 byte is needed"),
            Self::TooLong { len } => {
                write!(f, "it has {len} bytes; at most {} are allowed", Key::MAX_LEN)
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
    fn a_fault_says_what_is_allowed() {
        let told = |text: &str| Key::new(text).unwrap_err().to_string();
        assert_eq!(told(""), "invalid key \"\": it is empty; at least 1 byte is needed");
        let long = told(&"k".repeat(251));
        assert!(long.ends_with("k…\": it has 251 bytes; at most 250 are allowed"), "{long}");
    }

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
