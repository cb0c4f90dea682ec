//! Servers that are not memcached, or misbehave in the handshake.

use kv_conformance::BoxError;
use kv_conformance::server::{Sandbox, Server};

use super::*;

#[track_caller]
fn refused_by(act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> (Error, String) {
    let url = format!("memcache://127.0.0.1:{}", impostor(act));
    let (error, text) = refused(MemcacheStore::builder().url(&url));
    assert!(text.starts_with(&url), "{text}");
    // If the store was only built, the operation says the same, within the same limits.
    let store = MemcacheStore::builder().url(&url).build().unwrap();
    let (later, took) = support::timed(|| store.put("k", "v-hush").unwrap_err());
    assert!(took < WITHIN, "{took:?}: {}", chain(&later));
    assert!(!later.outcome_unknown(), "{}", chain(&later));
    assert_eq!(std::mem::discriminant(&later), std::mem::discriminant(&error), "{}", chain(&later));
    (error, text)
}

/// A server that waits for a request, says this, and closes the connection or leaves it open.
fn saying(reply: &'static [u8], and_closes: bool) -> impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static {
    move |mut stream| {
        let _request = stream.read(&mut [0; 1000])?;
        stream.write_all(reply)?;
        if !and_closes {
            thread::sleep(PATIENCE);
        }
        Ok(())
    }
}

#[test]
fn an_error_names_the_other_protocol_that_a_server_speaks() {
    let replies: [&[u8]; 10] = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"-ERR unknown command 'stats', with args beginning with: \r\n-ERR unknown command 'stats'\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"220 mail.example ESMTP\r\n500 what?\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"END\r\nEND\r\n",
        b"STAT version 1.6.18\r\nEND\r\nEND\r\n",
        b"STAT pid 1\r\nSTAT version 1.6.18\r\nSTAT time now\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\n",
        b"\r\n\r\n",
        b"\xff\xfe\x00\r\n",
    ];
    for reply in replies {
        for and_closes in [true, false] {
            let (error, text) = refused_by(saying(reply, and_closes));
            assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
            assert!(text.contains("does not speak the protocol of memcached"), "{text}");
        }
    }
}

/// The error names the protocol of the server, and says what to do.
#[test]
fn who_else_answers_is_named() {
    for (reply, expected) in [
        (&b"-ERR unknown command 'stats', with args beginning with: \r\n"[..], "it is a redis: use kv-redis"),
        (b"-NOAUTH Authentication required.\r\n", "it is a redis: use kv-redis"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it is a web server: check host and port"),
        (b"220 mail.example ESMTP\r\n", "it is a mail or FTP server"),
        (b"* OK IMAP4rev1 ready\r\n", "it is a mail server"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "it is an SSH server"),
        // These send no line, and close the connection.
        (b"AMQP\0\0\x09\x01", "it is an AMQP broker"),
        (b"\x15\x03\x01\0\x02\x02\x46", "wants TLS: `memcache+tls://` in the URL"),
        (b"E\0\0\0\x21SFATAL\0C0A000\0Munsupported\0\0", "it is a PostgreSQL"),
        (b"J\0\0\0\x0a8.0.36\0\x08\0\0\0", "check host and port"),
    ] {
        let (error, text) = refused_by(saying(reply, true));
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
        assert!(text.contains("does not speak the protocol of memcached; ") && text.contains(expected), "{text}");
    }
}

/// These servers are real.
#[test]
fn servers_of_other_protocols_are_told_at_once() {
    let Some(redis) = redis() else { return };
    let port = redis.sandbox().port();
    for classic in [false, true] {
        let begin = Instant::now();
        let builder = MemcacheStore::builder().url(format!("memcache://127.0.0.1:{port}")).classic(classic);
        let text = refused_for_good(builder);
        assert!(text.contains("it is a redis: use kv-redis") && begin.elapsed() < WITHIN / 2, "{text}");
    }
}

fn redis() -> Option<Server> {
    let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    if std::process::Command::new(&program).arg("-v").output().is_err() {
        skip("a redis where a memcached should be", "there is no redis-server");
        return None;
    }
    let arguments =
        |sandbox: &Sandbox| ["--port", &sandbox.port().to_string(), "--save", ""].map(str::to_owned).to_vec();
    let ready = |sandbox: &Sandbox, _| -> Result<(), BoxError> {
        let mut stream = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
        stream.write_all(b"PING\r\n")?;
        let mut pong = [0; 7];
        stream.read_exact(&mut pong)?;
        if &pong == b"+PONG\r\n" { Ok(()) } else { Err("it is not ready".into()) }
    };
    Some(Server::builder(program).ports(1).args(arguments).ready(ready).start().unwrap())
}

/// A server that wants TLS closes connections without TLS, mostly without a message. Retrying does not help.
#[test]
fn tls_required_is_not_mistaken_for_a_shutdown() {
    if !can("tls required is not mistaken for a shutdown", Need::Tls) {
        return;
    }
    for with_certificate in [false, true] {
        let server = Memcached::start_as(Kind::Tls { with_certificate }, &[]);
        let url = format!("memcache://127.0.0.1:{}", server.tls_port());
        for builder in
            [MemcacheStore::builder().url(&url), MemcacheStore::builder().url(&url).credentials(USER, PASSWORD)]
        {
            for classic in [false, true] {
                let begin = Instant::now();
                let text = refused_for_good(builder.clone().classic(classic));
                assert!(text.contains("the server wants TLS: `memcache+tls://` in the URL"), "{text}");
                assert!(begin.elapsed() < WITHIN / 2, "{:?}", begin.elapsed());
            }
        }
    }
}

/// Bytes after the last reply of the handshake were not asked for.
#[test]
fn a_handshake_with_something_behind_it_is_refused() {
    let reply = b"STAT pid 1\r\nSTAT version 1.6.18\r\nSTAT time 1700000000\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\nEND\r\n";
    let (error, text) = refused_by(saying(reply, false));
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
}

#[test]
fn what_refuses_is_repeated() {
    for (reply, text) in [
        (&b"ERROR\r\nERROR\r\n"[..], "ERROR"),
        (b"ERROR\r\nCLIENT_ERROR bad stats command\r\n", "CLIENT_ERROR bad stats command"),
        (b"SERVER_ERROR out of order\r\n", "SERVER_ERROR out of order"),
        (b"STAT pid 1\r\nSERVER_ERROR half-way\r\n", "SERVER_ERROR half-way"),
    ] {
        let (error, whole) = refused_by(saying(reply, true));
        assert!(matches!(&error, Error::Backend(_)), "{whole}");
        assert!(error.source().is_some_and(|cause| cause.to_string() == text), "{whole}");
    }
}

#[test]
fn a_server_that_says_nothing_or_half_a_reply_is_waited_for_within_the_limit() {
    for reply in [&b""[..], b"STAT", b"STAT pid 1\r\nSTAT version 1.6.18\r\n"] {
        let (error, text) = refused_by(saying(reply, false));
        assert!(matches!(&error, Error::Timeout(_)) && error.is_transient(), "{text}");
        assert!(text.contains("connecting took longer than 1s (`connect_timeout`)"), "{text}");
        let says_nothing = text.contains("the server took the connection and said nothing: it may be stopped");
        assert_eq!(says_nothing, reply.is_empty(), "{text}");
    }
}

/// Its command line may have several lines, which do not begin like memcached's.
#[test]
fn a_mcrouter_that_goes_down_while_it_tells_its_command_line_is_unavailable() {
    for reply in [
        &b"STAT version 41.0.0 mcrouter\r\nSTAT commandargs --config-str={\n  \"po"[..],
        b"STAT version 41.0.0 mcrouter\r\nSTAT commandargs --config-str={\n  \"pools\": {}\n",
    ] {
        let (error, text) = refused_by(saying(reply, true));
        assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
    }
}

#[test]
fn a_server_that_closes_the_connection_is_unavailable() {
    let closing: [fn(TcpStream) -> io::Result<()>; 2] = [
        |stream| {
            drop(stream);
            Ok(())
        },
        // After half of its reply.
        |mut stream| {
            let _request = stream.read(&mut [0; 1000])?;
            stream.write_all(b"STAT pid 1\r\nSTAT vers")
        },
    ];
    for act in closing {
        let (error, text) = refused_by(act);
        assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
        assert!(text.contains("connecting failed") && error.source().is_some(), "{text}");
    }
}

/// The limit holds for a reply that comes byte by byte, in whole lines, or in a line without an end.
#[test]
fn an_endless_reply_is_cut_off() {
    fn for_ever(reply: &'static [u8], pause: Duration) -> impl Fn(TcpStream) -> io::Result<()> + Clone + Send {
        move |mut stream| {
            loop {
                stream.write_all(reply)?;
                thread::sleep(pause);
            }
        }
    }
    let (error, text) = refused_by(for_ever(b"S", Duration::from_millis(50)));
    // The bytes are not the beginning of a reply, or they take too long.
    assert!(matches!(&error, Error::Timeout(_)), "{text}");
    let (error, text) = refused_by(for_ever(b"STAT a b\r\n", Duration::from_millis(5)));
    assert!(matches!(&error, Error::Timeout(_)), "{text}");
    let (error, text) = refused_by(for_ever(&[b'x'; 4096], Duration::ZERO));
    assert!(matches!(&error, Error::Backend(_)) && text.contains("protocol"), "{text}");
}

/// Received bytes do not extend the limit for connecting, as those of a large value extend that of a response (N1).
#[test]
fn a_fast_endless_reply_is_cut_off() {
    let port = impostor(|mut stream| {
        let lines = b"STAT a b\r\n".repeat(10_000);
        loop {
            stream.write_all(&lines)?;
        }
    });
    let (sender, receiver) = mpsc::channel();
    // Even if the reply is not cut off, this test has to end.
    thread::spawn(move || {
        let result = MemcacheStore::connect(format!("memcache://127.0.0.1:{port}"));
        // The receiver may be gone.
        let _ = sender.send(result);
    });
    let Ok(result) = receiver.recv_timeout(PATIENCE) else { panic!("after {PATIENCE:?} it is still listened to") };
    chain(&result.unwrap_err());
}
