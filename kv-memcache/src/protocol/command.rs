//! The commands that a store sends, independent of a dialect.

use kv_core::{Key, KeyBuf};

use super::ttl::Expiry;

/// A key as the caller gave it, and as the server gets it: with the namespace before it.
#[derive(Debug)]
pub(crate) struct SentKey<'a> {
    pub(crate) given: Key<'a>,
    /// The same if the store has no namespace.
    with_namespace: Option<KeyBuf>,
}

/// Without a namespace.
impl<'a> From<Key<'a>> for SentKey<'a> {
    fn from(given: Key<'a>) -> Self {
        Self { given, with_namespace: None }
    }
}

impl<'a> SentKey<'a> {
    /// The key with this before it, if both together are a key.
    pub(crate) fn new(namespace: &str, given: Key<'a>) -> Option<Self> {
        if namespace.is_empty() {
            return Some(given.into());
        }
        let with_namespace = KeyBuf::new([namespace, given.as_str()].concat()).ok()?;
        Some(Self { given, with_namespace: Some(with_namespace) })
    }

    /// The key on the server.
    pub(crate) fn sent(&self) -> Key<'_> {
        self.with_namespace.as_ref().map_or(self.given, KeyBuf::as_key)
    }
}

/// A command, the key that it is about, and its index in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedCommand<'a> {
    pub(crate) index: usize,
    pub(crate) key: &'a SentKey<'a>,
    pub(crate) command: Command<'a>,
}

impl<'a> KeyedCommand<'a> {
    pub(crate) fn new(index: usize, key: &'a SentKey<'a>, command: Command<'a>) -> Self {
        Self { index, key, command }
    }

    /// A lower bound for the number of bytes that are sent.
    pub(crate) fn len(&self) -> usize {
        const AROUND: usize = 24;
        AROUND + self.key.sent().len() + self.command.value().map_or(0, <[u8]>::len)
    }

    /// The size of the item that it stores, in bytes.
    pub(crate) fn item_size(&self) -> u64 {
        match self.command {
            Command::Put { value, client_flags, .. } => {
                item_size(self.key.sent().len(), value.len() as u64, client_flags)
            }
            Command::Create(value, _) | Command::CreateVersioned(value, _) | Command::PutVersion { value, .. } => {
                item_size(self.key.sent().len(), value.len() as u64, 0)
            }
            _ => 0,
        }
    }
}

/// A request about one key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Get,
    /// Asks for the value, its remaining TTL, its client flags, and the version of the entry.
    GetAll,
    Contains,
    TtlOf,
    /// Never with [`Expiry::Now`].
    Touch(Expiry),
    /// Never with [`Expiry::Now`].
    Put {
        value: &'a [u8],
        expiry: Expiry,
        client_flags: u64,
    },
    /// Stores only if the key is absent.
    Create(&'a [u8], Expiry),
    Delete,
    /// Deletes only this version of the entry.
    DeleteVersion(u64),
    /// Asks for the value and the version of the entry.
    GetVersioned,
    /// As `Create`, and asks for the version of what was stored.
    CreateVersioned(&'a [u8], Expiry),
    /// Replaces only this version of the entry, and asks for the new one.
    PutVersion {
        value: &'a [u8],
        expiry: Expiry,
        version: u64,
    },
    /// Asks for the value, and sets the TTL.
    GetAndTouch(Expiry),
    /// Adds to a number, and asks for the sum. If the entry is absent, this is its value, with this TTL.
    Add {
        by: u32,
        expiry: Expiry,
    },
    /// Takes back what was added to a number.
    Subtract(u32),
}

impl<'a> Command<'a> {
    /// A write. With a TTL of zero it makes the key absent (T3).
    pub(crate) fn put(value: &'a [u8], expiry: Expiry) -> Self {
        if expiry == Expiry::Now { Self::Delete } else { Self::Put { value, expiry, client_flags: 0 } }
    }

    /// A new TTL. One of zero removes the entry (T6).
    pub(crate) fn touch(expiry: Expiry) -> Self {
        if expiry == Expiry::Now { Self::Delete } else { Self::Touch(expiry) }
    }

    /// The same with another value, if it has one.
    #[cfg(feature = "tokio")]
    pub(crate) fn with_value(self, value: &[u8]) -> Command<'_> {
        match self {
            Self::Put { expiry, client_flags, .. } => Command::Put { value, expiry, client_flags },
            Self::Create(_, expiry) => Command::Create(value, expiry),
            Self::CreateVersioned(_, expiry) => Command::CreateVersioned(value, expiry),
            Self::PutVersion { expiry, version, .. } => Command::PutVersion { value, expiry, version },
            Self::Get => Command::Get,
            Self::GetAll => Command::GetAll,
            Self::Contains => Command::Contains,
            Self::TtlOf => Command::TtlOf,
            Self::Touch(expiry) => Command::Touch(expiry),
            Self::Delete => Command::Delete,
            Self::DeleteVersion(version) => Command::DeleteVersion(version),
            Self::GetVersioned => Command::GetVersioned,
            Self::GetAndTouch(expiry) => Command::GetAndTouch(expiry),
            Self::Add { by, expiry } => Command::Add { by, expiry },
            Self::Subtract(by) => Command::Subtract(by),
        }
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self, Self::Get | Self::GetAll | Self::GetVersioned | Self::Contains | Self::TtlOf)
    }

    pub(crate) fn expiry(&self) -> Option<Expiry> {
        match *self {
            Self::Touch(expiry)
            | Self::Put { expiry, .. }
            | Self::Create(_, expiry)
            | Self::CreateVersioned(_, expiry)
            | Self::PutVersion { expiry, .. }
            | Self::GetAndTouch(expiry)
            | Self::Add { expiry, .. } => Some(expiry),
            // A server that does not compare versions in `md` gets an expired entry instead.
            Self::DeleteVersion(_) => Some(Expiry::Now),
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Put { value, .. }
            | Self::Create(value, _)
            | Self::CreateVersioned(value, _)
            | Self::PutVersion { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// The size of an item in bytes, as the server's limit (`-I`) counts it: the server's header, the number of the version, the key with a
/// zero byte, client flags if there are any, and the value with the end of its line.
pub(crate) fn item_size(key_length: usize, value_length: u64, client_flags: u64) -> u64 {
    const HEADER: u64 = 48;
    const VERSION: u64 = 8;
    const ENDS: u64 = 1 + 2;
    let flags = match client_flags {
        0 => 0,
        1..=0xffff_ffff => 4,
        _ => 8,
    };
    (HEADER + VERSION + ENDS + flags + key_length as u64).saturating_add(value_length)
}
