//! Where a node of a cluster sends a request.

use redis::{ServerErrorKind, Value as Reply};

use crate::connection::endpoint::Endpoint;
use crate::protocol::answer::{Answer, redirection};
use crate::protocol::fault::Fault;
use crate::protocol::request::Request;
use crate::servers::mapping::announced_endpoint;
use crate::servers::node::Node;

/// Another node for a request.
pub(super) struct Redirection {
    /// `None` if the address is not valid.
    pub(super) to: Option<Endpoint>,
    /// Whether it is for this request only, while the slot is being moved.
    pub(super) for_once: bool,
}

/// Where the request has to go instead, if any of its commands was redirected.
pub(super) fn redirected(replies: &[Reply], from: Option<&Endpoint>) -> Option<Redirection> {
    let error = replies.iter().find(|reply| redirection(reply).is_some());
    let Some(Reply::ServerError(error)) = error else { return None };
    // `MOVED 3999 127.0.0.1:6381`
    let to = error.details().and_then(|details| {
        let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        node_endpoint(host, port.parse().ok()?, from?)
    });
    Some(Redirection { to, for_once: error.kind() == Some(ServerErrorKind::Ask) })
}

/// Sends a request to a node that is getting the slot. It accepts the request after an `ASKING`.
pub(super) async fn exchange_after_asking(node: &Node, request: &Request<'_>) -> Result<Answer, Fault> {
    let mut answer = node.exchange(&request.after_asking()).await?;
    answer.replies.remove(0);
    Ok(answer)
}

/// The endpoint of a node that a cluster announces. If it has no host, that is the host of the node that answered.
pub(super) fn node_endpoint(host: &str, port: u16, answered: &Endpoint) -> Option<Endpoint> {
    match answered {
        Endpoint::Tcp { host: same, .. } if matches!(host, "" | "?" | "0.0.0.0" | "::") => {
            Some(Endpoint::Tcp { host: same.clone(), port })
        }
        _ => announced_endpoint(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_is_understood() {
        let reply = |text: &str| redis::parse_redis_value(text.as_bytes()).unwrap();
        let from = Endpoint::Tcp { host: "10.0.0.1".into(), port: 6380 };
        let redirected = |replies: &[Reply]| redirected(replies, Some(&from));
        let moved = redirected(&[Reply::Okay, reply("-MOVED 3999 127.0.0.1:6381\r\n")]).unwrap();
        assert!(!moved.for_once);
        assert_eq!(moved.to, Some(Endpoint::Tcp { host: "127.0.0.1".into(), port: 6381 }));
        let ask = redirected(&[reply("-ASK 3999 ::1:6381\r\n")]).unwrap();
        assert!(ask.for_once);
        assert_eq!(ask.to, Some(Endpoint::Tcp { host: "::1".into(), port: 6381 }));
        for nameless in ["-MOVED 3999 :6381\r\n", "-ASK 3999 ?:6381\r\n"] {
            let endpoint = Endpoint::Tcp { host: "10.0.0.1".into(), port: 6381 };
            assert_eq!(redirected(&[reply(nameless)]).unwrap().to, Some(endpoint));
        }
        for strange in ["-MOVED 3999 a,b:6381\r\n", "-MOVED 3999 u@h:6381\r\n", "-MOVED 3999 h:port\r\n", "-MOVED\r\n"]
        {
            assert_eq!(redirected(&[reply(strange)]).unwrap().to, None, "{strange}");
        }
        assert!(redirected(&[reply("-ERR no\r\n"), Reply::Okay]).is_none());
    }
}
