//! Real servers for tests, each on free ports and in a temporary folder of its own.
//!
//! A [`Server`] is a program that the test started itself and that answers: never one that happened to be there. It is
//! killed when it is dropped, and with the test process, however that ends; its folder goes with it. In between, a test
//! can kill it, stop it, pause it and start it again.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use kv_conformance::BoxError;
//! use kv_conformance::server::Server;
//!
//! fn main() -> Result<(), BoxError> {
//!     let server = Server::builder("memcached")
//!         .debian_package("memcached")
//!         .args(|sandbox| ["--listen=127.0.0.1".into(), format!("--port={}", sandbox.port()), "--user=nobody".into()])
//!         .ready(|sandbox, pid| {
//!             let mut connection = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
//!             connection.write_all(b"stats\r\nquit\r\n")?;
//!             let mut answer = String::new();
//!             connection.read_to_string(&mut answer)?;
//!             let ours = answer.contains(&format!("STAT pid {pid}\r\n"));
//!             if ours { Ok(()) } else { Err("another memcached answers".into()) }
//!         })
//!         .start()?;
//!     let port = server.sandbox().port();
//!     server.kill()?;
//!     assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
//!     server.restart()?;
//!     assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
//!     Ok(())
//! }
//! ```

mod builder;
mod process;
mod running;
mod sandbox;

pub use builder::ServerBuilder;
pub use running::Server;
pub use sandbox::Sandbox;
