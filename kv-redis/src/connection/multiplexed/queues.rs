//! The connections to a server: some for each runtime.
//!
//! The task of a connection runs on one runtime, and does nothing while that is not driven. So a runtime has connections of its own, and
//! one that stands still or ends leaves callers on others alone (A4).
//!
//! This file is the same in kv-redis and kv-memcache.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::{Handle as Runtime, Id as RuntimeId};

use super::queue::{Ask, Queue, no_runtime};
use super::wire::{Answer, Connection};
use super::{Health, Times};
use crate::protocol::fault::Fault;

/// How connections to a server are made and used.
pub(super) struct Settings {
    /// Makes a connection; blocks.
    pub(super) connect: Box<dyn Fn() -> Result<Connection, Fault> + Send + Sync>,
    pub(super) health: Arc<Health>,
    pub(super) times: Times,
    /// How many connections there may be on a runtime.
    pub(super) most: usize,
    /// How many of them may send short requests together at a time, and how many long ones, one each.
    pub(super) most_together: usize,
    pub(super) most_alone: usize,
}

/// Where requests wait for a connection to a server.
pub(crate) struct Queues {
    settings: Arc<Settings>,
    of_runtimes: RwLock<Vec<(RuntimeId, Arc<Queue>)>>,
}

impl Queues {
    /// For this number of connections on each runtime; `together` of them may send short requests at a time. While that is less than all,
    /// one is left for short requests, however many long ones there are.
    pub(crate) fn new(
        most: usize,
        together: usize,
        times: Times,
        health: Arc<Health>,
        connect: impl Fn() -> Result<Connection, Fault> + Send + Sync + 'static,
    ) -> Self {
        let settings = Settings {
            connect: Box::new(connect),
            health,
            times,
            most,
            most_together: together.clamp(1, most),
            most_alone: most.saturating_sub(1).max(1),
        };
        Self { settings: Arc::new(settings), of_runtimes: RwLock::new(Vec::new()) }
    }

    /// Sends a request on one of the connections of this runtime, and receives its replies.
    pub(crate) async fn exchange(&self, request: &impl Ask) -> Result<Answer, Fault> {
        let runtime = Runtime::try_current().map_err(|_| no_runtime())?;
        self.of(&runtime).exchange(request, &runtime).await
    }

    /// The queue of a runtime.
    pub(super) fn of(&self, runtime: &Runtime) -> Arc<Queue> {
        let id = runtime.id();
        let find = |all: &[(RuntimeId, Arc<Queue>)]| {
            all.iter().find(|(known, _)| *known == id).map(|(_, queue)| Arc::clone(queue))
        };
        let known = find(&self.of_runtimes.read().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_else(|| {
            let mut all = self.of_runtimes.write().unwrap_or_else(PoisonError::into_inner);
            find(&all).unwrap_or_else(|| {
                // Those of runtimes that have ended have neither connections nor callers.
                all.retain(|(_, queue)| Arc::strong_count(queue) > 1);
                let queue = Arc::new(Queue::new(&self.settings));
                all.push((id, Arc::clone(&queue)));
                queue
            })
        })
    }
}

/// The connections close when they have nothing left to do.
impl Drop for Queues {
    fn drop(&mut self) {
        for (_, queue) in self.of_runtimes.get_mut().unwrap_or_else(PoisonError::into_inner) {
            queue.close();
        }
    }
}
