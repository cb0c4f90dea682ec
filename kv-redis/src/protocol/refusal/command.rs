//! Whether an error means that the server does not accept a command: it lacks the command or it is turned off, or this user or a script
//! may not use it.
//!
//! There is no code for that. Redis's words changed with its versions; proxies, managed services and other servers have their own. So the
//! errors are recognised by the words that they share. A wrong guess costs little: the request is made in another way, and if the server
//! does not accept that either, its error is shown.

use redis::ServerError;

use super::{CODES, WANTS_PASSWORD, in_script};

/// Words that only refusals of a command contain, in lower case.
const WORDS: [&str; 13] = [
    "unknown",
    "unsupported",
    "not support",
    "syntax error",
    "not allowed",
    "not available",
    "not permitted",
    "not implemented",
    "disabled",
    "wrong number of arg",
    "can't run this",
    "to run the",
    "could not find scripting engine",
];

/// Commands that have no key among their arguments.
const WITHOUT_KEY: [&str; 3] = ["info", "role", "scan"];

/// Whether an error says that the server does not accept one of these commands. Then nothing was done.
pub(crate) fn is_of_command(error: &ServerError, commands: &[&str]) -> bool {
    let (code, text) = (error.code(), error.details().unwrap_or_default());
    match code {
        // `to access` is about a key. Dragonfly uses the same words for commands and keys, so they refuse a command only if it has no key.
        "NOPERM" => {
            let has_no_key = |command: &&str| WITHOUT_KEY.contains(command);
            text.contains(" to run ") || !text.contains(" to access ") && commands.iter().all(has_no_key)
        }
        // How servers before redis 2.8, and some proxies, ask for a password.
        "ERR" if text.starts_with(WANTS_PASSWORD) => false,
        // A script on an older server called a command that does not exist or is not allowed. An error about an entry has a code of its own
        // inside.
        _ if code.starts_with("@user_script") => in_script(error).is_none(),
        // An error about an entry has its own code.
        _ if code != "ERR" && CODES.contains(&code) => false,
        // Some refusals have no code.
        _ => {
            // The rest are the arguments.
            let text = text.split_once(", with args beginning with").map_or(text, |(text, _)| text);
            let text = format!("{code} {text}").to_ascii_lowercase();
            // Kvrocks is full: `write command not allowed when reached max-db-size`.
            let is_full = text.contains("max-db-size");
            let names = |word: &str| commands.iter().any(|command| word.eq_ignore_ascii_case(command));
            let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
            !is_full && (WORDS.iter().any(|refusal| text.contains(refusal)) || words.any(names))
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::Value as Reply;

    use super::*;

    fn error(line: &str) -> ServerError {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Reply::ServerError(error) => error,
            reply => panic!("{reply:?}"),
        }
    }

    /// What servers say, and where that was found.
    const REFUSALS: [(&str, &str); 28] = [
        ("redis 2.8.24, src/redis.c", "ERR unknown command 'COPY'"),
        ("redis 5.0.14, src/server.c", "ERR unknown command `COPY`, with args beginning with: `a`, `b`, "),
        ("redis 7.0.15, src/server.c", "ERR unknown command 'COPY', with args beginning with: 'a' 'b' "),
        (
            "redis 6.0.16, src/server.c",
            "NOPERM this user has no permissions to run the 'copy' command or its subcommand",
        ),
        ("redis 7.0.15, src/server.c", "NOPERM this user has no permissions to run the 'copy' command"),
        ("redis 7.2 and valkey, src/acl.c", "NOPERM User app has no permissions to run the 'copy' command"),
        ("redis 5.0.14, src/db.c, of SCAN … TYPE", "ERR syntax error"),
        ("redis 3.2.13, src/scripting.c", "@user_script: 1: This Redis command is not allowed from scripts"),
        ("redis 6.2.5, src/scripting.c", "@user_script: 1: Unknown Redis command called from Lua script"),
        (
            "redis 6.2.5, src/scripting.c",
            "@user_script: 1: The user executing the script can't run this command or subcommand",
        ),
        (
            "redis 7.0.15, src/script.c",
            "ERR This Redis command is not allowed from script script: f_1, on @user_script:1.",
        ),
        ("redis 7.0.15, src/script.c", "ERR The user executing the script can't run this command or subcommand"),
        (
            "redis 7.2 and valkey, src/script.c",
            "ERR ACL failure in script: User app has no permissions to run the 'get' command",
        ),
        ("redis 7.2, src/script.c", "ERR Unknown Redis command called from script script: f_1, on @user_script:1."),
        ("valkey 9.1.2, seen", "ERR Could not find scripting engine 'lua'"),
        ("KeyDB 6.3, src/server.cpp", "ERR unknown command `COPY`, with args beginning with: `a`, "),
        ("Garnet, libs/server/Resp/CmdStrings.cs", "ERR unknown command"),
        ("Garnet, libs/server/Resp/CmdStrings.cs", "NOPERM this user has no permissions to run the command"),
        ("Garnet, libs/server/Resp/CmdStrings.cs", "ERR This instance has Lua scripting support disabled"),
        ("Dragonfly, src/server/main_service.cc", "ERR unknown command `COPY`"),
        ("Dragonfly, src/server/main_service.cc", "ERR This Redis command is not allowed from script"),
        ("kvrocks, src/server/redis_connection.cc", "ERR unknown command `copy`, with args beginning with: `a` `b`"),
        ("kvrocks, src/storage/scripting.cc", "ERR This Redis command is not allowed from scripts"),
        ("envoy, redis_proxy/command_splitter_impl.cc", "unsupported command 'COPY'"),
        ("envoy, redis_proxy/command_splitter_impl.cc", "wrong number of arguments for 'EVAL' command"),
        (
            "Upstash, as users report it",
            "ERR Command is not available: 'COPY'. See https://upstash.com/docs/redis/overall/rediscompatibility for details",
        ),
        ("Tair (Alibaba), its list of errors; redisson #4389", "ERR command 'eval' not support for your account"),
        (
            "Tair (Alibaba) behind its proxy, its limits of scripts",
            "ERR for redis cluster, eval/evalsha number of keys can't be negative or zero",
        ),
    ];

    #[test]
    fn refusals_are_known_by_the_words_of_many_servers() {
        for (server, line) in REFUSALS {
            assert!(is_of_command(&error(line), &["copy", "eval"]), "{server}: {line}");
        }
        let of_lua = "ERR bad lua script for redis cluster, all the keys that the script uses should be passed using the KEYS array";
        let of_dragonfly = error("NOPERM app has no ACL permissions");
        assert!(["info", "role", "scan"].iter().all(|name| is_of_command(&of_dragonfly, &[name])));
        assert!(is_of_command(&error(of_lua), &["eval", "lua"]) && !is_of_command(&error(of_lua), &["copy"]));
    }

    #[test]
    fn an_error_about_an_entry_is_not_a_refusal() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots, but is unable to persist to disk. Commands are disabled.",
            "READONLY You can't write against a read only replica.",
            "NOREPLICAS Not enough good replicas to write.",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            "NOPERM User app has no permissions to access the 'eval' key",
            "NOPERM No permissions to access a key",
            // Dragonfly, of a command and of a key: src/server/main_service.cc, `VerifyConnectionAclStatus`.
            "NOPERM app has no ACL permissions",
            "ERR operation not permitted",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "MOVED 1 127.0.0.1:1",
            "CLUSTERDOWN Hash slot not served",
            "ERR max number of clients reached",
            "ERR Protocol error: invalid bulk length",
            "ERR write command not allowed when reached max-db-size.",
            "no upstream host",
            "upstream failure",
        ] {
            assert!(!is_of_command(&error(line), &["copy", "eval", "lua"]), "{line}");
        }
    }
}
