//! Where servers run: folders and ports that nobody else has.

use std::env;
use std::fs::DirBuilder;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::process::watchdog;
use crate::fixture::BoxError;
use crate::port::Port;

/// The longest name of a temporary folder in which there is room for the names of unix sockets: they have 103 bytes.
const LONGEST_TEMPORARY_FOLDER: usize = 60;

/// Then the watchdog removes a folder, perhaps while servers are being killed in it.
const REMOVE_THE_FOLDER: &str = r#"rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }"#;

/// The folder of this test process, once there is one.
static HOME: Mutex<Option<Home>> = Mutex::new(None);

/// A new folder of this test process. Its name is short enough for the name of a unix socket in it.
pub(crate) fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("").tempdir_in(Home::of_this_process()?)
}

/// Where a server runs: its folder and its ports, which stay its own, even while it is down, until it is dropped.
///
/// The ports are TCP ports of 127.0.0.1 below 32768. The UDP ports of the same numbers are held by the test process, so
/// that no other test process takes them meanwhile.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
    port: Port,
    more: Vec<Port>,
}

impl Place {
    pub(super) fn new(more_ports: usize) -> Result<Self, BoxError> {
        let dir = folder()?;
        let more = (0..more_ports).map(|_| Port::claim()).collect::<Result<_, _>>()?;
        Ok(Self { dir, port: Port::claim()?, more })
    }

    /// The folder, in which the program runs and which is removed in the end. Its name is short enough for the name of a
    /// unix socket in it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port, the first one where there are several.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// All ports, as many as [`ServerBuilder::ports`](super::ServerBuilder::ports) says, the first one included.
    pub fn ports(&self) -> Vec<u16> {
        std::iter::once(&self.port).chain(&self.more).map(Port::number).collect()
    }

    /// Where the output of the program goes.
    pub(super) fn output(&self) -> PathBuf {
        self.dir().join("output.log")
    }
}

/// The folder in which this test process has those of its servers. It goes when the process has ended, so that nothing
/// remains even where nothing is dropped.
struct Home {
    folder: PathBuf,
    /// It ends when the process has: nobody waits for it.
    _watchdog: Child,
}

impl Home {
    fn of_this_process() -> io::Result<PathBuf> {
        let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        match &*home {
            Some(home) => Ok(home.folder.clone()),
            None => Ok(home.insert(Self::new()?).folder.clone()),
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
