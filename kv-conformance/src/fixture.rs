//! What the author of a backend provides: a store to check, and what goes with it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kv_core::KeyValueStore;

use crate::proxy::Proxy;

/// Any error with which making a [`Fixture`] may fail.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) type Advance = Box<dyn Fn(Duration) + Send + Sync>;
pub(crate) type Reopen = Box<dyn Fn() -> Result<Box<dyn KeyValueStore>, BoxError> + Send + Sync>;
pub(crate) type Closing = Box<dyn Fn(Duration) -> Result<Box<dyn KeyValueStore>, BoxError> + Send + Sync>;
pub(crate) type Repeated = Box<dyn Fn(&str, &str) -> Vec<Vec<u8>> + Send + Sync>;
pub(crate) type Plant = Box<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// A server that the suite may take away and give back, on which the data of a store are: see [`Fixture::server`].
///
/// Every method returns when what it does has come about. They are called from one thread, in any order, but `resume` only
/// after `pause`.
pub trait ServerControl: Send + Sync {
    /// Ends it as a crash does (`SIGKILL`).
    ///
    /// # Errors
    ///
    /// If that is not possible: the check fails, and says so.
    fn kill(&self) -> Result<(), BoxError>;

    /// Ends it in an orderly manner (`SIGTERM`).
    ///
    /// # Errors
    ///
    /// If that is not possible.
    fn stop(&self) -> Result<(), BoxError>;

    /// Starts it again in the same place, with what it has kept, after `kill` or `stop`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    fn start(&self) -> Result<(), BoxError>;

    /// Lets it fall silent, without closing anything (`SIGSTOP`).
    ///
    /// # Errors
    ///
    /// If that is not possible.
    fn pause(&self) -> Result<(), BoxError>;

    /// Lets it go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// If that is not possible.
    fn resume(&self) -> Result<(), BoxError>;
}

impl<S: ServerControl + ?Sized> ServerControl for Arc<S> {
    fn kill(&self) -> Result<(), BoxError> {
        (**self).kill()
    }

    fn stop(&self) -> Result<(), BoxError> {
        (**self).stop()
    }

    fn start(&self) -> Result<(), BoxError> {
        (**self).start()
    }

    fn pause(&self) -> Result<(), BoxError> {
        (**self).pause()
    }

    fn resume(&self) -> Result<(), BoxError> {
        (**self).resume()
    }
}

/// What a server keeps of what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing, once its process has ended: memcached, redis without persistence.
    Volatile,
    /// All of it when it was stopped in an orderly manner; after a crash some may be lost.
    OverStop,
    /// All of it, after a crash too: redis with `appendonly yes` and `appendfsync always`.
    OverKill,
}

/// A fresh, empty, isolated store, and what goes with it.
///
/// Every check gets a fixture of its own, many at the same time: nothing that happens to one may be seen through
/// another. For stores on one server, give each a name space, a database or a folder of its own.
///
/// Only the store is needed. What else there is enables more checks; a check for which something is missing is shown as
/// ignored, and says what it would have needed.
pub struct Fixture {
    pub(crate) store: Box<dyn KeyValueStore>,
    pub(crate) second_handle: Option<Box<dyn KeyValueStore>>,
    pub(crate) advance: Option<Advance>,
    pub(crate) plant: Option<Plant>,
    pub(crate) proxy: Option<Arc<Proxy>>,
    pub(crate) limit: Option<Duration>,
    pub(crate) retry_after: Duration,
    pub(crate) server: Option<(Box<dyn ServerControl>, Durability)>,
    pub(crate) reopen: Option<Reopen>,
    pub(crate) idle_timeout: Option<Closing>,
    pub(crate) max_lifetime: Option<Closing>,
    pub(crate) repeated: Option<Repeated>,
    /// Dropped last: fields are dropped in order.
    guards: Vec<Box<dyn Any + Send>>,
}

impl Fixture {
    /// A fixture with a store: any type that is one, `&'static S`, `Box<dyn KeyValueStore>` and
    /// `Arc<dyn KeyValueStore>` included.
    pub fn new(store: impl KeyValueStore + 'static) -> Self {
        Self {
            store: Box::new(store),
            second_handle: None,
            advance: None,
            plant: None,
            proxy: None,
            limit: None,
            retry_after: Duration::ZERO,
            server: None,
            reopen: None,
            idle_timeout: None,
            max_lifetime: None,
            repeated: None,
            guards: Vec::new(),
        }
    }

    /// A second handle on the same data, such as another connection to the same server: for the checks that what is
    /// written through one is seen through the other.
    #[must_use]
    pub fn second_handle(mut self, store: impl KeyValueStore + 'static) -> Self {
        self.second_handle = Some(Box::new(store));
        self
    }

    /// A way to advance the time of this store: lifetimes are then checked to the nanosecond and without waiting. Without
    /// it they are checked in real time.
    ///
    /// The time must not advance in any other way, and not for the stores of other fixtures.
    #[must_use]
    pub fn clock(mut self, advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.advance = Some(Box::new(advance));
        self
    }

    /// For a store that keeps its data when it is closed: a way to open it again on the same data (clause P5). The stores of the
    /// fixture have been dropped before, the store and the [second handle](Self::second_handle); what else is to be closed, the
    /// closure closes. With a [clock](Self::clock), the new store has the same one.
    #[must_use]
    pub fn reopen<S: KeyValueStore + 'static>(
        mut self,
        reopen: impl Fn() -> Result<S, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.reopen = Some(Box::new(move || Ok(Box::new(reopen()?))));
        self
    }

    /// The same fixture with its store closed and opened again, if it can be; without a second handle.
    pub(crate) fn reopened(self) -> Option<Result<Self, BoxError>> {
        let Self { store, second_handle, reopen, .. } = self;
        drop((store, second_handle));
        let store = match reopen.as_ref()?() {
            Ok(store) => store,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Self { store, second_handle: None, reopen, ..self }))
    }

    /// The stores, and what they need, which is to be dropped after them.
    #[cfg(feature = "tokio")]
    pub(crate) fn apart(self) -> (Vec<Box<dyn KeyValueStore>>, Box<dyn Any + Send>) {
        let Self { store, second_handle, advance, plant, proxy, server, reopen, guards, .. } = self;
        let stores = [Some(store), second_handle].into_iter().flatten().collect();
        // Dropped in this order.
        (stores, Box::new((advance, plant, reopen, proxy, server, guards)))
    }

    /// A way to put data beside this store's own that is not the store's and that it has to overlook (clause L5): keys of
    /// other name spaces, objects of other types, names that are not keys. It is called more than once for a store.
    #[must_use]
    pub fn foreign_data(mut self, plant: impl Fn() -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.plant = Some(Box::new(plant));
        self
    }

    /// The proxy through which the store, but not its [second handle](Self::second_handle), talks to its server: for the
    /// checks of faults, see [`Suite::with_faults`](crate::Suite::with_faults). No other fixture may use it.
    #[must_use]
    pub fn proxy(mut self, proxy: Arc<Proxy>) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// The longest time that one operation of the store may take, as it is configured: for waiting for the pool,
    /// connecting and exchanging together (clause N1). Keep it short, some hundred milliseconds: the checks of faults wait
    /// for it to pass some hundred times. An operation may take two seconds more, as the machine may be busy.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How long a store that remembers that its server did not answer may take it for silent once it is back (clause N6), as it is
    /// configured and documented. Until then its operations may fail at once, with
    /// [`Unavailable`](kv_core::Error::Unavailable) and a certain outcome; they have to fail so while the server is silent. Default: zero, and
    /// then the next operation has to work.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = time;
        self
    }

    /// How to make another store behind the same [proxy](Self::proxy) that closes a connection which nobody has used for this time
    /// (clause N4). Without it that is not checked.
    #[must_use]
    pub fn idle_timeout<S: KeyValueStore + 'static>(
        mut self,
        open: impl Fn(Duration) -> Result<S, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.idle_timeout = Some(Box::new(move |time| Ok(Box::new(open(time)?))));
        self
    }

    /// How to make another store behind the same [proxy](Self::proxy) that uses no connection for longer than this time (clause N4).
    /// Without it that is not checked.
    #[must_use]
    pub fn max_lifetime<S: KeyValueStore + 'static>(
        mut self,
        open: impl Fn(Duration) -> Result<S, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.max_lifetime = Some(Box::new(move |time| Ok(Box::new(open(time)?))));
        self
    }

    /// The replies by which a server refuses a command and repeats its arguments: given a key and a value, as whoever wrote the server
    /// put them, such as `-ERR unknown command 'SET', with args beginning with: 'KEY' 'VALUE' ` of redis. No error may show the value
    /// (clause E3). Without it that is not checked.
    #[must_use]
    pub fn repeated(mut self, replies: impl Fn(&str, &str) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.repeated = Some(Box::new(replies));
        self
    }

    /// The server, for the checks of faults that kill it, start it again and pause it, and what it keeps then. No other
    /// fixture may use it. A [`Server`](crate::server::Server) of the kit is one.
    #[must_use]
    pub fn server(mut self, server: impl ServerControl + 'static, durability: Durability) -> Self {
        self.server = Some((Box::new(server), durability));
        self
    }

    /// Something to be dropped after the stores: a temporary folder, a server.
    #[must_use]
    pub fn guard(mut self, guard: impl Any + Send) -> Self {
        self.guards.push(Box::new(guard));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .field("second_handle", &self.second_handle.is_some())
            .field("clock", &self.advance.is_some())
            .field("foreign_data", &self.plant.is_some())
            .field("proxy", &self.proxy)
            .field("limit", &self.limit)
            .field("retry_after", &self.retry_after)
            .field("server", &self.server.as_ref().map(|(_, durability)| durability))
            .field("reopen", &self.reopen.is_some())
            .field("idle_timeout", &self.idle_timeout.is_some())
            .field("max_lifetime", &self.max_lifetime.is_some())
            .field("repeated", &self.repeated.is_some())
            .field("guards", &self.guards.len())
            .finish()
    }
}
