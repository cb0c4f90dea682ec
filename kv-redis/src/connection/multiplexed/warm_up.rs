//! Connections that are made before they are needed.

use std::thread;

use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use super::making::{Making, NAME, panicked};
use super::queue::no_runtime;
use super::queues::Queues;
use crate::protocol::fault::Fault;

impl Queues {
    /// Makes connections until there are this many.
    pub(crate) async fn warm_up(&self, connections: usize) -> Result<(), Fault> {
        let runtime = Runtime::try_current().map_err(|_| no_runtime())?;
        let queue = self.of(&runtime);
        // No more than are needed, also if they are closed at once.
        for _ in 0..connections {
            let since = {
                let mut state = queue.lock();
                if state.connections >= connections {
                    break;
                }
                state.making += 1;
                state.next
            };
            let making = Making::new(&queue, &runtime, since);
            let (sender, made) = oneshot::channel();
            let thread = thread::Builder::new().name(NAME.into()).spawn(move || drop(sender.send(making.make())));
            thread.map_err(Fault::NotConnected)?;
            made.await.map_err(|_| Fault::NotConnected(panicked()))??;
        }
        Ok(())
    }
}
