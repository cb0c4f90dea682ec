//! Who we are to a server: user and password, fixed or asked for anew for each connection.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::per_process::PerProcess;
use crate::protocol::fault::Fault;

/// User and password for one connection, as a [provider](crate::RedisStoreBuilder::credentials_provider) gives them. Its
/// `Debug` shows neither (E3).
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

    /// Whether the password is in the name of a host; an address of digits shows none.
    #[cfg(feature = "sentinel")]
    pub(crate) fn is_in_name_of(&self, endpoint: &crate::connection::endpoint::Endpoint) -> bool {
        matches!(endpoint, crate::connection::endpoint::Endpoint::Tcp { host, .. } if host.parse::<std::net::IpAddr>().is_err() && self.is_in(host))
    }

    /// Whether the password is in a text. A host is the same in capitals.
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
    /// What it gave last, for what is not to be shown.
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

    /// Asks for credentials. That the provider panics is an error like any other (E4).
    fn ask(&self) -> Result<Credentials, Fault> {
        let provide = &self.provide;
        match catch_unwind(AssertUnwindSafe(|| provide())) {
            Ok(Ok(credentials)) => match (credentials.user.as_deref(), credentials.password.as_deref()) {
                (Some(""), _) => Err(Fault::unfit(
                    "`credentials_provider` gave an empty user (`Credentials::from_password` has none)",
                )),
                (None, None | Some("")) => Err(Fault::unfit("`credentials_provider` gave an empty password")),
                _ => {
                    *self.last() = Some(credentials.clone());
                    Ok(credentials)
                }
            },
            Ok(Err(cause)) => Err(Fault::NoCredentials(cause.into())),
            Err(_) => Err(Fault::NoCredentials(Arc::new(Panicked))),
        }
    }

    /// A thread of the process that this one was forked from may have the lock for ever.
    fn last(&self) -> MutexGuard<'_, Option<Credentials>> {
        let own = self.last.own(|inherited| Mutex::new(inherited.try_lock().ok().and_then(|last| last.clone())));
        own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The panic has said why, in the place where panics are reported.
#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panicked;

impl Source {
    /// The credentials of a connection that is being made now.
    fn get(&self) -> Result<Credentials, Fault> {
        match self {
            Self::Fixed(credentials) => Ok(credentials.clone()),
            Self::Provider(provider) => provider.ask(),
        }
    }

    /// The same by a deadline.
    pub(crate) fn ask(&self, deadline: Instant) -> Result<Provided, Fault> {
        let begun = Instant::now();
        let credentials = self.get()?;
        let now = Instant::now();
        let late = Late { took: now - begun, left: deadline.saturating_duration_since(now) };
        match self {
            Self::Fixed(_) => Ok(Provided { credentials, late: None }),
            Self::Provider(_) if late.left.is_zero() => Err(Fault::NoCredentials(Arc::new(late))),
            Self::Provider(_) => Ok(Provided { credentials, late: Some(late) }),
        }
    }

    /// Whether a text has the password in it, as far as it is known.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Fixed(credentials) => credentials.is_in(text),
            Self::Provider(provider) => provider.last().as_ref().is_some_and(|credentials| credentials.is_in(text)),
        }
    }
}

/// How long a provider took, and what that left.
#[derive(Debug, thiserror::Error)]
#[error("it took {took:?}, and left {left:?} of `connect_timeout`")]
pub(crate) struct Late {
    took: Duration,
    left: Duration,
}

/// Who we are on connections that are made by a deadline. A provider may take its time, and cannot be interrupted.
pub(crate) struct Provided {
    pub(crate) credentials: Credentials,
    /// `None` if nobody was asked.
    late: Option<Late>,
}

impl Provided {
    /// What was the matter: where a provider took more of the time than it left, a time-out says nothing of the server.
    pub(crate) fn blame(self, fault: Fault) -> Fault {
        match self.late {
            Some(late) if fault.is_silence() && late.took > late.left => Fault::NoCredentials(Arc::new(late)),
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
