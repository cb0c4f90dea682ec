//! What comes back for a request.

use redis::{ServerErrorKind, Value as Reply};

use super::info::RunId;
use super::page::Page;
use super::refusal::in_script;
use super::server_name::ServerName;

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// A reply for each command of the request, of its shape or a server's error.
    pub(crate) replies: Vec<Reply>,
    /// The page, in place of a reply, if the request was for a page of a listing and the server did not send an error.
    pub(crate) page: Option<Page>,
    /// Which process answered.
    pub(crate) run_id: RunId,
    /// Which server, if there are several.
    pub(crate) server: Option<ServerName>,
}

impl Answer {
    /// Whether the connection may be used again. If the server is not, or no longer, the right one, the next operation has to look for the
    /// right one. After a protocol error the server closes the connection. A transaction that is open makes all that follows a part of it.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        leave_connection_usable(&self.replies)
    }
}

/// Whether a connection may be used again after these replies to a request.
pub(crate) fn leave_connection_usable(replies: &[Reply]) -> bool {
    let ends = |reply: &Reply| match reply {
        Reply::ServerError(error) => {
            let code = in_script(error).map_or(error.code(), |(code, _)| code);
            matches!(code, "READONLY" | "MASTERDOWN" | "NOAUTH")
                || error.details().is_some_and(|details| details.starts_with("Protocol error"))
        }
        _ => false,
    };
    let is_queued = |reply: &Reply| matches!(reply, Reply::SimpleString(text) if text == "QUEUED");
    let is_open = matches!(replies.last(), Some(Reply::ServerError(error)) if error.code() != "EXECABORT")
        && replies.iter().any(is_queued);
    !is_open && !replies.iter().any(ends)
}

/// Whether a node of a cluster says that the key is elsewhere, and in which way.
pub(crate) fn redirection(reply: &Reply) -> Option<ServerErrorKind> {
    match reply {
        Reply::ServerError(error) => {
            error.kind().filter(|kind| matches!(kind, ServerErrorKind::Moved | ServerErrorKind::Ask))
        }
        _ => None,
    }
}
