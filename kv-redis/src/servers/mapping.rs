//! Addresses that nodes and sentinels announce, and the addresses at which they are reached from here.

use std::fmt;
use std::panic::AssertUnwindSafe;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use std::panic::catch_unwind;
use std::sync::Arc;

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::connection::{endpoint::Endpoint, host};

type Map = Box<dyn Fn(&str, u16) -> (String, u16) + Send + Sync>;

/// The application's function that maps announced addresses, if there is one.
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

    /// Where an announced endpoint is reached from here.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn reach(&self, announced: Endpoint) -> Endpoint {
        match (&self.0, announced) {
            (Some(map), Endpoint::Tcp { host, port }) => {
                // A panic of the application's function must not reach the caller (E4): the address stays as announced.
                let (host, port) = catch_unwind(|| map(&host, port)).unwrap_or((host, port));
                Endpoint::Tcp { host, port }
            }
            (_, announced) => announced,
        }
    }
}

/// The endpoint that another server announces; `None` if the host is not valid. Such a text may be anything: it is neither shown nor looked
/// up (E3).
#[cfg(any(feature = "cluster", feature = "sentinel"))]
pub(crate) fn announced_endpoint(host: &str, port: u16) -> Option<Endpoint> {
    let host = if host.contains(':') { host::ipv6(host)? } else { host::is_name(host).then(|| host.to_owned())? };
    Some(Endpoint::Tcp { host, port })
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_given() { "Mapping(given)" } else { "Mapping(none)" })
    }
}
