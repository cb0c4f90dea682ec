//! What the author of a backend writes, and how it is run.

mod again;
mod builder;
mod filters;
mod one_check;
mod preconditions;
mod runs;
mod trials;
mod watched;

pub use builder::Suite;
pub use trials::main;
