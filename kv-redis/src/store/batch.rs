//! Batches: a command for each key, many in one round trip.

use std::collections::HashSet;

use kv_core::{Key, Result};
use redis::{ServerErrorKind, Value as Reply};

use crate::protocol::answer::redirection;

use super::client::{Client, Route, Target};
use super::operations::CHUNK;
use crate::protocol::fault::Fault;
use crate::protocol::request::Request;

/// A chunk of a batch of writes is full with this number of bytes.
const FULL: usize = 1 << 20;

/// How often the keys of a batch are grouped again because slots of the cluster have moved.
const ROUNDS: usize = 3;

/// Items of a batch with their indices.
type Indexed<'a, T> = Vec<(usize, &'a T)>;

/// Items of a batch, and the target to which they are sent.
type Group<'a, T> = (Target, Indexed<'a, T>);

/// Items that no server has, with the reason.
type Unowned<'a, T> = Vec<(usize, &'a T, Fault)>;

/// What happens to a batch when a group of it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    /// The batch ends.
    Stop,
    /// Each item of that group has its own error, and the other groups go on (B7).
    GoOn,
}

impl Client {
    /// Sends a command for each item, in chunks, and receives a reply for each, in the order of the items.
    ///
    /// On a cluster each chunk goes to the node that has its keys. Keys that have moved to another node are sent there.
    pub(super) async fn pipeline<'a, T: Sync>(
        &'a self,
        items: &'a [T],
        key: impl Fn(&'a T) -> Key<'a> + Send + Sync,
        request: impl Fn() -> Request<'a> + Send + Sync,
        add: impl Fn(&mut Request<'a>, &'a T) + Send + Sync,
    ) -> Result<Vec<Reply>> {
        self.send_all(items, key, request, add, OnFailure::Stop).await?.into_iter().collect()
    }

    /// As [`pipeline`](Self::pipeline), with an outcome of its own for each item.
    pub(super) async fn pipeline_each<'a, T: Sync>(
        &'a self,
        items: &'a [T],
        key: impl Fn(&'a T) -> Key<'a> + Send + Sync,
        request: impl Fn() -> Request<'a> + Send + Sync,
        add: impl Fn(&mut Request<'a>, &'a T) + Send + Sync,
    ) -> Vec<Result<Reply>> {
        let outcomes = self.send_all(items, &key, request, add, OnFailure::GoOn).await;
        outcomes.unwrap_or_else(|_| {
            items.iter().map(|item| Err(self.error(Fault::Desynchronized, Some(key(item)), false))).collect()
        })
    }

    async fn send_all<'a, T: Sync>(
        &'a self,
        items: &'a [T],
        key: impl Fn(&'a T) -> Key<'a> + Send + Sync,
        request: impl Fn() -> Request<'a> + Send + Sync,
        add: impl Fn(&mut Request<'a>, &'a T) + Send + Sync,
        on_failure: OnFailure,
    ) -> Result<Vec<Result<Reply>>> {
        let writes = request().writes();
        let mut outcomes = items.iter().map(|_| None).collect::<Vec<_>>();
        let mut put = |index: usize, outcome: Result<Reply>| match (outcome, outcomes.get_mut(index)) {
            (Err(error), _) if on_failure == OnFailure::Stop => Err(error),
            (outcome, place) => {
                if let Some(place) = place {
                    *place = Some(outcome);
                }
                Ok(())
            }
        };
        let mut left = items.iter().enumerate().collect::<Vec<_>>();
        // Keys of a slot that is being moved are on two nodes, so each is sent by itself.
        let (mut moving, mut waiting) = (Vec::new(), HashSet::new());
        for round in 0..ROUNDS {
            let mut sent_away = Vec::new();
            let (groups, unowned) = self.groups(left, &key, on_failure).await?;
            for (index, item, fault) in unowned {
                put(index, Err(self.error(fault, Some(key(item)), writes)))?;
            }
            for (target, group) in groups {
                let mut group = group.into_iter().peekable();
                while group.peek().is_some() {
                    let (mut request, mut chunk) = (request(), Vec::new());
                    while let Some((index, item)) = group.next_if(|_| chunk.len() < CHUNK && request.len() < FULL) {
                        add(&mut request, item);
                        chunk.push((index, item));
                    }
                    let answer = match self.send_to(&target, &request).await {
                        Ok(answer) => answer,
                        // Nothing was sent, and the node may have been replaced.
                        Err(fault)
                            if (fault.is_unsent() || matches!(fault.itself(), Fault::Silent(_)))
                                && target.may_move()
                                && round == 0 =>
                        {
                            sent_away.extend(chunk.into_iter().chain(group));
                            break;
                        }
                        Err(fault) if on_failure == OnFailure::GoOn => {
                            // A server that does not answer is not waited for again.
                            let later = if fault.is_no_answer() { usize::MAX } else { 0 };
                            for (index, item) in chunk.into_iter().chain(group.by_ref().take(later)) {
                                put(index, Err(self.error(fault.copy(), Some(key(item)), writes)))?;
                            }
                            continue;
                        }
                        Err(fault) => {
                            let only = if let [(_, item)] = chunk.as_slice() { Some(key(item)) } else { None };
                            return Err(self.error(fault, only, writes));
                        }
                    };
                    let server = answer.server.as_ref();
                    for ((index, item), reply) in chunk.into_iter().zip(answer.replies) {
                        match redirection(&reply).filter(|_| target.may_move()) {
                            // A later item with the same key has to wait, too.
                            Some(ServerErrorKind::Moved) if !waiting.contains(key(item).as_str()) => {
                                sent_away.push((index, item));
                            }
                            Some(_) => {
                                waiting.insert(key(item).as_str());
                                moving.push((index, item));
                            }
                            None => put(index, self.no_error(reply, server, key(item), writes))?,
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
            put(index, self.ask(key(item), &request).await)?;
        }
        // A missing reply is an error.
        let lost = |item| Err(self.error(Fault::Desynchronized, Some(key(item)), writes));
        Ok(outcomes.into_iter().zip(items).map(|(outcome, item)| outcome.unwrap_or_else(|| lost(item))).collect())
    }

    /// Groups items by the target to which they are sent.
    async fn groups<'a, T: Sync>(
        &self,
        items: Indexed<'a, T>,
        key: impl Fn(&'a T) -> Key<'a> + Send + Sync,
        on_failure: OnFailure,
    ) -> Result<(Vec<Group<'a, T>>, Unowned<'a, T>)> {
        match &*self.route {
            Route::Node(_) | Route::Shared(_) | Route::ExternalPool(_) => {
                let _ = (key, on_failure);
                Ok((vec![(Target::SingleServer, items)], Vec::new()))
            }
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => {
                let slots = items.iter().map(|(_, item)| self.slot(key(item))).collect::<Vec<_>>();
                let (nodes, unowned) = match cluster.by_node(&slots).await {
                    Ok((nodes, unowned)) if unowned.is_empty() => (nodes, Vec::new()),
                    Ok((nodes, unowned)) if on_failure == OnFailure::GoOn => {
                        (nodes, unowned.into_iter().map(|position| (position, cluster.not_served())).collect())
                    }
                    Ok(_) => return Err(self.error(cluster.not_served(), None, false)),
                    Err(fault) if on_failure == OnFailure::GoOn => {
                        (Vec::new(), (0..items.len()).map(|position| (position, fault.copy())).collect())
                    }
                    Err(fault) => return Err(self.error(fault, None, false)),
                };
                let item = |position: usize| items.get(position).copied();
                let group = |(node, positions): (_, Vec<_>)| {
                    (Target::Primary(node), positions.into_iter().filter_map(item).collect())
                };
                let unowned = unowned.into_iter().filter_map(|(position, fault)| {
                    let (index, item) = item(position)?;
                    Some((index, item, fault))
                });
                Ok((nodes.into_iter().map(group).collect(), unowned.collect()))
            }
        }
    }
}
