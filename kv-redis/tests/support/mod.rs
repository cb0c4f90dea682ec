//! Real redis servers for the tests: one, one with TLS, a cluster, sentinels.
//!
//! Failures here panic, because these are tests.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

pub(crate) mod certificates;
mod cluster;
pub(crate) mod hosts;
mod program;
mod sentinels;

use std::error::Error as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{fs, thread};

use kv_conformance::BoxError;
use kv_conformance::proxy::Proxy;
use kv_conformance::server::{Sandbox, Server, ServerBuilder};
use redis::{Connection, IntoConnectionInfo, RedisResult, Value};

#[allow(unused_imports, reason = "each test target uses a part")]
pub(crate) use {
    certificates::{Certificates, Identity},
    cluster::{Migration, RedisCluster},
    program::{can_test, has_tls, is_redis, is_since, program, replica, replicaof, version},
    sentinels::Sentinels,
};

/// The limit for an answer to a command of the tests.
const ANSWER: Duration = Duration::from_secs(5);

/// The limit for a cluster or sentinels to settle.
const SETTLE: Duration = Duration::from_secs(60);

/// The limit in tests that are not about limits: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that loses nothing when it is killed: each command is in its file before it is answered. `appendfsync always` also waits for
/// the disk, which helps only if the whole machine crashes, and lets the limits of the tests run out where the disk is busy.
pub(crate) const DURABLE_OVER_KILL: &[&str] = &["--appendonly", "yes", "--appendfsync", "no", "--databases", "1"];

/// The number of databases of a server: enough for several suites with a database for each check. An empty one takes 430 bytes.
pub(crate) const DATABASES: u16 = 16_384;

/// Which clients a server with TLS accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TlsClients {
    /// All.
    Anonymous,
    /// Clients with a certificate of the server's CA.
    WithCertificate,
}

/// The name of `INFO` on a server with `["--rename-command", "INFO", RENAMED_INFO]`. The tests themselves need the command.
pub(crate) const RENAMED_INFO: &str = "INFO-OF-TESTS";

/// A redis server, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Server,
    is_paused: AtomicBool,
    password: Option<String>,
    certificates: Option<Certificates>,
}

impl Redis {
    /// A server without persistence on a port of 127.0.0.1 and a unix socket, with further arguments, such as
    /// `["--maxmemory", "10mb"]`. With `--requirepass` (letters and digits) the password is in the URLs.
    pub(crate) fn start(extra: &[&str]) -> Self {
        let databases = DATABASES.to_string();
        let all = [&["--databases", &databases], extra].concat();
        Self::launch(Server::builder(program()), &all, |_| Vec::new())
    }

    /// A server as [`start`](Self::start) makes it, with a TLS port, too.
    pub(crate) fn start_tls(clients: TlsClients, extra: &[&str]) -> Self {
        let certificates = Certificates::make();
        let (ca, server) = (certificates.ca.clone(), certificates.server.clone());
        let builder = Server::builder(program()).ports(3).prepare(move |sandbox| {
            fs::write(sandbox.dir().join("ca.pem"), &ca)?;
            fs::write(sandbox.dir().join("server.pem"), &server.certificate)?;
            fs::write(sandbox.dir().join("server.key"), &server.key)?;
            Ok(())
        });
        let (databases, auth) = (DATABASES.to_string(), if let TlsClients::Anonymous = clients { "no" } else { "yes" });
        let files = ["--tls-ca-cert-file", "ca.pem", "--tls-cert-file", "server.pem", "--tls-key-file", "server.key"];
        let all = [&["--databases", &databases, "--tls-auth-clients", auth], &files[..], extra].concat();
        let more_ports = |sandbox: &Sandbox| {
            let mut ports = vec!["--tls-port".to_owned(), sandbox.ports()[1].to_string()];
            if is_since((7, 0, 0)) {
                // Otherwise a node of a cluster uses a port that may be in use.
                ports.extend(["--cluster-port".to_owned(), sandbox.ports()[2].to_string()]);
            }
            ports
        };
        Self { certificates: Some(certificates), ..Self::launch(builder, &all, more_ports) }
    }

    /// Starts a server with the arguments that all servers have, with these, and with those that depend on the sandbox.
    fn launch(builder: ServerBuilder, args: &[&str], more_arguments: fn(&Sandbox) -> Vec<String>) -> Self {
        let plain = ["--bind", "127.0.0.1", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"];
        let quick: &[&str] = if is_since((2, 8, 18)) { &["--repl-diskless-sync-delay", "0"] } else { &[] };
        let args: Vec<_> =
            plain.iter().chain(&["--daemonize", "no"]).chain(quick).chain(args).map(|&arg| arg.to_owned()).collect();
        let password = args.iter().rposition(|arg| arg == "--requirepass").map(|at| args[at + 1].clone());
        // The test of a server that is loading its data.
        let loads_slowly = args.iter().any(|arg| arg == "--key-load-delay");
        let builder = builder.args(move |sandbox| {
            let port = ["--port".to_owned(), sandbox.port().to_string()];
            port.into_iter().chain(more_arguments(sandbox)).chain(args.iter().cloned()).collect::<Vec<_>>()
        });
        Self::launch_as_it_is(builder, password, loads_slowly)
    }

    /// Starts a server with the arguments of the builder, and waits until it has loaded its data, unless that is slow on purpose.
    fn launch_as_it_is(builder: ServerBuilder, password: Option<String>, loads_slowly: bool) -> Self {
        let secret = password.clone();
        let ready = move |sandbox: &Sandbox, pid| -> Result<(), BoxError> {
            let mut connection = connect(&url(&format!("127.0.0.1:{}", sandbox.port()), secret.as_deref()))?;
            let mut info = |name| redis::cmd(name).query::<String>(&mut connection);
            let info = info("INFO").or_else(|_| info(RENAMED_INFO))?;
            if info_field(&info, "process_id").and_then(|id| id.parse().ok()) != Some(pid) {
                return Err("another server answers".into());
            }
            // It answers `INFO` before it has loaded its data, and refuses everything else.
            let is_loading = info_field(&info, "loading") == Some("1") && !loads_slowly;
            if is_loading { Err("it is loading its data".into()) } else { Ok(()) }
        };
        let server = builder.debian_package("redis-server").ready(ready).start().unwrap();
        Self { server, is_paused: AtomicBool::new(false), password, certificates: None }
    }

    /// The port without TLS.
    pub(crate) fn port(&self) -> u16 {
        self.server.sandbox().port()
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    pub(crate) fn url(&self) -> String {
        url(&self.address(), self.password.as_deref())
    }

    pub(crate) fn url_of_database(&self, database: u16) -> String {
        format!("{}/{database}", self.url())
    }

    pub(crate) fn unix_url(&self) -> String {
        self.unix_url_of_database(0)
    }

    pub(crate) fn unix_url_of_database(&self, database: u16) -> String {
        let password = self.password.as_ref().map(|password| format!("&pass={password}")).unwrap_or_default();
        format!("redis+unix://{}?db={database}{password}", self.socket().display())
    }

    /// The URL of the TLS port, with the name in the server's certificate.
    pub(crate) fn tls_url(&self) -> String {
        url(&format!("localhost:{}", self.tls_port()), self.password.as_deref()).replacen("redis:", "rediss:", 1)
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.server.sandbox().ports()[1]
    }

    /// The certificates of a server with TLS and of its clients.
    pub(crate) fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a server with TLS")
    }

    /// Its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.server.sandbox().dir().join("redis.sock")
    }

    /// Only the process.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// The process, its folder and its output.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A connection without TLS, with limits on every wait.
    pub(crate) fn connection(&self) -> Connection {
        connect(&self.url()).unwrap()
    }

    /// Sends a command in database 0 on a new connection, and returns the answer.
    #[track_caller]
    pub(crate) fn command(&self, command: &[&str]) -> Value {
        match self.try_command(command) {
            Ok(answer) => answer,
            Err(error) => panic!("{command:?} on {}: {error}", self.address()),
        }
    }

    /// Like [`command`](Self::command), for a command that may fail.
    pub(crate) fn try_command(&self, command: &[&str]) -> RedisResult<Value> {
        let mut connection = connect(&self.url())?;
        redis::Cmd::new().arg(command).query(&mut connection)
    }

    /// The answer to a command, as text.
    #[track_caller]
    fn text(&self, command: &[&str]) -> String {
        redis::from_redis_value(self.command(command)).unwrap()
    }

    /// A field of `INFO`, such as `maxmemory_policy`.
    #[track_caller]
    pub(crate) fn info(&self, field: &str) -> Option<String> {
        info_field(&self.text(&["INFO", "all"]), field).map(String::from)
    }

    /// How often clients called a command (`get`, `client|id`) since the server started or `CONFIG RESETSTAT`. This includes calls by the other
    /// methods here.
    #[track_caller]
    pub(crate) fn count_of_calls(&self, command: &str) -> u64 {
        let stats = self.info(&format!("cmdstat_{}", command.to_lowercase())).unwrap_or_default();
        let calls = stats.strip_prefix("calls=").and_then(|stats| stats.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// Whether it runs and is not paused.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_paused.load(Relaxed) && self.server.pid().is_some()
    }

    pub(crate) fn kill(&self) {
        self.server.kill().unwrap();
    }

    /// Asks it to shut down, and waits for its end.
    pub(crate) fn stop(&self) {
        self.server.stop().unwrap();
    }

    /// Starts it again on the same ports, empty.
    pub(crate) fn restart(&self) {
        self.server.restart().unwrap();
        self.is_paused.store(false, Relaxed);
    }

    /// Lets it accept connections and not answer, until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.server.pause().unwrap();
        self.is_paused.store(true, Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.server.resume().unwrap();
        self.is_paused.store(false, Relaxed);
    }
}

fn url(address: &str, password: Option<&str>) -> String {
    match password {
        Some(password) => format!("redis://:{password}@{address}"),
        None => format!("redis://{address}"),
    }
}

/// A connection that sends no commands by itself.
fn connect(url: &str) -> RedisResult<Connection> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let connection = redis::Client::open(info.set_redis_settings(settings))?.get_connection_with_timeout(ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    connection.set_write_timeout(Some(ANSWER))?;
    Ok(connection)
}

/// The value of a line `field:value`.
fn info_field<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
}

/// A proxy on a port of 127.0.0.1 in front of another port.
pub(crate) fn proxy(port: u16) -> Proxy {
    Proxy::tcp((Ipv4Addr::LOCALHOST, port)).unwrap()
}

/// Waits until the condition holds, and returns its result. If that takes too long, this panics with the obstacle.
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

/// Makes `count` of them at the same time.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let make = &make;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || make(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// An error with all its causes.
pub(crate) fn chain(error: &kv_redis::Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    chain
}

/// Runs `act`, and measures how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (act(), begin.elapsed())
}
