//! Settings from the environment, and errors as texts.

use std::error::Error;

/// An error and its causes, on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The value of an environment variable, or the default if it is not set. A variable that is set and cannot be read is an error:
/// with the default the program would run on the wrong store.
pub(crate) fn variable(name: &str, read: Result<String, std::env::VarError>, default: &str) -> Result<String, String> {
    match read {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Ok(default.into()),
        // The error's own text quotes the value, which may hold a password.
        Err(_) => Err(format!("{name} is not UTF-8")),
    }
}
