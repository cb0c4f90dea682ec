//! The protocol of redis, without any I/O: requests, replies, and what can go wrong with them.

pub(crate) mod commands;
pub(crate) mod fault;
pub(crate) mod info;
pub(crate) mod page;
pub(crate) mod pattern;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod silent;
