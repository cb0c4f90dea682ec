//! Work that blocks and for which several tasks wait, such as asking for the layout.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use tokio::sync::oneshot;

use crate::connection::multiplexed::{THREAD, panicked};

/// Work for which several tasks wait. While it runs, it is not begun again; it goes on if all of them go away.
pub(crate) struct Flight<T> {
    /// Those who wait, while it runs.
    waiting: Mutex<Option<Vec<oneshot::Sender<T>>>>,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { waiting: Mutex::new(None) }
    }
}

impl<T: Clone + Send + 'static> Flight<T> {
    /// Waits for the outcome of what runs already, or begins.
    pub(crate) async fn join(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        let is_first = match &mut *self.lock() {
            Some(waiting) => {
                waiting.push(sender);
                false
            }
            idle @ None => {
                *idle = Some(vec![sender]);
                true
            }
        };
        if is_first {
            let landing = Landing(Some(Arc::clone(self)));
            thread::Builder::new().name(THREAD.into()).spawn(move || {
                let outcome = work();
                landing.land(&outcome);
            })?;
        }
        receiver.await.map_err(|_| panicked())
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_some()
    }
}

impl<T> Flight<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<T>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the work. If there is no outcome, because it panicked or its thread could not be started, nobody waits any longer.
struct Landing<T>(Option<Arc<Flight<T>>>);

impl<T: Clone> Landing<T> {
    fn land(mut self, outcome: &T) {
        // Others may have begun again by the time at which this is dropped.
        let waiting = self.0.take().and_then(|flight| flight.lock().take());
        for sender in waiting.into_iter().flatten() {
            let _ = sender.send(outcome.clone());
        }
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        drop(self.0.take().and_then(|flight| flight.lock().take()));
    }
}
