//! The handshake of a new connection, without I/O: what is sent, and what the replies mean.

use redis::Value as Reply;

use super::fault::Fault;
use super::info::ServerInfo;
use super::refusal::Refusal;
use super::refusal::command::is_of_command;
use super::request::{Request, Shape};
use super::role::Role;

/// What a new connection says to its server.
pub(crate) struct Handshake<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) database: u32,
    /// What the server has to be.
    pub(crate) role: Role,
}

/// What the replies to a handshake say.
pub(crate) struct Outcome {
    pub(crate) info: ServerInfo,
    /// The error with which the server refused `ROLE`: whether it is the primary has to be asked [in another way](question_about_role).
    #[cfg(feature = "sentinel")]
    pub(crate) role_refused: Option<Refusal>,
}

impl Handshake<'_> {
    /// Authentication, the database, and questions about the server, in one round trip. [`read`](Self::read) takes the replies from the end;
    /// a command before `ROLE` must succeed, or the login fails.
    pub(crate) fn request(&self) -> Request<'_> {
        let mut request = Request::reading();
        match (self.user, self.password) {
            (Some(user), Some(password)) => request.add(Shape::Done, ["AUTH".into(), user.into(), password.into()]),
            (None, Some(password)) => request.add(Shape::Done, ["AUTH".into(), password.into()]),
            (_, None) => {}
        }
        if self.database != 0 {
            request.add(Shape::Done, ["SELECT".into(), u64::from(self.database).into()]);
        }
        if self.asks_for_role() {
            request.add(Shape::Any, ["ROLE".into()]);
        }
        request.add(Shape::Value, ["INFO".into(), "server".into()]);
        request
    }

    /// Reads the replies.
    pub(crate) fn read(&self, mut replies: Vec<Reply>) -> Result<Outcome, Fault> {
        let info = replies.pop();
        let role = if self.asks_for_role() { replies.pop() } else { None };
        for reply in replies {
            if let Reply::ServerError(error) = reply {
                return Err(self.refused(error.into()));
            }
        }
        #[cfg(feature = "sentinel")]
        let mut role_refused = None;
        match role {
            #[cfg(feature = "sentinel")]
            Some(Reply::Array(role)) if role.first() != Some(&Reply::BulkString(b"master".to_vec())) => {
                return Err(not_primary());
            }
            #[cfg(feature = "sentinel")]
            Some(Reply::ServerError(error)) if is_of_command(&error, &["role"]) => role_refused = Some(error.into()),
            Some(Reply::ServerError(error)) => return Err(self.refused(error.into())),
            _ => {}
        }
        let info = match info {
            Some(Reply::BulkString(info)) => ServerInfo::read(&String::from_utf8_lossy(&info), self.role)?,
            // The server may have all that is needed without it.
            Some(Reply::ServerError(error)) if is_of_command(&error, &["info"]) => ServerInfo::untold(),
            Some(Reply::ServerError(error)) => return Err(self.refused(error.into())),
            _ => return Err(Fault::Desynchronized),
        };
        Ok(Outcome {
            info,
            #[cfg(feature = "sentinel")]
            role_refused,
        })
    }

    /// The fault of a server that refused the connection, without the password.
    pub(crate) fn refused(&self, refusal: Refusal) -> Fault {
        Fault::ConnectionRefused(refusal.hiding(self.password))
    }

    fn asks_for_role(&self) -> bool {
        #[cfg(feature = "sentinel")]
        let asks = self.role == Role::Primary;
        #[cfg(not(feature = "sentinel"))]
        let asks = false;
        asks
    }
}

/// Asks whether the server is the primary, where `ROLE` is renamed or forbidden.
#[cfg(feature = "sentinel")]
pub(crate) fn question_about_role() -> Request<'static> {
    Request::reading().with(Shape::Value, ["INFO".into(), "replication".into()])
}

/// Whether the server said that it is the primary: an error if it is not, `false` if it did not tell.
#[cfg(feature = "sentinel")]
pub(crate) fn is_primary(reply: Option<&Reply>) -> Result<bool, Fault> {
    match reply {
        Some(Reply::BulkString(info)) if info.split(|&byte| byte == b'\n').any(|line| line == b"role:master\r") => {
            Ok(true)
        }
        Some(Reply::BulkString(_)) => Err(not_primary()),
        _ => Ok(false),
    }
}

#[cfg(feature = "sentinel")]
fn not_primary() -> Fault {
    Fault::ConnectionRefused(Refusal::new("READONLY", "the server says that it is not the primary"))
}
