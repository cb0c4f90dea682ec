//! Pools that an application made itself, with connections of the crate `redis`.
//!
//! The store does not control these connections in full: the application's manager makes them without a time limit, and their time-outs
//! count for one system call each. The store sets time-outs, checks idle connections with a `PING`, and closes a connection on which
//! anything unexpected happened.

use std::io;
use std::mem;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use r2d2::{ManageConnection, Pool, PooledConnection};
use redis::Value as Reply;

use super::known_commands::KnownCommands;
use super::transport::Transport;
use crate::protocol::answer::Answer;
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::info::ServerInfo;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::has_shape;
use crate::protocol::request::{Request, Shape};
use crate::protocol::role::Role;
use crate::protocol::timeouts::Timeouts;
use client::{ClientConnection, ClientError};

mod client;

/// A connection that was idle for this time is checked before it is trusted (N4).
const IDLE: Duration = Duration::from_secs(1);

/// What is kept with each connection of the pool: when it was last used, and what its server said.
#[derive(Clone, Copy)]
struct Used(Instant, ServerInfo);

pub(crate) struct ExternalPool<M: ManageConnection> {
    pool: Pool<M>,
    timeouts: Timeouts,
    known_commands: KnownCommands,
}

impl<M> ExternalPool<M>
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    pub(crate) fn new(pool: Pool<M>, timeouts: Timeouts) -> Self {
        Self { pool, timeouts, known_commands: KnownCommands::new() }
    }

    /// Takes a connection that was used within the last second, or that has just answered.
    fn check_out(&self) -> Result<PooledConnection<M>, Fault> {
        let begin = Instant::now();
        loop {
            let wait = self.timeouts.pool.saturating_sub(begin.elapsed());
            let mut connection = self.pool.get_timeout(wait).map_err(Fault::ExternalPoolFailed)?;
            let used = PooledConnection::extensions(&connection).get::<Used>().copied();
            // The first question on a connection also shows what its server is.
            let question = match used {
                Some(Used(at, _)) if at.elapsed() < IDLE => return Ok(connection),
                Some(_) => Request::reading().with(Shape::Any, ["PING".into()]),
                None => {
                    if connection.set_timeouts(self.timeouts.response).is_err() {
                        close(connection);
                        continue;
                    }
                    Request::reading().with(Shape::Any, ["INFO".into(), "server".into()])
                }
            };
            match self.try_exchange(&mut connection, &question) {
                Ok(replies) => {
                    if used.is_none() {
                        self.learn(&mut connection, replies.first())?;
                    }
                    return Ok(connection);
                }
                Err(fault) => {
                    close(connection);
                    if begin.elapsed() >= self.timeouts.pool {
                        return Err(match fault {
                            // Nothing was sent of the caller's request.
                            Fault::Broken { cause, .. } => Fault::Broken { cause, sent: false },
                            other => other,
                        });
                    }
                }
            }
        }
    }

    /// Keeps what the server says about itself. It may refuse to say anything.
    fn learn(&self, connection: &mut PooledConnection<M>, info: Option<&Reply>) -> Result<(), Fault> {
        let mut server_info = match info {
            Some(Reply::BulkString(info)) => ServerInfo::read(&String::from_utf8_lossy(info), Role::ExternalPool)?,
            _ => ServerInfo::untold(),
        };
        if !M::Connection::READS_PAST_ERRORS {
            // Without them, a `PTTL` would come after a command that may fail.
            server_info.commands = server_info.commands.with(Commands::TRANSACTIONS);
        }
        self.known_commands.set(server_info);
        PooledConnection::extensions_mut(connection).insert(Used(Instant::now(), server_info));
        Ok(())
    }

    fn try_exchange(&self, connection: &mut PooledConnection<M>, request: &Request<'_>) -> Result<Vec<Reply>, Fault> {
        let deadline = Instant::now() + self.timeouts.response;
        let bytes = request.pieces().iter().map(|piece| &**piece).collect::<Vec<_>>().concat();
        // The crate does not tell how much was written before an error.
        connection.send(&bytes).map_err(|error| broken(&error))?;
        let mut replies = Vec::with_capacity(request.shapes().len());
        for &shape in request.shapes() {
            let reply = match connection.receive() {
                Ok(reply) => reply,
                Err(error) => match error.refusal() {
                    // An error of the server is a reply.
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
        if let Some(Used(at, _)) = PooledConnection::extensions_mut(connection).get_mut::<Used>() {
            *at = Instant::now();
        }
        Ok(replies)
    }
}

impl<M> Transport for ExternalPool<M>
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        let mut may_try_again = !request.writes();
        loop {
            let mut guard = Guard(Some(self.check_out()?));
            let Some(connection) = &mut guard.0 else { return Err(Fault::PoolExhausted) };
            let server_info = PooledConnection::extensions(connection)
                .get::<Used>()
                .map_or_else(ServerInfo::untold, |Used(_, server_info)| *server_info);
            if !server_info.commands.has(request.needs()) {
                drop(guard.0.take());
                return Err(Fault::Lacks(server_info.commands));
            }
            let result = self.try_exchange(connection, request).and_then(|mut replies| {
                if let Some(next) = request.next(&replies) {
                    replies.extend(self.try_exchange(connection, next)?);
                }
                Ok(replies)
            });
            match result {
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

    fn known_commands(&self) -> &KnownCommands {
        &self.known_commands
    }
}

/// Closes the connection when it is dropped, unless that was taken out before. So an error and a panic close it (N2).
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
        if let Some(connection) = self.0.take() {
            close(connection);
        }
    }
}

/// Closes a connection of a pool, so that the pool replaces it.
///
/// A pool takes back every connection that says that it is open, and a connection of the crate `redis` says so even after a time-out or a
/// reset. So another connection replaces it, one that is closed for certain: its peer was a port of this process.
fn close<M>(mut connection: PooledConnection<M>)
where
    M: ManageConnection,
    M::Connection: ClientConnection,
{
    match closed::<M::Connection>() {
        Some(closed) => drop(mem::replace(&mut *connection, closed)),
        // No port was free. Then the pool loses one connection, but no caller gets another one's reply.
        None => mem::forget(connection),
    }
}

fn closed<C: ClientConnection>() -> Option<C> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok()?;
    let mut connection = C::connect(listener.local_addr().ok()?.port())?;
    drop(listener.accept().ok()?);
    // It reads the end of the stream, and closes itself.
    let _ = connection.receive();
    (!connection.is_open()).then_some(connection)
}

fn broken(error: &impl ClientError) -> Fault {
    if error.is_timeout() {
        Fault::Broken { cause: io::ErrorKind::TimedOut.into(), sent: true }
    } else if error.is_io() {
        // Its text is that of the operating system.
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
