//! What the author of a backend provides: a store to check, and what goes with it.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use kv_core::KeyValueStore;

/// Any error with which making a [`Fixture`] may fail.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) type Advance = Box<dyn Fn(Duration) + Send + Sync>;
pub(crate) type Plant = Box<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

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
    /// Dropped last: fields are dropped in order.
    guards: Vec<Box<dyn Any + Send>>,
}

impl Fixture {
    /// A fixture with a store: any type that is one, `&'static S`, `Box<dyn KeyValueStore>` and
    /// `Arc<dyn KeyValueStore>` included.
    pub fn new(store: impl KeyValueStore + 'static) -> Self {
        Self { store: Box::new(store), second_handle: None, advance: None, plant: None, guards: Vec::new() }
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

    /// A way to put data beside this store's own that is not the store's and that it has to overlook (clause L5): keys of
    /// other name spaces, objects of other types, names that are not keys. It is called more than once for a store.
    #[must_use]
    pub fn foreign_data(mut self, plant: impl Fn() -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.plant = Some(Box::new(plant));
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
            .field("guards", &self.guards.len())
            .finish()
    }
}
