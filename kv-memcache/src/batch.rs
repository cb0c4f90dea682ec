//! Batches: a command for each key, many in one round trip to each server.

use kv_core::{Error, Key, Result};

use crate::fault::Fault;
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
type Item<'a> = (usize, Key<'a>, Command<'a>);

impl MemcacheStore {
    /// Sends commands, in chunks, to one server after the other; a reply to each, in the order of the commands.
    ///
    /// A server that fails does not keep the others from getting their part; the first error is returned then. Only after one
    /// that was waited for in vain nothing more is tried: to wait for each would take more than the limits allow (N1).
    pub(crate) fn pipeline(&self, commands: Vec<(Key<'_>, Command<'_>)>) -> Result<Vec<Reply>> {
        let nodes = self.servers().all();
        let mut replies = vec![Reply::Miss; commands.len()];
        let mut groups = nodes.iter().map(|_| Vec::new()).collect::<Vec<_>>();
        for (index, (key, command)) in commands.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(self.servers().index_of(&key)) {
                group.push((index, key, command));
            }
        }
        let mut first_error = None;
        for (node, group) in nodes.iter().zip(groups) {
            if let Err((error, took_all_time)) = self.pipeline_to(node, &group, &mut replies) {
                first_error.get_or_insert(error);
                if took_all_time {
                    break;
                }
            }
        }
        first_error.map_or(Ok(replies), Err)
    }

    /// An error comes with whether a limit passed before it.
    fn pipeline_to(&self, node: &Node, mut left: &[Item<'_>], replies: &mut [Reply]) -> Result<(), (Error, bool)> {
        while !left.is_empty() {
            let mut request = Request::new(self.tags(CHUNK));
            let mut count = 0;
            for &(_, key, command) in left.iter().take(CHUNK) {
                request.add(key, command).map_err(|fault| (self.error(node, fault, Some(key), false), false))?;
                count += 1;
                if request.len() >= if request.writes() { FULL_OF_WRITES } else { FULL_OF_READS } {
                    break;
                }
            }
            let (chunk, rest) = left.split_at(count);
            left = rest;
            let answer = node.exchange(&mut request).map_err(|fault| {
                let took_all_time = fault.took_all_time();
                (self.chunk_error(node, fault, chunk, request.writes()), took_all_time)
            })?;
            for (&(index, key, command), reply) in chunk.iter().zip(answer) {
                let reply = self.no_refusal(node, reply, key, command).map_err(|error| (error, false))?;
                if let Some(place) = replies.get_mut(index) {
                    *place = reply;
                }
            }
        }
        Ok(())
    }

    fn chunk_error(&self, node: &Node, fault: Fault, chunk: &[Item<'_>], writes: bool) -> Error {
        if let Fault::ItemTooLarge { index, limit } = fault
            && let Some(&(_, key, command)) = chunk.get(index)
        {
            return self.too_large(key, command, limit);
        }
        // A key is named only where it is the one that failed.
        let only = if let [(_, key, _)] = chunk { Some(*key) } else { None };
        self.error(node, fault, only, writes)
    }
}
