//! The connections of the crate `redis`, in each of its versions.

use std::error::Error as StdError;
use std::time::Duration;

use redis::{RedisError, Value as Reply};

use crate::protocol::refusal::Refusal;

/// A connection of a version of the crate `redis`.
pub(crate) trait ClientConnection: Sized {
    type Error: ClientError;

    /// Whether it reads a transaction to its end in which a command before the last has failed.
    const READS_PAST_ERRORS: bool;

    /// Connects to a port on this machine; sends nothing.
    fn connect(port: u16) -> Option<Self>;
    fn set_timeouts(&mut self, limit: Duration) -> Result<(), Self::Error>;
    fn send(&mut self, request: &[u8]) -> Result<(), Self::Error>;
    fn receive(&mut self) -> Result<Reply, Self::Error>;
    fn is_open(&self) -> bool;
}

/// An error of such a connection.
pub(crate) trait ClientError: StdError + Send + Sync + 'static {
    fn is_timeout(&self) -> bool;
    fn is_io(&self) -> bool;
    /// The error of the server, if it is one.
    fn refusal(&self) -> Option<Refusal>;
}

/// The methods that are the same in all versions of `redis`.
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

    const READS_PAST_ERRORS: bool = true;

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

impl ClientError for RedisError {
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

    use super::{ClientConnection, ClientError, Refusal, Reply};

    impl ClientConnection for redis::Connection {
        connection!();

        /// What comes after the error is taken for the next reply.
        const READS_PAST_ERRORS: bool = false;

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

    impl ClientError for RedisError {
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
