//! One server, and the connections to it for tasks.
//!
//! Short requests that wait are sent together. Everything else, large values, batches, pages and transactions, has a connection to itself
//! meanwhile, so that nobody waits for it.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::node::Server;
use crate::connection::Connection;
use crate::connection::multiplexed::{Health, Queues, Times};
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::request::Request;

pub(crate) struct AsyncNode {
    server: Arc<Server>,
    queues: Queues,
}

impl AsyncNode {
    /// A server to which there is no connection yet. There are at most `pool_size` connections on each runtime; `shared` of them may send
    /// short requests at a time.
    pub(super) fn new(server: Server, pool_size: u32, shared: u32) -> Self {
        let number = |connections: u32| usize::try_from(connections).unwrap_or(usize::MAX);
        let (timeouts, settings) = (server.dialer().timeouts, server.dialer().pool_settings);
        let health = Arc::new(Health::new(settings.retry_after));
        let times = Times {
            pool: timeouts.pool,
            connect: timeouts.connect,
            response: timeouts.response,
            idle_timeout: settings.idle_timeout,
        };
        let server = Arc::new(server);
        let (of_connect, its_health) = (Arc::clone(&server), Arc::clone(&health));
        let connect = move || connect(&of_connect, &its_health);
        Self { queues: Queues::new(number(pool_size), number(shared), times, health, connect), server }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Makes this number of connections, at least one, so that the server is known to answer.
    pub(super) async fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        self.queues.warm_up(usize::try_from(connections.max(1)).unwrap_or(usize::MAX)).await
    }

    /// Sends a request and receives its replies.
    pub(super) async fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        let mut answer = pin!(self.queues.exchange(request));
        // When it was polled, the request waits for a connection or for its replies.
        poll_fn(|context| {
            let answer = answer.as_mut().poll(context);
            request.do_meanwhile();
            answer
        })
        .await
    }
}

/// Makes a connection; blocks. While the server is in question, one thread asks it and the others wait for the outcome.
fn connect(server: &Server, health: &Health) -> Result<Connection, Fault> {
    let (begun, limit, breaker) = (Instant::now(), server.dialer().timeouts.connect, &health.breaker);
    let has_waited = breaker.is_in_question();
    let probe = breaker.enter(limit).map_err(Fault::Silent)?;
    let now = Instant::now();
    let result = server.connect(limit.saturating_sub(now - begun));
    breaker.note_connect(probe, (now, has_waited), &result);
    result
}
