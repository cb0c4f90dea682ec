//! Batches: a command for each key, many in one round trip to each server.

use std::panic::resume_unwind;
use std::thread;

use kv_core::{Error, Key, Result};

use crate::node::Node;
use crate::reply::Reply;
use crate::request::{Command, Request};
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

impl MemcacheStore {
    /// Sends commands, in chunks, to all servers at once; a reply to each, in the order of the commands.
    ///
    /// A server that fails, or is silent, does not keep the others from getting their part.
    pub(crate) fn pipeline(&self, commands: Vec<(Key<'_>, Command<'_>)>) -> Result<Vec<Reply>> {
        let nodes = self.servers().all();
        let mut replies = vec![Reply::Miss; commands.len()];
        let mut groups = nodes.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for (index, (key, command)) in commands.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(self.servers().index_of(&key)) {
                group.push((index, key, command));
            }
        }
        let mut worst_error = None;
        for answer in self.exchange_with_all(nodes.iter().zip(&groups).filter(|(_, group)| !group.is_empty())) {
            match answer {
                Ok(answer) => {
                    for (index, reply) in answer {
                        if let Some(place) = replies.get_mut(index) {
                            *place = reply;
                        }
                    }
                }
                // That something may have happened is more than that something else did not.
                Err(error) if error.outcome_unknown() => {
                    worst_error = worst_error.filter(Error::outcome_unknown).or(Some(error));
                }
                Err(error) => worst_error = worst_error.or(Some(error)),
            }
        }
        worst_error.map_or(Ok(replies), Err)
    }

    /// This thread turns to the first server, others to the rest. If there are none to be had, this one does it all.
    fn exchange_with_all<'a>(
        &'a self,
        mut groups: impl Iterator<Item = (&'a Node, &'a Vec<Item<'a>>)>,
    ) -> Vec<Result<Vec<(usize, Reply)>>> {
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

    fn exchange_with(&self, node: &Node, mut left: &[Item<'_>]) -> Result<Vec<(usize, Reply)>> {
        let mut replies = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(length_of_chunk(left));
            left = rest;
            let request = Request::new(chunk, self.tags(CHUNK));
            let answer = node.exchange(request).map_err(|fault| self.error(node, fault, chunk))?;
            for (item, reply) in chunk.iter().zip(answer) {
                replies.push((item.0, self.no_refusal(node, reply, *item)?));
            }
        }
        Ok(replies)
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
