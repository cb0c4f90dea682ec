//! Addresses that nodes and sentinels announce, and where they are for us.

use std::fmt;
use std::panic::AssertUnwindSafe;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use std::panic::catch_unwind;
use std::sync::Arc;

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::address::Place;

type Map = Box<dyn Fn(&str, u16) -> (String, u16) + Send + Sync>;

/// What the application says about announced addresses, if anything.
#[derive(Clone, Default)]
pub(crate) struct Mapping(Option<Arc<AssertUnwindSafe<Map>>>);

impl Mapping {
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn new(map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(AssertUnwindSafe(Box::new(map)))))
    }

    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Where an address that was announced is to be reached.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn reach(&self, announced: Place) -> Place {
        match (&self.0, announced) {
            (Some(map), Place::Tcp { host, port }) => {
                // A panic is the application's, and must not come through an operation (E4): the address stays as it is.
                let (host, port) = catch_unwind(|| map(&host, port)).unwrap_or((host, port));
                Place::Tcp { host, port }
            }
            (_, announced) => announced,
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_given() { "Mapping(given)" } else { "Mapping(none)" })
    }
}
