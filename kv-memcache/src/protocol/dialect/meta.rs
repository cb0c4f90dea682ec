//! The [meta commands], as servers from memcached 1.6.0 on have them.
//!
//! The lines are made and read by the crate `memcache`.
//!
//! [meta commands]: https://github.com/memcached/memcached/blob/1.6.18/doc/protocol.txt

use std::fmt::{self, Write as _};

use kv_core::Key;
use memcache::exp::{MetaCommand, MetaOp, MetaResponse, ReturnCode};

use crate::protocol::command::Command;
use crate::protocol::fault::Fault;
use crate::protocol::reply::{FirstLine, Hit, Reply, number};
use crate::protocol::ttl::Exptime;

/// The length of the longest flags of a command: `S1073741824 C18446744073709551615 c O18446744073709551615 T4294967295`.
const LONGEST_FLAGS: usize = 80;

/// How the meta commands of a server differ from those of others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The first version with these commands.
    since: [u32; 3],
    /// The text before the length of a value.
    length: &'static str,
    /// Whether success may be called `OK`: always before 1.6.10, and until 1.6.17 with `-o meta_response_old`.
    says_ok: bool,
    /// Whether `md` compares versions of entries. Servers before 1.6.13 take every version for another one.
    deletes_versions: bool,
    /// Whether a miss carries the tag of its command.
    tags_misses: bool,
}

/// Newest first.
const TABLE: [Meta; 4] = [
    Meta { since: [1, 6, 18], length: "", says_ok: false, deletes_versions: true, tags_misses: true },
    Meta { since: [1, 6, 13], length: "", says_ok: true, deletes_versions: true, tags_misses: false },
    Meta { since: [1, 6, 10], length: "", says_ok: true, deletes_versions: false, tags_misses: false },
    Meta { since: Meta::OLDEST, length: "S", says_ok: true, deletes_versions: false, tags_misses: false },
];

/// The reply that a command may have, besides an error. Any other does not belong to this command: the connection is
/// desynchronized.
struct Shape {
    hit: ReturnCode,
    misses: &'static [ReturnCode],
    /// The flags that a hit must have.
    flags: &'static [u8],
}

fn shape(command: &Command<'_>, tells_version: bool) -> Shape {
    use ReturnCode::{En, Ex, Hd, Nf, Ns, Va};
    let version: &[u8] = if tells_version { b"c" } else { b"" };
    let (hit, misses, flags): (_, &[ReturnCode], &[u8]) = match command {
        Command::Get | Command::GetAndTouch(_) => (Va, &[En], b""),
        Command::GetAll => (Va, &[En], b"tcf"),
        Command::TtlOf => (Hd, &[En], b"t"),
        Command::Contains | Command::Touch(_) => (Hd, &[En], b""),
        Command::Put { .. } => (Hd, &[], b""),
        Command::Create(..) => (Hd, &[Ns], b""),
        Command::Delete | Command::Subtract(_) => (Hd, &[Nf], b""),
        Command::DeleteVersion(_) => (Hd, &[Nf, Ex], b""),
        Command::GetVersioned => (Va, &[En], b"c"),
        Command::CreateVersioned(..) => (Hd, &[Ns], version),
        Command::PutVersion { .. } => (Hd, &[Nf, Ex], version),
        Command::Add { .. } => (Va, &[], b""),
    };
    Shape { hit, misses, flags }
}

impl Meta {
    /// The first memcached whose meta commands can be used.
    pub(crate) const OLDEST: [u32; 3] = [1, 6, 0];

    /// The meta commands of a server of this version.
    pub(super) fn of(version: [u32; 3]) -> &'static Self {
        let [newest, .., oldest] = &TABLE;
        if version >= newest.since { newest } else { TABLE.iter().find(|meta| version >= meta.since).unwrap_or(oldest) }
    }

    /// Whether `ms` is asked for the version of what it stored. Servers before 1.6.18 are not known to tell it.
    fn tells_version(&self) -> bool {
        self.tags_misses
    }

    /// All flags are passed as one, which gives the same bytes. The first one is at the place of the length of a value.
    pub(super) fn write_line(
        &self,
        line: &mut Vec<u8>,
        key: Key<'_>,
        command: &Command<'_>,
        exptime: Exptime,
        tag: u64,
    ) -> Result<(), Fault> {
        let Self { length, .. } = self;
        let version = if self.tells_version() { " c" } else { "" };
        let (operation, flags) = match *command {
            Command::Get => (MetaOp::Get, flags(format_args!("v O{tag}"))),
            Command::GetAll => (MetaOp::Get, flags(format_args!("v t c f O{tag}"))),
            Command::Contains => (MetaOp::Get, flags(format_args!("O{tag}"))),
            Command::TtlOf => (MetaOp::Get, flags(format_args!("t O{tag}"))),
            Command::Touch(_) => (MetaOp::Get, flags(format_args!("O{tag} T{exptime}"))),
            Command::Put { value, client_flags, .. } => {
                let (size, digits) = (value.len(), tag_digits(value));
                let put = match client_flags {
                    0 => flags(format_args!("{length}{size} O{tag:0digits$} T{exptime}")),
                    own => flags(format_args!("{length}{size} O{tag:0digits$} T{exptime} F{own}")),
                };
                (MetaOp::Set, put)
            }
            Command::Create(value, _) => {
                let (size, digits) = (value.len(), tag_digits(value));
                (MetaOp::Set, flags(format_args!("{length}{size} ME O{tag:0digits$} T{exptime}")))
            }
            Command::CreateVersioned(value, _) => {
                let (size, digits) = (value.len(), tag_digits(value));
                (MetaOp::Set, flags(format_args!("{length}{size} ME{version} O{tag:0digits$} T{exptime}")))
            }
            Command::PutVersion { value, version: old, .. } => {
                let (size, digits) = (value.len(), tag_digits(value));
                (MetaOp::Set, flags(format_args!("{length}{size} C{old}{version} O{tag:0digits$} T{exptime}")))
            }
            Command::GetVersioned => (MetaOp::Get, flags(format_args!("v c O{tag}"))),
            Command::GetAndTouch(_) => (MetaOp::Get, flags(format_args!("v O{tag} T{exptime}"))),
            Command::Add { by, .. } => (MetaOp::Arithmetic, flags(format_args!("N{exptime} J{by} D{by} v O{tag}"))),
            Command::Subtract(by) => (MetaOp::Arithmetic, flags(format_args!("MD D{by} O{tag}"))),
            Command::Delete => (MetaOp::Delete, flags(format_args!("O{tag}"))),
            Command::DeleteVersion(version) if self.deletes_versions => {
                (MetaOp::Delete, flags(format_args!("C{version} O{tag}")))
            }
            // An empty value that has expired takes the entry's place.
            Command::DeleteVersion(version) => {
                (MetaOp::Set, flags(format_args!("{length}0 C{version} O{tag} T{exptime}")))
            }
        };
        let made = MetaCommand::new(operation, key.as_str()).flag(flags).encode_into(line);
        made.map_err(|_| Fault::unsuitable("the crate memcache does not take this key"))?;
        if matches!(command, Command::DeleteVersion(_)) && !self.deletes_versions {
            line.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    pub(super) fn read_first_line(&self, line: &mut [u8], command: &Command<'_>, tag: u64) -> Result<FirstLine, Fault> {
        // The parser would ignore this.
        if line.starts_with(b" ") {
            return Err(Fault::Desynchronized);
        }
        if self.says_ok && (line == b"OK" || line.starts_with(b"OK ")) {
            for (place, letter) in line.iter_mut().zip(b"HD") {
                *place = *letter;
            }
        }
        // The parser's error is not shown, because it quotes the reply.
        let head = MetaResponse::parse_header(line).map_err(|_| Fault::Desynchronized)?;
        let shape = shape(command, self.tells_version());
        let is_hit = head.rc() == shape.hit;
        if !is_hit && !shape.misses.contains(&head.rc()) {
            return Err(Fault::Desynchronized);
        }
        let flag = |kind: u8| head.flags().find_map(|flag| flag.split_first().filter(|(first, _)| **first == kind));
        let told = flag(b'O').and_then(|(_, tag)| number(tag));
        // When a server with extstore notices that a value is gone, it no longer knows the tag.
        let may_lack_tag = !is_hit && (!self.tags_misses || shape.hit == ReturnCode::Va);
        let untagged = may_lack_tag && head.flags().next().is_none();
        if told != Some(tag) && !untagged {
            return Err(Fault::Desynchronized);
        }
        if !is_hit {
            return Ok(FirstLine::Whole(Reply::Miss));
        }
        let mut hit = Hit::default();
        for &kind in shape.flags {
            let (_, told) = flag(kind).ok_or(Fault::Desynchronized)?;
            match (kind, told) {
                (b't', b"-1") => hit.seconds_left = -1,
                // Another negative number, or a larger one, would mean for ever.
                (b't', _) => hit.seconds_left = number::<u32>(told).ok_or(Fault::Desynchronized)?.into(),
                (b'f', _) => hit.client_flags = number(told).ok_or(Fault::Desynchronized)?,
                _ => hit.version = number(told).ok_or(Fault::Desynchronized)?,
            }
        }
        if head.rc() != ReturnCode::Va {
            return Ok(FirstLine::Whole(Reply::Hit(hit)));
        }
        // The parser has checked the length behind `VA`, and does not return it.
        let length = line.split(|&byte| byte == b' ').nth(1).and_then(number).ok_or(Fault::Desynchronized)?;
        Ok(FirstLine::Value { length, hit })
    }
}

/// The flags of a line, with room for all of them: `format!` begins with less, and grows.
fn flags(arguments: fmt::Arguments<'_>) -> String {
    let mut flags = String::with_capacity(LONGEST_FLAGS);
    // Writing to a string does not fail.
    let _ = flags.write_fmt(arguments);
    flags
}

/// The least number of digits of the tag of a command with this value.
///
/// A kernel that copies with `rep movsb` is slow if the target is a few bytes behind the source, modulo a page: 500 KiB took 236 µs instead
/// of 90. Large allocations begin 16 bytes into a page, and the line comes before the value: a longer line avoids that.
fn tag_digits(value: &[u8]) -> usize {
    if value.len() < 128 * 1024 { 0 } else { 20 }
}

#[cfg(test)]
mod tests {
    use kv_core::key;

    use super::*;
    use crate::protocol::ttl::Expiry;

    const NEW: [u32; 3] = [1, 6, 45];
    const TTL: Expiry = Expiry::Seconds(3);

    fn line(version: [u32; 3], command: &Command<'_>) -> String {
        let expiry = command.expiry().unwrap_or(Expiry::Never);
        let (mut line, exptime) = (Vec::new(), expiry.exptime(None, std::time::Instant::now()).unwrap());
        Meta::of(version).write_line(&mut line, key!("k"), command, exptime, 7).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_server_gets_the_meta_commands_that_it_has() {
        let since = |version| Meta::of(version).since;
        for (version, expected) in [
            ([1, 6, 0], [1, 6, 0]),
            ([1, 6, 9], [1, 6, 0]),
            ([1, 6, 10], [1, 6, 10]),
            ([1, 6, 12], [1, 6, 10]),
            ([1, 6, 13], [1, 6, 13]),
            ([1, 6, 17], [1, 6, 13]),
            ([1, 6, 18], [1, 6, 18]),
            ([1, 7, 0], [1, 6, 18]),
            ([u32::MAX; 3], [1, 6, 18]),
        ] {
            assert_eq!(since(version), expected, "{version:?}");
        }
    }

    #[test]
    fn commands_are_those_of_the_meta_protocol() {
        let copy = Command::Put { value: b"v", expiry: TTL, client_flags: 16 };
        let put_version = Command::PutVersion { value: b"v", expiry: TTL, version: 12 };
        for (command, new, old) in [
            (Command::Get, "mg k v O7\r\n", None),
            (Command::GetAll, "mg k v t c f O7\r\n", None),
            (Command::Contains, "mg k O7\r\n", None),
            (Command::TtlOf, "mg k t O7\r\n", None),
            (Command::touch(TTL), "mg k O7 T3\r\n", None),
            (Command::touch(Expiry::Never), "mg k O7 T0\r\n", None),
            (Command::touch(Expiry::Now), "md k O7\r\n", None),
            (Command::put(b"v\r\n", TTL), "ms k 3 O7 T3\r\n", Some("ms k S3 O7 T3\r\n")),
            (Command::put(b"", Expiry::Never), "ms k 0 O7 T0\r\n", Some("ms k S0 O7 T0\r\n")),
            (copy, "ms k 1 O7 T3 F16\r\n", Some("ms k S1 O7 T3 F16\r\n")),
            (Command::put(b"v", Expiry::Now), "md k O7\r\n", None),
            (Command::Create(b"v", TTL), "ms k 1 ME O7 T3\r\n", Some("ms k S1 ME O7 T3\r\n")),
            (Command::Create(b"v", Expiry::Now), "ms k 1 ME O7 T-1\r\n", Some("ms k S1 ME O7 T-1\r\n")),
            (Command::Delete, "md k O7\r\n", None),
            (Command::DeleteVersion(12), "md k C12 O7\r\n", Some("ms k S0 C12 O7 T-1\r\n\r\n")),
            (Command::GetVersioned, "mg k v c O7\r\n", None),
            (Command::CreateVersioned(b"v", TTL), "ms k 1 ME c O7 T3\r\n", Some("ms k S1 ME O7 T3\r\n")),
            (put_version, "ms k 1 C12 c O7 T3\r\n", Some("ms k S1 C12 O7 T3\r\n")),
            (Command::GetAndTouch(TTL), "mg k v O7 T3\r\n", None),
            (Command::GetAndTouch(Expiry::Now), "mg k v O7 T-1\r\n", None),
            (Command::Add { by: 5, expiry: TTL }, "ma k N3 J5 D5 v O7\r\n", None),
            (Command::Add { by: 5, expiry: Expiry::Now }, "ma k N-1 J5 D5 v O7\r\n", None),
            (Command::Subtract(5), "ma k MD D5 O7\r\n", None),
        ] {
            assert_eq!(line(NEW, &command), new);
            assert_eq!(line([1, 6, 9], &command), old.unwrap_or(new));
        }
        assert_eq!(line([1, 6, 13], &Command::DeleteVersion(12)), "md k C12 O7\r\n");
        assert_eq!(line([1, 6, 12], &Command::DeleteVersion(12)), "ms k 0 C12 O7 T-1\r\n\r\n");
    }

    #[test]
    fn a_line_without_its_value_equals_what_the_crate_encodes() {
        let whole = MetaCommand::new(MetaOp::Set, "k").flag("ME").flag("O7").flag("T3").value("value");
        let whole = String::from_utf8(whole.encode().unwrap()).unwrap();
        assert_eq!(format!("{}value\r\n", line(NEW, &Command::Create(b"value", TTL))), whole);
    }

    #[test]
    fn success_is_called_ok_by_old_servers_alone() {
        let head =
            |version, line: &str, command| Meta::of(version).read_first_line(&mut line.as_bytes().to_vec(), command, 7);
        let put = &Command::put(b"v", TTL);
        for (command, line) in [
            (put, "OK  O7"),
            (put, "OK O7"),
            (&Command::Contains, "OK O7"),
            (&Command::TtlOf, "OK t5 O7"),
            (&Command::Delete, "OK  O7"),
        ] {
            for version in [[1, 6, 0], [1, 6, 9], [1, 6, 10], [1, 6, 17]] {
                let head = head(version, line, command);
                assert!(matches!(head, Ok(FirstLine::Whole(Reply::Hit(_)))), "{version:?} {line}: {head:?}");
            }
            assert!(matches!(head(NEW, line, command), Err(Fault::Desynchronized)), "{line}");
        }
        for line in ["OK", "OK  O8", "OKAY O7", "OK O", "NS  O7", "EX  O7", "EN"] {
            assert!(matches!(head([1, 6, 0], line, put), Err(Fault::Desynchronized)), "{line}");
        }
        let delete = &Command::DeleteVersion(3);
        for line in ["NF  O7", "EX  O7"] {
            assert!(matches!(head([1, 6, 0], line, delete), Ok(FirstLine::Whole(Reply::Miss))), "{line}");
        }
    }
}
