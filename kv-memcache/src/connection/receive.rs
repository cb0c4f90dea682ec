//! Reads replies from a connection.

use std::io::{self, Read};

use crate::protocol::command::KeyedCommand;
use crate::protocol::dialect::Dialect;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::LONGEST_STAT;
use crate::protocol::incoming::{Incoming, LONGEST_LINE};
use crate::protocol::reply::Reply;

/// Receives a line, without its end.
pub(crate) fn receive_line(from: &mut impl Read, incoming: &mut Incoming, line: &mut Vec<u8>) -> Result<(), Fault> {
    receive_up_to(from, incoming, line, |_| LONGEST_LINE)?;
    if line.pop() == Some(b'\r') { Ok(()) } else { Err(Fault::Desynchronized) }
}

/// Receives a line in reply to `stats`, without its end. A proxy's may be long, and a setting in it may have several lines.
pub(crate) fn receive_stat(from: &mut impl Read, incoming: &mut Incoming, line: &mut Vec<u8>) -> Result<(), Fault> {
    // A line that begins otherwise belongs to another protocol, and may never end.
    let longest = |beginning: &[u8]| if beginning.starts_with(b"STAT ") { LONGEST_STAT } else { LONGEST_LINE };
    receive_up_to(from, incoming, line, longest)?;
    line.pop_if(|last| *last == b'\r');
    Ok(())
}

/// Receives a line up to its line feed. With how it begins `longest` says how many bytes it has at most. If it does not come whole, `line`
/// has what came of it.
fn receive_up_to(
    from: &mut impl Read,
    incoming: &mut Incoming,
    line: &mut Vec<u8>,
    longest: impl Fn(&[u8]) -> usize,
) -> Result<(), Fault> {
    line.clear();
    loop {
        let longest = longest(incoming.rest());
        let fault = match incoming.line(longest) {
            Ok(Some(whole)) => {
                line.extend_from_slice(whole);
                return Ok(());
            }
            Ok(None) => fill(from, incoming).err(),
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            line.extend_from_slice(incoming.rest());
            return Err(fault);
        }
    }
}

/// Receives as many bytes as there is room for.
pub(crate) fn receive_exactly(from: &mut impl Read, incoming: &mut Incoming, bytes: &mut [u8]) -> Result<(), Fault> {
    loop {
        if let Some(received) = incoming.bytes(bytes.len()) {
            bytes.copy_from_slice(received);
            return Ok(());
        }
        fill(from, incoming)?;
    }
}

/// Receives the reply to a command. No value is as large as the largest item.
pub(crate) fn receive(
    from: &mut impl Read,
    incoming: &mut Incoming,
    dialect: Dialect,
    command: (&KeyedCommand<'_>, u64),
    largest_item: u64,
) -> Result<Reply, Fault> {
    loop {
        if let Some(reply) = incoming.reply(dialect, command, largest_item)? {
            return Ok(reply);
        }
        fill(from, incoming)?;
    }
}

/// Receives what has come, at least a byte.
fn fill(from: &mut impl Read, incoming: &mut Incoming) -> Result<(), Fault> {
    match from.read(incoming.room()) {
        Ok(0) => Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))),
        Ok(bytes) => {
            incoming.received(bytes);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(cause) => Err(broken(cause)),
    }
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
        receive(&mut text.as_bytes(), &mut Incoming::default(), dialect, (&command, 7), 1 << 20)
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
        let (mut from, mut incoming, mut line) = (text.as_bytes(), Incoming::default(), Vec::new());
        for expected in [format!("STAT commandargs {long}"), "--config-str={".to_owned(), String::new()] {
            receive_stat(&mut from, &mut incoming, &mut line).unwrap();
            assert_eq!(str::from_utf8(&line), Ok(&*expected));
        }
        assert!(matches!(receive_stat(&mut from, &mut incoming, &mut line), Err(Fault::Desynchronized)));
        assert!(matches!(
            receive_line(&mut &b"EN\n"[..], &mut Incoming::default(), &mut line),
            Err(Fault::Desynchronized)
        ));
    }

    #[test]
    fn an_end_in_the_middle_is_a_broken_connection() {
        for text in ["", "VA", "VA 5 O7\r", "VA 5 O7\r\nval", "VA 5 O7\r\nvalue", "VA 5 O7\r\nvalue\r"] {
            let reply = receive_from(text, &VALUE, true);
            assert!(matches!(reply, Err(Fault::Broken { sent: true, .. })), "{text:?}: {reply:?}");
        }
    }
}
