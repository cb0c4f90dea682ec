//! Sends, of several requests that do the same, the one that a server accepts: see [`Commands`].

use kv_core::{Error, Failure, Key, Result};
use redis::{ServerError, Value as Reply};

use crate::protocol::answer::Answer;
use crate::protocol::role::NODE_OF_A_CLUSTER;

use crate::connection::known_commands::KnownCommands;
use crate::connection::transport::Transport as _;
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::refusal::command::is_of_command;
use crate::protocol::request::{Arg, Request, Shape};

use super::client::{Client, Route, Target};

impl Client {
    /// Sends the first request that the server of a key accepts. `make` gets the commands of the server and returns a request that needs
    /// no others. If it returns `None`, so does this.
    ///
    /// One round trip, and one more each time that the server refuses a command that it was expected to have; that is remembered.
    pub(super) async fn send_fitting<'a>(
        &self,
        key: Key<'_>,
        make: impl Fn(Commands) -> Option<Request<'a>> + Send + Sync,
    ) -> Result<Option<Answer>> {
        let mut commands = self.with_known(key, KnownCommands::get);
        while let Some(request) = make(commands) {
            match self.deliver(key, &request).await {
                Ok(answer) if is_refused(&request, &answer) => {
                    commands = commands.without(request.may_be_refused());
                    self.with_known(key, |known| known.remove(request.may_be_refused()));
                }
                Ok(answer) => return Ok(Some(answer)),
                Err(Fault::Lacks(has)) => commands = commands.and(has),
                Err(fault) => return Err(self.error(fault, Some(key), request.writes())),
            }
        }
        Ok(None)
    }

    /// Passes what is known of the commands of the server that has a key.
    pub(super) fn with_known<T>(&self, key: Key<'_>, act: impl FnOnce(&KnownCommands) -> T) -> T {
        let _ = key;
        match &*self.route {
            Route::Node(node) => act(node.known_commands()),
            Route::Shared(shared) => act(shared.known_commands()),
            Route::ExternalPool(pool) => act(pool.known_commands()),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => match cluster.known_owner(self.slot(key)) {
                Some(node) => act(node.known_commands()),
                None => act(&KnownCommands::new()),
            },
        }
    }

    /// What is known of the commands of a target.
    pub(super) fn known_of<'a>(&'a self, target: &'a Target) -> Option<&'a KnownCommands> {
        match (target, &*self.route) {
            (Target::SingleServer, Route::Node(node)) => Some(node.known_commands()),
            (Target::SingleServer, Route::Shared(shared)) => Some(shared.known_commands()),
            (Target::SingleServer, Route::ExternalPool(pool)) => Some(pool.known_commands()),
            #[cfg(feature = "cluster")]
            (Target::Primary(node), _) => Some(node.known_commands()),
            #[cfg(feature = "cluster")]
            (Target::SingleServer, Route::Cluster(_)) => None,
        }
    }

    /// Checks that a server that does not tell is not a node of a cluster: a listing of a node would have a part of the keys and look
    /// complete (L3). Only a node refuses two keys of different slots.
    ///
    /// If a tag in braces puts all keys of the namespace into one slot, the node with this slot accepts them, and has them all.
    pub(super) async fn make_sure_it_is_whole(&self, target: &Target) -> Result<()> {
        let [one, other] = ["a", "b"].map(|key| Arg::Key(self.namespace(), key));
        let question = Request::reading()
            .with(Shape::Any, ["EXISTS".into(), one, other])
            // Before redis 3.0.3 EXISTS accepts only one key.
            .with(Shape::Any, ["MGET".into(), one, other]);
        let answer = self.send_to(target, &question).await.map_err(|fault| self.error(fault, None, false))?;
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
            Reply::ServerError(error) => Some(crate::protocol::refusal::Refusal::from(error)),
            _ => None,
        });
        let failure = Failure::new(self.label(), message);
        Err(Error::Backend(if let Some(cause) = cause { failure.caused_by(cause) } else { failure }))
    }
}

/// Whether a server refused the command that a request needs; then nothing of the request was done. Replies to other commands do not
/// count: a user who may not use `GET` may still use `EVAL`.
pub(super) fn is_refused(request: &Request<'_>, answer: &Answer) -> bool {
    let needs = request.may_be_refused();
    match request.reply_to_needy(&answer.replies) {
        Some(Reply::ServerError(error)) => needs != Commands::NONE && is_of_command(error, needs.names()),
        _ => false,
    }
}
