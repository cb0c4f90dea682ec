//! Where a server runs: a folder and ports of its own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::BoxError;
use crate::isolation::{Port, folder};

/// Where a server runs: a folder and ports of its own. It keeps them while it is down, until it is dropped.
///
/// The ports are TCP ports of 127.0.0.1 below 32768. The UDP ports of the same numbers are held by the test process, so
/// that no other test process takes them meanwhile.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    port: Port,
    more: Vec<Port>,
}

impl Sandbox {
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

    /// The port; the first one if there are several.
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
