//! What a fixture has beside its stores, watched: it may hang as well as they.

use std::any::Any;
use std::sync::Arc;

use super::watchdog::{Operation, Watchdog};
use crate::error::BoxError;
use crate::fixture::{Closing, Fixture, ServerControl};

/// Watches what the fixture does by closures, its server and its guards from now on.
pub(super) fn watch(mut fixture: Fixture, watchdog: &Arc<Watchdog>) -> Fixture {
    let begin = |what: &'static str| {
        let watchdog = Arc::clone(watchdog);
        move || watchdog.begin_beside(what)
    };
    fixture.advance = fixture.advance.map(|advance| -> crate::fixture::Advance {
        let begin = begin("the fixture, while its clock was advanced,");
        Box::new(move |by| {
            let _advancing = begin();
            advance(by);
        })
    });
    fixture.plant = fixture.plant.map(|plant| -> crate::fixture::Plant {
        let begin = begin("the fixture, while `foreign_data` ran,");
        Box::new(move || {
            let _planting = begin();
            plant()
        })
    });
    let closing = |closing: Closing, what| -> Closing {
        let begin = begin(what);
        Box::new(move |time| {
            let _opening = begin();
            closing(time)
        })
    };
    fixture.idle_timeout = fixture.idle_timeout.map(|open| closing(open, "the fixture, while `idle_timeout` ran,"));
    fixture.max_lifetime = fixture.max_lifetime.map(|open| closing(open, "the fixture, while `max_lifetime` ran,"));
    fixture.server = fixture.server.map(|(server, durability)| -> (Box<dyn ServerControl>, _) {
        (Box::new(Server { server, watchdog: Arc::clone(watchdog) }), durability)
    });
    fixture.map_guards(|guard| Box::new(Guard { inner: guard, dropping: None, watchdog: Arc::clone(watchdog) }))
}

/// A guard that is watched while it is dropped. Its fields are dropped in this order.
struct Guard {
    #[expect(dead_code, reason = "it is there to be dropped")]
    inner: Box<dyn Any + Send>,
    dropping: Option<Operation>,
    watchdog: Arc<Watchdog>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dropping = Some(self.watchdog.begin_beside("the fixture, while a guard was dropped,"));
    }
}

/// A server that is watched while it is stopped and started.
struct Server {
    server: Box<dyn ServerControl>,
    watchdog: Arc<Watchdog>,
}

impl ServerControl for Server {
    fn kill(&self) -> Result<(), BoxError> {
        let _killing = self.watchdog.begin_beside("the fixture, while its server was killed,");
        self.server.kill()
    }

    fn stop(&self) -> Result<(), BoxError> {
        let _stopping = self.watchdog.begin_beside("the fixture, while its server was stopped,");
        self.server.stop()
    }

    fn start(&self) -> Result<(), BoxError> {
        let _starting = self.watchdog.begin_beside("the fixture, while its server was started,");
        self.server.start()
    }

    fn pause(&self) -> Result<(), BoxError> {
        let _pausing = self.watchdog.begin_beside("the fixture, while its server was paused,");
        self.server.pause()
    }

    fn resume(&self) -> Result<(), BoxError> {
        let _resuming = self.watchdog.begin_beside("the fixture, while its server was resumed,");
        self.server.resume()
    }
}
