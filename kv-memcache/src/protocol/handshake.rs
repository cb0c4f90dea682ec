//! What is sent on a new connection, and what the server says about itself.
//!
//! User and password, if there are any, and two questions are sent together. They have at least 24 bytes, because a server that speaks only
//! the binary protocol waits for this many before it closes the connection. A server that does not say which memcached it is gets further
//! questions.

use std::time::Instant;

use super::dialect::{CLASSIC_EXTRA, Deletion, Dialect, Meta};
use super::fault::Fault;
use super::refusal::Refusal;
use super::reply::number;
use super::ttl::{Clock, Moment};

/// The largest number that memcached's option `-I` takes.
pub(crate) const LARGEST_ITEM: u64 = 1 << 30;

/// The key of the `set` that carries user and password. A server that wants them ignores the key. A server that wants none takes it for a
/// write; so no store can have this key, and the entry expires at once.
const NO_KEY: &str = "\u{b7}";

/// The most bytes of all replies. mcrouter's command line may contain its whole configuration, which has at most 256 KiB.
pub(crate) const LONGEST: usize = 512 * 1024;

/// The most bytes of a line in reply to `stats`: mcrouter's command line.
pub(crate) const LONGEST_STAT: usize = 256 * 1024;

/// The most lines in reply to `stats`: 1.6.18 sends 93.
pub(crate) const MOST_STATS: usize = 1000;

/// The most characters of a version: `1.5.22_5_g1234`.
const LONGEST_VERSION: usize = 40;

/// The questions for a proxy that answers only questions about keys, and closes the connection at others. The first key is one that nobody
/// has. mcrouter takes the second one for a command and answers with a value, so it is not mistaken for such a proxy. No store can write
/// these keys, because of the `·`. The questions have at least 24 bytes, too.
pub(crate) const PROXY_QUESTIONS: &[u8] = b"get \xc2\xb7\r\nget __mcrouter__.\xc2\xb7\r\n";

/// How many replies [`PROXY_QUESTIONS`] have.
pub(crate) const PROXY_REPLIES: usize = 2;

/// Asks whether a server has the meta commands.
pub(crate) const META_QUESTION: &[u8] = b"mn\r\n";

/// The answer of a server that has the meta commands.
pub(crate) const META_ANSWER: &[u8] = b"MN";

const VERSION_QUESTION: &[u8] = b"version\r\n";

/// What a server is, as far as it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerInfo {
    pub(crate) dialect: Dialect,
    /// The largest item, in bytes. `None` if the server does not tell.
    pub(crate) largest_item: Option<u64>,
    /// `None` if the server does not tell its time.
    pub(crate) clock: Option<Clock>,
    /// Whether it closes the connection at `stats`, as twemproxy does.
    pub(crate) closes_on_stats: bool,
    /// Whether it is mcrouter, which takes some keys for [routes](super::mcrouter).
    pub(crate) is_mcrouter: bool,
}

impl ServerInfo {
    /// A proxy that says nothing about itself.
    pub(crate) const PROXY: Self = Self {
        dialect: Dialect::Classic(Deletion::AtOnce),
        largest_item: None,
        clock: None,
        closes_on_stats: true,
        is_mcrouter: false,
    };

    /// No item is larger than this, in bytes.
    pub(crate) fn most(&self) -> u64 {
        self.largest_item.unwrap_or(LARGEST_ITEM)
    }

    /// Whether the server took long to tell its time. A new connection may do better.
    pub(crate) fn has_slow_clock(&self) -> bool {
        self.clock.is_some_and(|clock| clock.is_slow())
    }

    /// Whether dates can be made with the server's clock now, be it slow or not; or the server does not tell its time.
    pub(crate) fn has_fresh_clock(&self, now: Moment) -> bool {
        self.clock.is_none_or(|clock| clock.is_fresh(now))
    }
}

/// User and password of ASCII authentication.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// The bytes that are sent first.
pub(crate) fn encode(login: Option<Login<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(Login { user, password }) = login {
        let length = user.len() + " ".len() + password.len();
        bytes.extend_from_slice(format!("set {NO_KEY} 0 -1 {length}\r\n{user} {password}\r\n").as_bytes());
    }
    // The blank makes it 24 bytes.
    bytes.extend_from_slice(b"stats \r\nstats settings\r\n");
    bytes
}

/// Which reply comes next.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    Login,
    /// How many lines have come.
    Stats(usize),
    Settings(usize),
    Version,
    Meta,
    Nothing,
}

/// The replies to the questions on a new connection.
pub(crate) struct Handshake<'a> {
    login: Option<Login<'a>>,
    classic: bool,
    awaited: Awaited,
    version: Option<String>,
    time: Option<u64>,
    item_size_max: Option<u64>,
    wants_password: bool,
    /// Whether flags and length of an item are kept as text.
    keeps_text: bool,
    /// The answer of a server that does not tell its settings.
    refusal: Option<Refusal>,
}

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Receive,
    /// Send this, and receive.
    Send(&'static [u8]),
    Finish,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(login: Option<Login<'a>>, classic: bool) -> Self {
        Self {
            login,
            classic,
            awaited: if login.is_some() { Awaited::Login } else { Awaited::Stats(0) },
            version: None,
            time: None,
            item_size_max: None,
            wants_password: true,
            keeps_text: true,
            refusal: None,
        }
    }

    /// Takes the next line.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<Step, Fault> {
        match (self.awaited, Refusal::parse(line)) {
            (Awaited::Login, None) if line == b"STORED" => self.awaited = Awaited::Stats(0),
            (Awaited::Stats(_), None) if line == b"END" && self.version.is_some() && self.time.is_some() => {
                self.awaited = Awaited::Settings(0);
            }
            (Awaited::Settings(_), None) if line == b"END" && self.item_size_max.is_some() => {
                return Ok(self.after_settings());
            }
            // A proxy, or a service that does not show this.
            (Awaited::Stats(0), Some(refusal)) if refusal.is_of_command() => {
                self.awaited = Awaited::Settings(0);
                self.refusal = Some(refusal);
            }
            (Awaited::Settings(0), Some(refusal)) if refusal.is_of_command() => {
                self.refusal = Some(refusal);
                return Ok(self.after_settings());
            }
            (Awaited::Stats(lines), None) if lines < MOST_STATS => {
                self.take_stat(line)?;
                self.awaited = Awaited::Stats(lines + 1);
            }
            (Awaited::Settings(lines), None) if lines < MOST_STATS => {
                if lines == 0 {
                    // A server that tells its settings without this one wants no password.
                    self.wants_password = false;
                }
                self.take_stat(line)?;
                self.awaited = Awaited::Settings(lines + 1);
            }
            (Awaited::Version, None) => {
                let version = line.strip_prefix(b"VERSION ").ok_or(Fault::Desynchronized)?;
                self.version = Some(str::from_utf8(version).map_err(|_| Fault::Desynchronized)?.to_owned());
                return Ok(self.after_version());
            }
            (Awaited::Meta, None) if line == META_ANSWER => return Ok(Step::Finish),
            (Awaited::Meta, Some(_)) => return Err(self.without_meta()),
            (_, Some(refusal)) => return Err(Fault::Refused(refusal)),
            (_, None) => return Err(Fault::Desynchronized),
        }
        Ok(Step::Receive)
    }

    fn after_settings(&mut self) -> Step {
        if self.version.is_some() {
            return self.after_version();
        }
        self.awaited = Awaited::Version;
        Step::Send(VERSION_QUESTION)
    }

    /// A server that is not memcached may have the classic commands alone.
    fn after_version(&mut self) -> Step {
        if self.classic || self.is_memcached() {
            self.awaited = Awaited::Nothing;
            Step::Finish
        } else {
            self.awaited = Awaited::Meta;
            Step::Send(META_QUESTION)
        }
    }

    /// Whether the version is one of memcached: mcrouter says `41.0.0 mcrouter`.
    fn is_memcached(&self) -> bool {
        let is_one =
            |version: &String| version.starts_with(|letter: char| letter.is_ascii_digit()) && !version.contains(' ');
        self.version.as_ref().is_some_and(is_one)
    }

    /// Why a server closed the connection before it had answered everything, if it said so.
    pub(crate) fn into_refusal(self) -> Option<Refusal> {
        self.refusal
    }

    fn take_stat(&mut self, line: &[u8]) -> Result<(), Fault> {
        // mcrouter tells its command line, which may contain anything.
        if self.version.is_some() && !self.is_memcached() && !line.starts_with(b"STAT ") {
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| Fault::Desynchronized)?;
        let (name, value) =
            line.strip_prefix("STAT ").ok_or(Fault::Desynchronized)?.split_once(' ').unwrap_or_default();
        match name {
            "version" => self.version = Some(value.to_owned()),
            "time" => self.time = Some(number(value.as_bytes()).ok_or(Fault::Desynchronized)?),
            "item_size_max" => self.item_size_max = Some(number(value.as_bytes()).ok_or(Fault::Desynchronized)?),
            "auth_enabled_ascii" => self.wants_password = value != "no",
            "inline_ascii_response" => self.keeps_text = value != "no",
            _ => {}
        }
        Ok(())
    }

    /// What the server is, by all of its replies. It was asked at `asked_at`, and the last reply came at `now`.
    pub(crate) fn finish(self, asked_at: Instant, now: Moment) -> Result<ServerInfo, Fault> {
        let Some(version) = &self.version else { return Err(Fault::Desynchronized) };
        let numbers = numbers_of(version);
        if !self.classic && numbers < Meta::OLDEST {
            return Err(self.without_meta());
        }
        if self.login.is_some() && !self.wants_password {
            return Err(Fault::unsuitable(
                "user and password were given, and the server wants none (it has no option -Y)",
            ));
        }
        let extra = if self.classic && self.keeps_text { CLASSIC_EXTRA } else { 0 };
        // The time of a proxy is not that of the servers behind it.
        let is_memcached = self.is_memcached();
        Ok(ServerInfo {
            dialect: if self.classic { Dialect::classic(numbers) } else { Dialect::meta(numbers) },
            largest_item: self.item_size_max.map(|size| size.min(LARGEST_ITEM).saturating_sub(extra)),
            clock: self.time.filter(|_| is_memcached).map(|time| Clock::new(time, asked_at, now)),
            closes_on_stats: false,
            is_mcrouter: version.contains("mcrouter"),
        })
    }

    /// The server lacks the meta commands, or has too old ones.
    fn without_meta(&self) -> Fault {
        Fault::without_meta(self.version.as_deref().and_then(|version| self.shown(version)))
    }

    /// A version in the form that may be shown. Other text of the server is not shown, because it may repeat a password.
    fn shown(&self, version: &str) -> Option<String> {
        let is_one = version.len() <= LONGEST_VERSION
            && version.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ');
        let repeats = self.login.is_some_and(|login| version.contains(login.password));
        if is_one && !repeats {
            return Some(version.to_owned());
        }
        let [major, minor, patch] = numbers_of(version);
        (major < u32::MAX).then(|| format!("{major}.{minor}.{patch}"))
    }
}

/// The numbers of a version such as `1.6.18` or `1.6.9-rc1`. A version without numbers counts as newer than any.
fn numbers_of(version: &str) -> [u32; 3] {
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    match numbers.next() {
        Some(Ok(major)) => {
            [major, numbers.next().and_then(Result::ok).unwrap_or(0), numbers.next().and_then(Result::ok).unwrap_or(0)]
        }
        _ => [u32::MAX; 3],
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::binary;
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for older in ["1.4.39", "1.5.22", "0.9.20", "1.5.22_5_gabc", "1"] {
            assert!(numbers_of(older) < Meta::OLDEST, "{older}");
        }
        for newer in ["1.6.0", "1.6", "1.6.9-rc1", "1.6.18", "1.6.100", "1.7", "2.0.0-beta", "10", "unknown", ""] {
            assert!(numbers_of(newer) >= Meta::OLDEST, "{newer}");
        }
    }

    #[test]
    fn a_handshake_is_longer_than_a_header_of_the_binary_protocol() {
        assert!(encode(None).len() >= binary::HEADER && PROXY_QUESTIONS.len() >= binary::HEADER);
        assert!(PROXY_QUESTIONS.starts_with(format!("get {NO_KEY}\r\n").as_bytes()));
        assert_eq!(PROXY_QUESTIONS.split(|&byte| byte == b'\n').count(), PROXY_REPLIES + 1);
    }

    /// What a server is that answers with these lines.
    fn shake(classic: bool, lines: &[&str]) -> Result<ServerInfo, Fault> {
        let mut handshake = Handshake::new(None, classic);
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(handshake.take(line.as_bytes())?, Step::Receive, "{line}");
        }
        assert_ne!(handshake.take(last.as_bytes())?, Step::Receive, "{last}");
        let now = Moment { instant: Instant::now(), time: SystemTime::now() };
        handshake.finish(now.instant, now)
    }

    /// Its `stats.cpp` and `stat_list.h`: the version, then the command line, in which there may be a whole configuration.
    #[test]
    fn mcrouter_may_tell_a_command_line_of_several_lines() {
        let stats = [
            "STAT version 41.0.0 mcrouter",
            "STAT commandargs --port 5000 --config-str={",
            "  \"pools\": {\"A\": {\"servers\": [\"127.0.0.1:11211\"]}},",
            "",
            "  \"route\": \"PoolRoute|A\"}",
            "STAT pid 7",
            "STAT parent_pid 1",
            "STAT time 1700000000",
            "STAT uptime 60",
            "STAT fibers_stack_high_watermark 12",
            "STAT cmd_get_out 0.25",
            "END",
            "CLIENT_ERROR bad stats command",
        ];
        let info = shake(true, &stats).unwrap();
        assert!(info.is_mcrouter && info.clock.is_none() && info.largest_item.is_none());
        // A memcached has nothing between its lines.
        let memcached = stats.map(|line| line.replace("41.0.0 mcrouter", "1.5.22"));
        let result = shake(true, &memcached.each_ref().map(String::as_str));
        assert!(matches!(result, Err(Fault::Desynchronized)), "{result:?}");
        let info = shake(true, &["STAT version 1.5.22", "STAT time 7", "END", "STAT item_size_max 1048576", "END"]);
        assert!(info.is_ok_and(|info| !info.is_mcrouter && info.clock.is_some()));
    }
}
