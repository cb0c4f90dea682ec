//! One server, and the connections to it for tasks.
//!
//! Short requests that wait are sent together. Everything else, large values and batches, has a connection to itself
//! meanwhile, so that nobody waits for it.

use std::sync::Arc;
use std::time::Instant;

use super::node::{Server, ServerLimits};
use crate::connection::exchange::Connection;
use crate::connection::multiplexed::{Health, Queues, Times};
use crate::protocol::fault::Fault;
use crate::protocol::owned::OwnedRequest;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;

/// How many connections send short requests at a time.
const SHARED: usize = 2;

pub(crate) struct AsyncNode {
    server: Arc<Server>,
    queues: Queues,
}

impl AsyncNode {
    /// A server to which there is no connection yet. There are at most `pool_size` connections on each runtime.
    pub(super) fn new(server: Server, pool_size: u32) -> Self {
        let most = usize::try_from(pool_size).unwrap_or(usize::MAX);
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
        Self { queues: Queues::new(most, SHARED, times, health, connect), server }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Makes a connection, unless there is one that can be trusted. So the server answers, and its limits are current.
    pub(super) async fn warm_up(&self) -> Result<ServerLimits, Fault> {
        // Nothing is sent for a request without commands; its answer comes from a connection.
        self.exchange(Request::new(&[], 0)).await?;
        Ok(self.server.limits())
    }

    /// Sends a request and receives its replies.
    pub(super) async fn exchange(&self, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        self.queues.exchange(&Arc::new(OwnedRequest::new(request))).await
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
