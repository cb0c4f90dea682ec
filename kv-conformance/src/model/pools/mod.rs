//! Pools of keys, values and TTLs that are made to hurt, by what it is that hurts.

mod collisions;
pub(crate) mod keys;
pub(crate) mod ttls;
pub(crate) mod values;

pub(crate) use ttls::Expires;
pub(crate) use values::Content;
