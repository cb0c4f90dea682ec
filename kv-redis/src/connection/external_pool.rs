//! Pools that an application made itself, with the connections of the crate `redis`.
//!
//! What happens on these connections is not ours to decide in full: they are made by the application's manager, which has no
//! limit for that, and their time-outs count for one system call each. What can be done is done: time-outs are set, an idle
//! connection is checked with a `PING`, and one on which anything unexpected happened is closed.

use std::error::Error as StdError;
use std::io;
use std::mem;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use r2d2::{ManageConnection, Pool, PooledConnection};
use redis::{RedisError, Value as Reply};

use crate::connection::exchange::{Answer, Role, has_shape};
use crate::protocol::fault::{Fault, Limits, Refusal};
use crate::protocol::info::ServerInfo;
use crate::protocol::request::{Request, Shape};
use crate::servers::node::{KnownCommands, Server};

/// From when on a connection that nobody used is checked before it is trusted (N4).
const IDLE: Duration = Duration::from_secs(1);

/// A connection of a version of the crate `redis`.
pub(crate) trait ClientConnection: Sized {
    type Error: Failed;

    /// Connects to a port on this machine, and nothing more.
    fn connect(port: u16) -> Option<Self>;
    fn set_timeouts(&mut self, limit: Duration) -> Result<(), Self::Error>;
    fn send(&mut self, request: &[u8]) -> Result<(), Self::Error>;
    fn receive(&mut self) -> Result<Reply, Self::Error>;
    fn is_open(&self) -> bool;
}

/// What such a connection fails with.
pub(crate) trait Failed: StdError + Send + Sync + 'static {
    fn is_timeout(&self) -> bool;
    fn is_io(&self) -> bool;
    /// What the server said, if it was the server that refused.
    fn refusal(&self) -> Option<Refusal>;
}

/// What is kept beside each connection of the pool: when it was used, and what its server is.
#[derive(Clone, Copy)]
struct Used(Instant, ServerInfo);

pub(crate) struct ExternalPool<M: ManageConnection> {
    pool: Pool<M>,
    limits: Limits,
    known: KnownCommands,
}

impl<M> ExternalPool<M>
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    pub(crate) fn new(pool: Pool<M>, limits: Limits) -> Self {
        Self { pool, limits, known: KnownCommands::new() }
    }

    /// A connection that was used within the last second, or has answered just now.
    fn check_out(&self) -> Result<PooledConnection<M>, Fault> {
        let begin = Instant::now();
        loop {
            let wait = self.limits.pool.saturating_sub(begin.elapsed());
            let mut lent = self.pool.get_timeout(wait).map_err(Fault::ExternalPoolFailed)?;
            let used = PooledConnection::extensions(&lent).get::<Used>().copied();
            // The first question to a connection tells what is at its other end, too.
            let question = match used {
                Some(Used(at, _)) if at.elapsed() < IDLE => return Ok(lent),
                Some(_) => Request::reading().with(Shape::Any, ["PING".into()]),
                None => {
                    if lent.set_timeouts(self.limits.response).is_err() {
                        close(lent);
                        continue;
                    }
                    Request::reading().with(Shape::Any, ["INFO".into(), "server".into()])
                }
            };
            match self.try_exchange(&mut lent, &question) {
                Ok(replies) => {
                    if used.is_none() {
                        self.learn(&mut lent, replies.first())?;
                    }
                    return Ok(lent);
                }
                Err(fault) => {
                    close(lent);
                    if begin.elapsed() >= self.limits.pool {
                        return Err(match fault {
                            // Of the request for which the connection was to be, nothing.
                            Fault::Broken { cause, .. } => Fault::Broken { cause, sent: false },
                            other => other,
                        });
                    }
                }
            }
        }
    }

    /// Keeps what a server tells of itself. It may also refuse to.
    fn learn(&self, lent: &mut PooledConnection<M>, info: Option<&Reply>) -> Result<(), Fault> {
        let server_info = match info {
            Some(Reply::BulkString(info)) => ServerInfo::read(&String::from_utf8_lossy(info), Role::ExternalPool)?,
            _ => ServerInfo::untold(),
        };
        self.known.set(server_info);
        PooledConnection::extensions_mut(lent).insert(Used(Instant::now(), server_info));
        Ok(())
    }

    fn try_exchange(&self, lent: &mut PooledConnection<M>, request: &Request<'_>) -> Result<Vec<Reply>, Fault> {
        let deadline = Instant::now() + self.limits.response;
        let bytes = request.pieces().iter().map(|piece| &**piece).collect::<Vec<_>>().concat();
        // How much of it was written before an error is not told.
        lent.send(&bytes).map_err(|error| broken(&error))?;
        let mut replies = Vec::with_capacity(request.shapes().len());
        for &shape in request.shapes() {
            let reply = match lent.receive() {
                Ok(reply) => reply,
                Err(error) => match error.refusal() {
                    // An error of the server is a reply like others.
                    Some(Refusal { code, text }) => error_reply(&code, &text),
                    None => return Err(broken(&error)),
                },
            };
            if !has_shape(&reply, shape) {
                return Err(Fault::Desynchronized);
            }
            replies.push(reply);
            if Instant::now() > deadline && replies.len() < request.shapes().len() {
                return Err(Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true });
            }
        }
        if let Some(Used(at, _)) = PooledConnection::extensions_mut(lent).get_mut::<Used>() {
            *at = Instant::now();
        }
        Ok(replies)
    }
}

impl<M> Server for ExternalPool<M>
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        let mut may_try_again = !request.writes();
        loop {
            let mut guard = Guard(Some(self.check_out()?));
            let Some(lent) = &mut guard.0 else { return Err(Fault::PoolExhausted) };
            let server_info = PooledConnection::extensions(lent)
                .get::<Used>()
                .map_or_else(ServerInfo::untold, |Used(_, server_info)| *server_info);
            if !server_info.commands.has(request.needs()) {
                drop(guard.0.take());
                return Err(Fault::Lacks(server_info.commands));
            }
            match self.try_exchange(lent, request) {
                Ok(replies) => {
                    let answer = Answer { replies, page: None, run_id: server_info.run_id, server: None };
                    if answer.leaves_connection_usable() {
                        drop(guard.0.take());
                    }
                    return Ok(answer);
                }
                Err(fault) if fault.is_dead_connection() && may_try_again => may_try_again = false,
                Err(fault) => return Err(fault),
            }
        }
    }

    fn known(&self) -> &KnownCommands {
        &self.known
    }
}

/// Closes the connection unless it was taken out again: after an error, and when a panic comes through (N2).
struct Guard<M>(Option<PooledConnection<M>>)
where
    M: ManageConnection,
    M::Connection: ClientConnection;

impl<M> Drop for Guard<M>
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    fn drop(&mut self) {
        if let Some(lent) = self.0.take() {
            close(lent);
        }
    }
}

/// Closes a connection of a pool, so that the pool replaces it.
///
/// A pool takes back every connection that says that it is open, and a connection of the crate `redis` says so after a
/// time-out or a reset, too. So another one takes its place, that is closed for certain: its peer was a port of our own.
fn close<M>(mut lent: PooledConnection<M>)
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    match closed::<M::Connection>() {
        Some(closed) => drop(mem::replace(&mut *lent, closed)),
        // There is no port to be had. Then the pool loses a place, and nobody gets another one's reply.
        None => mem::forget(lent),
    }
}

fn closed<C: ClientConnection>() -> Option<C> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok()?;
    let mut connection = C::connect(listener.local_addr().ok()?.port())?;
    drop(listener.accept().ok()?);
    // It reads the end, and closes itself.
    let _ = connection.receive();
    (!connection.is_open()).then_some(connection)
}

fn broken(error: &impl Failed) -> Fault {
    if error.is_timeout() {
        Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true }
    } else if error.is_io() {
        // Its text is that of the error of the operating system.
        Fault::Broken { cause: io::Error::other(error.to_string()), sent: true }
    } else {
        Fault::Desynchronized
    }
}

/// An error of a server as a reply.
fn error_reply(code: &str, text: &str) -> Reply {
    let line = format!("-{code} {}\r\n", text.replace(['\r', '\n'], " "));
    redis::parse_redis_value(line.as_bytes()).unwrap_or(Reply::Nil)
}

/// What is the same in all versions of `redis`.
macro_rules! connection {
    () => {
        type Error = RedisError;

        fn set_timeouts(&mut self, limit: Duration) -> Result<(), RedisError> {
            self.set_read_timeout(Some(limit))?;
            self.set_write_timeout(Some(limit))
        }

        fn send(&mut self, request: &[u8]) -> Result<(), RedisError> {
            self.send_packed_command(request)
        }

        fn is_open(&self) -> bool {
            redis::ConnectionLike::is_open(self)
        }
    };
}

macro_rules! failed {
    () => {
        fn is_timeout(&self) -> bool {
            self.is_timeout()
        }

        fn is_io(&self) -> bool {
            self.is_io_error()
        }
    };
}

impl ClientConnection for redis::Connection {
    connection!();

    fn connect(port: u16) -> Option<Self> {
        let info = redis::IntoConnectionInfo::into_connection_info(("127.0.0.1", port)).ok()?;
        let settings = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        let client = redis::Client::open(info.set_redis_settings(settings)).ok()?;
        client.get_connection_with_timeout(Duration::from_secs(1)).ok()
    }

    fn receive(&mut self) -> Result<Reply, RedisError> {
        self.recv_response()
    }
}

impl Failed for RedisError {
    failed!();

    fn refusal(&self) -> Option<Refusal> {
        redis::ServerError::try_from(self.clone()).ok().map(Refusal::from)
    }
}

#[cfg(feature = "r2d2_redis")]
mod of_r2d2_redis {
    //! The version of `redis` that `r2d2_redis` is made for, 0.20.

    use std::time::Duration;

    use r2d2_redis::redis::{self, ErrorKind, RedisError, Value};

    use super::{ClientConnection, Failed, Refusal, Reply};

    impl ClientConnection for redis::Connection {
        connection!();

        fn connect(port: u16) -> Option<Self> {
            let client = redis::Client::open(("127.0.0.1", port)).ok()?;
            client.get_connection_with_timeout(Duration::from_secs(1)).ok()
        }

        fn receive(&mut self) -> Result<Reply, RedisError> {
            self.recv_response().map(reply)
        }
    }

    fn reply(value: Value) -> Reply {
        match value {
            Value::Nil => Reply::Nil,
            Value::Int(number) => Reply::Int(number),
            Value::Data(bytes) => Reply::BulkString(bytes),
            Value::Bulk(values) => Reply::Array(values.into_iter().map(reply).collect()),
            Value::Status(text) => Reply::SimpleString(text),
            Value::Okay => Reply::Okay,
        }
    }

    impl Failed for RedisError {
        failed!();

        fn refusal(&self) -> Option<Refusal> {
            // A reply that does not parse has the same kind as an error that the server sent.
            let is_the_server_s = match self.kind() {
                ErrorKind::IoError | ErrorKind::ClientError | ErrorKind::TypeError | ErrorKind::InvalidClientConfig => {
                    false
                }
                ErrorKind::ExtensionError => true,
                _ => self.to_string().starts_with("An error was signalled by the server"),
            };
            let code = self.code().unwrap_or("ERR");
            is_the_server_s.then(|| Refusal::new(code, self.detail().unwrap_or_default()))
        }
    }
}
