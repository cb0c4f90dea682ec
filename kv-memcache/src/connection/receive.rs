//! Reads replies from a connection.

use std::io::{self, BufRead, BufReader, Read};

use kv_core::Bytes;

use crate::protocol::command::KeyedCommand;
use crate::protocol::dialect::Dialect;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::LONGEST_STAT;
use crate::protocol::reply::{FirstLine, Reply};

/// The most bytes of a line, with its end.
const LONGEST_LINE: u64 = 2048;

/// The most bytes that come after a value.
const LONGEST_END: usize = 8;

/// Receives a line, without its end.
pub(crate) fn receive_line(reader: &mut BufReader<impl Read>, line: &mut Vec<u8>) -> Result<(), Fault> {
    line.clear();
    receive_up_to(LONGEST_LINE, reader, line)?;
    if line.pop() == Some(b'\r') { Ok(()) } else { Err(Fault::Desynchronized) }
}

/// Receives a line in reply to `stats`, without its end. A proxy's may be long, and a setting in it may have several lines.
pub(crate) fn receive_stat(reader: &mut BufReader<impl Read>, line: &mut Vec<u8>) -> Result<(), Fault> {
    line.clear();
    match receive_up_to(LONGEST_LINE, reader, line) {
        // A line that begins otherwise belongs to another protocol, and may never end.
        Err(Fault::Desynchronized) if line.starts_with(b"STAT ") => receive_up_to(LONGEST_STAT, reader, line)?,
        received => received?,
    }
    line.pop_if(|last| *last == b'\r');
    Ok(())
}

/// Receives the rest of a line up to its line feed. The whole line has at most this many bytes.
fn receive_up_to(longest: u64, reader: &mut BufReader<impl Read>, line: &mut Vec<u8>) -> Result<(), Fault> {
    let left = longest.saturating_sub(line.len() as u64);
    reader.by_ref().take(left).read_until(b'\n', line).map_err(broken)?;
    if line.ends_with(b"\n") {
        line.pop();
        return Ok(());
    }
    if line.len() as u64 == longest {
        return Err(Fault::Desynchronized);
    }
    Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")))
}

/// Receives the reply to a command. No value is as large as the largest item.
pub(crate) fn receive(
    reader: &mut BufReader<impl Read>,
    line: &mut Vec<u8>,
    dialect: Dialect,
    (command, tag): (&KeyedCommand<'_>, u64),
    largest_item: u64,
) -> Result<Reply, Fault> {
    receive_line(reader, line)?;
    match dialect.read_first_line(line, command, tag, largest_item)? {
        FirstLine::Whole(reply) => Ok(reply),
        FirstLine::Value { length, mut hit } => {
            hit.value = receive_value(reader, length, dialect.end_of_value())?;
            Ok(Reply::Hit(hit))
        }
    }
}

/// Receives a value and what comes after it.
fn receive_value(reader: &mut BufReader<impl Read>, length: usize, end: &[u8]) -> Result<Bytes, Fault> {
    // A large value is received without the buffer, so its end would take a system call of its own. Therefore the end is received with the
    // value and cut off, at the price of a small allocation.
    let is_large = length >= reader.capacity();
    let mut value = vec![0; if is_large { length + end.len() } else { length }];
    reader.read_exact(&mut value).map_err(broken)?;
    let ends_well = if is_large {
        value.ends_with(end)
    } else {
        let mut came = [0; LONGEST_END];
        let came = came.get_mut(..end.len()).ok_or(Fault::Desynchronized)?;
        reader.read_exact(came).map_err(broken)?;
        came == end
    };
    value.truncate(length);
    if ends_well { Ok(value.into()) } else { Err(Fault::Desynchronized) }
}

fn broken(cause: io::Error) -> Fault {
    Fault::Broken { cause, sent: true }
}

#[cfg(test)]
mod tests {
    use kv_core::key;

    use super::*;
    use crate::protocol::command::Command;
    use crate::protocol::ttl::Expiry;

    const VALUE: Command<'_> = Command::Get;
    const ALL: Command<'_> = Command::GetAll;
    const FOUND: Command<'_> = Command::Contains;
    const DONE: Command<'_> = Command::Create(b"", Expiry::Never);

    fn receive_in(text: &str, command: &Command<'_>, dialect: Dialect) -> Result<Reply, Fault> {
        let key = key!("k").into();
        let command = KeyedCommand::new(0, &key, *command);
        receive(&mut BufReader::new(text.as_bytes()), &mut Vec::new(), dialect, (&command, 7), 1 << 20)
    }

    fn receive_from(text: &str, command: &Command<'_>, tags_misses: bool) -> Result<Reply, Fault> {
        receive_in(text, command, Dialect::meta([1, 6, if tags_misses { 18 } else { 17 }]))
    }

    #[test]
    fn a_value_comes_as_it_was_sent() {
        for value in ["", "v", "VA 1 O7\r\nv\r\n", "END\r\n"] {
            let text = format!("VA {} O7\r\n{value}\r\n", value.len());
            let hit = receive_from(&text, &VALUE, true).unwrap().hit().unwrap();
            assert_eq!(hit.value, value.as_bytes());
        }
        let large = "v".repeat(100_000);
        let hit = receive_from(&format!("VA 100000 O7\r\n{large}\r\n"), &VALUE, true).unwrap().hit().unwrap();
        assert_eq!(hit.value, large.as_bytes());
        let reply = receive_from(&format!("VA 100000 O7\r\n{large}vv"), &VALUE, true);
        assert!(matches!(reply, Err(Fault::Desynchronized)), "{reply:?}");
        let hit = receive_from("VA 1 t-1 c18 f0 O7\r\nv\r\n", &ALL, true).unwrap().hit().unwrap();
        assert_eq!((hit.seconds_left, hit.version), (-1, 18));
        let hit = receive_from("VA 1 t5 c18446744073709551615 f16 O7\r\nv\r\n", &ALL, true).unwrap().hit().unwrap();
        assert_eq!((hit.seconds_left, hit.version, hit.client_flags), (5, u64::MAX, 16));
    }

    #[test]
    fn a_miss_is_not_an_error() {
        assert!(matches!(receive_from("EN O7\r\n", &VALUE, true), Ok(Reply::Miss)));
        assert!(matches!(receive_from("NS O7\r\n", &DONE, true), Ok(Reply::Miss)));
        assert!(matches!(receive_from("HD O7\r\n", &DONE, true), Ok(Reply::Hit(_))));
        // With extstore.
        assert!(matches!(receive_from("EN\r\n", &VALUE, true), Ok(Reply::Miss)));
        // Before 1.6.18.
        assert!(matches!(receive_from("EN\r\n", &FOUND, false), Ok(Reply::Miss)));
        for refusal in ["ERROR", "CLIENT_ERROR bad data chunk", "SERVER_ERROR out of memory storing object"] {
            let reply = receive_from(&format!("{refusal}\r\n"), &DONE, true).unwrap();
            assert!(matches!(reply, Reply::Refused(refused) if refused.to_string() == refusal));
        }
    }

    #[test]
    fn a_reply_to_another_command_is_desynchronized() {
        for text in [
            "VA 1 O8\r\nv\r\n",
            "VA 1\r\nv\r\n",
            "VA 1 O7 O8\n",
            "VA 1 O\r\nv\r\n",
            "VA -1 O7\r\nv\r\n",
            "VA +1 O7\r\nv\r\n",
            "VA 1 O+7\r\nv\r\n",
            " VA 1 O7\r\nv\r\n",
            " EN O7\r\n",
            "VA x O7\r\nv\r\n",
            "VA 99999999999 O7\r\nv\r\n",
            "VA 1048576 O7\r\nv\r\n",
            "VA 1 O7\r\nvv\r\n",
            "HD O7\r\n",
            "NS O7\r\n",
            "EN O8\r\n",
            "EN O\r\n",
            "MN\r\n",
            "VALUE k 0 1\r\nv\r\nEND\r\n",
            "\r\n",
            "\u{fffd}\r\n",
            "-ERR\r\n",
        ] {
            let reply = receive_from(text, &VALUE, true);
            assert!(matches!(reply, Err(Fault::Desynchronized)), "{text:?}: {reply:?}");
        }
        for text in
            ["VA 1 O7\r\nv\r\n", "VA 1 t5 O7\r\nv\r\n", "VA 1 tx c1 f0 O7\r\nv\r\n", "VA 1 t5 c-1 f0 O7\r\nv\r\n"]
                .into_iter()
                .chain([
                    "VA 1 t-2 c1 f0 O7\r\nv\r\n",
                    "VA 1 t+5 c1 f-1 O7\r\nv\r\n",
                    "VA 1 t4294967296 c1 f0 O7\r\nv\r\n",
                ])
        {
            assert!(matches!(receive_from(text, &ALL, true), Err(Fault::Desynchronized)), "{text:?}");
        }
        assert!(matches!(receive_from("EN O8\r\n", &VALUE, false), Err(Fault::Desynchronized)));
        assert!(matches!(receive_from("EN\r\n", &FOUND, true), Err(Fault::Desynchronized)));
        let endless = "x".repeat(5000);
        assert!(matches!(receive_from(&endless, &VALUE, true), Err(Fault::Desynchronized)));
    }

    #[test]
    fn a_value_of_the_classic_commands_ends_with_a_line_of_its_own() {
        let receive = |text: &str| receive_in(text, &VALUE, Dialect::classic([1, 6, 18]));
        for value in ["", "v", "END\r\n", &"v".repeat(100_000)] {
            let text = format!("VALUE k 0 {}\r\n{value}\r\nEND\r\n", value.len());
            assert_eq!(receive(&text).unwrap().hit().unwrap().value, value.as_bytes());
            let text = format!("VALUE k 0 {}\r\n{value}\r\nVALUE", value.len());
            assert!(matches!(receive(&text), Err(Fault::Desynchronized | Fault::Broken { .. })));
        }
        assert!(matches!(receive("END\r\n"), Ok(Reply::Miss)));
        assert!(matches!(receive("SERVER_ERROR Connection refused\r\n"), Ok(Reply::Refused(_))));
        let two = "VALUE k 0 1\r\nv\r\nVALUE k 0 1\r\nw\r\nEND\r\n";
        assert!(matches!(receive(two), Err(Fault::Desynchronized)));
    }

    #[test]
    fn a_line_of_stats_may_be_long_and_have_no_carriage_return() {
        let long = "x".repeat(100_000);
        let text = format!("STAT commandargs {long}\r\n--config-str={{\n\r\n{}", "y".repeat(300_000));
        let (mut reader, mut line) = (BufReader::new(text.as_bytes()), Vec::new());
        for expected in [format!("STAT commandargs {long}"), "--config-str={".to_owned(), String::new()] {
            receive_stat(&mut reader, &mut line).unwrap();
            assert_eq!(str::from_utf8(&line), Ok(&*expected));
        }
        assert!(matches!(receive_stat(&mut reader, &mut line), Err(Fault::Desynchronized)));
        assert!(matches!(receive_line(&mut BufReader::new(&b"EN\n"[..]), &mut line), Err(Fault::Desynchronized)));
    }

    #[test]
    fn an_end_in_the_middle_is_a_broken_connection() {
        for text in ["", "VA", "VA 5 O7\r", "VA 5 O7\r\nval", "VA 5 O7\r\nvalue", "VA 5 O7\r\nvalue\r"] {
            let reply = receive_from(text, &VALUE, true);
            assert!(matches!(reply, Err(Fault::Broken { sent: true, .. })), "{text:?}: {reply:?}");
        }
    }
}
