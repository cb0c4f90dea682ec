//! User and password: fixed, or from a provider that is called for each connection.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::fault::{Fault, SlowProvider};
use crate::protocol::handshake::Login;

/// User and password of ASCII authentication for one connection, as a
/// [provider](crate::MemcacheStoreBuilder::credentials_provider) gives them. Its `Debug` shows neither ([E3](kv_core::contract#9-errors)).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Credentials {
    /// A user and its password, as in the file of memcached's option `-Y`. Each has at least one character and no space, and the user has no
    /// colon. That is checked when they are used.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    pub(crate) fn login(&self) -> Login<'_> {
        Login { user: &self.user, password: &self.password }
    }

    /// Whether they can be sent. The server takes the first space for the end of the user, and its file has both on one line with a colon
    /// in between.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let Self { user, password } = self;
        let has_line_end = |text: &str| text.contains(['\r', '\n', '\0']);
        if user.is_empty() || user.contains([' ', ':']) || has_line_end(user) {
            return Err("the user has to be some characters, without a space, a colon or a line end");
        }
        // Older servers ignore the rest after a space.
        if password.is_empty() || password.contains(' ') || has_line_end(password) {
            return Err("the password has to be some characters, without a space or a line end");
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Where the credentials of a new connection come from.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(Option<Credentials>),
    Provider(Provider),
}

#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Result<Credentials, BoxError> + Send + Sync>);

impl Provider {
    pub(crate) fn new<E: Into<BoxError>>(provide: impl Fn() -> Result<Credentials, E> + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || provide().map_err(Into::into)))
    }

    /// Asks for credentials. A panic of the provider is an error like any other (E4).
    fn ask(&self) -> Result<Credentials, Fault> {
        let provide = &self.0;
        match catch_unwind(AssertUnwindSafe(|| provide())) {
            Ok(Ok(credentials)) => match credentials.check() {
                Ok(()) => Ok(credentials),
                Err(problem) => Err(Fault::unsuitable(format!(
                    "`credentials_provider` gave user and password that cannot be sent: {problem}"
                ))),
            },
            Ok(Err(cause)) => Err(Fault::NoCredentials(cause.into())),
            Err(_) => Err(Fault::NoCredentials(Arc::new(Panicked))),
        }
    }
}

/// The panic hook has reported why.
#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panicked;

impl Source {
    /// The credentials of a connection that is being made now.
    fn get(&self) -> Result<Option<Credentials>, Fault> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::Provider(provider) => provider.ask().map(Some),
        }
    }

    /// The same by a deadline.
    pub(crate) fn ask(&self, deadline: Instant) -> Result<Provided, Fault> {
        let begun = Instant::now();
        let credentials = self.get()?;
        let now = Instant::now();
        let slow = SlowProvider { took: now - begun, left: deadline.saturating_duration_since(now) };
        match self {
            Self::Fixed(_) => Ok(Provided { credentials, slow: None }),
            Self::Provider(_) if slow.left.is_zero() => Err(Fault::NoCredentials(Arc::new(slow))),
            Self::Provider(_) => Ok(Provided { credentials, slow: Some(slow) }),
        }
    }
}

/// Credentials, and how long it took to get them. A provider cannot be interrupted.
pub(crate) struct Provided {
    pub(crate) credentials: Option<Credentials>,
    /// `None` if there is no provider.
    slow: Option<SlowProvider>,
}

impl Provided {
    /// The fault to report: if the provider took more of the time than it left, a time-out says nothing about the server.
    pub(crate) fn blame(self, fault: Fault) -> Fault {
        match self.slow {
            Some(slow) if fault.is_silence() && slow.took > slow.left => Fault::NoCredentials(Arc::new(slow)),
            _ => fault,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(None) => "Credentials(none)",
            Self::Fixed(Some(_)) => "Credentials(hidden)",
            Self::Provider(_) => "Credentials(from a provider)",
        })
    }
}
