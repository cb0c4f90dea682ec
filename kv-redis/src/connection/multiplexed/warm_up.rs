//! Connections that are made before they are needed.

use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use super::making::{Making, NAME, panicked};
use super::queue::{Queue, no_runtime};
use crate::protocol::fault::Fault;

impl Queue {
    /// Makes connections until there are this many.
    pub(crate) async fn warm_up(self: &Arc<Self>, connections: usize) -> Result<(), Fault> {
        let runtime = Runtime::try_current().map_err(|_| no_runtime())?;
        // No more than are needed, also if they are closed at once.
        for _ in 0..connections {
            let begin = {
                let mut state = self.lock();
                if state.connections >= connections {
                    break;
                }
                state.making += 1;
                state.enter(runtime.id(), 1);
                (state.epoch, state.next)
            };
            let making = Making::new(self, &runtime, begin);
            let (sender, made) = oneshot::channel();
            let thread = thread::Builder::new().name(NAME.into()).spawn(move || drop(sender.send(making.make())));
            thread.map_err(Fault::NotConnected)?;
            made.await.map_err(|_| Fault::NotConnected(panicked()))??;
        }
        Ok(())
    }
}
