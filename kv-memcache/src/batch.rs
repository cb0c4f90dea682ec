//! Batches: a command for each key, many in one round trip to each server.

use std::panic::resume_unwind;
use std::{mem, slice, thread};

use kv_core::{Error, Key, Result};

use crate::fault::Fault;
use crate::node::Node;
use crate::reply::Reply;
use crate::request::{Command, Request};
use crate::routes;
use crate::store::MemcacheStore;

/// How many keys go into one round trip, at most.
const CHUNK: usize = 1024;

/// From how many bytes on a chunk is full. Replies to writes are short: the server can send them all while it still receives.
const FULL_OF_WRITES: usize = 1 << 20;

/// A server that waits for us to read does not read any more. So that it can take all that is asked, and we come to read, this is
/// less than the buffers between us hold.
const FULL_OF_READS: usize = 32 * 1024;

/// A command, the key that it is about, and its index in the batch.
pub(crate) type Item<'a> = (usize, Key<'a>, Command<'a>);

/// What became of the commands that went to one server.
struct Answers<'g, 'a> {
    /// By the index in the batch.
    replies: Vec<(usize, Result<Reply>)>,
    failed: Option<Failed<'g, 'a>>,
}

/// An exchange with a server that failed, after which it was asked nothing more.
struct Failed<'g, 'a> {
    node: &'g Node,
    fault: Fault,
    /// What it was about.
    chunk: &'g [Item<'a>],
    /// All that has no reply: the chunk, and what was to be sent after it.
    left: &'g [Item<'a>],
}

impl MemcacheStore {
    /// Sends commands, in chunks, to all servers at once; a reply to each, in the order of the commands.
    ///
    /// A server that fails, or is silent, does not keep the others from getting their part, nor does a command that was refused.
    pub(crate) fn pipeline(&self, commands: Vec<(Key<'_>, Command<'_>)>) -> Result<Vec<Reply>> {
        let mut replies = vec![Reply::Miss; commands.len()];
        let mut worst_error = None::<Error>;
        // That something may have happened is more than that something else did not.
        let mut note = |error: Error| {
            if worst_error.as_ref().is_none_or(|worst| error.outcome_unknown() && !worst.outcome_unknown()) {
                worst_error = Some(error);
            }
        };
        let items = commands.into_iter().enumerate().map(|(index, (key, command))| (index, key, command));
        for answers in self.exchange_with_all(&self.groups(items)) {
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

    /// As [`pipeline`](Self::pipeline), with an outcome of its own for each command: what one server cannot answer does not hide
    /// what the others have (B7).
    pub(crate) fn pipeline_each(&self, commands: Vec<(Key<'_>, Command<'_>)>) -> Vec<Result<Reply>> {
        let mut outcomes = commands.iter().map(|_| None).collect::<Vec<_>>();
        let mut put = |index: usize, outcome| {
            if let Some(place) = outcomes.get_mut(index) {
                *place = Some(outcome);
            }
        };
        let mut items: Vec<_> =
            commands.iter().zip(0..).map(|(&(key, command), index)| (index, key, command)).collect();
        while !items.is_empty() {
            let groups = self.groups(mem::take(&mut items));
            for answers in self.exchange_with_all(&groups) {
                for (index, reply) in answers.replies {
                    put(index, reply);
                }
                let Some(Failed { node, fault, left, .. }) = answers.failed else { continue };
                for item in left {
                    // mcrouter takes the others: nothing of their chunk was sent.
                    if matches!(fault, Fault::RoutedKey { .. }) && !routes::is_other(item.1) {
                        items.push(*item);
                    } else {
                        put(item.0, Err(self.error(node, fault.copy(), slice::from_ref(item))));
                    }
                }
            }
        }
        // Each command is in a group, and each of a group has a reply or is left.
        let lost = |(key, command)| {
            self.node(key).and_then(|node| Err(self.error(node, Fault::OutOfStep, &[(0, key, command)])))
        };
        outcomes.into_iter().zip(commands).map(|(outcome, command)| outcome.unwrap_or_else(|| lost(command))).collect()
    }

    /// Commands by the server that has their keys, in the order of the servers.
    fn groups<'a>(&self, items: impl IntoIterator<Item = Item<'a>>) -> Vec<Vec<Item<'a>>> {
        let mut groups = self.servers().all().iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for (index, key, command) in items {
            if let Some(group) = groups.get_mut(self.servers().index_of(&key)) {
                group.push((index, key, command));
            }
        }
        groups
    }

    /// This thread turns to the first server, others to the rest. If there are none to be had, this one does it all.
    fn exchange_with_all<'g, 'a>(&'g self, groups: &'g [Vec<Item<'a>>]) -> Vec<Answers<'g, 'a>> {
        let mut groups = self.servers().all().iter().zip(groups).filter(|(_, group)| !group.is_empty());
        let Some((node, group)) = groups.next() else { return Vec::new() };
        thread::scope(|scope| {
            let threads: Vec<_> = groups
                .map(|(node, group)| {
                    let thread = thread::Builder::new().name("kv-memcache-batch".into());
                    (node, group, thread.spawn_scoped(scope, move || self.exchange_with(node, group)))
                })
                .collect();
            let mut answers = vec![self.exchange_with(node, group)];
            answers.extend(threads.into_iter().map(|(node, group, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => self.exchange_with(node, group),
            }));
            answers
        })
    }

    fn exchange_with<'g, 'a>(&self, node: &'g Node, mut left: &'g [Item<'a>]) -> Answers<'g, 'a> {
        let mut replies = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(length_of_chunk(left));
            match node.exchange(Request::new(chunk, self.tags(CHUNK))) {
                Ok(answer) => replies.extend(
                    chunk.iter().zip(answer).map(|(item, reply)| (item.0, self.no_refusal(node, reply, *item))),
                ),
                Err(fault) => return Answers { replies, failed: Some(Failed { node, fault, chunk, left }) },
            }
            left = rest;
        }
        Answers { replies, failed: None }
    }
}

/// How many of these commands go into the next chunk.
fn length_of_chunk(items: &[Item<'_>]) -> usize {
    let (mut bytes, mut writes) = (0, false);
    let is_last = |(_, key, command): &Item<'_>| {
        bytes += command.len(*key);
        writes |= command.writes();
        bytes >= if writes { FULL_OF_WRITES } else { FULL_OF_READS }
    };
    items.iter().take(CHUNK).position(is_last).map_or(CHUNK, |last| last + 1).min(items.len())
}
