//! A watchdog: a process that does something after the test process has ended in whatever way.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The script of a watchdog. Its shell's input ends with the test process, which holds the other end. The shell ignores interrupts from the
/// keyboard, and the hang-up that a group with a paused process gets.
const WATCHDOG: &str = "trap '' HUP INT QUIT TERM; read -r _; ";

/// Starts a watchdog in a process group of its own.
pub(crate) fn watchdog(then: &str, folder: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{WATCHDOG}{then}"))
        .arg("watchdog")
        .arg(folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
