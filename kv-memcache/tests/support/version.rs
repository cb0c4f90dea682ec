//! The server's program: which version it is, and what it can do.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::Command;
use std::sync::OnceLock;

/// The server's program: `MEMCACHED` in the environment is another than the one in the path.
pub(crate) fn program() -> OsString {
    env::var_os("MEMCACHED").unwrap_or_else(|| "memcached".into())
}

/// What the server's program says that it is, such as `memcached 1.6.18`.
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

/// Says why a test does less than its name has it, past the capture of the test's output.
pub(crate) fn skip(what: &str, reason: &str) {
    // Whoever closed it does not want to know.
    let _ = writeln!(io::stderr(), "SKIPPED: {what}: {reason}");
}

/// Whether the server has this; if not, it is said.
pub(crate) fn can(what: &str, need: Need) -> bool {
    let (has, reason) = match need {
        Need::Meta => (is_from([1, 6, 0]), "the meta commands came with 1.6.0"),
        Need::MetaOfToday => (is_from([1, 6, 10]), "the meta commands are another dialect before 1.6.10"),
        Need::Tags => (is_from([1, 6, 18]), "misses say to which command they belong from 1.6.18 on"),
        Need::SaysNoMore => (is_from([1, 6, 9]), "before 1.6.9 connections over the limit wait in silence"),
        Need::Tls => (has_tls(), "it is compiled without TLS"),
        Need::Disk => (is_from([1, 6, 0]), "extstore has to be asked for before 1.6.0, when it is compiled"),
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
    /// Those whose replies are the bytes that a test has in it.
    MetaOfToday,
    /// That it says when it takes no more connections.
    SaysNoMore,
    /// Misses that say to which command they belong.
    Tags,
    Tls,
    Password,
    /// That it can keep values on a disk.
    Disk,
}
