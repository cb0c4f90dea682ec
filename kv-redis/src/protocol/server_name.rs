//! How messages name one of several servers.

use std::error::Error as StdError;
use std::sync::Arc;

/// One of several servers.
#[derive(Clone, Debug)]
pub(crate) struct ServerName {
    text: Arc<str>,
    /// Whether the name of the host, and messages that contain it, are hidden.
    is_hidden: bool,
    /// Whether another server announced the address, and it was used as it is.
    is_as_announced: bool,
}

#[cfg(any(feature = "cluster", feature = "sentinel"))]
impl ServerName {
    /// A server that the application has named.
    pub(crate) fn given(text: &impl ToString) -> Self {
        Self { text: text.to_string().into(), is_hidden: false, is_as_announced: false }
    }

    /// A server that another server announced.
    pub(crate) fn announced(text: String, is_hidden: bool, is_mapped: bool) -> Self {
        Self { text: text.into(), is_hidden, is_as_announced: !is_mapped }
    }
}

impl ServerName {
    /// A message with the name before it, and a cause that may be shown.
    pub(crate) fn tell(
        &self,
        message: &str,
        cause: Option<Box<dyn StdError + Send + Sync>>,
        names_host: bool,
    ) -> (String, Option<Box<dyn StdError + Send + Sync>>) {
        let message = if self.is_hidden && names_host { "it is not to be trusted" } else { message };
        (format!("{}: {message}", self.text), cause.filter(|_| !self.is_hidden))
    }

    /// Whether another server announced the address, and it was used as it is.
    pub(crate) fn is_as_announced(&self) -> bool {
        self.is_as_announced
    }
}
