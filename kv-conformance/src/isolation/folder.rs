//! Folders of this test process, which are removed when it has ended.

use std::env;
use std::fs::DirBuilder;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::watchdog::watchdog;

/// The longest name of a temporary folder that leaves room for the names of unix sockets, which have at most 103 bytes.
const LONGEST_TEMPORARY_FOLDER: usize = 60;

/// The script by which the watchdog removes a folder, perhaps while servers in it are still being killed.
const REMOVE_THE_FOLDER: &str = r#"rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }"#;

/// The folder of this test process, as soon as it exists.
static PROCESS_FOLDER: Mutex<Option<ProcessFolder>> = Mutex::new(None);

/// A new folder of this test process. Its name is short enough for the name of a unix socket in it.
pub(crate) fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("").tempdir_in(ProcessFolder::of_this_process()?)
}

/// The folder for the folders of this test process's servers. A watchdog removes it when the process has ended, so that nothing remains
/// even if nothing is dropped.
struct ProcessFolder {
    folder: PathBuf,
    /// It ends after this process; nothing waits for it.
    _watchdog: Child,
}

impl ProcessFolder {
    fn of_this_process() -> io::Result<PathBuf> {
        let mut made = PROCESS_FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(made) => Ok(made.folder.clone()),
            None => Ok(made.insert(Self::new()?).folder.clone()),
        }
    }

    fn new() -> io::Result<Self> {
        let usual = env::temp_dir();
        let base = if usual.as_os_str().len() <= LONGEST_TEMPORARY_FOLDER { &usual } else { Path::new("/tmp") };
        let random = RandomState::new().hash_one("folder") & 0xffff_ffff;
        let folder = base.join(format!("kv-{}-{random:08x}", process::id()));
        let watchdog = watchdog(REMOVE_THE_FOLDER, &folder)?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder, _watchdog: watchdog })
    }
}
