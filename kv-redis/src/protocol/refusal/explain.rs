//! How an error of the server is explained, and what to do about it.

use std::borrow::Cow;

use super::{Refusal, WANTS_PASSWORD};

const MISSING_PASSWORD: (&str, bool) = ("the server wants a password; put it into the URL, or into the builder", false);

const WRONG_PASSWORD: (&str, bool) =
    ("the server does not accept user and password; in a URL their special characters are percent-encoded", false);

/// How an error of the server is explained, and whether trying again may help.
pub(crate) fn explain(refusal: &Refusal) -> (Cow<'static, str>, bool) {
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

/// The command that this user may not use, by the server's error.
fn forbidden_command(Refusal { code, text }: &Refusal) -> Option<String> {
    let (_, rest) = text.split_once("to run the ").filter(|_| code == "NOPERM")?;
    quoted_command(rest).map(|(name, _)| name)
}

/// The command that the server does not have, by its error. Other errors name commands, too.
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

/// A command in quotation marks at the beginning of a text, and what follows. Only letters are accepted, because a server may say
/// anything (E3).
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
            ("the server is not a node of a cluster; use `url(…)` of the builder", false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_not_shown_and_the_command_is_named() {
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
    fn only_an_unknown_command_is_explained_as_one() {
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
}
