//! The process of a server, and the watchdog that ends it when the test process has ended.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::sandbox::Sandbox;
use crate::isolation::watchdog;

/// The default limit for a program to answer, and for a stopped one to end.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait between two looks at a process.
pub(super) const POLL: Duration = Duration::from_millis(2);

/// The script by which the watchdog kills its process group, which is the server's.
const KILL_THE_GROUP: &str = "kill -9 0";

/// A running server with its watchdog, which is the first of their process group.
pub(super) struct Process {
    watchdog: Child,
    server: Child,
}

impl Process {
    /// Starts a watchdog and then the command, so that the command can at no moment outlive this process.
    pub(super) fn spawn(sandbox: &Sandbox, mut command: Command) -> io::Result<Self> {
        let mut watchdog = watchdog(KILL_THE_GROUP, sandbox.dir())?;
        match command.process_group(Pid::from_child(&watchdog).as_raw_nonzero().get()).spawn() {
            Ok(server) => Ok(Self { watchdog, server }),
            Err(error) => {
                end_group(&mut watchdog)?;
                Err(error)
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Its exit status, if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.server.try_wait()
    }

    /// Sends a signal to the server, which must not have been waited for. `SIGSTOP` is waited for.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_child(&self.server);
        kill_process(pid, signal)?;
        if signal == Signal::STOP {
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            retry_on_intr(|| waitid(WaitId::Pid(pid), stopped))?;
        }
        Ok(())
    }

    pub(super) fn stop(mut self) -> io::Result<()> {
        let deadline = Instant::now() + LIMIT;
        if self.server.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
            self.signal(Signal::CONT)?;
        }
        while self.server.try_wait()?.is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.kill()
    }

    /// Kills the whole group, and waits for our two child processes.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        end_group(&mut self.watchdog)?;
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the watchdog does the same when its input ends.
        let _ = self.kill();
    }
}

/// Kills a watchdog with its group. Its input stays open until it has ended, so that it does nothing else.
fn end_group(watchdog: &mut Child) -> io::Result<()> {
    // After it was waited for, the group id may belong to another process.
    if watchdog.try_wait()?.is_none() {
        let input = watchdog.stdin.take();
        kill_process_group(Pid::from_child(watchdog), Signal::KILL)?;
        watchdog.wait()?;
        drop(input);
    }
    Ok(())
}
