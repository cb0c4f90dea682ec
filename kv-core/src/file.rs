//! Replacing a file as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives the file at `path` the content that `write` writes, or leaves it as it was if anything fails (contract: S4).
///
/// The content goes to a new file beside the old one, which then takes its place and its permissions. A link is
/// followed. What is no regular file, such as a terminal or a pipe, is written to as it is.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<u64>) -> io::Result<u64> {
    let old = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return write(&mut OpenOptions::new().write(true).open(path)?);
        }
        Ok(metadata) => Some((path.canonicalize()?, metadata.permissions())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = old.as_ref().map_or(path, |(target, _)| target);
    let (mut file, temporary) = create_beside(target)?;
    let replaced = write(&mut file).and_then(|written| {
        if let Some((_, permissions)) = &old {
            file.set_permissions(permissions.clone())?;
        }
        drop(file);
        fs::rename(&temporary, target)?;
        Ok(written)
    });
    if replaced.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}-{}.tmp", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let path = target.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
