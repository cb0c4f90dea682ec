//! Errors that a server sends.

use redis::ServerError;

pub(crate) mod command;
pub(crate) mod explain;

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

    /// The same without this password, in case the server repeated it (E3). Redis's own words are shown as they are, even if the password is
    /// a part of them: they do not come from the password.
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

/// The codes of redis's errors.
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

/// The beginnings of the errors that a new connection may get from redis.
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

/// The code and text of an error inside a script, where a server before redis 7 puts its own code before them:
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
        // The reason why a transaction was discarded says more than that it was.
        let reason = text.strip_prefix("Transaction discarded because of: ").and_then(|reason| reason.split_once(' '));
        let (code, text) = reason.filter(|_| error.code() == "EXECABORT").unwrap_or((error.code(), text));
        let (code, text) = in_script(&error).unwrap_or((code, text));
        let (code, text) = text.strip_prefix("ACL failure in script: ").map_or((code, text), |text| ("NOPERM", text));
        // The user is not shown either: `User app has no permissions to`, and Dragonfly's `app has no ACL permissions`.
        match text.split_once(" has no ").filter(|_| code == "NOPERM") {
            Some((_user, rest)) => Self::new(code, format!("this user has no {rest}")),
            None => Self::new(code, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_servers_message_is_hidden_and_its_own_words_are_not() {
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
