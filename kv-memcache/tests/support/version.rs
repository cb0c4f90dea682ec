//! The server's program: its version, and what it can do.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::Command;
use std::sync::OnceLock;

/// The server's program: the one in the environment variable `MEMCACHED`, or `memcached` in the path.
pub(crate) fn program() -> OsString {
    env::var_os("MEMCACHED").unwrap_or_else(|| "memcached".into())
}

/// The name and version that the program reports, such as `memcached 1.6.18`.
pub(crate) fn version() -> String {
    let said = Command::new(program()).arg("-V").output().unwrap().stdout;
    String::from_utf8(said).unwrap().trim().to_owned()
}

/// Whether the server's program is of this version or newer.
pub(crate) fn is_from(version_of: [u32; 3]) -> bool {
    static NUMBERS: OnceLock<Vec<u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let said = version();
        said.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).take(3).collect()
    });
    numbers.as_slice() >= version_of.as_slice()
}

/// Whether the server's program has TLS.
pub(crate) fn has_tls() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let said = Command::new(program()).arg("-h").output().unwrap().stdout;
        String::from_utf8_lossy(&said).contains("--enable-ssl")
    })
}

/// Says why a test does less than its name says. This is not captured with the test's output.
pub(crate) fn skip(what: &str, reason: &str) {
    // If stderr is closed, nobody wants to know.
    let _ = writeln!(io::stderr(), "SKIPPED: {what}: {reason}");
}

/// Whether the server has this. If not, this says so.
pub(crate) fn can(what: &str, need: Need) -> bool {
    let (has, reason) = match need {
        Need::Meta => (is_from([1, 6, 0]), "the meta commands came with 1.6.0"),
        Need::MetaOfToday => (is_from([1, 6, 10]), "before 1.6.10 the meta commands are another dialect"),
        Need::Tags => (is_from([1, 6, 18]), "misses carry a tag from 1.6.18 on"),
        Need::SaysNoMore => (is_from([1, 6, 9]), "before 1.6.9 connections over the limit wait in silence"),
        Need::Tls => (has_tls(), "it is compiled without TLS"),
        Need::Disk => (is_from([1, 6, 0]), "before 1.6.0 extstore is a compile-time option"),
        Need::Password => (is_from([1, 5, 15]), "`-Y` came with 1.5.15"),
    };
    if !has {
        skip(what, &format!("{} cannot do that: {reason}", version()));
    }
    has
}

/// What a test may need of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Meta,
    /// The meta commands with the replies that the tests contain, byte for byte.
    MetaOfToday,
    /// It says so when it accepts no more connections.
    SaysNoMore,
    /// Misses carry the tag of their command.
    Tags,
    Tls,
    Password,
    /// It can keep values on a disk.
    Disk,
}
