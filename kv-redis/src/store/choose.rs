//! Sends the request that a server takes, of several that do the same: see [`Commands`].

use kv_core::{Error, Failure, Key, Result};
use redis::{ServerError, Value as Reply};

use crate::connection::exchange::{Answer, NODE_OF_A_CLUSTER};
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::refusal::is_of_command;
use crate::protocol::request::{Arg, Request, Shape};
use crate::servers::node::{KnownCommands, Server as _};
use crate::store::redis_store::{Part, RedisStore, Route};

impl RedisStore {
    /// Sends the first request that the server of a key takes. `make` gets what the server has and returns a request that
    /// needs no more than that, or nothing; then the answer is nothing, too.
    ///
    /// One round trip, unless the server refuses what it was expected to have: then one more, once.
    pub(crate) fn send_fitting<'a>(
        &self,
        key: Key<'_>,
        make: impl Fn(Commands) -> Option<Request<'a>>,
    ) -> Result<Option<Answer>> {
        let mut commands = self.with_known(key, KnownCommands::get);
        while let Some(request) = make(commands) {
            match self.deliver(key, &request) {
                Ok(answer) if is_refused(request.needs(), &request, &answer) => {
                    commands = commands.without(request.needs());
                    self.with_known(key, |known| known.remove(request.needs()));
                }
                Ok(answer) => return Ok(Some(answer)),
                Err(Fault::Lacks(has)) => commands = commands.and(has),
                Err(fault) => return Err(self.error(fault, Some(key), request.writes())),
            }
        }
        Ok(None)
    }

    /// Does something with what is known of the server that has a key.
    pub(crate) fn with_known<T>(&self, key: Key<'_>, act: impl FnOnce(&KnownCommands) -> T) -> T {
        let _ = key;
        match &self.route {
            Route::Node(node) => act(node.known()),
            Route::Shared(shared) => act(shared.known()),
            Route::ExternalPool(pool) => act(pool.known()),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => match cluster.known_owner(self.slot(key)) {
                Some(node) => act(node.known()),
                None => act(&KnownCommands::new()),
            },
        }
    }

    /// What is known of the server that has a part of the store.
    pub(crate) fn known_of<'a>(&'a self, part: &'a Part) -> Option<&'a KnownCommands> {
        match (part, &self.route) {
            (Part::Whole, Route::Node(node)) => Some(node.known()),
            (Part::Whole, Route::Shared(shared)) => Some(shared.known()),
            (Part::Whole, Route::ExternalPool(pool)) => Some(pool.known()),
            #[cfg(feature = "cluster")]
            (Part::Primary(node), _) => Some(node.known()),
            #[cfg(feature = "cluster")]
            (Part::Whole, Route::Cluster(_)) => None,
        }
    }

    /// Makes sure that a server that does not say so is no node of a cluster: a listing of that would be of a part of the
    /// keys, and look whole (L3). Only such a node minds that two keys are of different slots.
    ///
    /// If all keys of the namespace are of one slot, by a tag in braces, the node that has this slot does not mind, and has
    /// them all.
    pub(crate) fn make_sure_it_is_whole(&self, part: &Part) -> Result<()> {
        let [one, other] = ["a", "b"].map(|key| Arg::Key(self.namespace(), key));
        let question = Request::reading()
            .with(Shape::Any, ["EXISTS".into(), one, other])
            // Before redis 3.0.3 EXISTS takes one key alone.
            .with(Shape::Any, ["MGET".into(), one, other]);
        let answer = self.send_to(part, &question).map_err(|fault| self.error(fault, None, false))?;
        let is_of_a_node =
            |error: &ServerError| matches!(error.code(), "CROSSSLOT" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN");
        for reply in &answer.replies {
            match reply {
                Reply::Int(_) | Reply::Array(_) => return Ok(()),
                Reply::ServerError(error) if is_of_a_node(error) => {
                    return Err(Error::Backend(Failure::new(self.label(), NODE_OF_A_CLUSTER)));
                }
                _ => {}
            }
        }
        let message = "the server does not say whether it is a node of a cluster, whose listing would be of a part of the \
            keys: allow the user INFO, or EXISTS with all keys of the store";
        let cause = answer.replies.into_iter().find_map(|reply| match reply {
            Reply::ServerError(error) => Some(crate::protocol::fault::Refusal::from(error)),
            _ => None,
        });
        let failure = Failure::new(self.label(), message);
        Err(Error::Backend(if let Some(cause) = cause { failure.caused_by(cause) } else { failure }))
    }
}

/// Whether a server refused the command that a request needs: then none of the request was done. What it says of the others is not
/// looked at: that a user may not use `GET` says nothing of `EVAL`.
pub(crate) fn is_refused(needs: Commands, request: &Request<'_>, answer: &Answer) -> bool {
    match request.reply_to_needy(&answer.replies) {
        Some(Reply::ServerError(error)) => needs != Commands::NONE && is_of_command(error, needs.names()),
        _ => false,
    }
}
