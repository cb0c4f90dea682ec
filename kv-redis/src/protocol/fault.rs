//! What can go wrong between us and a server, and how a caller is told.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use std::net::IpAddr;
use std::sync::Arc;

use kv_core::{Error, Failure, Key};
use redis::ServerError;

use super::silent::Silent;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::connection::credentials::Source;
use crate::connection::credentials::{BoxError, Late};
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::connection::endpoint::Endpoint;
use crate::protocol::commands::Commands;

/// Why a request has no reply, or none that can be used.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection of the pool became free in time. Nothing was sent.
    PoolExhausted,
    /// The server did not answer a short time ago, and is not asked again yet. Nothing was sent.
    Silent(Silent<Self>),
    /// No connection could be made. Nothing was sent.
    NotConnected(io::Error),
    /// The pool of the application gave none. Nothing was sent.
    ExternalPoolFailed(r2d2::Error),
    /// The function of the application that was to say who we are failed. Nothing was sent.
    NoCredentials(Arc<dyn StdError + Send + Sync>),
    /// A connection was made, and the server refused to let us in. Nothing was sent.
    Unusable(Refusal),
    /// What answered is not what it was taken for, or is not to be trusted, and what to do about it. Nothing was sent.
    Unfit { advice: String, cause: Option<io::Error> },
    /// The server lacks what the request needs, and this is what it has. Nothing was sent.
    Lacks(Commands),
    /// The connection failed. Whether anything had been sent by then.
    Broken { cause: io::Error, sent: bool },
    /// What came is not the reply to this request.
    Desynchronized,
    /// The server answered with an error.
    Refused(Refusal),
    /// What happened with one of several servers.
    At(ServerName, Box<Self>),
}

/// One of several servers, as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct ServerName {
    text: Arc<str>,
    /// Whether it is not to be shown, nor what has it in it.
    is_hidden: bool,
    /// Whether another server named it, and its word was taken for it.
    is_as_named: bool,
}

#[cfg(any(feature = "cluster", feature = "sentinel"))]
impl ServerName {
    /// One that the caller has named.
    pub(crate) fn given(text: &impl ToString) -> Self {
        Self { text: text.to_string().into(), is_hidden: false, is_as_named: false }
    }

    /// One that another server named, which may be anybody and know the password: so that is not shown as the name of a host (E3).
    pub(crate) fn named(endpoint: &Endpoint, by: &str, is_mapped: bool, credentials: &Source) -> Self {
        let is_hidden = match endpoint {
            Endpoint::Tcp { host, .. } => host.parse::<IpAddr>().is_err() && credentials.is_in(host),
            Endpoint::Unix(_) => false,
        };
        let name = if is_hidden { "a server with the password in its name".into() } else { endpoint.to_string() };
        let mapped = if is_mapped { ", as `map_address` has it" } else { "" };
        Self { text: format!("{name}, which {by} named{mapped}").into(), is_hidden, is_as_named: !is_mapped }
    }
}

impl ServerName {
    /// A message with the name before it, and a cause that may be shown.
    fn tell(&self, message: &str, cause: Option<BoxError>, names_host: bool) -> (String, Option<BoxError>) {
        let message = if self.is_hidden && names_host { "it is not to be trusted" } else { message };
        (format!("{}: {message}", self.text), cause.filter(|_| !self.is_hidden))
    }
}

/// An error that a server sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code} {text}")]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }

    /// The same without this password, should the server have repeated it: what it says in reply to user and password is its
    /// own affair (E3). The words that redis has for this are told as they are, whatever the password is: they do not come from it.
    pub(crate) fn hiding(self, password: Option<&str>) -> Self {
        let Some(password) = password.filter(|password| !password.is_empty()) else { return self };
        let Self { code, text } = self;
        let is_own = !code.contains(password) || CODES.contains(&code.as_str());
        let code = if is_own { code } else { "ERR".into() };
        if !text.contains(password) {
            return Self { code, text };
        }
        let own = TEXTS.iter().find(|own| text.starts_with(**own));
        Self { code, text: (*own.unwrap_or(&"(what it said had the password in it)")).into() }
    }
}

/// What errors of redis begin with.
pub(crate) const CODES: [&str; 22] = [
    "ERR",
    "WRONGPASS",
    "NOAUTH",
    "NOPERM",
    "DENIED",
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "READONLY",
    "NOREPLICAS",
    "OOM",
    "MISCONF",
    "EXECABORT",
    "WRONGTYPE",
    "MOVED",
    "ASK",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "TRYAGAIN",
    "NOSCRIPT",
    "NOPROTO",
    "UNKILLABLE",
];

/// How servers before redis 2.8, and some proxies, say that they want a password.
pub(crate) const WANTS_PASSWORD: &str = "operation not permitted";

/// How redis's errors begin that a new connection may get.
const TEXTS: [&str; 22] = [
    "invalid username-password pair or user is disabled",
    // Of redis 6.0.
    "invalid username-password pair",
    "AUTH <password> called without any password configured for the default user",
    "Client sent AUTH, but no password is set",
    "invalid password",
    "Authentication required",
    WANTS_PASSWORD,
    "wrong number of arguments for 'auth' command",
    "this user has no permissions",
    "unknown command",
    "max number of clients reached",
    "max number of clients + cluster connections reached",
    "Redis is running in protected mode",
    "Redis is loading the dataset in memory",
    "Redis is busy running a script",
    "Link with MASTER is down",
    "DB index is out of range",
    "invalid DB index",
    "SELECT is not allowed in cluster mode",
    "This instance has cluster support disabled",
    "Protocol error",
    "the server says that it is not the primary",
];

/// The error that a command in a script met, code and text, where a server before redis 7 has put its own code before that:
/// `@user_script: 1: -OOM command not allowed`.
pub(crate) fn in_script(error: &ServerError) -> Option<(&str, &str)> {
    let text = error.details().filter(|_| error.code().starts_with("@user_script"))?;
    let (code, text) = text.split_once(": -")?.1.split_once(' ')?;
    CODES.contains(&code).then_some((code, text))
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        let text = error.details().unwrap_or_default();
        // A server repeats the arguments of a command that it does not know, the value included (E3).
        let text = text.split_once(", with args beginning with").map_or(text, |(text, _arguments)| text);
        // Why a transaction was not carried out is more than that it was not.
        let reason = text.strip_prefix("Transaction discarded because of: ").and_then(|reason| reason.split_once(' '));
        let (code, text) = reason.filter(|_| error.code() == "EXECABORT").unwrap_or((error.code(), text));
        let (code, text) = in_script(&error).unwrap_or((code, text));
        let (code, text) = text.strip_prefix("ACL failure in script: ").map_or((code, text), |text| ("NOPERM", text));
        // Who we are is not to be shown either: `User app has no permissions to`, and Dragonfly's `app has no ACL permissions`.
        match text.split_once(" has no ").filter(|_| code == "NOPERM") {
            Some((_user, rest)) => Self::new(code, format!("this user has no {rest}")),
            None => Self::new(code, text),
        }
    }
}

const MISSING_PASSWORD: (&str, bool) = ("the server wants a password; put it into the URL, or into the builder", false);

const WRONG_PASSWORD: (&str, bool) =
    ("the server does not accept user and password; in a URL their special characters are percent-encoded", false);

/// How an error of the server is explained, and whether trying again may help.
fn explain(refusal: &Refusal) -> (Cow<'static, str>, bool) {
    let Refusal { code, text } = refusal;
    if let Some(command) = forbidden_command(refusal) {
        let text =
            format!("the user is not allowed to use the command {command}; add it to the rights (ACL) of the user");
        return (text.into(), false);
    }
    if let Some(command) = unknown_command(refusal) {
        let text = format!(
            "the server does not know the command {command}: it is renamed or turned off, or the server lacks it"
        );
        return (text.into(), false);
    }
    let (text, is_transient) = explain_code(code, text);
    (text.into(), is_transient)
}

/// The command of which a server says that this user may not use it.
fn forbidden_command(Refusal { code, text }: &Refusal) -> Option<String> {
    let (_, rest) = text.split_once("to run the ").filter(|_| code == "NOPERM")?;
    quoted_command(rest).map(|(name, _)| name)
}

/// The command of which a server says that it does not have it. Other errors name commands, too.
fn unknown_command(Refusal { code, text }: &Refusal) -> Option<String> {
    match code.as_str() {
        "ERR" => match text.strip_prefix("unknown command ").or(text.strip_prefix("Command is not available: ")) {
            Some(rest) => quoted_command(rest),
            // Tair: `command 'x' not support for your account`.
            None => quoted_command(text.strip_prefix("command ")?).filter(|(_, rest)| rest.starts_with(" not support")),
        },
        // Envoy, which has no code: `unsupported command 'x'`.
        "unsupported" => quoted_command(text.strip_prefix("command ")?),
        _ => None,
    }
    .map(|(name, _)| name)
}

/// A command in quotation marks at the beginning of a text, and what follows. Only a name of letters is taken for one, as what a server
/// says may be anything (E3).
fn quoted_command(text: &str) -> Option<(String, &str)> {
    let (name, rest) = text.strip_prefix(['\'', '`'])?.split_once(['\'', '`'])?;
    // `cluster|slots`
    let is_name = (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'|');
    is_name.then(|| (name.to_ascii_uppercase().replace('|', " "), rest))
}

fn explain_code(code: &str, text: &str) -> (&'static str, bool) {
    match code {
        "ERR" if text.contains("invalid bulk length") => (
            "the server does not take a value of this size (proto-max-bulk-len); tell the builder, `largest_value`",
            false,
        ),
        "ERR" if text.contains("cluster support disabled") => {
            ("the server is no node of a cluster; use `url(…)` of the builder", false)
        }
        "ERR" if text.contains("max number of clients") => ("the server takes no more connections (maxclients)", true),
        "ERR" if text.contains("invalid password") => WRONG_PASSWORD,
        "ERR" if text.contains("wrong number of arguments for 'auth'") => (
            "the server is older than redis 6 and knows no users; leave the user out of the URL, or of the builder",
            false,
        ),
        "ERR" if text.contains("DB index is out of range") => {
            ("the server has no database of this number (`databases` in its configuration)", false)
        }
        "DENIED" => (
            "the server takes connections from its own machine only (protected mode), as it has neither a password nor an \
            address to listen on; set `requirepass`, or `bind`, in its configuration",
            false,
        ),
        "NOAUTH" => MISSING_PASSWORD,
        "ERR" if text.starts_with(WANTS_PASSWORD) => MISSING_PASSWORD,
        "WRONGPASS" => WRONG_PASSWORD,
        "ERR" if text.contains("without any password configured") || text.contains("no password is set") => {
            ("the server has no password; leave it out of the URL, or of the builder", false)
        }
        "NOPERM" => ("the user is not allowed to do this", false),
        "WRONGTYPE" => ("what is stored there is not a string, but a redis object of another type", false),
        "OOM" => ("the server has no memory left for this (maxmemory)", false),
        "READONLY" => ("the server is a replica and takes no writes; it may have been the primary until now", true),
        "LOADING" => ("the server is still loading its data", true),
        "CLUSTERDOWN" => ("the cluster is down or does not serve the slot of this key at the moment", true),
        "MASTERDOWN" => ("the server is a replica that has lost its primary", true),
        "NOREPLICAS" => ("the server has too few replicas to take a write at the moment", true),
        "TRYAGAIN" => ("the slot of these keys is being moved to another node", true),
        "BUSY" => ("the server is busy with a script", true),
        "MISCONF" => ("the server cannot save its data to disk and takes no writes", false),
        "MOVED" | "CROSSSLOT" => ("the server is a node of a cluster; use `cluster(…)` of the builder", false),
        _ => ("the server refused", false),
    }
}

/// The limits that a message names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Waiting for a connection of the pool.
    pub(crate) pool: std::time::Duration,
    /// Making a connection.
    pub(crate) connect: std::time::Duration,
    /// Sending a request and receiving its replies.
    pub(crate) response: std::time::Duration,
}

impl Fault {
    /// Something that is for the caller to put right.
    pub(crate) fn unfit(advice: impl Into<String>) -> Self {
        Self::Unfit { advice: advice.into(), cause: None }
    }

    /// The same for another caller whose request was sent together with this one.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Silent(silent) => Self::Silent(silent.clone()),
            // Only a pool of the application does not lend, and whoever shares a connection has none.
            Self::PoolExhausted | Self::ExternalPoolFailed(_) => Self::PoolExhausted,
            Self::NotConnected(cause) => Self::NotConnected(copy(cause)),
            Self::NoCredentials(cause) => Self::NoCredentials(Arc::clone(cause)),
            Self::Unusable(refusal) => Self::Unusable(refusal.clone()),
            Self::Unfit { advice, cause } => Self::Unfit { advice: advice.clone(), cause: cause.as_ref().map(copy) },
            Self::Broken { cause, sent } => Self::Broken { cause: copy(cause), sent: *sent },
            Self::Lacks(commands) => Self::Lacks(*commands),
            Self::Desynchronized => Self::Desynchronized,
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::At(server, fault) => Self::At(server.clone(), Box::new(fault.copy())),
        }
    }

    /// The same with the server where it happened, if there are several.
    pub(crate) fn at(self, server: Option<&ServerName>) -> Self {
        match (server, self) {
            (Some(server), fault) if !matches!(fault, Self::At(..) | Self::Lacks(_)) => {
                Self::At(server.clone(), Box::new(fault))
            }
            (_, fault) => fault,
        }
    }

    /// What happened, wherever.
    pub(crate) fn itself(&self) -> &Self {
        match self {
            Self::At(_, fault) => fault.itself(),
            fault => fault,
        }
    }

    /// Whether there was nobody to send the request to, so that it may be another server's now.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self.itself(), Self::NotConnected(_) | Self::Unusable(_) | Self::Unfit { .. })
    }

    /// Whether the connection was dead before it was used, as far as can be told: it ended, and not for lack of time.
    pub(crate) fn is_dead_connection(&self) -> bool {
        matches!(self.itself(), Self::Broken { cause, .. } if cause.kind() != io::ErrorKind::TimedOut)
    }

    /// Whether the server did not answer in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.itself(), Self::Broken { cause, .. } | Self::NotConnected(cause) if cause.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether there was no answer, and the next request would have none either.
    pub(crate) fn is_no_answer(&self) -> bool {
        let has_none = matches!(self.itself(), Self::PoolExhausted | Self::Silent(_) | Self::NoCredentials(_));
        has_none || self.is_silence() || self.is_unsent()
    }

    /// Whether the server can have got any of the request.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self.itself(), Self::Broken { sent: true, .. } | Self::Desynchronized | Self::Refused(_))
    }

    /// What a caller is told. `writes` is whether the request was one that changes something.
    pub(crate) fn into_error(self, store: &str, key: Option<Key<'_>>, writes: bool, limits: Limits) -> Error {
        let (server, fault) = match self {
            Self::At(server, fault) => (Some(server), *fault),
            fault => (None, fault),
        };
        // A silent server is the one of the time-out.
        let server = fault.silent_server().cloned().or(server);
        let is_as_named = server.as_ref().is_some_and(|server| server.is_as_named);
        let may_be_mapped = if is_as_named { MAY_BE_MAPPED } else { "" };
        // What is wrong with a certificate may name the host.
        let names_host = matches!(fault, Self::Unfit { .. });
        let failure = |message: String, cause: Option<Box<dyn StdError + Send + Sync>>| {
            let (message, cause) = match &server {
                Some(server) => server.tell(&message, cause, names_host),
                None => (message, cause),
            };
            let failure = Failure::new(store, message);
            let failure = if let Some(key) = key { failure.at(key) } else { failure };
            if let Some(cause) = cause { failure.caused_by(cause) } else { failure }
        };
        let doubtful = writes && matches!(fault, Self::Broken { sent: true, .. } | Self::Desynchronized);
        let in_doubt = |failure: Failure| if doubtful { failure.with_unknown_outcome() } else { failure };
        match fault {
            // There is none within another.
            Self::At(_, fault) => fault.into_error(store, key, writes, limits),
            Self::PoolExhausted => {
                let message = format!(
                    "no connection of the pool became free within {:?}; a larger `pool_size` (more `shared_connections`, if there are \
                     any), or `pool_timeout`, may help",
                    limits.pool
                );
                Error::Unavailable(failure(message, None))
            }
            Self::ExternalPoolFailed(cause) => {
                let message = format!("the application's pool gave no connection within {:?}", limits.pool);
                Error::Unavailable(failure(message, Some(cause.into())))
            }
            Self::Silent(silent) => {
                let cause = silent.cause.as_ref().and_then(|cause| cause.copy().into_time_out(limits, may_be_mapped));
                Error::Unavailable(failure(silent.to_string(), cause.map(Into::into)))
            }
            Self::NoCredentials(cause) => {
                let message = if cause.is::<Late>() {
                    "`credentials_provider` left too little time for a new connection"
                } else {
                    "`credentials_provider` gave no user and password for a new connection"
                };
                Error::Unavailable(failure(message.into(), Some(Box::new(cause))))
            }
            fault if fault.is_silence() => {
                let TimeOut { message, cause } = fault.into_time_out(limits, may_be_mapped).unwrap_or_default();
                Error::Timeout(in_doubt(failure(message, cause.map(Into::into))))
            }
            Self::NotConnected(cause) => {
                Error::Unavailable(failure(format!("connecting failed{may_be_mapped}"), Some(cause.into())))
            }
            Self::Broken { cause, .. } => {
                let message = "the connection was lost before the reply came";
                Error::Unavailable(in_doubt(failure(message.into(), Some(cause.into()))))
            }
            Self::Desynchronized => {
                let message = "what came is not the reply to this request; the connection was closed";
                Error::Backend(in_doubt(failure(message.into(), None)).transient())
            }
            Self::Lacks(_) => Error::Backend(failure("the server lacks a command that this needs".into(), None)),
            Self::Unfit { advice, cause } => Error::Backend(failure(advice, cause.map(Into::into))),
            Self::Unusable(refusal) | Self::Refused(refusal) => {
                let (message, transient) = explain(&refusal);
                let refused = failure(message.into_owned(), Some(refusal.into()));
                Error::Backend(if transient { refused.transient() } else { refused })
            }
        }
    }
}

/// What may help where another server has named an address.
const MAY_BE_MAPPED: &str = " (if another address leads there from here, set `map_address`)";

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
    fn into_time_out(self, limits: Limits, may_be_mapped: &str) -> Option<TimeOut> {
        match self {
            Self::At(_, fault) => fault.into_time_out(limits, may_be_mapped),
            Self::NotConnected(cause) => Some(TimeOut {
                message: format!("connecting took longer than {:?} (`connect_timeout`){may_be_mapped}", limits.connect),
                cause: cause.get_ref().is_some().then_some(cause),
            }),
            Self::Broken { .. } => Some(TimeOut {
                message: format!("the server did not answer within {:?} (`response_timeout`)", limits.response),
                cause: None,
            }),
            _ => None,
        }
    }

    /// Which of several servers is silent.
    fn silent_server(&self) -> Option<&ServerName> {
        match self {
            Self::Silent(Silent { cause: Some(cause), .. }) => match &**cause {
                Self::At(server, _) => Some(server),
                _ => None,
            },
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
    fn who_we_are_is_not_shown_and_the_command_is_named() {
        for (line, command) in [
            ("NOPERM User app has no permissions to run the 'get' command", Some("GET")),
            ("ERR ACL failure in script: User app has no permissions to run the 'get' command", Some("GET")),
            ("NOPERM app has no ACL permissions", None),
            ("ERR Command is not available: 'COPY'. See https://upstash.com/docs", Some("COPY")),
            ("ERR command 'eval' not support for your account", Some("EVAL")),
            ("unsupported command 'COPY'", Some("COPY")),
            ("ERR unknown command `COPY`, with args beginning with: `hush`", Some("COPY")),
        ] {
            let Ok(redis::Value::ServerError(error)) = redis::parse_redis_value(format!("-{line}\r\n").as_bytes())
            else {
                panic!("{line}")
            };
            let refusal = Refusal::from(error);
            let (message, is_transient) = explain(&refusal);
            assert!(
                !is_transient && !format!("{message} {refusal}").contains("app ") && !refusal.text.contains("hush")
            );
            let is_named = command.is_some_and(|command| message.contains(&format!("the command {command}")));
            assert!(is_named == command.is_some(), "{line}: {message}");
            assert_eq!(message.contains("not allowed"), refusal.code == "NOPERM", "{line}: {message}");
        }
    }

    #[test]
    fn only_a_server_that_does_not_know_a_command_is_said_not_to() {
        for line in [
            "OOM command 'set' not allowed when used memory > 'maxmemory'.",
            "BUSY the command 'get' has to wait",
            "WRONGTYPE command 'get' against a key of another type",
            "ERR the command 'get' takes too long at the moment",
            "ERR command 'get' failed",
            "ERR error in unknown command 'get'",
            "ERR wrong number of arguments for 'get' command",
        ] {
            let Ok(redis::Value::ServerError(error)) = redis::parse_redis_value(format!("-{line}\r\n").as_bytes())
            else {
                panic!("{line}")
            };
            let (message, _) = explain(&error.into());
            assert!(!message.contains("does not know the command"), "{line}: {message}");
        }
    }

    #[test]
    fn what_a_server_has_of_the_password_is_hidden_and_its_own_words_are_not() {
        let hidden =
            |code: &str, text: &str, password: &str| Refusal::new(code, text).hiding(Some(password)).to_string();
        let own = "WRONGPASS invalid username-password pair or user is disabled";
        for password in ["A", "WRONGPASS", "S", "password", "user", "i", " ", "invalid username-password pair", "-"] {
            assert_eq!(
                hidden("WRONGPASS", "invalid username-password pair or user is disabled.", password)[..own.len()],
                *own
            );
            let full = hidden("ERR", "max number of clients reached", password);
            assert_eq!(full, "ERR max number of clients reached");
        }
        for (code, text) in [
            ("ERR", "hush"),
            ("ERR", "do not know hush"),
            ("hush", "no"),
            ("WRONGPASS", "invalid username-password pair or user is disabled: hush"),
            ("WRONGPASS", "hush invalid username-password pair"),
            ("NOhush", "unknown command 'hush'"),
        ] {
            let shown = hidden(code, text, "hush");
            assert!(
                !shown.contains("hush") && shown.split(' ').next().is_some_and(|code| CODES.contains(&code)),
                "{shown}"
            );
        }
    }
}
