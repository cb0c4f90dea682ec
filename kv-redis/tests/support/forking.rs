//! Real forks of a program that has used a store.
//!
//! `fork` is unsafe, and the code here must not be. So a test starts its program again with a preloaded library, in which `getppid` forks;
//! `std` offers `getppid`.
//!
//! For all backends.

#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::io::{PipeReader, Read, Write, pipe};
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Command};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

const LIBRARY: &str = "#include <unistd.h>\npid_t getppid(void) { return fork(); }\n";

/// The environment variable with the argument of the forking process.
const ARGUMENT: &str = "KV_FORKING";

/// What a child says at its end if all went well.
const WORKS: &str = "works";

/// The argument of [`run`], if this is the forking process.
pub(crate) fn argument() -> Option<String> {
    env::var(ARGUMENT).ok()
}

/// Runs a test of this target again, in a new process that can fork, with an argument.
#[track_caller]
pub(crate) fn run(test: &str, argument: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [source, library] = ["fork.c", "fork.so"].map(|name| folder.path().join(name));
    fs::write(&source, LIBRARY).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.is_ok_and(|status| status.success()), "there is no C compiler (Debian: apt-get install gcc)");
    let mut program = Command::new(env::current_exe().unwrap());
    program.args(["--exact", test, "--test-threads=1", "--nocapture"]);
    let output = program.env("LD_PRELOAD", &library).env(ARGUMENT, argument).output().unwrap();
    let [told, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success() && told.contains("1 passed"), "{test} fails where it forks:\n{told}\n{said}");
}

/// A process that was forked from this one.
#[must_use = "it says at its end whether it works"]
pub(crate) struct Child {
    id: u32,
    says: PipeReader,
}

/// Runs `act` in a child process.
pub(crate) fn fork(act: impl FnOnce()) -> Child {
    let (says, mut tells) = pipe().unwrap();
    let id = parent_id();
    if id == 0 {
        let says = match catch_unwind(AssertUnwindSafe(act)) {
            Ok(()) => WORKS,
            Err(_) => "panics",
        };
        let _ = tells.write_all(says.as_bytes());
        process::exit(0);
    }
    assert_ne!(id, u32::MAX, "no process can be made");
    Child { id, says }
}

impl Child {
    /// Stops it for this time, as a system does that has no processor time for it.
    #[allow(dead_code, reason = "not every program of tests does that")]
    pub(crate) fn stand_still(&self, time: Duration) {
        for (signal, pause) in [("-STOP", time), ("-CONT", Duration::ZERO)] {
            let sent = Command::new("kill").args([signal, &self.id.to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "the child has ended");
            thread::sleep(pause);
        }
    }

    /// Waits for its end. Fails if that takes too long, or if it panicked.
    #[track_caller]
    pub(crate) fn works_within(mut self, limit: Duration) {
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut said = String::new();
            sender.send(self.says.read_to_string(&mut said).map(|_| said))
        });
        let Ok(said) = receiver.recv_timeout(limit) else {
            let _ = Command::new("kill").args(["-9", &self.id.to_string()]).status();
            panic!("the child did not come to an end within {limit:?}");
        };
        // A thread that begins or ends holds a lock of `std` for a moment. A process that is forked at that moment could start no thread.
        let _ = reader.join();
        assert_eq!(said.unwrap(), WORKS, "what the child said");
    }
}
