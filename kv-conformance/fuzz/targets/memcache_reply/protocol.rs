//! What bytes mean in reply to an operation, after the [documentation](https://github.com/memcached/memcached/blob/1.6.18/doc/protocol.txt)
//! of the meta commands, as strictly as it is written. It shares no code with kv-memcache.

use std::str;

use crate::Outcome;
use crate::server::SECOND;

/// No line of a server is longer, its end included.
const LONGEST_LINE: usize = 2048;

/// The largest value that is taken from a server with the greeting of `server.rs` is shorter than its items.
const LARGEST_ITEM: usize = 1 << 20;

/// How long the value `a value` is, and with the key `first` and what a server adds the largest item of any operation here.
const ROOM: u64 = 1024;

/// What an operation gives if the bytes are its replies, all of them and nothing else.
pub(crate) fn outcome(kind: u8, bytes: &[u8], tags: &[u64]) -> Option<Outcome> {
    let mut rest = bytes;
    let mut replies = Vec::new();
    for &tag in tags {
        let (reply, after) = reply(kind % 8, rest, tag)?;
        replies.push(reply);
        rest = after;
    }
    if !rest.is_empty() || replies.is_empty() {
        return None;
    }
    Some(match kind % 8 {
        0 | 1 => Outcome::Values(replies.into_iter().map(|reply| reply.map(|reply| reply.value)).collect()),
        6 => {
            // Two seconds are added to what is sent, as the README has it.
            let left = |left: i64| if left < 0 { -1 } else { (left - 2).max(0) };
            Outcome::SecondsLeft(replies.swap_remove(0).map(|reply| left(reply.seconds_left)))
        }
        _ => Outcome::WasThere(replies.iter().map(Option::is_some).collect()),
    })
}

#[derive(Default)]
struct Hit {
    value: Vec<u8>,
    seconds_left: i64,
}

/// The first reply in these bytes, if it is one to this command: a hit or a miss. And what comes after it.
fn reply(kind: u8, bytes: &[u8], tag: u64) -> Option<(Option<Hit>, &[u8])> {
    let (line, rest) = line(bytes)?;
    // What is no text is nothing that was asked for.
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let code = words.next()?;
    let (hit, miss) = match kind {
        0 | 1 => ("VA", "EN"),
        2 => ("HD", "none"),
        3 => ("HD", "NS"),
        4 | 7 => ("HD", "NF"),
        _ => ("HD", "EN"),
    };
    // A server that finds only then that the value is gone has forgotten the flags.
    if line == "EN" && kind <= 1 {
        return Some((None, rest));
    }
    let length = if code == "VA" { Some(number(words.next()?)?) } else { None };
    let flags = words.collect::<Vec<_>>();
    let flag = |kind| flags.iter().find_map(|flag| flag.strip_prefix(kind));
    if number(flag('O')?)? != tag {
        return None;
    }
    if code == miss {
        return Some((None, rest));
    }
    if code != hit {
        return None;
    }
    let mut hit = Hit::default();
    if kind == 6 {
        hit.seconds_left = match flag('t')? {
            "-1" => -1,
            left => i64::from(u32::try_from(number(left)?).ok()?),
        };
    }
    let Some(length) = length else { return Some((Some(hit), rest)) };
    let length = usize::try_from(length).ok().filter(|&length| length < LARGEST_ITEM)?;
    let (value, rest) = rest.split_at_checked(length)?;
    hit.value = value.to_vec();
    Some((Some(hit), rest.strip_prefix(b"\r\n")?))
}

/// The first line, which ends as the protocol has it, and what comes after it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r")?, &bytes[end + 1..]))
}

/// A number of digits alone.
fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// What a store takes these bytes for when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A server that is used.
    Good,
    /// One that is used, and may take no item of the size that it is sent, or has a strange clock.
    Odd,
    /// No memcached, or one that will not do.
    None,
    /// None either, and more could come.
    Unfinished,
}

/// What bytes are as the replies to user and password, if they were given, to `stats` and to `stats settings`.
pub(crate) fn greeting(bytes: &[u8], has_password: bool) -> Greeting {
    greeting_of(bytes, has_password).unwrap_or(Greeting::None)
}

fn greeting_of(bytes: &[u8], has_password: bool) -> Option<Greeting> {
    let mut rest = bytes;
    if has_password {
        let Some((line, after)) = line(rest) else { return Some(Greeting::Unfinished) };
        if line != b"STORED" {
            return None;
        }
        rest = after;
    }
    let (mut version, mut time, mut largest, mut lets_in_everybody) = (None, None, None, false);
    for question in ["stats", "stats settings"] {
        for index in 0.. {
            let Some((line, after)) = line(rest) else { return Some(Greeting::Unfinished) };
            rest = after;
            let is_first_of_settings = question == "stats settings" && index == 0;
            // Then it is not known how large an item may be.
            let is_refused = line == b"ERROR" || line == b"CLIENT_ERROR bad stats command";
            if line == b"END" || (is_first_of_settings && is_refused) {
                // What is there without what it has to have is no reply.
                let is_whole = if question == "stats" { version.is_some() && time.is_some() } else { is_refused || largest.is_some() };
                if !is_whole {
                    return None;
                }
                break;
            }
            if is_first_of_settings {
                lets_in_everybody = true;
            }
            match str::from_utf8(line).ok()?.strip_prefix("STAT ")?.split_once(' ').unwrap_or_default() {
                ("version", value) => version = Some(value),
                ("time", value) => time = Some(number(value)?),
                ("item_size_max", value) => largest = Some(number(value)?),
                ("auth_enabled_ascii", value) => lets_in_everybody = value == "no",
                _ => {}
            }
        }
    }
    let (version, time) = (version?, time?);
    if !rest.is_empty() || (has_password && lets_in_everybody) || !will_do(version) {
        return None;
    }
    // Until 2038, less the TTL that is sent.
    let is_usual = largest.is_none_or(|largest| largest >= ROOM) && time < 2_140_000_000;
    Some(if is_usual { Greeting::Good } else { Greeting::Odd })
}

/// Whether a version is one of memcached, and 1.6.0 or newer, which have the meta commands. A server that says something
/// else is asked for them, and `server.rs` does not answer that.
fn will_do(version: &str) -> bool {
    if !version.starts_with(|letter: char| letter.is_ascii_digit()) || version.contains(' ') {
        return false;
    }
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    // One that is too large is newer than any.
    let Some(Ok(first)) = numbers.next() else { return true };
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (first, next(), next()) >= (1, 6, 0)
}

/// What an operation gives if it is answered as `server.rs` does.
pub(crate) fn answered(kind: u8) -> Outcome {
    match kind % 8 {
        0 => Outcome::Values(vec![Some(SECOND.into())]),
        1 => Outcome::Values(vec![Some(SECOND.into()); 2]),
        6 => Outcome::SecondsLeft(Some(-1)),
        7 => Outcome::WasThere(vec![true; 2]),
        _ => Outcome::WasThere(vec![true]),
    }
}
