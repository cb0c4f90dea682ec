//! Source files that mean nothing to the author of a backend.

/// Whether a source file is one of the standard library's: as it is distributed, or as it was compiled.
pub(crate) fn is_of_the_standard_library(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/rust/library/")
}
