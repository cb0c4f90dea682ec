//! A real memcached: on a port, on a unix socket, with TLS, with user and password.

use std::fs;
use std::path::PathBuf;

use kv_conformance::BoxError;
use kv_conformance::server::{Sandbox, Server};

use super::certificates::{Certificates, Identity};
use super::connection::{Connection, stats};
use super::kind::{Kind, PASSWORD, SOCKET, USER};
use super::version::program;

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
            // It runs as root only if the user is named. Long options came with 1.5.5.
            let mut arguments = ["-u", "root", "-t", "2"].map(str::to_owned).to_vec();
            match kind {
                Kind::Unix => arguments.extend(["-s".to_owned(), SOCKET.to_owned()]),
                Kind::Tcp | Kind::WithPassword => {
                    // Without `-p`, it would also use its default port. There is no UDP.
                    let port = sandbox.port().to_string();
                    arguments.extend(["-l", "127.0.0.1", "-U", "0", "-p", &port].map(str::to_owned));
                }
                Kind::Tls { .. } | Kind::TlsWithPassword => {
                    // 1: the server asks for a certificate; 2: it also requires one.
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

    /// The URL, with user and password if the server wants them. If it has TLS, the URL of the TLS port, with the name in its certificate.
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

    /// The certificates of a server with TLS and of its clients.
    pub(crate) fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a server with TLS")
    }

    /// Only the process.
    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// The process, its folder and its output.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A connection without TLS, already logged in if the server wants a password.
    pub(crate) fn connection(&self) -> Connection {
        Connection::open(self.server.sandbox(), self.kind).unwrap()
    }

    /// A number of `stats`, such as `cmd_get` or `curr_connections`. This makes a connection.
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
