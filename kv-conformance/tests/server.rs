//! Servers for tests start, die and come back as they are told, and none outlives its test process.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::BoxError;
use kv_conformance::server::{Sandbox, Server, ServerBuilder};

const SECOND: Duration = Duration::from_secs(1);

fn redis_server() -> ServerBuilder {
    Server::builder("redis-server")
        .debian_package("redis-server")
        .args(|sandbox| {
            let port = sandbox.port().to_string();
            ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--unixsocket", "redis.sock"].map(String::from)
        })
        .ready(|sandbox, pid| {
            let answer = ask(sandbox, "INFO server")?;
            let ours = answer.contains(&format!("process_id:{pid}\r\n"));
            if ours { Ok(()) } else { Err(answer.into()) }
        })
}

/// Sends a command, and returns the first line of the answer, with the text where that says how long it is.
fn ask(sandbox: &Sandbox, command: &str) -> Result<String, BoxError> {
    let connection = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
    connection.set_read_timeout(Some(SECOND))?;
    (&connection).write_all(format!("{command}\r\n").as_bytes())?;
    let mut connection = BufReader::new(connection);
    let mut answer = String::new();
    connection.read_line(&mut answer)?;
    if let Some(length) = answer.trim_end().strip_prefix('$').and_then(|length| length.parse().ok()) {
        answer.clear();
        connection.take(length).read_to_string(&mut answer)?;
    }
    Ok(answer)
}

fn answers(sandbox: &Sandbox) -> bool {
    ask(sandbox, "PING").is_ok_and(|answer| answer == "+PONG\r\n")
}

fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + 10 * SECOND;
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_missing_program_is_said_to_be_missing_and_where_to_get_it() {
    let error = Server::builder("no-such-server").debian_package("some-package").start().unwrap_err();
    assert_eq!(error.to_string(), "no-such-server is not installed; on Debian: apt-get install some-package");
    let error = Server::builder("no-such-server").start().unwrap_err();
    assert_eq!(error.to_string(), "no-such-server is not installed");
}

#[test]
fn a_program_that_ends_at_once_shows_what_it_said_last() {
    let script = "for i in $(seq 30); do echo line $i; done; echo '\"why\"' >&2; exit 3";
    let error = Server::builder("sh").args(move |_| ["-c", script]).start().unwrap_err();
    // In lines, in a test that unwraps it too.
    assert_eq!(error.to_string(), format!("{error:?}"));
    let mut lines = error.to_string().lines().map(String::from).collect::<Vec<_>>();
    assert_eq!(lines.remove(0), "sh ended before it answered (exit status: 3); its output ends with:");
    assert_eq!(lines.len(), 20);
    assert_eq!((lines[0].as_str(), lines[18].as_str(), lines[19].as_str()), ("line 12", "line 30", "\"why\""));
}

#[test]
fn a_program_that_does_not_answer_is_given_up_and_killed() {
    let pids = tempfile::tempdir().unwrap();
    let file = pids.path().join("pid");
    let script = format!("echo $$ > {}; echo here I am; sleep 1000", file.display());
    let server = Server::builder("sh").args(move |_| ["-c".to_owned(), script.clone()]).limit(SECOND / 5);
    let error = server.ready(|_, _| Err("not yet".into())).start().unwrap_err();
    assert_eq!(error.to_string(), "sh did not answer within 200ms (not yet); its output ends with:\nhere I am");
    assert!(!exists(std::fs::read_to_string(file).unwrap().trim()));
}

#[test]
fn a_program_that_ends_is_tried_on_other_ports_and_a_server_that_is_there_is_not_taken_for_it() {
    let places = tempfile::NamedTempFile::new().unwrap();
    let path = places.path().to_owned();
    // It ends a moment after somebody else answers.
    let server = Server::builder("sh").args(move |sandbox| {
        ["-c".to_owned(), format!("echo {} >> {}; sleep 0.1; exit 1", sandbox.port(), path.display())]
    });
    let error = server.ready(|_, pid| Err(format!("it is not {pid} that answers").into())).start().unwrap_err();
    assert_eq!(error.to_string(), "sh ended before it answered (exit status: 1); it wrote nothing");
    let ports = std::fs::read_to_string(places.path()).unwrap();
    assert_eq!(ports.lines().collect::<BTreeSet<_>>().len(), 3);
    // It has ended when somebody else answers.
    let server = Server::builder("sh").args(|_| ["-c", "exit 1"]).ready(|_, _| {
        thread::sleep(SECOND / 5);
        Ok(())
    });
    let error = server.start().unwrap_err();
    assert_eq!(error.to_string(), "sh ended before it answered (exit status: 1); it wrote nothing");
}

#[test]
fn without_a_probe_every_port_has_to_be_listened_on() {
    let started = Instant::now();
    let server = Server::builder("redis-server")
        .debian_package("redis-server")
        .ports(2)
        .prepare(|sandbox| {
            Ok(std::fs::write(sandbox.dir().join("redis.conf"), format!("port {}", sandbox.ports()[0]))?)
        })
        .args(|_| ["redis.conf", "--save", ""])
        .limit(SECOND / 2);
    let error = server.start().unwrap_err().to_string();
    assert!(started.elapsed() >= SECOND / 2 && error.contains("onnection refused"), "{error}");
    assert!(error.contains("Ready to accept connections"), "{error}");
}

#[test]
fn a_server_is_killed_stopped_and_started_again_in_its_place() {
    let server = redis_server().start().unwrap();
    let sandbox = server.sandbox();
    let mut pids = BTreeSet::from([server.pid().unwrap()]);
    assert_eq!(sandbox.ports(), [sandbox.port()]);
    assert!(answers(sandbox) && UnixStream::connect(sandbox.dir().join("redis.sock")).is_ok());
    for end in [Server::kill, Server::stop, |_: &Server| Ok(())] {
        end(&server).unwrap();
        end(&server).unwrap();
        server.restart().unwrap();
        assert!(answers(sandbox) && pids.insert(server.pid().unwrap()));
    }
    server.kill().unwrap();
    assert!(!answers(sandbox) && server.pid().is_none());
    assert_eq!(server.pause().unwrap_err().to_string(), "redis-server does not run");
    assert_eq!(server.resume().unwrap_err().to_string(), "redis-server does not run");
    // Killed, it said nothing; stopped, twice, it said farewell.
    assert_eq!(server.output().matches("Ready to accept connections").count(), 4);
    assert_eq!(server.output().matches("bye bye").count(), 2);
}

#[test]
fn a_paused_server_accepts_and_does_not_answer_until_it_is_resumed() {
    let server = redis_server().start().unwrap();
    for _ in 0..2 {
        server.pause().unwrap();
        server.pause().unwrap();
        let mut connection = TcpStream::connect(("127.0.0.1", server.sandbox().port())).unwrap();
        connection.write_all(b"PING\r\n").unwrap();
        connection.set_read_timeout(Some(SECOND / 5)).unwrap();
        let _ = connection.read(&mut [0]).unwrap_err();
        assert!(server.pid().is_some());
        server.resume().unwrap();
        connection.set_read_timeout(Some(10 * SECOND)).unwrap();
        connection.read_exact(&mut [0]).unwrap();
    }
    server.pause().unwrap();
    server.stop().unwrap();
    assert!(server.output().contains("bye bye"));
    server.restart().unwrap();
    server.pause().unwrap();
    server.kill().unwrap();
    assert!(server.pid().is_none());
}

#[test]
fn a_server_that_ends_by_itself_does_not_run_and_can_be_started_again() {
    let server = redis_server().start().unwrap();
    let _ = ask(server.sandbox(), "SHUTDOWN NOSAVE").unwrap();
    assert!(eventually(|| server.pid().is_none()));
    assert!(server.pause().is_err());
    server.stop().unwrap();
    server.restart().unwrap();
    assert!(answers(server.sandbox()));
}

#[test]
fn a_port_stays_the_server_s_while_it_is_down() {
    let server = redis_server().start().unwrap();
    server.kill().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", server.sandbox().port())).unwrap();
    let error = server.restart().unwrap_err().to_string();
    assert!(error.starts_with("redis-server ended") && error.contains("ddress already in use"), "{error}");
    drop(taken);
    server.restart().unwrap();
    assert!(answers(server.sandbox()));
}

#[test]
fn servers_started_at_the_same_time_have_their_own_ports_and_folders() {
    let servers = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| redis_server().ports(3).start().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let ports: BTreeSet<_> = servers.iter().flat_map(|server| server.sandbox().ports()).collect();
    assert_eq!(ports.len(), 24);
    assert_eq!(servers.iter().map(|server| server.sandbox().dir()).collect::<BTreeSet<_>>().len(), 8);
}

#[test]
fn a_dropped_server_is_removed_with_its_folder() {
    for paused in [false, true] {
        let server = redis_server().start().unwrap();
        let (pid, folder) = (server.pid().unwrap().to_string(), server.sandbox().dir().to_owned());
        assert!(exists(&pid) && folder.is_dir());
        if paused {
            server.pause().unwrap();
        }
        drop(server);
        assert!(!exists(&pid) && !folder.exists());
    }
}

#[test]
fn no_server_outlives_a_killed_test_process() {
    outlived_by_nothing("waits", |child| child.kill().unwrap());
}

#[test]
fn no_paused_server_outlives_a_killed_test_process() {
    outlived_by_nothing("pauses", |child| child.kill().unwrap());
}

#[test]
fn no_server_outlives_a_test_process_that_leaves() {
    outlived_by_nothing("leaves", |_| {});
}

#[test]
fn no_folder_of_a_server_that_is_down_remains() {
    outlived_by_nothing("killed", |_| {});
}

/// Runs this program again, as a test process that starts a server, and sees the server go when that process ends.
fn outlived_by_nothing(manner: &str, end: fn(&mut std::process::Child)) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_process", "--ignored", "--nocapture"])
        .env("KV_TEST_CHILD", manner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = said.skip_while(|line| !line.ends_with("started")).skip(1).take(2).collect::<Vec<_>>();
    let [pid, folder] = said.try_into().unwrap();
    if ["waits", "pauses"].contains(&manner) {
        assert!(exists(&pid) && Path::new(&folder).is_dir());
    }
    end(&mut child);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(eventually(|| !exists(&pid)), "{pid} runs");
    let home = Path::new(&folder).parent().unwrap();
    assert!(eventually(|| !home.exists()), "{} is there", home.display());
}

/// Not a test, but the process of [`outlived_by_nothing`].
#[test]
#[ignore = "it is run by other tests"]
fn child_process() {
    let Ok(manner) = env::var("KV_TEST_CHILD") else { return };
    let server = Box::leak(Box::new(redis_server().start().unwrap()));
    if manner == "pauses" {
        server.pause().unwrap();
    }
    println!("started\n{}\n{}", server.pid().unwrap(), server.sandbox().dir().display());
    if manner == "killed" {
        server.kill().unwrap();
    }
    if ["killed", "leaves"].contains(&manner.as_str()) {
        std::process::exit(0);
    }
    // Until it is killed.
    let _ = std::io::stdin().read(&mut [0]);
}

/// Whether there is such a process; a zombie does not count.
fn exists(pid: &str) -> bool {
    if cfg!(target_os = "linux") {
        return std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    }
    let state = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap().stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}
