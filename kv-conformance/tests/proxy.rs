//! The proxy does what it is told, over TCP and unix sockets.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test says so where it cannot go on")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::proxy::{Behaviour, Cut, Direction, Proxy};
use tempfile::TempDir;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a test waits for what must not come.
const SILENCE: Duration = Duration::from_millis(150);

trait Stream: Read + Write + Send {
    fn limit(&self, time: Duration);
}

impl Stream for TcpStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Stream for UnixStream {
    fn limit(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

/// A server that answers each line with the same line, in capitals.
fn answer(mut stream: impl Read + Write) {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        line.push(byte[0].to_ascii_uppercase());
        if byte == *b"\n" && stream.write_all(&std::mem::take(&mut line)).is_err() {
            return;
        }
    }
}

/// A server with a proxy in front of it.
struct Proxied {
    proxy: Proxy,
    _folder: TempDir,
}

fn both() -> [Proxied; 2] {
    let folder = || TempDir::new().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let by_port = Proxy::tcp(tcp.local_addr().unwrap()).unwrap();
    thread::spawn(move || tcp.incoming().for_each(|stream| drop(thread::spawn(|| answer(stream.unwrap())))));
    let in_folder = folder();
    let path = in_folder.path().join("server.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let by_path = Proxy::unix(path).unwrap();
    thread::spawn(move || unix.incoming().for_each(|stream| drop(thread::spawn(|| answer(stream.unwrap())))));
    [Proxied { proxy: by_port, _folder: folder() }, Proxied { proxy: by_path, _folder: in_folder }]
}

impl Proxied {
    fn try_connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match self.proxy.path() {
            Some(path) => Box::new(UnixStream::connect(path)?),
            None => Box::new(TcpStream::connect(("127.0.0.1", self.proxy.port()))?),
        };
        stream.limit(PATIENCE);
        Ok(stream)
    }

    fn connect(&self) -> Box<dyn Stream> {
        self.try_connect().unwrap()
    }

    fn is_tcp(&self) -> bool {
        self.proxy.path().is_none()
    }
}

fn ask(stream: &mut dyn Stream, line: &str) {
    stream.write_all(line.as_bytes()).unwrap();
}

/// So many bytes.
fn read(stream: &mut dyn Stream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// All that comes until the connection ends, and how it ended.
fn rest(stream: &mut dyn Stream) -> (Vec<u8>, io::Result<usize>) {
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes);
    (bytes, result)
}

/// Nothing comes for some time.
#[track_caller]
fn expect_silence(stream: &mut dyn Stream) {
    stream.limit(SILENCE);
    let (begun, mut byte) = (Instant::now(), [0]);
    let result = loop {
        match stream.read(&mut byte) {
            // On Linux this ends a read with a time-out if the process was stopped meanwhile, or frozen with its machine.
            Err(error) if error.kind() == ErrorKind::Interrupted && begun.elapsed() < SILENCE => {}
            result => break result,
        }
    };
    stream.limit(PATIENCE);
    let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    let is_silent = result.as_ref().is_err_and(|error| silent.contains(&error.kind()));
    assert!(is_silent, "expected: silence\ngot:      {result:?}, {byte:?}");
}

fn works(stream: &mut dyn Stream) {
    ask(stream, "works\n");
    assert_eq!(read(stream, 6), "WORKS\n");
}

#[test]
fn it_passes_on_and_counts() {
    for proxied in both() {
        let mut stream = proxied.connect();
        for _ in 0..3 {
            works(&mut *stream);
        }
        let large = "x".repeat(1_000_000) + "\n";
        let mut reader = proxied.connect();
        thread::scope(|scope| {
            scope.spawn(|| ask(&mut *stream, &large));
            works(&mut *reader);
        });
        assert_eq!(read(&mut *stream, large.len()), large.to_uppercase());
        let proxy = &proxied.proxy;
        assert_eq!((proxy.accepted(), proxy.exchanges()), (2, 5));
        let bytes = 4 * 6 + large.len();
        assert_eq!([Direction::Requests, Direction::Replies].map(|of| proxy.bytes(of)), [bytes, bytes]);
    }
}

#[test]
fn it_passes_on_the_end_of_the_requests() {
    for proxied in both().into_iter().filter(Proxied::is_tcp) {
        let mut stream = TcpStream::connect(("127.0.0.1", proxied.proxy.port())).unwrap();
        stream.write_all(b"last\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream).0, b"LAST\n");
    }
}

#[test]
fn it_delays() {
    for proxied in both() {
        let mut stream = proxied.connect();
        works(&mut *stream);
        let time = Duration::from_millis(100);
        proxied.proxy.set(Behaviour::Delay(time));
        let begin = Instant::now();
        works(&mut *stream);
        assert!(begin.elapsed() >= 2 * time, "request and reply");
    }
}

#[test]
fn it_holds_and_passes_on_afterwards_what_came_meanwhile() {
    for proxied in both() {
        for behaviour in [Behaviour::Hold, Behaviour::HoldReplies] {
            let mut stream = proxied.connect();
            works(&mut *stream);
            proxied.proxy.set(behaviour);
            ask(&mut *stream, "held\n");
            let mut other = proxied.connect();
            ask(&mut *other, "held, too\n");
            expect_silence(&mut *stream);
            expect_silence(&mut *other);
            proxied.proxy.pass();
            assert_eq!((read(&mut *stream, 5), read(&mut *other, 10)), ("HELD\n".into(), "HELD, TOO\n".into()));
        }
    }
}

#[test]
fn it_splits_into_single_bytes() {
    for proxied in both() {
        let mut stream = proxied.connect();
        works(&mut *stream);
        proxied.proxy.set(Behaviour::Split(Duration::from_millis(50)));
        ask(&mut *stream, "split\n");
        let mut buffer = [0; 10];
        assert_eq!(stream.read(&mut buffer).unwrap(), 1);
        assert_eq!(read(&mut *stream, 5), "PLIT\n");
    }
}

#[test]
fn it_cuts_at_a_byte_of_either_direction_by_closing_and_by_resetting() {
    for proxied in both() {
        for cut in [Cut::Close, Cut::Reset] {
            for (of, bytes, came) in
                [(Direction::Replies, 0, ""), (Direction::Replies, 3, "CUT"), (Direction::Requests, 3, "")]
            {
                let mut stream = proxied.connect();
                works(&mut *stream);
                proxied.proxy.set(Behaviour::CutAfter { cut, of, bytes });
                ask(&mut *stream, "cut off\n");
                let (bytes, end) = rest(&mut *stream);
                if cut == Cut::Close || !proxied.is_tcp() {
                    assert_eq!((bytes.as_slice(), end.is_ok()), (came.as_bytes(), true), "{cut:?} {of:?}");
                } else {
                    // What came before a reset may be lost with it.
                    assert!(came.as_bytes().starts_with(&bytes), "{bytes:?}");
                    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "{of:?}");
                }
                works(&mut *proxied.connect());
            }
        }
    }
}

#[test]
fn it_cuts_in_place_of_an_answer() {
    for proxied in both() {
        proxied.proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: "doomed", times: 1 });
        let mut stream = proxied.connect();
        works(&mut *stream);
        ask(&mut *stream, "doomed\n");
        assert!(rest(&mut *stream).0.is_empty());
        let mut stream = proxied.connect();
        ask(&mut *stream, "doomed\n");
        assert_eq!(read(&mut *stream, 7), "DOOMED\n", "once, it was said");
    }
}

#[test]
fn it_truncates_either_direction_and_holds_the_rest() {
    for proxied in both() {
        let mut stream = proxied.connect();
        works(&mut *stream);
        proxied.proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: 2 });
        ask(&mut *stream, "truncated\n");
        assert_eq!(read(&mut *stream, 2), "TR");
        expect_silence(&mut *stream);
        works(&mut *proxied.connect());
        proxied.proxy.pass();
        assert_eq!(read(&mut *stream, 8), "UNCATED\n");
        let before = proxied.proxy.bytes(Direction::Replies);
        proxied.proxy.set(Behaviour::Truncate { of: Direction::Requests, bytes: 2 });
        ask(&mut *stream, "truncated\n");
        expect_silence(&mut *stream);
        assert_eq!(proxied.proxy.bytes(Direction::Replies), before, "the server has not got the whole line");
        proxied.proxy.pass();
        assert_eq!(read(&mut *stream, 10), "TRUNCATED\n");
    }
}

#[test]
fn it_truncates_each_connection_by_itself() {
    for proxied in both() {
        let mut streams = [proxied.connect(), proxied.connect()];
        for stream in &mut streams {
            works(&mut **stream);
        }
        proxied.proxy.set(Behaviour::TruncateEach { of: Direction::Replies, bytes: 12 });
        for stream in &mut streams {
            ask(&mut **stream, "whole\n");
            assert_eq!(read(&mut **stream, 6), "WHOLE\n");
            ask(&mut **stream, "truncated\n");
            assert_eq!(read(&mut **stream, 6), "TRUNCA");
            expect_silence(&mut **stream);
        }
        assert_eq!(proxied.proxy.waiting_for_reply(), 0, "all that was asked for has come to the proxy");
        proxied.proxy.pass();
        for stream in &mut streams {
            assert_eq!(read(&mut **stream, 4), "TED\n");
        }
        proxied.proxy.set(Behaviour::TruncateEach { of: Direction::Requests, bytes: 3 });
        for stream in &mut streams {
            ask(&mut **stream, "truncated\n");
        }
        for stream in &mut streams {
            expect_silence(&mut **stream);
        }
        assert_eq!(proxied.proxy.waiting_for_reply(), 2);
    }
}

#[test]
fn it_garbles_a_later_reply() {
    for proxied in both() {
        let mut stream = proxied.connect();
        works(&mut *stream);
        proxied.proxy.set(Behaviour::GarbleAfter(1));
        works(&mut *stream);
        assert!(proxied.proxy.is_waiting());
        ask(&mut *stream, "garbled\n");
        let mut garbled = [0; 8];
        stream.read_exact(&mut garbled).unwrap();
        assert_eq!(garbled.map(|byte| byte ^ 0x80), *b"GARBLED\n");
        assert!(!proxied.proxy.is_waiting());
        works(&mut *stream);
    }
}

#[test]
fn it_changes_replies() {
    for proxied in both() {
        let mut stream = proxied.connect();
        let mut after = |behaviour: Behaviour, length: usize| {
            proxied.proxy.set(behaviour);
            ask(&mut *stream, "change me, please\n");
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).unwrap();
            works(&mut *stream);
            bytes
        };
        assert_eq!(after(Behaviour::corrupt(0, b'x'), 18), b"xHANGE ME, PLEASE\n");
        assert_eq!(after(Behaviour::corrupt(100, b'x'), 18), b"CHANGE ME, PLEASE\n");
        assert_eq!(after(Behaviour::inject("MORE\n"), 23), b"CHANGE ME, PLEASE\nMORE\n");
        assert_eq!(after(Behaviour::replace("OTHER\n"), 6), b"OTHER\n");
        let garbled = after(Behaviour::Garble, 18);
        assert!(garbled[..8].iter().all(|byte| *byte >= 0x80), "{garbled:?}");
        assert_eq!(&garbled[8..], b"E, PLEASE\n");
    }
}

#[test]
fn it_adds_to_replies_later() {
    for proxied in both() {
        let mut stream = proxied.connect();
        proxied.proxy.set(Behaviour::inject_later("LATE\n", 2 * SILENCE));
        works(&mut *stream);
        expect_silence(&mut *stream);
        assert_eq!(proxied.proxy.injected(), 0);
        assert_eq!(read(&mut *stream, 5), "LATE\n");
        works(&mut *stream);
        assert_eq!(proxied.proxy.injected(), 1);
    }
}

#[test]
fn it_refuses_and_accepts_again() {
    for proxied in both() {
        let mut stream = proxied.connect();
        works(&mut *stream);
        proxied.proxy.refuse();
        assert_eq!(proxied.try_connect().err().unwrap().kind(), ErrorKind::ConnectionRefused);
        works(&mut *stream);
        proxied.proxy.accept().unwrap();
        works(&mut *proxied.connect());
        proxied.proxy.accept().unwrap();
        works(&mut *stream);
    }
}

#[test]
fn it_cuts_all_connections_at_once_and_drops_what_it_holds() {
    for proxied in both() {
        for cut in [Cut::Close, Cut::Reset] {
            let mut streams: Vec<_> = (0..5).map(|_| proxied.connect()).collect();
            for stream in &mut streams {
                works(&mut **stream);
            }
            proxied.proxy.set(Behaviour::Hold);
            ask(&mut *streams[0], "held\n");
            thread::sleep(SILENCE);
            proxied.proxy.cut_now(cut).unwrap();
            for stream in &mut streams {
                let (bytes, end) = rest(&mut **stream);
                assert!(bytes.is_empty());
                assert_eq!(end.is_ok(), cut == Cut::Close || !proxied.is_tcp());
            }
            proxied.proxy.pass();
            works(&mut *proxied.connect());
        }
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    assert!(Proxy::tcp("not an address").is_err());
    assert!(Proxy::unix("/".repeat(200)).is_err());
    let proxied = &both()[1];
    assert_eq!(proxied.proxy.port(), 0);
    assert!(proxied.proxy.path().unwrap().exists());
    // Nothing is behind it.
    let proxy = Proxy::unix("/nonexistent/server.sock").unwrap();
    let mut stream = UnixStream::connect(proxy.path().unwrap()).unwrap();
    assert!(rest(&mut stream).0.is_empty());
}

#[test]
fn ports_are_free_while_processes_are_started() {
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let over = || is_over.load(std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // A child has the sockets of its parent, until it is another program.
                while !over() {
                    std::process::Command::new("true").status().unwrap();
                }
            });
        }
        let made = (0..300).map(|_| Proxy::tcp(("127.0.0.1", 9)).map(drop)).collect::<Result<Vec<()>, _>>();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        made.unwrap();
    });
}
