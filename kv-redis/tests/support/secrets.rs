//! A run in which everything fails, in its own process, and a search for the password in everything that it printed.
//!
//! Nothing in here is redis's: kv-memcache uses it, too.

use std::error::Error;
use std::fmt::Debug;
use std::io::{Read, Seek, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

/// A part of every password here. The characters around it may have a meaning in a URL.
pub(crate) const SECRET: &str = "Hu5hW0rd";

/// Passwords as people write them into a URL without encoding them. The secret comes last, which is where a misled parser is.
pub(crate) const CARELESS: [&str; 10] = [
    "Hu5hW0rd",
    "p@ss/Hu5hW0rd",
    "12/Hu5hW0rd",
    "12?Hu5hW0rd",
    "12?protocol=resp3&Hu5hW0rd",
    "12#Hu5hW0rd",
    "12\\Hu5hW0rd",
    "%Hu5hW0rd",
    "[Hu5hW0rd",
    " Hu5hW0rd\n",
];

/// A password with all its bytes percent-encoded, in upper or lower case.
pub(crate) fn encoded(password: &str, in_capitals: bool) -> String {
    let encode = |byte| if in_capitals { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    password.bytes().map(encode).collect::<Vec<_>>().concat()
}

/// Prints everything that is logged, at any level.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("logged: {record:?} {}", record.args());
    }

    fn flush(&self) {}
}

/// The number of failures so far.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// Prints everything about a failure, by `Display`, by `Debug` and by panics. Checks that it failed, and that the error contains these
/// words.
#[track_caller]
pub(crate) fn fails<T: Debug + Send + 'static, E: Error + Send + 'static>(
    way: &str,
    from: &dyn Debug,
    result: Result<T, E>,
    says: &str,
) {
    println!("{way}\n{from:?}\n{from:#?}\n{result:?}\n{result:#?}");
    let error = result.as_ref().err().unwrap_or_else(|| panic!("{way}: it did not fail: {result:?}"));
    let causes = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!("{text}");
    assert!(text.contains(says), "{way}: {text}");
    for error in std::iter::successors(error.source(), |error| (*error).source()) {
        println!("{error:?} {error:#?}");
    }
    let text = error.to_string();
    assert!(thread::spawn(move || panic!("{text}")).join().is_err());
    assert!(thread::spawn(move || result.map(drop).unwrap()).join().is_err());
    FAILED.fetch_add(1, Ordering::SeqCst);
}

/// In the process in which everything fails: runs `fail`, and prints the log.
pub(crate) fn fail_in_every_way(fail: impl FnOnce()) {
    if env::var_os(CHILD).is_none() {
        return;
    }
    log::set_logger(&Printer).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log::trace!("whatever is logged is printed");
    fail();
    println!("{DONE}{}", FAILED.load(Ordering::SeqCst));
}

/// The environment variable that marks the process in which everything fails.
const CHILD: &str = "KV_TEST_FAILS";

const DONE: &str = "ways in which it failed: ";

/// Runs the test of this name in its own process, which calls [`fail_in_every_way`]. Returns everything that it printed.
pub(crate) fn output_of(test: &str) -> String {
    let mut file = tempfile::tempfile().unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LOG", "trace")
        .stdout(file.try_clone().unwrap())
        .stderr(file.try_clone().unwrap())
        .status()
        .unwrap();
    let mut output = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut output).unwrap();
    let output = String::from_utf8_lossy(&output).into_owned();
    // This comes first, because every other message shows the output.
    if let Some(line) = shown_in(&output) {
        panic!("the secret is in: {line}");
    }
    assert!(status.success(), "{status}: {}", end_of(&output));
    // It ran to its end, and there was something to see.
    let failed = output.lines().find_map(|line| line.strip_prefix(DONE)?.parse().ok());
    let count = |text| output.matches(text).count();
    assert_eq!(failed, Some(count("panicked at") / 2), "{}", end_of(&output));
    assert!(failed > Some(0) && count("stack backtrace:") == count("panicked at") && count("logged: Record") > 0);
    output
}

/// The last lines that it printed, without the backtraces, which are long.
fn end_of(output: &str) -> String {
    let is_trace =
        |line: &&str| line.trim_start().starts_with("at ") || line.starts_with([' ', '\t']) && line.contains(": 0x");
    let mut lines = output.lines().rev().filter(|line| !is_trace(line)).take(40).collect::<Vec<_>>();
    lines.reverse();
    lines.join("\n")
}

/// The line that contains the secret in any form: unchanged, in other case, percent-encoded, as the bytes of a `Debug`, in
/// hexadecimal digits, in base64.
fn shown_in(output: &str) -> Option<&str> {
    let bytes = SECRET.as_bytes();
    let lower = SECRET.to_lowercase();
    let hexadecimal = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let in_any_case = [
        lower.clone(),
        hexadecimal.concat(),
        hexadecimal.join(" "),
        hexadecimal.iter().map(|digits| format!("0x{digits}")).collect::<Vec<_>>().join(", "),
        decimal.join(", "),
    ];
    let base64 = (0..3).map(|before| base64_of(bytes, before)).collect::<Vec<_>>();
    let is_in = |line: &&str| {
        let text = line.to_lowercase();
        in_any_case.iter().any(|form| text.contains(form))
            || base64.iter().any(|form| line.contains(form))
            || percent_decoded(line).to_lowercase().contains(&lower)
    };
    // A `Debug` with `#` prints each byte of a list on its own line.
    let on_lines = decimal.iter().map(|byte| format!("{byte},")).collect::<Vec<_>>();
    let numbers = output.split_whitespace().collect::<Vec<_>>();
    let as_lines = numbers.windows(on_lines.len()).any(|some| some.iter().eq(on_lines.iter()));
    output.lines().find(is_in).or_else(|| as_lines.then_some("a list of numbers"))
}

/// The base64 digits that certainly stand for these bytes after this many other bytes, modulo three.
fn base64_of(bytes: &[u8], before: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // The first and the last digits may contain bits of the neighbours.
    let whole = &bytes[(3 - before) % 3..];
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63]))
    };
    whole.chunks_exact(3).flat_map(digits).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => decoded.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => decoded.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A server that answers the first bytes on each connection with this, and closes it. Returns its port.
pub(crate) fn impostor(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // If this fails, the peer is the reason.
            let _ = stream.and_then(|stream| answer_once(stream, &answer));
        }
    });
    port
}

fn answer_once(mut stream: TcpStream, answer: &impl Fn(&[u8]) -> Vec<u8>) -> std::io::Result<()> {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request)?;
    request.truncate(length);
    stream.write_all(&answer(&request))?;
    stream.shutdown(Shutdown::Write)?;
    // Waits until the peer closes, too: closing earlier could send a reset.
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// A port on which nobody listens: it was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Checks that the search finds the secret in each form.
pub(crate) fn the_secret_is_found_in_whatever_form() {
    let list = format!("{:?}", SECRET.as_bytes());
    let lines = format!("{:#?}", SECRET.as_bytes());
    let forms = [
        SECRET,
        "xhu5HW0RDx",
        "u:p%40Hu5hW0rd@h",
        "%48u5%68W%30rd",
        &encoded(SECRET, false),
        &encoded(SECRET, true),
        &list,
        &lines,
        "[0x48, 0x75, 0x35, 0x68, 0x57, 0x30, 0x72, 0x64]",
        "48 75 35 68 57 30 72 64",
        "4875356857307264",
        "SHU1aFcwcmQ=",
        "eEh1NWhXMHJk",
        "eHhIdTVoVzByZA==",
    ];
    for form in forms {
        assert!(shown_in(&format!("before\n{form}\nafter")).is_some(), "{form}");
    }
    for other in ["", "hush", "%48u5", "100% of 72, 117", "%\u{fc}"] {
        assert_eq!(shown_in(other), None);
    }
}
