//! Batches: a command for each key, many in one round trip.

use std::collections::HashSet;

use kv_core::{Key, Result};
use redis::{ServerErrorKind, Value as Reply};

use crate::fault::Fault;
use crate::link::redirection;
use crate::request::Request;
use crate::store::{CHUNK, Part, RedisStore, Route};

/// From how many bytes on a chunk of a batch of writes is full.
const FULL: usize = 1 << 20;

/// How often the keys of a batch that a cluster has moved are grouped anew.
const ROUNDS: usize = 3;

/// Items of a batch with their indices, and where they have to be sent.
type Group<'a, T> = (Part, Vec<(usize, &'a T)>);

impl RedisStore {
    /// Sends a command for each item, in chunks, and receives a reply for each, in the order of the items.
    ///
    /// On a cluster each chunk goes to the node that has its keys. What that node does not have any more goes to the one that
    /// has it now.
    pub(crate) fn pipeline<'a, T>(
        &'a self,
        items: &'a [T],
        key: impl Fn(&'a T) -> Key<'a>,
        request: impl Fn() -> Request<'a>,
        add: impl Fn(&mut Request<'a>, &'a T),
    ) -> Result<Vec<Reply>> {
        let mut replies = vec![Reply::Nil; items.len()];
        let mut left = items.iter().enumerate().collect::<Vec<_>>();
        // Those of a slot that is being moved: some of its keys are here, some there, and each has to be asked for.
        let (mut moving, mut waiting) = (Vec::new(), HashSet::new());
        for round in 0..ROUNDS {
            let mut sent_away = Vec::new();
            for (part, group) in self.groups(left, &key)? {
                let mut group = group.into_iter().peekable();
                while group.peek().is_some() {
                    let (mut request, mut chunk) = (request(), Vec::new());
                    while let Some((index, item)) = group.next_if(|_| chunk.len() < CHUNK && request.len() < FULL) {
                        add(&mut request, item);
                        chunk.push((index, item));
                    }
                    let answer = match self.send_to(&part, &request) {
                        Ok(answer) => answer,
                        // Nothing was sent, and the node may have been replaced.
                        Err(Fault::NotConnected(_) | Fault::Unusable(_) | Fault::Unfit { .. })
                            if part.may_move() && round == 0 =>
                        {
                            sent_away.extend(chunk.into_iter().chain(group));
                            break;
                        }
                        Err(fault) => {
                            let only = if let [(_, item)] = chunk.as_slice() { Some(key(item)) } else { None };
                            return Err(self.error(fault, only, request.writes()));
                        }
                    };
                    for ((index, item), reply) in chunk.into_iter().zip(answer.replies) {
                        match redirection(&reply).filter(|_| part.may_move()) {
                            // What comes later for a key that is waiting has to wait, too.
                            Some(ServerErrorKind::Moved) if !waiting.contains(key(item).as_str()) => {
                                sent_away.push((index, item));
                            }
                            Some(_) => {
                                waiting.insert(key(item).as_str());
                                moving.push((index, item));
                            }
                            None => put(&mut replies, index, self.no_error(reply, key(item), request.writes())?),
                        }
                    }
                }
            }
            left = sent_away;
            left.sort_unstable_by_key(|&(index, _)| index);
            if left.is_empty() {
                break;
            }
        }
        left.extend(moving);
        left.sort_unstable_by_key(|&(index, _)| index);
        for (index, item) in left {
            let mut request = request();
            add(&mut request, item);
            put(&mut replies, index, self.ask(key(item), &request)?);
        }
        Ok(replies)
    }

    /// Items by where they have to be sent.
    fn groups<'a, T>(&self, items: Vec<(usize, &'a T)>, key: impl Fn(&'a T) -> Key<'a>) -> Result<Vec<Group<'a, T>>> {
        match &self.route {
            Route::Node(_) | Route::Shared(_) | Route::Lent(_) => {
                let _ = key;
                Ok(vec![(Part::Whole, items)])
            }
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => {
                let slots = items.iter().map(|(_, item)| self.slot(key(item)));
                let nodes = cluster.by_node(slots).map_err(|fault| self.error(fault, None, false))?;
                let item = |position: usize| items.get(position).copied();
                let group = |(node, positions): (_, Vec<_>)| {
                    (Part::Primary(node), positions.into_iter().filter_map(item).collect())
                };
                Ok(nodes.into_iter().map(group).collect())
            }
        }
    }
}

fn put(replies: &mut [Reply], index: usize, reply: Reply) {
    if let Some(place) = replies.get_mut(index) {
        *place = reply;
    }
}
