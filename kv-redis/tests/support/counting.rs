//! Counts the allocations and system calls of an operation. On a busy machine counts are more reliable than times.
//!
//! For all backends. A test target that includes this file uses the counting allocator.

#![allow(dead_code, reason = "each test target uses a part")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::{env, fs};

/// How often an operation runs before it is counted, so that pools, buffers and tables have the size that they need.
const WARM_UP: usize = 100;

/// How often it runs while it is counted.
pub(crate) const TIMES: usize = 300;

/// One operation in this many may take one allocation or call more, if a buffer has no room left for its reply.
pub(crate) const SELDOM: usize = 50;

/// Fails if an operation takes more than `most` allocations. Those of other threads do not count.
#[track_caller]
pub(crate) fn assert_allocations(what: &str, most: usize, mut act: impl FnMut()) {
    let mut act_often = |times| (0..times).for_each(|_| act());
    act_often(WARM_UP);
    let count = allocation_counter::measure(|| act_often(TIMES)).count_total;
    println!("{what}: {count} allocations in {TIMES} times");
    assert!(
        count <= (most * TIMES + TIMES / SELDOM) as u64,
        "{what}: the allocations went up from {most} each to {count} in {TIMES} times; fix that, or say why in \
        DESIGN.md"
    );
}

/// The environment variable with the argument of the traced process.
const ARGUMENT: &str = "KV_COUNTS_TRACED";

/// A folder that does not exist. Requests for files in it mark the trace before and after what is counted.
const MARK: &str = "/kv-counts-mark/";

/// After this mark nothing is counted.
const END: &str = "end";

/// How often each system call was made, by its name. A receive with `MSG_PEEK` is a `peek`.
pub(crate) type SystemCalls = BTreeMap<String, usize>;

/// The argument of [`trace`], if this is the traced process.
pub(crate) fn traced() -> Option<String> {
    env::var(ARGUMENT).ok()
}

/// In the traced process: runs `act` [`TIMES`] times, after it has warmed up. `what` is its name in the trace.
pub(crate) fn mark(what: &str, mut act: impl FnMut()) {
    let look = |mark: &str| assert!(fs::metadata(format!("{MARK}{mark}")).is_err());
    (0..WARM_UP).for_each(|_| act());
    look(what);
    (0..TIMES).for_each(|_| act());
    look(END);
}

/// Runs a test of this target again, in a new process under strace, with an argument. Returns the system calls of all its threads, by
/// their [mark].
#[track_caller]
pub(crate) fn trace(test: &str, argument: &str) -> BTreeMap<String, SystemCalls> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=all", "-o"]).arg(&file);
    strace.arg(env::current_exe().unwrap()).args(["--exact", test, "--test-threads=1", "--nocapture"]);
    let output = strace.env(ARGUMENT, argument).output().unwrap_or_else(|error| {
        panic!("system calls are counted by strace, which does not start: {error} (Debian: apt-get install strace)")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("ptrace"),
        "system calls are counted by strace, which is not permitted to trace: {said}\
        (docker: --cap-add=SYS_PTRACE; else see /proc/sys/kernel/yama/ptrace_scope)"
    );
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the test {test} fails where it is traced: {told}{said}");
    let calls = counted(&fs::read_to_string(file).unwrap());
    assert!(!calls.is_empty(), "the test {test} marks nothing where it is traced: {told}{said}");
    calls
}

/// Fails unless each operation makes exactly these system calls. On a busy machine a connection may have been idle, so that an operation
/// checks it and its process first (`peek`, `getpid`); but not each time.
#[track_caller]
pub(crate) fn assert_system_calls(what: &str, calls: &SystemCalls, each_time: &[&str]) {
    println!("{what}: {calls:?} in {TIMES} times");
    for (name, &count) in calls {
        let most = match name.as_str() {
            name if each_time.contains(&name) => TIMES + TIMES / SELDOM,
            "peek" | "getpid" => TIMES / 2,
            _ => 0,
        };
        assert!(
            count <= most,
            "{what}: the system call {name} went up to {count} in {TIMES} times, at most {most} are allowed; fix that, or \
            say why in DESIGN.md: {calls:?}"
        );
    }
    for name in each_time {
        assert!(
            calls.get(*name).is_some_and(|&count| count >= TIMES),
            "{what}: {name} is not called each time: {calls:?}"
        );
    }
}

/// Counts the calls between the marks in a trace. A line is `4711 recvfrom(3, "+OK\r\n", 16384, 0, NULL, NULL) = 5`.
fn counted(trace: &str) -> BTreeMap<String, SystemCalls> {
    let (mut all, mut counted) = (BTreeMap::new(), END);
    for line in trace.lines() {
        // A line without a call is about a signal, or about the end of a call that another thread interrupted.
        let Some((name, arguments)) = line.split_once('(') else { continue };
        let Some(name) = name.split(' ').next_back().filter(|name| !name.contains(['.', '>', '-'])) else { continue };
        if let Some((_, mark)) = arguments.split_once(MARK) {
            counted = mark.split('"').next().unwrap();
            if counted != END {
                all.insert(counted.to_owned(), SystemCalls::new());
            }
        } else if let Some(calls) = all.get_mut(counted) {
            let name = if arguments.contains("MSG_PEEK") { "peek" } else { name };
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    all
}
