//! What can go wrong between us and a server, and how a caller is told.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kv_core::{Error, Failure, Key};

use crate::credentials::Late;
use crate::routes;
use crate::silence::Silent;

/// Why a request has no reply, or none that can be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection of the pool became free in time. Nothing was sent.
    PoolExhausted,
    /// The server did not answer a short time ago, and is not asked again yet. Nothing was sent.
    Silent(Silent),
    /// No connection could be made. Nothing was sent.
    NotConnected(io::Error),
    /// The function of the application that was to say who we are failed. Nothing was sent.
    NoCredentials(Arc<dyn StdError + Send + Sync>),
    /// A connection was made, and the server refused to let us in. Nothing was sent.
    Unusable(Refusal),
    /// What answered is not what it was taken for, or is not to be trusted, and what to do about it. Nothing was sent.
    Unfit { advice: String, cause: Option<io::Error> },
    /// The command of this index has an item that is larger than the server takes, which is so many bytes. Nothing was sent.
    ItemTooLarge { index: usize, limit: u64 },
    /// The command of this index has a lifetime that ends, by the clock of the server, after what can be expressed. Nothing was sent.
    TtlTooLong { index: usize, longest: Duration },
    /// The key of the command at this index is [something else](crate::routes) to the server, which is mcrouter. Nothing was sent.
    RoutedKey { index: usize },
    /// The connection failed. Whether anything had been sent by then.
    Broken { cause: io::Error, sent: bool },
    /// What came is not the reply to this request.
    OutOfStep,
    /// The server answered with an error.
    Refused(Refusal),
}

/// An error that a server sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl Refusal {
    /// The error that this line of a server is, if it is one.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let kind = line.split(|&byte| byte == b' ').next()?;
        let kind = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].into_iter().find(|known| known.as_bytes() == kind)?;
        // Those of memcached are short and quote nothing. What is not so is not to be shown: a proxy tells at length where it failed.
        let text = str::from_utf8(line).ok().filter(|text| text.len() <= 100 && !text.contains(char::is_control));
        Some(Self(text.map_or_else(|| format!("{kind} (an error that is not one of memcached's)"), str::to_owned)))
    }

    /// That a `set` was not stored, as a proxy says whose configuration does not store it, or does not wait until it is stored.
    pub(crate) fn not_stored() -> Self {
        Self(NOT_STORED.to_owned())
    }

    /// Whether it means that the server does not have the command, and nothing else. The second is mcrouter's.
    pub(crate) fn is_of_command(&self) -> bool {
        ["ERROR", "CLIENT_ERROR bad stats command"].contains(&&*self.0)
    }

    /// Whether it means that the server did not understand a request: it may not agree on where that ends.
    pub(crate) fn is_of_request(&self) -> bool {
        !self.0.starts_with("SERVER_ERROR") && self.0 != NOT_STORED
    }

    /// Whether it means that the server wants to know who asks.
    pub(crate) fn is_of_authentication(&self) -> bool {
        self.0.contains("unauthenticated")
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_of_too_many(&self) -> bool {
        self.0.contains("Too many open connections")
    }

    /// What it means in reply to user and password.
    pub(crate) fn to_credentials(&self) -> Self {
        if self.is_of_authentication() { Self("CLIENT_ERROR authentication failure".into()) } else { self.clone() }
    }

    /// The same without this password, should the server have repeated it: what it says in reply to user and password is its
    /// own affair (E3). The words that memcached has for this are told as they are, whatever the password is: they do not come
    /// from it.
    pub(crate) fn hiding(self, password: &str) -> Self {
        if !self.0.contains(password) {
            return self;
        }
        let own = ERRORS.iter().find(|own| self.0.starts_with(**own)).map(|own| (*own).to_owned());
        Self(own.unwrap_or_else(|| {
            let kind = self.0.split(' ').next().unwrap_or_default();
            format!("{kind} (an error that has the password in it)")
        }))
    }

    /// Whether a write that was answered like this may have been done all the same: a proxy may have sent it on.
    fn is_doubtful(&self) -> bool {
        let is_certain = ["too large", "out of memory", "Too many open"].iter().any(|text| self.0.contains(text));
        self.0 == NOT_STORED || self.0.starts_with("SERVER_ERROR") && !is_certain
    }

    /// How it is explained, and whether trying again may help.
    fn explain(&self) -> (&'static str, bool) {
        match self.0.as_str() {
            text if text.contains("too large for cache") => (
                "the server does not take a value of this size, and has removed whatever was there before; tell the builder, \
                `largest_item`",
                false,
            ),
            text if text.contains("out of memory storing") => {
                ("the server had no memory for the value, and has removed whatever was there before", true)
            }
            text if text.contains("out of memory") => ("the server has no memory for this at the moment", true),
            text if text.contains("Too many open connections") => ("the server takes no more connections (-c)", true),
            text if text.contains("unauthenticated") => {
                ("the server wants user and password; put them into the URL, or into the builder", false)
            }
            text if text.contains("authentication failure") => (
                "the server does not accept user and password; in a URL their special characters are percent-encoded",
                false,
            ),
            "ERROR" => (
                "the server lacks this command; a proxy, or a memcached before 1.6.0, needs `classic(true)` in the builder, and one that lacks \
                `touch` (memcached before 1.4.8) will not do",
                false,
            ),
            NOT_STORED => {
                ("the proxy did not store the value, or did not wait until it was stored; look at its routes", false)
            }
            text if text.starts_with("SERVER_ERROR") => ("the server failed, or one behind it that it asked", true),
            _ => ("the server refused", false),
        }
    }
}

const NOT_STORED: &str = "NOT_STORED";

/// How memcached's errors begin that a new connection may get.
const ERRORS: [&str; 9] = [
    "CLIENT_ERROR authentication failure",
    "CLIENT_ERROR unauthenticated",
    "CLIENT_ERROR bad command line format",
    "CLIENT_ERROR bad data chunk",
    "ERROR Too many open connections",
    "SERVER_ERROR Too many open connections",
    "SERVER_ERROR out of memory storing object",
    "SERVER_ERROR out of memory",
    "SERVER_ERROR object too large for cache",
];

/// The limits that a message names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Waiting for a connection of the pool.
    pub(crate) pool: Duration,
    /// Making a connection.
    pub(crate) connect: Duration,
    /// Sending a request and receiving its replies.
    pub(crate) response: Duration,
}

/// Where a fault happened, for the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) store: &'a str,
    /// Which server it is, where there are several.
    pub(crate) server: Option<&'a str>,
    pub(crate) key: Option<Key<'a>>,
    /// Whether the request was one that changes something.
    pub(crate) writes: bool,
    pub(crate) limits: Limits,
}

impl Fault {
    /// Something that is for the caller to put right.
    pub(crate) fn unfit(advice: impl Into<String>) -> Self {
        Self::Unfit { advice: advice.into(), cause: None }
    }

    /// That a server lacks the meta commands; its version, if it tells that.
    pub(crate) fn without_meta(version: Option<String>) -> Self {
        let server = match version {
            Some(version) if version.contains(' ') || version.starts_with(|letter: char| !letter.is_ascii_digit()) => {
                format!("the server says that it is `{version}`")
            }
            Some(version) => format!("the server is memcached {version}"),
            None => "the server is a proxy, or a memcached before 1.6.0".to_owned(),
        };
        Self::unfit(format!(
            "{server}: it lacks the meta commands of memcached 1.6.0 and newer; tell the builder `classic(true)`"
        ))
    }

    /// The same for another key of the same request.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::PoolExhausted => Self::PoolExhausted,
            Self::NotConnected(cause) => Self::NotConnected(copy(cause)),
            Self::Unusable(refusal) => Self::Unusable(refusal.clone()),
            Self::Unfit { advice, cause } => Self::Unfit { advice: advice.clone(), cause: cause.as_ref().map(copy) },
            Self::ItemTooLarge { index, limit } => Self::ItemTooLarge { index: *index, limit: *limit },
            Self::TtlTooLong { index, longest } => Self::TtlTooLong { index: *index, longest: *longest },
            Self::RoutedKey { index } => Self::RoutedKey { index: *index },
            Self::Broken { cause, sent } => Self::Broken { cause: copy(cause), sent: *sent },
            Self::OutOfStep => Self::OutOfStep,
            Self::Silent(silent) => Self::Silent(silent.clone()),
            Self::NoCredentials(cause) => Self::NoCredentials(Arc::clone(cause)),
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
        }
    }

    /// The index of the command that it is about, where nothing was sent because of that command alone.
    pub(crate) fn index(&self) -> Option<usize> {
        match *self {
            Self::ItemTooLarge { index, .. } | Self::TtlTooLong { index, .. } | Self::RoutedKey { index } => {
                Some(index)
            }
            _ => None,
        }
    }

    /// Whether the request may be sent once more (N5): the connection ended, and not for lack of time, so that it was dead before,
    /// as far as can be told; and the request changes nothing, or the server has got none of it.
    pub(crate) fn may_be_repeated(&self, writes: bool) -> bool {
        matches!(self, Self::Broken { cause, sent } if cause.kind() != io::ErrorKind::TimedOut && !(writes && *sent))
    }

    /// Whether the server did not answer in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Broken { cause, .. } | Self::NotConnected(cause) if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// What a caller is told.
    pub(crate) fn into_error(self, scene: &Scene<'_>) -> Error {
        let failure = |message: &str, cause: Option<Box<dyn StdError + Send + Sync>>| {
            let message = scene.server.map_or_else(|| message.to_owned(), |server| format!("{server}: {message}"));
            let failure = Failure::new(scene.store, message);
            let failure = if let Some(key) = scene.key { failure.at(key) } else { failure };
            if let Some(cause) = cause { failure.caused_by(cause) } else { failure }
        };
        let doubtful = scene.writes
            && match &self {
                Self::Broken { sent, .. } => *sent,
                Self::Refused(refusal) => refusal.is_doubtful(),
                fault => matches!(fault, Self::OutOfStep),
            };
        let in_doubt = |failure: Failure| if doubtful { failure.with_unknown_outcome() } else { failure };
        let pool = scene.limits.pool;
        match self {
            Self::PoolExhausted => {
                let message = format!(
                    "no connection of the pool became free within {pool:?}; a larger `pool_size`, or `pool_timeout`, may help"
                );
                Error::Unavailable(failure(&message, None))
            }
            Self::Silent(silent) => {
                let cause = silent.cause.as_ref().and_then(|cause| cause.copy().into_time_out(scene.limits));
                Error::Unavailable(failure(&silent.to_string(), cause.map(Into::into)))
            }
            Self::NoCredentials(cause) => {
                let message = if cause.is::<Late>() {
                    "`credentials_provider` left too little time for a new connection"
                } else {
                    "`credentials_provider` gave no user and password for a new connection"
                };
                Error::Unavailable(failure(message, Some(Box::new(cause))))
            }
            fault if fault.is_silence() => {
                let TimeOut { message, cause } = fault.into_time_out(scene.limits).unwrap_or_default();
                Error::Timeout(in_doubt(failure(&message, cause.map(Into::into))))
            }
            Self::NotConnected(cause) => Error::Unavailable(failure("connecting failed", Some(cause.into()))),
            Self::Broken { cause, .. } => {
                let message = "the connection was lost before the reply came";
                Error::Unavailable(in_doubt(failure(message, Some(cause.into()))))
            }
            Self::OutOfStep => {
                let message = "what came is not the reply to this request; the connection was closed";
                Error::Backend(in_doubt(failure(message, None)).transient())
            }
            Self::Unfit { advice, cause } => Error::Backend(failure(&advice, cause.map(Into::into))),
            Self::ItemTooLarge { limit, .. } => {
                let message = format!("the server takes items of up to {limit} bytes, and this one has more");
                Error::Backend(failure(&message, None))
            }
            Self::TtlTooLong { longest, .. } => {
                let message = format!("by the clock of the server {longest:?} is the longest lifetime");
                Error::Backend(failure(&message, None))
            }
            Self::RoutedKey { .. } => Error::Backend(failure(routes::ADVICE, None)),
            Self::Unusable(refusal) | Self::Refused(refusal) => {
                let (message, transient) = refusal.explain();
                let refused = in_doubt(failure(message, Some(refusal.into())));
                Error::Backend(if transient { refused.transient() } else { refused })
            }
        }
    }
}

/// A time-out, as it is told.
#[derive(Debug, Default, thiserror::Error)]
#[error("{message}")]
struct TimeOut {
    message: String,
    /// If it says more than that the time was up.
    #[source]
    cause: Option<io::Error>,
}

impl Fault {
    /// What is told of a time-out.
    fn into_time_out(self, Limits { connect, response, .. }: Limits) -> Option<TimeOut> {
        match self {
            Self::NotConnected(cause) => Some(TimeOut {
                message: format!("connecting took longer than {connect:?} (`connect_timeout`)"),
                cause: cause.get_ref().is_some().then_some(cause),
            }),
            Self::Broken { .. } => Some(TimeOut {
                message: format!("the server did not answer within {response:?} (`response_timeout`)"),
                cause: None,
            }),
            _ => None,
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), error.get_ref()) {
        (Some(code), _) => io::Error::from_raw_os_error(code),
        (None, None) => error.kind().into(),
        (None, Some(text)) => io::Error::new(error.kind(), text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_too_long_to_be_shown_is_of_its_kind() {
        // mcrouter tells at length where it failed.
        let long = format!(
            "SERVER_ERROR Failed to connect to {}: errno = 111 (Connection refused)",
            "10.0.0.1:11211".repeat(10)
        );
        for (line, is_doubtful, is_transient) in [
            (long.as_str(), true, true),
            (&long.replace("SERVER_ERROR", "CLIENT_ERROR"), false, false),
            (&long.replace("SERVER_ERROR", "ERROR"), false, false),
        ] {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert!(!refusal.to_string().contains("10.0.0.1"), "{refusal}");
            assert_eq!(
                refusal.to_string(),
                format!("{} (an error that is not one of memcached's)", line.split_once(' ').unwrap().0)
            );
            assert_eq!((refusal.is_doubtful(), refusal.explain().1), (is_doubtful, is_transient), "{refusal}");
            assert_eq!(refusal.is_of_request(), !is_doubtful, "{refusal}");
        }
    }

    /// Of mcrouter's `AsciiSerialized.cpp`.
    #[test]
    fn what_mcrouter_says_of_its_servers_is_transient_and_the_outcome_is_unknown() {
        for line in [
            "SERVER_ERROR out of order",
            "SERVER_ERROR timeout",
            "SERVER_ERROR connection timeout",
            "SERVER_ERROR connection error",
            "SERVER_ERROR 307 busy",
            "SERVER_ERROR 302 try again",
            "SERVER_ERROR 301 shutdown",
            "SERVER_ERROR unavailable",
            "SERVER_ERROR request deadline exceeded",
            "SERVER_ERROR aborted",
            "SERVER_ERROR local error",
            "SERVER_ERROR remote error",
            "SERVER_ERROR overloaded",
            "SERVER_ERROR unexpected result mc_res_unknown (0) for set",
            "SERVER_ERROR RootRoute: No rh found",
        ] {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert_eq!(refusal.to_string(), line);
            assert!(refusal.is_doubtful() && refusal.explain().1 && !refusal.is_of_request(), "{line}");
        }
        for line in
            ["CLIENT_ERROR malformed request", "CLIENT_ERROR bad command", "CLIENT_ERROR bad key", "CLIENT_ERROR"]
        {
            let refusal = Refusal::parse(line.as_bytes()).unwrap();
            assert!(!refusal.is_doubtful() && !refusal.explain().1 && refusal.is_of_request(), "{line}");
        }
    }

    #[test]
    fn what_a_server_has_of_the_password_is_hidden_and_its_own_words_are_not() {
        let hidden = |line: &str, password: &str| Refusal(line.to_owned()).hiding(password).to_string();
        for password in ["E", "ERROR", "a", "authentication", "open connections", "CLIENT_ERROR authentication failure"]
        {
            for line in ["CLIENT_ERROR authentication failure", "ERROR Too many open connections"] {
                assert_eq!(hidden(line, password), line);
            }
        }
        for line in ["CLIENT_ERROR hush", "ERROR Too many open connections hush", "SERVER_ERROR no hush", "ERROR hush"]
        {
            let shown = hidden(line, "hush");
            assert!(!shown.contains("hush") && shown.contains("ERROR "), "{shown}");
        }
    }
}
