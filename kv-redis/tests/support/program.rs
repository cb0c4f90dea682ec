//! The program that the tests run, and which words and options it has. It is `redis-server`, or the program that the variable `REDIS_SERVER`
//! names: another version, valkey or KeyDB.

use std::env;
use std::process::Command;
use std::sync::OnceLock;

/// The numbers of a version of redis.
pub(crate) type Version = (u32, u32, u32);

/// The program: `redis-server`, or that in the variable `REDIS_SERVER`.
pub(crate) fn program() -> String {
    env::var("REDIS_SERVER").ok().filter(|program| !program.is_empty()).unwrap_or_else(|| "redis-server".into())
}

/// The name and version that the program reports, such as `redis` and `7.0.15`.
fn identity() -> &'static (String, String) {
    static IDENTITY: OnceLock<(String, String)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let program = program();
        let said = Command::new(&program).arg("--version").output();
        let said = said.unwrap_or_else(|error| panic!("{program} cannot be run: {error}")).stdout;
        let said = String::from_utf8(said).unwrap();
        // `Redis server v=7.0.15 sha=…`
        let name = said.split_whitespace().next().unwrap_or_default();
        let name = if name == "KeyDB" || name == "Futriix" { name.to_owned() } else { name.to_lowercase() };
        let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
        (name, version.unwrap_or_else(|| panic!("{program} says of itself: {said}")).to_owned())
    })
}

/// The program and its version, such as `redis 7.0.15`.
pub(crate) fn version() -> String {
    let (name, version) = identity();
    format!("{name} {version}")
}

/// The version of redis whose words and options the program has.
fn compatible_version() -> Version {
    let (name, version) = identity();
    // Valkey continues the versions of redis 7.2. KeyDB 6.3 was made from redis 6.2.
    if name == "KeyDB" {
        return (6, 2, 0);
    }
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Whether the program has what this version of redis has.
pub(crate) fn is_since(version: Version) -> bool {
    compatible_version() >= version
}

/// Whether the program is redis itself.
pub(crate) fn is_redis() -> bool {
    identity().0 == "redis"
}

/// Whether the program has what this version of redis introduced. If not, this prints that a test is skipped.
pub(crate) fn can_test(what: &str, since: Version) -> bool {
    let can = is_since(since);
    if !can {
        let (major, minor, patch) = since;
        println!("skipped: {} has no {what}, which redis has since {major}.{minor}.{patch}", version());
    }
    can
}

/// Whether the program was built with TLS.
pub(crate) fn has_tls() -> bool {
    static HAS_TLS: OnceLock<bool> = OnceLock::new();
    *HAS_TLS.get_or_init(|| {
        // With TLS it exits because it has no certificate. Without TLS it exits because it does not know the option.
        let output = Command::new(program()).args(["--port", "0", "--tls-port", "1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let has_tls = said.contains("tls-cert-file");
        if !has_tls {
            println!("skipped: {} was built without TLS", version());
        }
        has_tls
    })
}

/// The word for a server that follows another one: `replica` since redis 5.
pub(crate) fn replica() -> &'static str {
    if is_since((5, 0, 0)) { "replica" } else { "slave" }
}

/// The command with which a server begins to follow another one.
pub(crate) fn replicaof() -> &'static str {
    if is_since((5, 0, 0)) { "REPLICAOF" } else { "SLAVEOF" }
}
