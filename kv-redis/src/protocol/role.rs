//! What a server has to be.

/// What the server of a connection has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A server with all the data.
    Data,
    /// The same in a pool of the application. What the server cannot do shows when it is asked for it.
    ExternalPool,
    /// A node of a cluster.
    #[cfg(feature = "cluster")]
    Member,
    /// The primary, which says so.
    #[cfg(feature = "sentinel")]
    Primary,
    #[cfg(feature = "sentinel")]
    Sentinel,
}

/// What to do if the only server of a store is a node of a cluster.
pub(crate) const NODE_OF_A_CLUSTER: &str =
    "the server is a node of a cluster; use `cluster(…)` of the builder (feature `cluster`)";

impl Role {
    /// What to do if a server of this mode was found in this role; `None` if it is suitable.
    pub(crate) fn hint_against(self, mode: &str) -> Option<&'static str> {
        match (self, mode) {
            #[cfg(feature = "sentinel")]
            (Self::Sentinel, "sentinel") => None,
            #[cfg(feature = "sentinel")]
            (Self::Sentinel, _) => Some("the server is not a sentinel; use `url(…)` of the builder"),
            (_, "sentinel") => Some("the server is a sentinel; use `sentinels(…)` of the builder (feature `sentinel`)"),
            (Self::ExternalPool, _) => None,
            #[cfg(feature = "cluster")]
            (Self::Member, _) => None,
            (_, "cluster") => Some(NODE_OF_A_CLUSTER),
            _ => None,
        }
    }
}
