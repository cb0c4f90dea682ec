//! twemproxy (`nutcracker`) in front of memcached.

use std::fs;
use std::path::Path;
use std::process::Command;

use kv_conformance::BoxError;
use kv_conformance::server::{Sandbox, Server};

use super::{Connection, Kind, Memcached};

const PROGRAM: &str = "nutcracker";

/// A proxy in front of servers. Dropping it kills the proxy and the servers.
#[derive(Debug)]
pub(crate) struct Twemproxy {
    server: Server,
    /// The servers behind it.
    pub(crate) servers: Vec<Memcached>,
}

impl Twemproxy {
    /// The name and version that the program reports, such as `nutcracker 0.5.0`; `None` if there is no such program.
    pub(crate) fn version() -> Option<String> {
        let path = std::env::var_os("PATH")?;
        // Debian puts it in a folder that may not be in the path of users.
        let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
        let program = folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())?;
        let said = Command::new(program).arg("-V").output().ok()?.stderr;
        String::from_utf8(said).ok()?.lines().next()?.split(' ').next_back().map(|said| said.replacen('-', " ", 1))
    }

    pub(crate) fn start(servers: Vec<Memcached>) -> Self {
        let behind: Vec<_> = servers.iter().map(|server| format!("   - 127.0.0.1:{}:1\n", server.port())).collect();
        let prepare = move |sandbox: &Sandbox| -> Result<(), BoxError> {
            let port = sandbox.port();
            let pool =
                format!("pool:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: modula\n  servers:\n");
            Ok(fs::write(sandbox.dir().join("pool.yml"), pool + &behind.concat())?)
        };
        let arguments = |sandbox: &Sandbox| {
            let statistics = sandbox.ports()[1].to_string();
            ["-c", "pool.yml", "-a", "127.0.0.1", "-s", &statistics, "-v", "2"].map(str::to_owned)
        };
        let ready = |sandbox: &Sandbox, _pid| -> Result<(), BoxError> {
            match Connection::open(sandbox, Kind::Tcp)?.ask(b"get ready\r\n")?.as_str() {
                "END" => Ok(()),
                other => Err(other.into()),
            }
        };
        let program = if Path::new("/usr/sbin").join(PROGRAM).is_file() { "/usr/sbin/nutcracker" } else { PROGRAM };
        let builder = Server::builder(program).debian_package(PROGRAM).ports(2).prepare(prepare);
        Self { server: builder.args(arguments).ready(ready).start().unwrap(), servers }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.sandbox().port()
    }

    pub(crate) fn url(&self) -> String {
        format!("memcache://127.0.0.1:{}", self.port())
    }
}
