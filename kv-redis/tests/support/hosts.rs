//! Processes with their own `/etc/hosts` or resolver.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// The environment variable with the task of a process that has files of its own.
const TASK: &str = "KV_TEST_TASK";

/// The task of this process, if [`PrivateFiles::run`] started it.
pub(crate) fn task() -> Option<String> {
    env::var(TASK).ok()
}

/// Files that processes see instead of the system's.
#[derive(Debug)]
pub(crate) struct PrivateFiles {
    folder: tempfile::TempDir,
    unshare: Vec<&'static str>,
    files: Vec<(&'static str, PathBuf)>,
}

impl PrivateFiles {
    /// Prints the reason and returns `None` if processes cannot have files of their own here.
    pub(crate) fn new() -> Option<Self> {
        let ways = [vec!["--mount"], vec!["--mount", "--map-root-user"]];
        let works = |way: &Vec<&str>| {
            let mounts = Command::new("unshare").args(way).args(["mount", "--bind", "/etc", "/etc"]).output();
            mounts.is_ok_and(|output| output.status.success())
        };
        let Some(unshare) = ways.into_iter().find(works) else {
            eprintln!("skipped: `unshare --mount`, which gives a process files of its own, is not permitted here");
            return None;
        };
        Some(Self { folder: tempfile::tempdir().unwrap(), unshare, files: Vec::new() })
    }

    /// Replaces the file at `path`. Returns the path of the replacement.
    pub(crate) fn with(&mut self, path: &'static str, content: &str) -> PathBuf {
        let own = self.folder.path().join(path.trim_start_matches('/').replace('/', "-"));
        fs::write(&own, content).unwrap();
        if !self.files.iter().any(|(known, _)| *known == path) {
            self.files.push((path, own.clone()));
        }
        own
    }

    /// Runs the calling test again, in a process with these files and this task. Returns what it prints.
    #[track_caller]
    pub(crate) fn run(&self, task: &str) -> String {
        let mounts = self.files.iter().map(|(path, own)| format!("mount --bind {} {path} && ", own.display()));
        let script = format!("{}exec \"$0\" \"$@\"", mounts.collect::<String>());
        let current = thread::current();
        let output = Command::new("unshare")
            .args(&self.unshare)
            .args(["sh", "-c", &script])
            .arg(env::current_exe().unwrap())
            .args(["--exact", current.name().unwrap(), "--nocapture"])
            .env(TASK, task)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        text
    }
}

/// A name server that receives questions and does not answer them, until [`answer`](Self::answer).
#[derive(Debug)]
pub(crate) struct NameServer(UdpSocket);

impl NameServer {
    /// A name server at this address, port 53. Prints the reason and returns `None` if that is not possible.
    pub(crate) fn at(address: &str) -> Option<Self> {
        match UdpSocket::bind((address, 53)) {
            Ok(socket) => Some(Self(socket)),
            Err(error) => {
                eprintln!("skipped: a name server at {address}, port 53: {error}");
                None
            }
        }
    }

    /// From now on it answers that every name has the address 127.0.0.1.
    pub(crate) fn answer(self) {
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = self.0.recv_from(&mut packet) {
                let _ = self.0.send_to(&answer_to(&packet[..length]), client);
            }
        });
    }
}

/// The answer to a question, by RFC 1035, section 4.
fn answer_to(question: &[u8]) -> Vec<u8> {
    let name = question[12..].iter().position(|&byte| byte == 0).unwrap();
    let end = 12 + name + 1 + 4;
    let is_of_v4 = question[end - 4..end - 2] == [0, 1];
    let mut answer = question[..end].to_vec();
    // An answer; recursion is available.
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    // One question, the number of answers, and nothing else.
    answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_of_v4), 0, 0, 0, 0]);
    if is_of_v4 {
        // The name of the question, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

/// The number of threads of this process whose name begins with this.
pub(crate) fn threads_named(beginning: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name(&task.path()).starts_with(beginning)).count()
}

/// The most threads with such a name at any moment while `act` runs.
pub(crate) fn most_threads_named(beginning: &str, act: impl FnOnce() + Send) -> usize {
    thread::scope(|scope| {
        let act = scope.spawn(act);
        let mut most = 0;
        while !act.is_finished() {
            most = most.max(threads_named(beginning));
            thread::sleep(Duration::from_millis(10));
        }
        act.join().unwrap();
        most
    })
}

/// Forwards connections from an address to a port of 127.0.0.1, as long as the test process lives. Prints the reason and returns `None` if
/// this machine does not have the address.
pub(crate) fn forward(from: (&str, u16), to: u16) -> Option<()> {
    let listener = match TcpListener::bind(from) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("skipped: a listener on {from:?}: {error}");
            return None;
        }
    };
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || -> io::Result<()> {
                let (client, server) = (client?, TcpStream::connect(("127.0.0.1", to))?);
                let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
                thread::spawn(move || {
                    let copied = io::copy(&mut from_client, &mut to_server);
                    to_server.shutdown(std::net::Shutdown::Write).and(copied)
                });
                io::copy(&mut &server, &mut &client)?;
                client.shutdown(std::net::Shutdown::Write)
            });
        }
    });
    Some(())
}

/// Sends a signal to a process that another one has started.
#[track_caller]
pub(crate) fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

/// Pauses such a process, and returns when each of its threads has stopped: until then one may still answer.
#[track_caller]
pub(crate) fn pause(pid: &str) {
    signal("-STOP", pid);
    within(Duration::from_secs(20), || {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            if !stat.rsplit(')').next().unwrap().trim_start().starts_with('T') {
                return Err(format!("it runs: {stat}"));
            }
        }
        Ok(())
    });
}

/// Waits until the condition holds, at most for the limit.
#[track_caller]
pub(crate) fn within(limit: Duration, mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + limit;
    while let Err(obstacle) = is_so() {
        assert!(Instant::now() < deadline, "after {limit:?}: {obstacle}");
        thread::sleep(Duration::from_millis(20));
    }
}
