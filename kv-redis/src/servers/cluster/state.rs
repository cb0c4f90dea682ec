//! What a process knows of a cluster.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::layout::Layout;
use crate::connection::endpoint::Endpoint;
use crate::servers::node::Node;

/// What a process knows of a cluster.
#[derive(Default)]
pub(super) struct State {
    pub(super) nodes: Mutex<HashMap<Endpoint, Arc<Node>>>,
    pub(super) layout: RwLock<Option<Arc<Layout>>>,
    /// Whether the layout is wrong, or may be wrong.
    pub(super) is_stale: AtomicBool,
    /// When the layout was last asked for.
    pub(super) asked_at: Mutex<Option<Instant>>,
    /// The node that failed last; it is asked last for the layout.
    pub(super) suspect: Mutex<Option<Endpoint>>,
    pub(super) asking: Mutex<()>,
    /// The index of the node that is asked first for the layout.
    pub(super) first: AtomicUsize,
}

impl State {
    /// The state of a process that was forked: that of the parent, without what a thread of the parent was about to change.
    pub(super) fn inherit(parent: &Self) -> Self {
        let layout = parent.layout.try_read().ok().and_then(|layout| layout.clone());
        let of_layout = layout.iter().flat_map(|layout| layout.primaries.iter().cloned());
        let nodes = match parent.nodes.try_lock() {
            Ok(nodes) => nodes.clone(),
            Err(_) => of_layout.collect(),
        };
        let (is_stale, first) = (parent.is_stale.load(Ordering::Relaxed), parent.first.load(Ordering::Relaxed));
        Self {
            nodes: Mutex::new(nodes),
            layout: RwLock::new(layout),
            is_stale: is_stale.into(),
            first: first.into(),
            ..Self::default()
        }
    }
}

/// The state stays consistent when a thread panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
