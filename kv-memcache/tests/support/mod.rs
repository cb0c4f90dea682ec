//! Real memcached servers for the tests: on a port, on a unix socket, with TLS, with user and password.
//!
//! What goes wrong in here panics: these are tests.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

// Those of kv-redis: nothing in them is redis's.
#[path = "../../../kv-redis/tests/support/certificates.rs"]
pub(crate) mod certificates;
#[path = "../../../kv-redis/tests/support/hosts.rs"]
pub(crate) mod hosts;
mod twemproxy;

use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use kv_conformance::BoxError;
use kv_conformance::proxy::Proxy;
use kv_conformance::server::{Sandbox, Server};
use kv_memcache::{MemcacheStore, MemcacheStoreBuilder};

#[allow(unused_imports, reason = "each test target uses a part")]
pub(crate) use certificates::{Certificates, Identity};
#[allow(unused_imports, reason = "each test target uses a part")]
pub(crate) use twemproxy::Twemproxy;

/// How long one answer to a command of the tests may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long something may take until it has come about.
const SETTLE: Duration = Duration::from_secs(60);

/// The machine may be busy with other tests: what is not about the limits gets more of them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

/// A builder for the server's program: with the classic commands where it has no others.
pub(crate) fn builder() -> MemcacheStoreBuilder {
    MemcacheStore::builder().classic(!is_from([1, 6, 0]))
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

/// User and password that a server with [`Kind::WithPassword`] wants.
pub(crate) const USER: &str = "kvuser";
pub(crate) const PASSWORD: &str = "kv-secret/password";

const SOCKET: &str = "memcached.sock";

/// What a server listens on, and whom it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A port.
    Tcp,
    /// A unix socket.
    Unix,
    /// A port with TLS, and one without. Whether clients have to show a certificate.
    Tls { with_certificate: bool },
    /// A port, with user and password.
    WithPassword,
    /// A port with TLS, and one without, both with user and password.
    TlsWithPassword,
}

impl Kind {
    fn has_password(self) -> bool {
        matches!(self, Self::WithPassword | Self::TlsWithPassword)
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Tls { .. } | Self::TlsWithPassword)
    }
}

/// A memcached server, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Memcached {
    server: Server,
    kind: Kind,
    certificates: Option<Certificates>,
}

impl Memcached {
    /// A server on a port of 127.0.0.1, with further arguments, such as `["-I", "2m"]`.
    pub(crate) fn start(extra: &[&str]) -> Self {
        Self::start_as(Kind::Tcp, extra)
    }

    pub(crate) fn start_as(kind: Kind, extra: &[&str]) -> Self {
        Self::launch(kind, kind.has_tls().then(Certificates::make), extra)
    }

    /// A server with TLS that shows this certificate.
    pub(crate) fn start_showing(shown: &Identity) -> Self {
        let certificates = Certificates { server: shown.clone(), ..Certificates::make() };
        Self::launch(Kind::Tls { with_certificate: false }, Some(certificates), &[])
    }

    fn launch(kind: Kind, certificates: Option<Certificates>, extra: &[&str]) -> Self {
        let extra: Vec<_> = extra.iter().map(|&arg| arg.to_owned()).collect();
        let files = certificates.as_ref().map(|all| (all.ca.clone(), all.server.clone()));
        let prepare = move |sandbox: &Sandbox| -> Result<(), BoxError> {
            if let Some((ca, server)) = &files {
                fs::write(sandbox.dir().join("ca.pem"), ca)?;
                fs::write(sandbox.dir().join("server.pem"), &server.certificate)?;
                fs::write(sandbox.dir().join("server.key"), &server.key)?;
            }
            if kind.has_password() {
                fs::write(sandbox.dir().join("passwords"), format!("{USER}:{PASSWORD}\n"))?;
            }
            Ok(())
        };
        let arguments = move |sandbox: &Sandbox| {
            // It does not run as root unless it is told to. Long options came with 1.5.5.
            let mut arguments = ["-u", "root", "-t", "2"].map(str::to_owned).to_vec();
            match kind {
                Kind::Unix => arguments.extend(["-s".to_owned(), SOCKET.to_owned()]),
                Kind::Tcp | Kind::WithPassword => {
                    // That of the option `-p` would be used, too, if it were not the same; there is no UDP.
                    let port = sandbox.port().to_string();
                    arguments.extend(["-l", "127.0.0.1", "-U", "0", "-p", &port].map(str::to_owned));
                }
                Kind::Tls { .. } | Kind::TlsWithPassword => {
                    // 1: a certificate is asked for; 2: and insisted on.
                    let mode = if kind == (Kind::Tls { with_certificate: true }) { 2 } else { 0 };
                    let (plain, tls) = (sandbox.port(), sandbox.ports()[1]);
                    arguments.push(format!("-l127.0.0.1:{tls},notls:127.0.0.1:{plain}"));
                    arguments.push("-Z".to_owned());
                    arguments.push(format!(
                        "-ossl_chain_cert=server.pem,ssl_key=server.key,ssl_ca_cert=ca.pem,ssl_verify_mode={mode}"
                    ));
                }
            }
            if kind.has_password() {
                arguments.extend(["-Y", "passwords"].map(str::to_owned));
            }
            arguments.extend(extra.iter().cloned());
            arguments
        };
        let ready = move |sandbox: &Sandbox, pid| -> Result<(), BoxError> {
            let ours = stats(sandbox, kind)?.iter().any(|line| *line == format!("STAT pid {pid}"));
            if ours { Ok(()) } else { Err("another server answers".into()) }
        };
        let builder = Server::builder(program()).debian_package("memcached").ports(2).prepare(prepare);
        let server = builder.args(arguments).ready(ready).start().unwrap();
        Self { server, kind, certificates }
    }

    /// The port without TLS.
    pub(crate) fn port(&self) -> u16 {
        self.server.sandbox().port()
    }

    /// The URL, with user and password if it wants them. Of a server with TLS, that with TLS, by the name in its certificate.
    pub(crate) fn url(&self) -> String {
        let credentials = format!("{USER}:{}@", PASSWORD.replace('/', "%2F").replace(' ', "%20"));
        match self.kind {
            Kind::Tcp => format!("memcache://127.0.0.1:{}", self.port()),
            Kind::Unix => format!("memcache://{}", self.socket().display()),
            Kind::Tls { .. } => format!("memcache+tls://localhost:{}", self.tls_port()),
            Kind::WithPassword => format!("memcache://{credentials}127.0.0.1:{}", self.port()),
            Kind::TlsWithPassword => format!("memcache+tls://{credentials}localhost:{}", self.tls_port()),
        }
    }

    /// The port in the URL.
    pub(crate) fn url_port(&self) -> u16 {
        if self.kind.has_tls() { self.tls_port() } else { self.port() }
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.server.sandbox().ports()[1]
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.server.sandbox().dir().join(SOCKET)
    }

    /// What a server with TLS uses, and what its clients need.
    pub(crate) fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a server with TLS")
    }

    /// The process alone.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// The process, its folder and its output.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A connection without TLS, on which user and password have been given if they are wanted.
    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.server.sandbox(), self.kind).unwrap()
    }

    /// A number that `stats` tells, such as `cmd_get` or `curr_connections`. Asking costs a connection.
    #[track_caller]
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = stats(self.server.sandbox(), self.kind).unwrap();
        let value = stats.iter().find_map(|line| line.strip_prefix("STAT ")?.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("stats has no number {name}"))
    }

    pub(crate) fn kill(&self) {
        self.server.kill().unwrap();
    }

    /// Starts it again on the same port, empty.
    pub(crate) fn restart(&self) {
        self.server.restart().unwrap();
    }

    /// Lets it accept connections and not answer, until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.server.pause().unwrap();
    }

    pub(crate) fn resume(&self) {
        self.server.resume().unwrap();
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection of the tests, by which they see what the server has, and what it does.
pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    fn open(sandbox: &Sandbox, kind: Kind) -> Result<Self, BoxError> {
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

fn stats(sandbox: &Sandbox, kind: Kind) -> Result<Vec<String>, BoxError> {
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

/// A proxy on a port of 127.0.0.1 in front of another port.
pub(crate) fn proxy(port: u16) -> Proxy {
    Proxy::tcp((Ipv4Addr::LOCALHOST, port)).unwrap()
}

/// Waits until something is so, and returns it. What is in the way is shown if it takes too long.
#[track_caller]
pub(crate) fn wait_until<T>(mut is_so: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SETTLE;
    loop {
        match is_so() {
            Ok(it) => return it,
            Err(obstacle) if Instant::now() >= deadline => panic!("after {SETTLE:?}: {obstacle}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &kv_memcache::Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    chain
}

/// Does something, and tells how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (act(), begin.elapsed())
}
