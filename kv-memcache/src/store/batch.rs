//! Batches: a command for each key, and many commands in one round trip to each server.

#[cfg(feature = "tokio")]
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::{mem, slice, thread};

use kv_core::{Error, Result};

use super::client::Client;
use super::now;
use crate::protocol::command::{Command, KeyedCommand, SentKey};
use crate::protocol::fault::Fault;
use crate::protocol::mcrouter;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::servers::node::Node;

/// The most keys of one round trip.
const CHUNK: usize = 1024;

/// A chunk with writes is full with this number of bytes. Replies to writes are short, so the server can send them all while it still
/// receives.
const FULL_OF_WRITES: usize = 1 << 20;

/// A chunk of reads is full with this number of bytes. A server that waits until its replies are read does not read anything itself, so a
/// request must fit into the buffers of the sockets.
const FULL_OF_READS: usize = 32 * 1024;

/// The outcome of the commands for one server.
struct Answers<'g, 'a> {
    /// With their indices in the batch.
    replies: Vec<(usize, Result<Reply>)>,
    failed: Option<Failed<'g, 'a>>,
}

/// A failed exchange with a server, which was asked nothing more.
struct Failed<'g, 'a> {
    node: &'g Node,
    fault: Fault,
    /// The commands that were exchanged.
    chunk: &'g [KeyedCommand<'a>],
    /// All commands without a reply: those of the chunk, and the later ones.
    left: &'g [KeyedCommand<'a>],
}

impl Client {
    /// Sends commands, in chunks, to all servers at once. Returns a reply to each, in the order of the commands.
    ///
    /// If a server fails or is silent, the others still get their commands; also if a command is refused.
    pub(super) async fn pipeline(&self, commands: Vec<(&SentKey<'_>, Command<'_>)>) -> Result<Vec<Reply>> {
        let mut replies = vec![Reply::Miss; commands.len()];
        let mut worst_error = None::<Error>;
        // An error with an unknown outcome takes precedence over one after which nothing has happened.
        let mut note = |error: Error| {
            if worst_error.as_ref().is_none_or(|worst| error.outcome_unknown() && !worst.outcome_unknown()) {
                worst_error = Some(error);
            }
        };
        let keyed = commands.into_iter().enumerate();
        let keyed = keyed.map(|(index, (key, command))| KeyedCommand::new(index, key, command));
        for answers in self.exchange_with_all(&self.groups(keyed)).await {
            for (index, reply) in answers.replies {
                match (reply, replies.get_mut(index)) {
                    (Ok(reply), Some(place)) => *place = reply,
                    (Ok(_), None) => {}
                    (Err(error), _) => note(error),
                }
            }
            if let Some(Failed { node, fault, chunk, .. }) = answers.failed {
                note(self.error(node, fault, chunk));
            }
        }
        worst_error.map_or(Ok(replies), Err)
    }

    /// Like [`pipeline`](Self::pipeline), with its own outcome for each command: a server that fails does not hide what the others have
    /// (B7).
    pub(super) async fn pipeline_each(&self, commands: Vec<(&SentKey<'_>, Command<'_>)>) -> Vec<Result<Reply>> {
        let mut outcomes = commands.iter().map(|_| None).collect::<Vec<_>>();
        let mut put = |index: usize, outcome| {
            if let Some(place) = outcomes.get_mut(index) {
                *place = Some(outcome);
            }
        };
        let keyed = commands.iter().enumerate();
        let mut to_send: Vec<_> =
            keyed.map(|(index, &(key, command))| KeyedCommand::new(index, key, command)).collect();
        while !to_send.is_empty() {
            let groups = self.groups(mem::take(&mut to_send));
            for answers in self.exchange_with_all(&groups).await {
                for (index, reply) in answers.replies {
                    put(index, reply);
                }
                let Some(Failed { node, fault, left, .. }) = answers.failed else { continue };
                for keyed in left {
                    // Nothing of the chunk was sent, and mcrouter accepts its other keys.
                    if matches!(fault, Fault::RoutedKey { .. }) && !mcrouter::is_routed(keyed.key.sent()) {
                        to_send.push(*keyed);
                    } else {
                        put(keyed.index, Err(self.error(node, fault.copy(), slice::from_ref(keyed))));
                    }
                }
            }
        }
        let lost = |(key, command)| self.lost(key, command);
        outcomes.into_iter().zip(commands).map(|(outcome, command)| outcome.unwrap_or_else(|| lost(command))).collect()
    }

    /// The outcome of a command without a reply. This does not happen: each command is in a group, and each command of a group has a reply
    /// or is left over.
    pub(super) fn lost(&self, key: &SentKey<'_>, command: Command<'_>) -> Result<Reply> {
        let keyed = KeyedCommand::new(0, key, command);
        self.node(key).and_then(|node| Err(self.error(node, Fault::Desynchronized, &[keyed])))
    }

    /// Commands by the server that has their keys, in the order of the servers.
    fn groups<'a>(&self, commands: impl IntoIterator<Item = KeyedCommand<'a>>) -> Vec<Vec<KeyedCommand<'a>>> {
        let mut groups = self.servers.all().iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for keyed in commands {
            if let Some(group) = groups.get_mut(self.servers.index_of(&keyed.key.sent())) {
                group.push(keyed);
            }
        }
        groups
    }

    /// Asks all servers at once.
    async fn exchange_with_all<'g, 'a>(&'g self, groups: &'g [Vec<KeyedCommand<'a>>]) -> Vec<Answers<'g, 'a>> {
        let groups = self.servers.all().iter().zip(groups).filter(|(_, group)| !group.is_empty()).collect::<Vec<_>>();
        match groups.as_slice() {
            [] => Vec::new(),
            &[(node, group)] => vec![self.exchange_with(node, group).await],
            #[cfg(feature = "tokio")]
            [(node, _), ..] if node.is_async() => {
                let exchanges = groups.iter().map(|&(node, group)| self.exchange_with(node, group));
                all(exchanges.collect()).await
            }
            groups => self.exchange_on_threads(groups),
        }
    }

    /// This thread asks the first server, others the rest. If no thread can be started, this one asks all.
    fn exchange_on_threads<'g, 'a>(&'g self, groups: &[(&'g Node, &'g Vec<KeyedCommand<'a>>)]) -> Vec<Answers<'g, 'a>> {
        let ask = |&(node, group): &(&'g Node, &'g Vec<KeyedCommand<'a>>)| now(self.exchange_with(node, group));
        let Some((first, others)) = groups.split_first() else { return Vec::new() };
        thread::scope(|scope| {
            let threads: Vec<_> = others
                .iter()
                .map(|group| {
                    let thread = thread::Builder::new().name("kv-memcache-batch".into());
                    (group, thread.spawn_scoped(scope, move || ask(group)))
                })
                .collect();
            let mut answers = vec![ask(first)];
            answers.extend(threads.into_iter().map(|(group, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => ask(group),
            }));
            answers
        })
    }

    async fn exchange_with<'g, 'a>(&self, node: &'g Node, mut left: &'g [KeyedCommand<'a>]) -> Answers<'g, 'a> {
        let mut replies = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(length_of_chunk(left));
            match node.exchange(Request::new(chunk, self.tags(CHUNK))).await {
                Ok(answer) => replies.extend(
                    chunk.iter().zip(answer).map(|(keyed, reply)| (keyed.index, self.no_refusal(node, reply, keyed))),
                ),
                Err(fault) => return Answers { replies, failed: Some(Failed { node, fault, chunk, left }) },
            }
            left = rest;
        }
        Answers { replies, failed: None }
    }
}

/// The outcomes of all futures, which are polled at the same time.
#[cfg(feature = "tokio")]
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures = futures.into_iter().map(|future| (Box::pin(future), None)).collect::<Vec<_>>();
    poll_fn(|context| {
        for (future, outcome) in &mut futures {
            if outcome.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *outcome = Some(ready);
            }
        }
        if futures.iter().all(|(_, outcome)| outcome.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

/// How many of these commands go into the next chunk.
fn length_of_chunk(commands: &[KeyedCommand<'_>]) -> usize {
    let (mut bytes, mut writes) = (0, false);
    let is_last = |keyed: &KeyedCommand<'_>| {
        bytes += keyed.len();
        writes |= keyed.command.writes();
        bytes >= if writes { FULL_OF_WRITES } else { FULL_OF_READS }
    };
    commands.iter().take(CHUNK).position(is_last).map_or(CHUNK, |last| last + 1).min(commands.len())
}
