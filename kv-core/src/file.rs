//! Replacing a file as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::reader::CopyError;

/// Gives the file at `path` the content that `write` writes. If anything fails, the file stays as it was
/// ([S4](crate::contract#8-streams-and-files)).
///
/// The content goes to a new file in the same folder, which gets the old file's permissions before the content, and then
/// replaces the old file. Links are followed. If `path` is not a regular file, such as a terminal or a pipe, or is open
/// already, such as the standard output, the content is appended to it.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<u64, CopyError>,
) -> Result<u64, CopyError> {
    let (target, permissions) = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || is_open_already(path) => {
            return write(&mut OpenOptions::new().append(true).open(path)?);
        }
        Ok(metadata) => (path.canonicalize()?, Some(metadata.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (end_of_links(path), None),
        Err(error) => return Err(error.into()),
    };
    let (mut file, temporary) = create_beside(&target)?;
    // Before the content, so that nobody can read it without the right to.
    let replaced = permissions.map_or(Ok(()), |permissions| Ok(file.set_permissions(permissions)?)).and_then(|()| {
        let written = write(&mut file)?;
        drop(file);
        fs::rename(&temporary, &target)?;
        Ok(written)
    });
    if replaced.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

/// Whether a path names an open file of this process, which may be a regular file.
fn is_open_already(path: &Path) -> bool {
    ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|name| path.starts_with(name))
}

/// The file to which the links at a path lead. It need not exist.
fn end_of_links(path: &Path) -> PathBuf {
    /// Linux follows as many.
    const MOST: usize = 40;
    let next = |path: &PathBuf| Some(path.with_file_name("").join(fs::read_link(path).ok()?));
    iter::successors(Some(path.to_owned()), next).take(MOST).last().unwrap_or_default()
}

/// Makes a new file in the folder of `target`. The new name does not contain the old one, which may have the greatest
/// possible length.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".kv-{}-{number}.tmp", process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
