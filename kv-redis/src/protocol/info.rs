//! What a server says about itself, in reply to `INFO server`.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::commands::{Commands, OLDEST, Version};
use super::fault::Fault;
use super::role::Role;

/// A run of a server process: a number that is another one after a restart. `None` where the server does not tell.
pub(crate) type RunId = Option<u64>;

/// What is known of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerInfo {
    pub(crate) commands: Commands,
    pub(crate) run_id: RunId,
}

impl ServerInfo {
    /// A server that says nothing: `INFO` is renamed or forbidden.
    pub(crate) fn untold() -> Self {
        Self { commands: Commands::of_version(None, None), run_id: None }
    }

    /// Reads the reply. An error if the server is not suitable for this role.
    pub(crate) fn read(info: &str, role: Role) -> Result<Self, Fault> {
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let version = field("redis_version").and_then(version);
        if let Some((major, minor, patch)) = version.filter(|version| *version < OLDEST) {
            let (least_major, least_minor, least_patch) = OLDEST;
            return Err(Fault::unsuitable(format!(
                "the server is redis {major}.{minor}.{patch}; kv-redis needs {least_major}.{least_minor}.{least_patch} or newer"
            )));
        }
        // Valkey has another name for the mode.
        let mode = field("redis_mode").or_else(|| field("server_mode"));
        if let Some(hint) = mode.and_then(|mode| role.hint_against(mode)) {
            return Err(Fault::unsuitable(hint));
        }
        // Only these fields of the section show that it is KeyDB.
        let is_keydb = field("features").is_some_and(|features| features.contains("cluster_mget"))
            || field("executable").is_some_and(|program| program.contains("keydb"));
        let whole = if mode == Some("standalone") { Commands::WHOLE } else { Commands::NONE };
        let valkey = field("valkey_version").and_then(self::version);
        let mut commands = Commands::of_version(version, valkey).with(whole);
        if info.lines().any(names_another_server) {
            commands = commands.without(Commands::STILL);
        }
        Ok(Self {
            commands: if is_keydb {
                commands.without(Commands::LARGE_PAGES).with(Commands::PAGES_IN_EXEC)
            } else {
                commands
            },
            run_id: field("run_id").map(|id| BuildHasherDefault::<DefaultHasher>::default().hash_one(id)),
        })
    }
}

/// Whether a line tells the version of a server that is neither redis nor valkey, such as `garnet_version:1.0.89`. Such servers tell a version of
/// redis as well, and behave like it in what their authors thought of.
fn names_another_server(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    name.ends_with("_version") && !["redis_version", "valkey_version", "gcc_version"].contains(&name)
}

/// The numbers of a version such as `6.0.16`; `None` if it does not begin with a number.
fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(|part| {
        let digits = part.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<u32>().ok()
    });
    let major = numbers.next()??;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    Some((major, next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(info: &str) -> Commands {
        ServerInfo::read(info, Role::Data).unwrap().commands
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for older in ["2.8.11", "2.8.9", "2.6.17", "2.8", "1"] {
            assert!(version(older).unwrap() < OLDEST, "{older}");
        }
        for newer in ["2.8.12", "2.8.24", "2.10.0", "3", "6.0.16", "10.0", "255.255.255", "8.0-m02", "2.8.12-rc1"] {
            assert!(version(newer).unwrap() >= OLDEST, "{newer}");
        }
        for other in ["", "unstable", ".7"] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn a_version_tells_which_commands_there_are() {
        let all = Commands::ALL.without(Commands::WHOLE).without(Commands::PAGES_IN_EXEC);
        let of_8_4 = Commands::SET_IFEQ.with(Commands::DELEX).with(Commands::DELIFEQ);
        let of_6_2 = of_8_4.with(Commands::COPY).with(Commands::GETDEL).with(Commands::GETEX);
        for (version, lacks) in [
            ("2.8.12", of_6_2.with(Commands::STILL).with(Commands::SCAN_TYPE).with(Commands::PERSIST)),
            ("3.0.7", of_6_2.with(Commands::STILL).with(Commands::SCAN_TYPE).with(Commands::PERSIST)),
            ("3.2.0", of_6_2.with(Commands::STILL).with(Commands::SCAN_TYPE)),
            ("5.0.14", of_6_2.with(Commands::STILL).with(Commands::SCAN_TYPE)),
            ("6.0.0", of_6_2.with(Commands::STILL)),
            ("6.2.14", of_8_4.with(Commands::STILL)),
            ("7.0.0", of_8_4),
            ("8.2.9", of_8_4),
            ("8.4.0", Commands::DELIFEQ),
            ("7.2.4\r\nvalkey_version:7.2.8", of_8_4),
            ("7.2.4\r\nvalkey_version:8.1.0", Commands::DELEX.with(Commands::DELIFEQ)),
            ("7.2.4\r\nvalkey_version:9.0.0", Commands::DELEX),
        ] {
            assert_eq!(commands(&format!("# Server\r\nredis_version:{version}\r\n")), all.without(lacks), "{version}");
        }
        // No refusal would show an old PERSIST, or that time goes on.
        let untold = all.without(Commands::PERSIST).without(Commands::LARGE_PAGES).without(Commands::STILL);
        assert_eq!(ServerInfo::untold().commands, untold);
        assert_eq!(commands("redis_version:unstable\r\n"), ServerInfo::untold().commands);
    }

    #[test]
    fn time_stands_still_in_transactions_of_redis_and_valkey_only() {
        for (other, is_still) in [
            ("gcc_version:12.2.0", true),
            ("valkey_version:8.0.1", true),
            ("garnet_version:1.0.89", false),
            ("dragonfly_version:df-v1.30.0", false),
            ("kvrocks_version:2.12.0", false),
        ] {
            let info = format!("redis_version:7.2.4\r\n{other}\r\n");
            assert_eq!(commands(&info).has(Commands::STILL), is_still, "{other}");
        }
    }

    #[test]
    fn a_page_of_keydb_is_asked_for_in_a_transaction() {
        for (says, is_keydb) in [
            ("executable:/usr/bin/keydb-server\r\nfeatures:cluster_mget", true),
            ("executable:/srv/server\r\nfeatures:cluster_mget", true),
            ("executable:/opt/keydb-server", true),
            ("executable:/usr/bin/redis-server", false),
            ("features:", false),
        ] {
            let info = format!("redis_version:6.3.4\r\n{says}\r\n");
            let way = if is_keydb { Commands::PAGES_IN_EXEC } else { Commands::LARGE_PAGES };
            assert_eq!(commands(&info).size_of_page(1000), (way, 1000), "{says}");
            assert_eq!(commands(&info).without(way).size_of_page(1000), (Commands::NONE, 99), "{says}");
            assert_eq!(commands(&info).size_of_page(50), (Commands::NONE, 50), "{says}");
        }
    }

    #[test]
    fn a_server_is_whole_if_it_says_so_by_either_name() {
        for (mode, is_whole) in [
            ("redis_mode:standalone", true),
            ("server_mode:standalone", true),
            ("", false),
            ("mode:standalone", false),
            ("redis_mode:other", false),
        ] {
            let info = format!("redis_version:7.2.4\r\n{mode}\r\nrun_id:1f\r\n");
            assert_eq!(commands(&info).has(Commands::WHOLE), is_whole, "{mode}");
        }
        for mode in ["redis_mode:cluster", "server_mode:cluster", "redis_mode:sentinel", "server_mode:sentinel"] {
            assert!(ServerInfo::read(&format!("redis_version:7.2.4\r\n{mode}\r\n"), Role::Data).is_err(), "{mode}");
        }
    }

    #[test]
    fn a_server_that_is_too_old_is_named_with_the_oldest_that_will_do() {
        let Err(Fault::Unsuitable { advice, .. }) = ServerInfo::read("redis_version:2.8.9-<b>\r\n", Role::Data) else {
            panic!()
        };
        assert_eq!(advice, "the server is redis 2.8.9; kv-redis needs 2.8.12 or newer");
    }
}
