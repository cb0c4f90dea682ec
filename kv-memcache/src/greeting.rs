//! What is said when a connection is made, and what a server tells of itself. Nothing here does any I/O.
//!
//! User and password, if they are given, and two questions are sent at once. They have 24 bytes or more: a server that speaks
//! the binary protocol alone waits for so many before it closes the connection. A server that does not tell which memcached it is gets
//! a question more.

use std::time::Instant;

use crate::credentials::Credentials;
use crate::dialect::{CLASSIC_EXTRA, Deletes, Dialect, Meta};
use crate::fault::{Fault, Refusal};
use crate::lifetime::Clock;
use crate::reply;

/// The most that memcached's option `-I` takes.
pub(crate) const LARGEST_OF_ALL: u64 = 1 << 30;

/// The key of the `set` by which user and password are given. To a server that wants them it does not matter; one that wants none
/// takes it for a write. So it is no key of any store, and what is written is gone at once.
const NOBODYS_KEY: &str = "\u{b7}";

/// More bytes than this are no greeting: mcrouter's command line may have its whole configuration, of 256 KiB at most.
pub(crate) const LONGEST: usize = 512 * 1024;

/// More lines than this are no reply to `stats`: 1.6.18 sends 93.
pub(crate) const MOST_STATS: usize = 1000;

/// No version is longer: `1.5.22_5_g1234`.
const LONGEST_VERSION: usize = 40;

/// What a proxy is asked that closes the connection at any question but those about keys: a key that nobody has, and one by which
/// mcrouter tells its version, so that it is not taken for such a proxy.
pub(crate) const SHORT: &[u8] = b"get \xc2\xb7\r\nget __mcrouter__.version\r\n";

/// How many replies [`SHORT`] has.
pub(crate) const SHORT_REPLIES: usize = 2;

/// Whether a server has meta commands, and what it says if it has.
pub(crate) const META_QUESTION: &[u8] = b"mn\r\n";
pub(crate) const META_ANSWER: &[u8] = b"MN";

const VERSION_QUESTION: &[u8] = b"version\r\n";

/// What a server is, as far as it told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) dialect: Dialect,
    /// The largest item, in bytes. `None` if the server does not tell.
    pub(crate) largest_item: Option<u64>,
    /// `None` if the server does not tell its time.
    pub(crate) clock: Option<Clock>,
    /// Whether it closes connections when it is asked what it is, as twemproxy does.
    pub(crate) is_taciturn: bool,
    /// Whether it is mcrouter, to which some keys are [something else](crate::routes).
    pub(crate) is_mcrouter: bool,
}

impl About {
    /// A proxy that tells nothing of itself.
    pub(crate) const TACITURN: Self = Self {
        dialect: Dialect::Classic(Deletes::AtOnce),
        largest_item: None,
        clock: None,
        is_taciturn: true,
        is_mcrouter: false,
    };
}

/// The bytes of the whole greeting.
pub(crate) fn encode(credentials: Option<&Credentials>) -> Vec<u8> {
    let mut greeting = Vec::new();
    if let Some(Credentials { user, password }) = credentials {
        let length = user.len() + " ".len() + password.len();
        greeting.extend_from_slice(format!("set {NOBODYS_KEY} 0 -1 {length}\r\n{user} {password}\r\n").as_bytes());
    }
    // The blank makes it 24 bytes.
    greeting.extend_from_slice(b"stats \r\nstats settings\r\n");
    greeting
}

/// Which reply comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Login,
    /// How many lines it has had.
    Stats(usize),
    Settings(usize),
    Version,
    Meta,
    Nothing,
}

/// What has come so far in reply to a greeting.
#[derive(Debug)]
pub(crate) struct Greeting<'a> {
    credentials: Option<&'a Credentials>,
    classic: bool,
    next: Next,
    version: Option<String>,
    time: Option<u64>,
    item_size_max: Option<u64>,
    wants_password: bool,
    /// Whether flags and length are kept as text.
    keeps_text: bool,
    /// What it said when it was asked for its settings, if it does not tell them.
    refusal: Option<Refusal>,
}

/// What is to be done after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Receive,
    /// Send this, and receive.
    Send(&'static [u8]),
    Finish,
}

impl<'a> Greeting<'a> {
    pub(crate) fn new(credentials: Option<&'a Credentials>, classic: bool) -> Self {
        Self {
            credentials,
            classic,
            next: if credentials.is_some() { Next::Login } else { Next::Stats(0) },
            version: None,
            time: None,
            item_size_max: None,
            wants_password: true,
            keeps_text: true,
            refusal: None,
        }
    }

    /// Takes the next line.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<Then, Fault> {
        match (self.next, Refusal::parse(line)) {
            (Next::Login, None) if line == b"STORED" => self.next = Next::Stats(0),
            (Next::Stats(_), None) if line == b"END" && self.version.is_some() && self.time.is_some() => {
                self.next = Next::Settings(0);
            }
            (Next::Settings(_), None) if line == b"END" && self.item_size_max.is_some() => {
                return Ok(self.after_settings());
            }
            // A proxy, or a service that does not show this.
            (Next::Stats(0), Some(refusal)) if refusal.is_of_command() => {
                self.next = Next::Settings(0);
                self.refusal = Some(refusal);
            }
            (Next::Settings(0), Some(refusal)) if refusal.is_of_command() => {
                self.refusal = Some(refusal);
                return Ok(self.after_settings());
            }
            (Next::Stats(lines), None) if lines < MOST_STATS => {
                self.take_stat(line)?;
                self.next = Next::Stats(lines + 1);
            }
            (Next::Settings(lines), None) if lines < MOST_STATS => {
                if lines == 0 {
                    // What it does not tell now it does not have.
                    self.wants_password = false;
                }
                self.take_stat(line)?;
                self.next = Next::Settings(lines + 1);
            }
            (Next::Version, None) => {
                let version = line.strip_prefix(b"VERSION ").ok_or(Fault::OutOfStep)?;
                self.version = Some(str::from_utf8(version).map_err(|_| Fault::OutOfStep)?.to_owned());
                return Ok(self.after_version());
            }
            (Next::Meta, None) if line == META_ANSWER => return Ok(Then::Finish),
            (Next::Meta, Some(_)) => return Err(self.without_meta()),
            (_, Some(refusal)) => return Err(Fault::Refused(refusal)),
            (_, None) => return Err(Fault::OutOfStep),
        }
        Ok(Then::Receive)
    }

    fn after_settings(&mut self) -> Then {
        if self.version.is_some() {
            return self.after_version();
        }
        self.next = Next::Version;
        Then::Send(VERSION_QUESTION)
    }

    /// What is no memcached may have the classic commands alone.
    fn after_version(&mut self) -> Then {
        if self.classic || self.is_memcached() {
            self.next = Next::Nothing;
            Then::Finish
        } else {
            self.next = Next::Meta;
            Then::Send(META_QUESTION)
        }
    }

    /// Whether the version is one of memcached: mcrouter says `41.0.0 mcrouter`.
    fn is_memcached(&self) -> bool {
        let is_one =
            |version: &String| version.starts_with(|letter: char| letter.is_ascii_digit()) && !version.contains(' ');
        self.version.as_ref().is_some_and(is_one)
    }

    /// Why a server closed the connection before it answered: it may have said so.
    pub(crate) fn into_refusal(self) -> Option<Refusal> {
        self.refusal
    }

    fn take_stat(&mut self, line: &[u8]) -> Result<(), Fault> {
        // mcrouter tells its command line, in which there may be anything.
        if self.version.is_some() && !self.is_memcached() && !line.starts_with(b"STAT ") {
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| Fault::OutOfStep)?;
        let (name, value) = line.strip_prefix("STAT ").ok_or(Fault::OutOfStep)?.split_once(' ').unwrap_or_default();
        match name {
            "version" => self.version = Some(value.to_owned()),
            "time" => self.time = Some(reply::number(value.as_bytes()).ok_or(Fault::OutOfStep)?),
            "item_size_max" => self.item_size_max = Some(reply::number(value.as_bytes()).ok_or(Fault::OutOfStep)?),
            "auth_enabled_ascii" => self.wants_password = value != "no",
            "inline_ascii_response" => self.keeps_text = value != "no",
            _ => {}
        }
        Ok(())
    }

    /// What the server is, by all of its replies to a question that was asked then.
    pub(crate) fn finish(self, asked_at: Instant) -> Result<About, Fault> {
        let Some(version) = &self.version else { return Err(Fault::OutOfStep) };
        let numbers = numbers_of(version);
        if !self.classic && numbers < Meta::OLDEST {
            return Err(self.without_meta());
        }
        if self.credentials.is_some() && !self.wants_password {
            return Err(Fault::unfit(
                "the server lets in everybody (it has no option -Y), and user and password were given",
            ));
        }
        let extra = if self.classic && self.keeps_text { CLASSIC_EXTRA } else { 0 };
        // The time of a proxy is not that of the servers behind it.
        let is_memcached = self.is_memcached();
        Ok(About {
            dialect: if self.classic { Dialect::classic(numbers) } else { Dialect::meta(numbers) },
            largest_item: self.item_size_max.map(|size| size.min(LARGEST_OF_ALL).saturating_sub(extra)),
            clock: self.time.filter(|_| is_memcached).map(|time| Clock::new(time, asked_at)),
            is_taciturn: false,
            is_mcrouter: version.contains("mcrouter"),
        })
    }

    /// That the server has no meta commands, or too old ones, and which server it is.
    fn without_meta(&self) -> Fault {
        Fault::without_meta(self.version.as_deref().and_then(|version| self.shown(version)))
    }

    /// A version as it may be shown. Whatever else comes from there is not to be shown, a password that is repeated least of all.
    fn shown(&self, version: &str) -> Option<String> {
        let is_one = version.len() <= LONGEST_VERSION
            && version.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ');
        let repeats = self.credentials.is_some_and(|credentials| version.contains(&credentials.password));
        if is_one && !repeats {
            return Some(version.to_owned());
        }
        let [major, minor, patch] = numbers_of(version);
        (major < u32::MAX).then(|| format!("{major}.{minor}.{patch}"))
    }
}

/// The numbers of a version such as `1.6.18` or `1.6.9-rc1`. One that is not made of numbers is newer than any.
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
    use super::*;
    use crate::binary;

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
    fn a_greeting_is_longer_than_a_header_of_the_binary_protocol() {
        assert!(encode(None).len() >= binary::HEADER && SHORT.len() >= binary::HEADER);
        assert!(SHORT.starts_with(format!("get {NOBODYS_KEY}\r\n").as_bytes()));
        assert_eq!(SHORT.split(|&byte| byte == b'\n').count(), SHORT_REPLIES + 1);
    }

    /// What a server says that is asked what it is, line by line, in the classic mode or not.
    fn greet(classic: bool, lines: &[&str]) -> Result<About, Fault> {
        let mut greeting = Greeting::new(None, classic);
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(greeting.take(line.as_bytes())?, Then::Receive, "{line}");
        }
        assert_ne!(greeting.take(last.as_bytes())?, Then::Receive, "{last}");
        greeting.finish(Instant::now())
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
        let about = greet(true, &stats).unwrap();
        assert!(about.is_mcrouter && about.clock.is_none() && about.largest_item.is_none());
        // A memcached has nothing between its lines.
        let memcached = stats.map(|line| line.replace("41.0.0 mcrouter", "1.5.22"));
        let result = greet(true, &memcached.each_ref().map(String::as_str));
        assert!(matches!(result, Err(Fault::OutOfStep)), "{result:?}");
        let about = greet(true, &["STAT version 1.5.22", "STAT time 7", "END", "STAT item_size_max 1048576", "END"]);
        assert!(about.is_ok_and(|about| !about.is_mcrouter && about.clock.is_some()));
    }
}
