//! The classic commands, which every memcached and every proxy has: `get`, `set`, `add`, `touch` and `delete`, one key each.
//!
//! Replies carry no number. A value repeats its key. Each other command has one reply, in order. After a reply that does not belong to its
//! command the connection is closed.

use std::io::Write as _;

use kv_core::Key;

use crate::protocol::command::Command;
use crate::protocol::fault::Fault;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{FirstLine, Hit, Reply, number};
use crate::protocol::ttl::Exptime;

/// How many more bytes an item has on a server before 1.6.0, which keeps flags and length as text: ` 0 1048000\r\n`.
pub(crate) const CLASSIC_EXTRA: u64 = 12;

/// An expired entry is sent with a Unix time of January 1970, since twemproxy closes the connection at a negative number.
const LONG_AGO: u32 = 60 * 60 * 24 * 30 + 1;

/// How entries are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// By `delete`.
    AtOnce,
    /// By a `touch` with a date in the past.
    ByExpiry,
}

impl Deletion {
    /// Before this version `delete` looks the entry up and removes it in two steps, so that two callers may both be told that they
    /// removed it ([8015a69]). `touch` is one step.
    ///
    /// [8015a69]: https://github.com/memcached/memcached/commit/8015a698e0e7f629d875824130c200c53018e744
    const AT_ONCE_SINCE: [u32; 3] = [1, 5, 14];

    /// How to delete on a server of this version, so that only one caller is told that it did.
    pub(super) fn of(version: [u32; 3]) -> Self {
        if version < Self::AT_ONCE_SINCE { Self::ByExpiry } else { Self::AtOnce }
    }
}

pub(super) fn write_line(
    line: &mut Vec<u8>,
    key: Key<'_>,
    command: &Command<'_>,
    exptime: Exptime,
    deletes: Deletion,
) -> Result<(), Fault> {
    let exptime = match exptime {
        Exptime::Past => LONG_AGO,
        Exptime::Number(number) => number,
    };
    let written = match *command {
        Command::Get | Command::Contains => write!(line, "get {key}\r\n"),
        Command::Touch(_) => write!(line, "touch {key} {exptime}\r\n"),
        Command::Put { value, client_flags, .. } => {
            write!(line, "set {key} {client_flags} {exptime} {}\r\n", value.len())
        }
        Command::Create(value, _) => write!(line, "add {key} 0 {exptime} {}\r\n", value.len()),
        Command::Delete => match deletes {
            Deletion::AtOnce => write!(line, "delete {key}\r\n"),
            Deletion::ByExpiry => write!(line, "touch {key} {LONG_AGO}\r\n"),
        },
        // The store has already refused these operations.
        Command::GetAll
        | Command::TtlOf
        | Command::DeleteVersion(_)
        | Command::GetVersioned
        | Command::CreateVersioned(..)
        | Command::PutVersion { .. }
        | Command::GetAndTouch(_)
        | Command::Add { .. }
        | Command::Subtract(_) => {
            return Err(Fault::unsuitable("there is no classic command for this"));
        }
    };
    written.map_err(|_| Fault::unsuitable("there is no memory for this command"))
}

pub(super) fn read_first_line(
    line: &[u8],
    key: Key<'_>,
    command: &Command<'_>,
    deletes: Deletion,
) -> Result<FirstLine, Fault> {
    let (hit, miss): (&[u8], &[u8]) = match command {
        Command::Get | Command::Contains if line == b"END" => return Ok(FirstLine::Whole(Reply::Miss)),
        Command::Get | Command::Contains => return read_value_line(line, key),
        Command::Touch(_) => (b"TOUCHED", b"NOT_FOUND"),
        // mcrouter answers this if its configuration has no server for the key, or does not wait for it.
        Command::Put { .. } if line == b"NOT_STORED" => {
            return Ok(FirstLine::Whole(Reply::Refused(Refusal::not_stored())));
        }
        Command::Put { .. } => (b"STORED", b"STORED"),
        Command::Create(..) => (b"STORED", b"NOT_STORED"),
        Command::Delete if deletes == Deletion::ByExpiry => (b"TOUCHED", b"NOT_FOUND"),
        Command::Delete => (b"DELETED", b"NOT_FOUND"),
        // The store has sent no such command.
        _ => return Err(Fault::Desynchronized),
    };
    if line == hit {
        Ok(FirstLine::Whole(Reply::Hit(Hit::default())))
    } else if line == miss {
        Ok(FirstLine::Whole(Reply::Miss))
    } else {
        Err(Fault::Desynchronized)
    }
}

/// `VALUE key flags length`.
fn read_value_line(line: &[u8], key: Key<'_>) -> Result<FirstLine, Fault> {
    let mut words = line.split(|&byte| byte == b' ');
    let [name, of, flags, length] = [words.next(), words.next(), words.next(), words.next()];
    let is_that = name == Some(b"VALUE") && of == Some(key.as_str().as_bytes()) && words.next().is_none();
    let client_flags = flags.and_then(number).filter(|_| is_that).ok_or(Fault::Desynchronized)?;
    let length = length.and_then(number).ok_or(Fault::Desynchronized)?;
    Ok(FirstLine::Value { length, hit: Hit { client_flags, ..Hit::default() } })
}

#[cfg(test)]
mod tests {
    use kv_core::key;

    use super::*;
    use crate::protocol::ttl::Expiry;

    fn line(command: &Command<'_>, deletes: Deletion) -> String {
        let expiry = command.expiry().unwrap_or(Expiry::Never);
        let (mut line, exptime) = (Vec::new(), expiry.exptime(None, std::time::Instant::now()).unwrap());
        write_line(&mut line, key!("k"), command, exptime, deletes).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn commands_are_classic_and_no_number_is_negative() {
        let ttl = Expiry::Seconds(3);
        for (command, expected) in [
            (Command::Get, "get k\r\n"),
            (Command::Contains, "get k\r\n"),
            (Command::touch(ttl), "touch k 3\r\n"),
            (Command::touch(Expiry::Never), "touch k 0\r\n"),
            (Command::touch(Expiry::Now), "delete k\r\n"),
            (Command::put(b"v\r\n", ttl), "set k 0 3 3\r\n"),
            (Command::put(b"", Expiry::Never), "set k 0 0 0\r\n"),
            (Command::put(b"v", Expiry::Now), "delete k\r\n"),
            (Command::Create(b"v", ttl), "add k 0 3 1\r\n"),
            (Command::Create(b"v", Expiry::Now), "add k 0 2592001 1\r\n"),
            (Command::Delete, "delete k\r\n"),
        ] {
            assert_eq!(line(&command, Deletion::AtOnce), expected);
            let expected = expected.replace("delete k", "touch k 2592001");
            assert_eq!(line(&command, Deletion::ByExpiry), expected);
        }
    }

    #[test]
    fn a_reply_is_accepted_only_in_the_words_of_its_command() {
        let (put, create) = (Command::put(b"v", Expiry::Never), Command::Create(b"v", Expiry::Never));
        let touch = Command::touch(Expiry::Never);
        let lines = ["STORED", "NOT_STORED", "DELETED", "NOT_FOUND", "TOUCHED", "END", "EXISTS", "", "stored", "OK"];
        let at_once = Deletion::AtOnce;
        for (command, deletes, hit, miss) in [
            (&put, at_once, "STORED", None),
            (&create, at_once, "STORED", Some("NOT_STORED")),
            (&Command::Delete, at_once, "DELETED", Some("NOT_FOUND")),
            (&Command::Delete, Deletion::ByExpiry, "TOUCHED", Some("NOT_FOUND")),
            (&touch, at_once, "TOUCHED", Some("NOT_FOUND")),
            (&Command::Get, at_once, "none", Some("END")),
            (&Command::Contains, at_once, "none", Some("END")),
        ] {
            for line in lines {
                match read_first_line(line.as_bytes(), key!("k"), command, deletes) {
                    Ok(FirstLine::Whole(Reply::Hit(_))) => assert_eq!(line, hit),
                    Ok(FirstLine::Whole(Reply::Miss)) => assert_eq!(Some(line), miss),
                    Ok(FirstLine::Whole(Reply::Refused(_))) => {
                        assert_eq!((line, hit, miss), ("NOT_STORED", "STORED", None));
                    }
                    head => assert!(matches!(head, Err(Fault::Desynchronized)) && line != hit && Some(line) != miss),
                }
            }
        }
    }

    #[test]
    fn a_server_deletes_at_once_from_1_5_14_on() {
        for (version, expected) in [
            ([1, 4, 25], Deletion::ByExpiry),
            ([1, 5, 13], Deletion::ByExpiry),
            ([1, 5, 14], Deletion::AtOnce),
            ([1, 6, 0], Deletion::AtOnce),
            ([u32::MAX; 3], Deletion::AtOnce),
        ] {
            assert_eq!(Deletion::of(version), expected, "{version:?}");
        }
    }

    /// mcrouter says so of a `set` if its configuration has no server for the key (`NullRoute`), or does not wait for any.
    #[test]
    fn a_write_that_was_not_stored_is_an_error() {
        let read =
            |command: &Command<'_>| read_first_line(b"NOT_STORED", key!("k"), command, Deletion::AtOnce).unwrap();
        assert!(matches!(read(&Command::put(b"v", Expiry::Never)), FirstLine::Whole(Reply::Refused(_))));
        assert!(matches!(read(&Command::Create(b"v", Expiry::Never)), FirstLine::Whole(Reply::Miss)));
    }

    #[test]
    fn a_value_is_that_of_its_key() {
        let head = |line: &str| read_first_line(line.as_bytes(), key!("k"), &Command::Get, Deletion::AtOnce);
        let Ok(FirstLine::Value { length: 5, hit }) = head("VALUE k 16 5") else { panic!("a value") };
        assert_eq!(hit.client_flags, 16);
        for line in [
            "VALUE K 0 5",
            "VALUE kk 0 5",
            "VALUE k 0",
            "VALUE k 0 5 1",
            "VALUE k 0 -5",
            "VALUE k 0 +5",
            "VALUE k x 5",
            "VALUE  k 0 5",
            " VALUE k 0 5",
            "VALUE k 0 5 ",
            "VALUE",
            "VA 5 O7",
        ] {
            assert!(matches!(head(line), Err(Fault::Desynchronized)), "{line}");
        }
    }
}
