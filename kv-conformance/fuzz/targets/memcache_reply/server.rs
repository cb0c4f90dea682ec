//! A server that sends what it is told to.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use tempfile::TempDir;

use crate::protocol::{self, Greeting};

pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "Hu5hW0rd";

/// The value of the key `second`, and of the others where they are answered as they should be.
pub(crate) const SECOND: &str = "the second value";

/// What a memcached of today says of itself, as far as it matters.
const GREETING: &str = "STAT version 1.6.18\r\nSTAT time 1790000000\r\nEND\r\n\
    STAT item_size_max 1048576\r\nSTAT auth_enabled_ascii yes\r\nEND\r\n";

/// What it is told to do.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    bytes: Vec<u8>,
    /// How many commands the first operation has.
    commands: usize,
    /// Whether the bytes are sent when a store connects, in place of the greeting, or in reply to the first operation.
    pub(crate) is_greeting: bool,
    /// Whether it closes the connection after them, or waits.
    pub(crate) closes: bool,
    pub(crate) has_password: bool,
}

impl Script {
    pub(crate) fn new(kind: u8, behaviour: u8, bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            commands: if matches!(kind % 8, 1 | 7) { 2 } else { 1 },
            is_greeting: behaviour & 1 != 0,
            // To wait takes its time: rarely.
            closes: behaviour & 0b0001_1100 != 0b0001_1100,
            has_password: behaviour & 2 != 0,
        }
    }
}

/// What has happened since it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The tags of the commands of the first operation.
    pub(crate) tags: Vec<u64>,
    /// The bytes of the script, as they were sent.
    pub(crate) sent: Vec<u8>,
    /// Whether the second operation came on the connection on which those were.
    pub(crate) second_came_on_first: bool,
}

#[derive(Debug, Default)]
struct State {
    script: Option<Script>,
    told: Told,
}

pub(crate) struct Server {
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// The server, which lives as long as the process.
    pub(crate) fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
            let state = Arc::new(Mutex::new(State::default()));
            let shared = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let shared = Arc::clone(&shared);
                    // That it ends early is the peer's doing.
                    thread::spawn(move || stream.and_then(|stream| serve(&stream, &shared)));
                }
            });
            Self { folder, state }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("memcache://{}/socket", self.folder.path().display())
    }

    /// What is to be done from now on.
    pub(crate) fn begin(&self, script: Script) {
        *lock(&self.state) = State { script: Some(script), told: Told::default() };
    }

    pub(crate) fn told(&self) -> Told {
        lock(&self.state).told.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection.
fn serve(stream: &UnixStream, state: &Mutex<State>) -> io::Result<()> {
    let Some(script) = lock(state).script.clone() else { return Ok(()) };
    let mut reader = BufReader::new(stream);
    for _ in 0..if script.has_password { 4 } else { 2 } {
        line(&mut reader)?;
    }
    if script.is_greeting {
        let sent = fill_in(&script.bytes, &[]);
        lock(state).told.sent.clone_from(&sent);
        send(stream, &sent)?;
        if script.closes && protocol::greeting(&sent, script.has_password) == Greeting::Unfinished {
            return Ok(());
        }
    } else {
        let stored = if script.has_password { "STORED\r\n" } else { "" };
        send(stream, format!("{stored}{GREETING}").as_bytes())?;
    }
    let (mut tags, mut is_in_doubt) = (Vec::new(), false);
    loop {
        let (key, command, tag) = command(&mut reader)?;
        if key == "second" {
            lock(state).told.second_came_on_first |= is_in_doubt;
            send(stream, reply(command, tag).as_bytes())?;
        } else if script.is_greeting {
            send(stream, reply(command, tag).as_bytes())?;
        } else {
            tags.push(tag);
            if tags.len() == script.commands {
                let sent = fill_in(&script.bytes, &tags);
                let told = Told { tags: tags.clone(), sent: sent.clone(), second_came_on_first: false };
                lock(state).told = told;
                send(stream, &sent)?;
                is_in_doubt = true;
                if script.closes {
                    return Ok(());
                }
            }
        }
    }
}

fn send(mut stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}

/// The bytes of an input as they are sent: 1 and 2 stand for the tags of the first and the second command, 3 for the
/// password, which no server should repeat.
fn fill_in(bytes: &[u8], tags: &[u64]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            1 | 2 if tags.len() >= byte.into() => filled.extend(tags[usize::from(byte) - 1].to_string().bytes()),
            3 => filled.extend(PASSWORD.bytes()),
            other => filled.push(other),
        }
    }
    filled
}

/// Receives a command: its key, what it is, and its tag.
fn command(reader: &mut impl BufRead) -> io::Result<(String, char, u64)> {
    let line = line(reader)?;
    let words = line.split_ascii_whitespace().collect::<Vec<_>>();
    // A question of the greeting, to a server that did not tell which memcached it is.
    let [name, key, flags @ ..] = words.as_slice() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    if *name == "ms" {
        let length = flags.first().and_then(|length| length.trim_start_matches('S').parse::<u64>().ok()).expect("a length");
        io::copy(&mut reader.take(length + 2), &mut io::sink())?;
    }
    let tag = flags.iter().find_map(|flag| flag.strip_prefix('O')?.parse().ok()).expect("a tag");
    let kind = if flags.contains(&"v") {
        'v'
    } else if flags.contains(&"t") {
        't'
    } else {
        'h'
    };
    Ok(((*key).to_owned(), kind, tag))
}

/// The reply to a command that it should have.
fn reply(command: char, tag: u64) -> String {
    match command {
        'v' => format!("VA {} O{tag}\r\n{SECOND}\r\n", SECOND.len()),
        't' => format!("HD t-1 O{tag}\r\n"),
        _ => format!("HD O{tag}\r\n"),
    }
}

/// Receives a line, which has to be one.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.ends_with("\r\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
