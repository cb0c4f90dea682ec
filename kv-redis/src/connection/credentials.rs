//! User and password: fixed, or from a provider that is called for each connection.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::per_process::PerProcess;
use crate::protocol::fault::{Fault, SlowProvider};

/// User and password for one connection, as a [provider](crate::RedisStoreBuilder::credentials_provider) gives them. Its
/// `Debug` shows neither ([E3](kv_core::contract#9-errors)).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl Credentials {
    /// An ACL user (redis 6 and newer) and its password, or the token that stands for it.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), password: Some(password.into()) }
    }

    /// The password of the default user (`requirepass`).
    pub fn from_password(password: impl Into<String>) -> Self {
        Self { user: None, password: Some(password.into()) }
    }

    pub(crate) const fn none() -> Self {
        Self { user: None, password: None }
    }

    /// Whether the name of a host contains the password. An IP address does not.
    #[cfg(feature = "sentinel")]
    pub(crate) fn is_in_name_of(&self, endpoint: &super::endpoint::Endpoint) -> bool {
        matches!(endpoint, super::endpoint::Endpoint::Tcp { host, .. } if host.parse::<std::net::IpAddr>().is_err() && self.is_in(host))
    }

    /// Whether a text contains the password, in small letters or capitals: a host is the same in both.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    fn is_in(&self, text: &str) -> bool {
        let password = self.password.as_deref().unwrap_or_default().to_lowercase();
        !password.is_empty() && text.to_lowercase().contains(&password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_there = self.user.is_some() || self.password.is_some();
        f.write_str(if is_there { "Credentials(hidden)" } else { "Credentials(none)" })
    }
}

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Where the credentials of a new connection come from.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(Credentials),
    Provider(Provider),
}

#[derive(Clone)]
pub(crate) struct Provider {
    provide: Arc<dyn Fn() -> Result<Credentials, BoxError> + Send + Sync>,
    /// The credentials that it provided last: they must not be shown.
    last: Arc<PerProcess<Last>>,
}

type Last = Mutex<Option<Credentials>>;

impl Provider {
    pub(crate) fn new<E: Into<BoxError>>(provide: impl Fn() -> Result<Credentials, E> + Send + Sync + 'static) -> Self {
        Self {
            provide: Arc::new(move || provide().map_err(Into::into)),
            last: Arc::new(PerProcess::new(Last::default())),
        }
    }

    /// Calls the provider. A panic in it is an error like any other (E4).
    fn ask(&self) -> Result<Credentials, Fault> {
        let provide = &self.provide;
        match catch_unwind(AssertUnwindSafe(|| provide())) {
            Ok(Ok(credentials)) => match (credentials.user.as_deref(), credentials.password.as_deref()) {
                (Some(""), _) => Err(Fault::unsuitable(
                    "`credentials_provider` gave an empty user (`Credentials::from_password` has none)",
                )),
                (None, None | Some("")) => Err(Fault::unsuitable("`credentials_provider` gave an empty password")),
                _ => {
                    *self.last() = Some(credentials.clone());
                    Ok(credentials)
                }
            },
            Ok(Err(cause)) => Err(Fault::NoCredentials(cause.into())),
            Err(_) => Err(Fault::NoCredentials(Arc::new(Panicked))),
        }
    }

    /// In a process that was forked, a thread of the parent may hold the lock for ever.
    fn last(&self) -> MutexGuard<'_, Option<Credentials>> {
        let own = self.last.own(|inherited| Mutex::new(inherited.try_lock().ok().and_then(|last| last.clone())));
        own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The panic hook has reported why.
#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panicked;

impl Source {
    /// The credentials for a connection that is made now.
    fn get(&self) -> Result<Credentials, Fault> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::Provider(provider) => provider.ask(),
        }
    }

    /// The same, within a deadline. A provider cannot be interrupted.
    pub(crate) fn ask(&self, deadline: Instant) -> Result<Provided, Fault> {
        let begun = Instant::now();
        let credentials = self.get()?;
        let now = Instant::now();
        let time = SlowProvider { took: now - begun, left: deadline.saturating_duration_since(now) };
        match self {
            Self::Fixed(_) => Ok(Provided { credentials, time: None }),
            Self::Provider(_) if time.left.is_zero() => Err(Fault::NoCredentials(Arc::new(time))),
            Self::Provider(_) => Ok(Provided { credentials, time: Some(time) }),
        }
    }

    /// Whether a text contains the password, as far as that is known.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Fixed(credentials) => credentials.is_in(text),
            Self::Provider(provider) => provider.last().as_ref().is_some_and(|credentials| credentials.is_in(text)),
        }
    }
}

/// Credentials, and how long it took to get them.
pub(crate) struct Provided {
    pub(crate) credentials: Credentials,
    /// `None` if they are fixed.
    time: Option<SlowProvider>,
}

impl Provided {
    /// The fault to report: if the provider took more of the time than it left, a time-out says nothing about the server.
    pub(crate) fn blame(self, fault: Fault) -> Fault {
        match self.time {
            Some(time) if fault.is_silence() && time.took > time.left => Fault::NoCredentials(Arc::new(time)),
            _ => fault,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(credentials) => credentials.fmt(f),
            Self::Provider(_) => f.write_str("Credentials(from a provider)"),
        }
    }
}
