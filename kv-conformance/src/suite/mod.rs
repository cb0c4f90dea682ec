//! What the author of a backend writes, and how it runs.

mod builder;
mod filters;
mod one_check;
mod preconditions;
mod reproduce;
mod runs;
mod trials;
mod watched;

pub use builder::Suite;
pub use trials::main;
