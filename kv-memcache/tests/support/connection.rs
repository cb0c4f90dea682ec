//! Connections of the tests to a server, without the store.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kv_conformance::BoxError;
use kv_conformance::server::Sandbox;

use super::kind::{Kind, PASSWORD, SOCKET, USER};

/// The limit for one answer.
const ANSWER: Duration = Duration::from_secs(5);

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection of the tests, which shows what the server has and does.
pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    pub(super) fn open(sandbox: &Sandbox, kind: Kind) -> Result<Self, BoxError> {
        let stream: Box<dyn Stream> = if kind == Kind::Unix {
            let stream = UnixStream::connect(sandbox.dir().join(SOCKET))?;
            stream.set_read_timeout(Some(ANSWER))?;
            Box::new(stream)
        } else {
            let stream = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
            stream.set_read_timeout(Some(ANSWER))?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        };
        let mut connection = Self(BufReader::new(stream));
        if kind.has_password() {
            let login = format!("set auth 0 0 {}\r\n{USER} {PASSWORD}\r\n", USER.len() + 1 + PASSWORD.len());
            let answer = connection.ask(login.as_bytes())?;
            if answer != "STORED" {
                return Err(answer.into());
            }
        }
        Ok(connection)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches("\r\n").to_owned())
    }

    /// Sends bytes, and receives a line.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> io::Result<String> {
        self.send(bytes)?;
        self.line()
    }
}

pub(super) fn stats(sandbox: &Sandbox, kind: Kind) -> Result<Vec<String>, BoxError> {
    let mut connection = Connection::open(sandbox, kind)?;
    connection.send(b"stats\r\n")?;
    let mut lines = Vec::new();
    loop {
        match connection.line()? {
            end if end == "END" => return Ok(lines),
            line => lines.push(line),
        }
    }
}
