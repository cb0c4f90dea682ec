//! The error of everything that the author of a backend provides.

/// Any error with which making a [`Fixture`](crate::Fixture) may fail.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
