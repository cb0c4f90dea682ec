//! Processes with an `/etc/hosts` or a resolver of their own.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// In the environment of a process with files of its own: what it needs to know.
const TASK: &str = "KV_TEST_TASK";

/// What the process that this is was told to do, if it was made by [`Own::run`].
pub(crate) fn task() -> Option<String> {
    env::var(TASK).ok()
}

/// Files that processes see in place of those of the system.
#[derive(Debug)]
pub(crate) struct Own {
    folder: tempfile::TempDir,
    unshare: Vec<&'static str>,
    files: Vec<(&'static str, PathBuf)>,
}

impl Own {
    /// None, and the reason is printed, where processes cannot have files of their own.
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

    /// With this in place of what is at a path. Where that is in fact.
    pub(crate) fn with(&mut self, path: &'static str, content: &str) -> PathBuf {
        let own = self.folder.path().join(path.trim_start_matches('/').replace('/', "-"));
        fs::write(&own, content).unwrap();
        if !self.files.iter().any(|(known, _)| *known == path) {
            self.files.push((path, own.clone()));
        }
        own
    }

    /// Runs the test that calls this once more, in a process with these files and this task. What it prints.
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

/// A name server that hears and does not answer, until it is told to. None, and the reason is printed, where there can be none.
#[derive(Debug)]
pub(crate) struct NameServer(UdpSocket);

impl NameServer {
    /// It is at this address, port 53.
    pub(crate) fn at(address: &str) -> Option<Self> {
        match UdpSocket::bind((address, 53)) {
            Ok(socket) => Some(Self(socket)),
            Err(error) => {
                eprintln!("skipped: a name server at {address}, port 53: {error}");
                None
            }
        }
    }

    /// From now on every name has the address 127.0.0.1.
    pub(crate) fn answer(self) {
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = self.0.recv_from(&mut packet) {
                let _ = self.0.send_to(&answer_to(&packet[..length]), client);
            }
        });
    }
}

/// See RFC 1035, section 4.
fn answer_to(question: &[u8]) -> Vec<u8> {
    let name = question[12..].iter().position(|&byte| byte == 0).unwrap();
    let end = 12 + name + 1 + 4;
    let is_of_v4 = question[end - 4..end - 2] == [0, 1];
    let mut answer = question[..end].to_vec();
    // An answer, and recursion is to be had.
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    // One question, how many answers, no more.
    answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_of_v4), 0, 0, 0, 0]);
    if is_of_v4 {
        // The name of the question, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

/// How many threads of this process have a name that begins so.
pub(crate) fn threads_named(beginning: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name(&task.path()).starts_with(beginning)).count()
}

/// The most threads with such a name that there are at any time while something is done.
pub(crate) fn most_threads_named(beginning: &str, whilst: impl FnOnce() + Send) -> usize {
    thread::scope(|scope| {
        let act = scope.spawn(whilst);
        let mut most = 0;
        while !act.is_finished() {
            most = most.max(threads_named(beginning));
            thread::sleep(Duration::from_millis(10));
        }
        act.join().unwrap();
        most
    })
}

/// Passes what comes to an address on to a port of 127.0.0.1, for as long as the test process lives. None, and the reason is
/// printed, where this machine has no such address.
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

/// Waits a while at most.
#[track_caller]
pub(crate) fn within(limit: Duration, mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + limit;
    while let Err(obstacle) = is_so() {
        assert!(Instant::now() < deadline, "after {limit:?}: {obstacle}");
        thread::sleep(Duration::from_millis(20));
    }
}
