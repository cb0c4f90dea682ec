//! A server that a test started.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use super::builder::{NotStarted, ServerBuilder, complaint, read};
use super::process::Process;
use super::sandbox::Sandbox;
use crate::error::BoxError;

/// On how many ports a program that ends before it answers is tried.
const PORT_ATTEMPTS: u32 = 3;

/// A server that a test started: see the [module](super).
///
/// Dropping it kills it. Everything may be called from several threads.
pub struct Server {
    // Dropped in order: the process first, its folder and ports last.
    process: Mutex<Option<Process>>,
    builder: ServerBuilder,
    args: Vec<OsString>,
    sandbox: Sandbox,
}

impl ServerBuilder {
    /// Starts the program, and waits until it answers. If it ends before, other ports are tried, a few times: somebody
    /// else may have taken its port in between.
    ///
    /// # Errors
    ///
    /// If the program is not installed (the error then names the Debian package), ends before it answers, or does not
    /// answer in time: the error then has the last lines of its output. Also if the system refuses something.
    pub fn start(self) -> Result<Server, BoxError> {
        let mut starts = 1;
        loop {
            let sandbox = Sandbox::new(self.ports.saturating_sub(1))?;
            (self.prepare)(&sandbox)?;
            let args = (self.args)(&sandbox);
            match self.launch(&sandbox, &args) {
                Ok(process) => {
                    return Ok(Server { process: Mutex::new(Some(process)), builder: self, args, sandbox });
                }
                Err(NotStarted::Ended(_)) if starts < PORT_ATTEMPTS => starts += 1,
                Err(error) => return Err(error.into_error()),
            }
        }
    }
}

impl Server {
    /// A server that is to be started: a program that is found in `PATH`, or an absolute path.
    pub fn builder(program: impl AsRef<OsStr>) -> ServerBuilder {
        ServerBuilder::new(program.as_ref())
    }

    /// The folder and the ports of the server.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The id of its process, if it runs: a paused one does, one that was killed or ended by itself does not.
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process();
        let process = process.as_mut()?;
        matches!(process.try_wait(), Ok(None)).then(|| process.id())
    }

    /// Everything that it has written to its standard output and standard error, also before restarts.
    pub fn output(&self) -> String {
        read(&self.sandbox.output())
    }

    /// Kills it (`SIGKILL`), and returns when it has ended. If it had already ended, that is not an error.
    ///
    /// # Errors
    ///
    /// If the system refuses that.
    pub fn kill(&self) -> Result<(), BoxError> {
        match self.process().take() {
            Some(mut process) => Ok(process.kill()?),
            None => Ok(()),
        }
    }

    /// Ends it in an orderly manner (`SIGTERM`, even if it is paused), and returns when it has ended. If that takes longer
    /// than 10 s it is killed. It is no error if it had ended before.
    ///
    /// # Errors
    ///
    /// If the system refuses that.
    pub fn stop(&self) -> Result<(), BoxError> {
        match self.process().take() {
            Some(process) => Ok(process.stop()?),
            None => Ok(()),
        }
    }

    /// Starts it again in the same sandbox with the same arguments, and waits until it answers. If it runs it is stopped
    /// first, as [`stop`](Self::stop) does.
    ///
    /// # Errors
    ///
    /// Those of [`ServerBuilder::start`], and if somebody else took the port in between.
    pub fn restart(&self) -> Result<(), BoxError> {
        let mut process = self.process();
        if let Some(running) = process.take() {
            running.stop()?;
        }
        *process = Some(self.builder.launch(&self.sandbox, &self.args).map_err(NotStarted::into_error)?);
        Ok(())
    }

    /// Pauses it (`SIGSTOP`), and returns when it has stopped: its connections stay open, and new ones are made, but it
    /// does not answer until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> Result<(), BoxError> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (`SIGCONT`) after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> Result<(), BoxError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        let mut process = self.process();
        let not_running = || complaint(format!("{} does not run", self.builder.program.display()));
        let process = process.as_mut().ok_or_else(not_running)?;
        if process.try_wait()?.is_some() {
            return Err(not_running());
        }
        Ok(process.signal(signal)?)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("program", &self.builder.program)
            .field("sandbox", &self.sandbox)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
