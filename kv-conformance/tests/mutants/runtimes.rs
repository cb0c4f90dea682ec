//! Stores on an async client: right ones, and those that panic or hang inside the caller's runtime.

use std::fmt;
use std::future::Future;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kv_conformance::{BoxError, Fixture, Suite, Verdict};
use kv_core::{
    Bytes, Capabilities, Entry, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, Version,
};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::checks::RUNTIMES;
use crate::right::{Config, Right};

/// After how long an operation counts as one that hangs.
const HANGS_AFTER: Duration = Duration::from_secs(2);

/// An operation that is done by the async client; all others are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Read,
    Write,
    Create,
    Remove,
    Exists,
    Expiry,
    SetExpiry,
    List,
    NextKey,
    ListPrefixes,
    ReadMany,
    ReadEach,
    WriteMany,
    RemoveMany,
    Copy,
    Rename,
    ReadStream,
    Stream,
    WriteStream,
    Make,
    Reopen,
    Drop,
    All,
}

/// How what is async is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By `Runtime::block_on`, which panics inside any runtime.
    BlockOn,
    /// By `block_in_place`, which panics inside a runtime with one thread.
    InPlace,
    /// By a task of the runtime of the caller, if there is one, which may have no thread but this one.
    OnCallers,
    /// By a task of the runtime in which the store was made, if there was one, which may have ended.
    OnMakers,
    /// On a thread of its own, which runs the runtime, by a channel: right.
    OwnThread,
    /// By a runtime in a drop, which must not be dropped inside another one.
    RuntimeDropped,
}

/// A store on an async client.
struct Async {
    inner: Right,
    op: Op,
    how: How,
    makers: Option<Handle>,
    /// Taken out when the store is dropped.
    runtime: Option<Runtime>,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

impl Async {
    fn new(inner: Right, op: Op, how: How, is_reopened: bool) -> Self {
        let makers = Handle::try_current().ok();
        let store = Self { inner, op, how, makers, runtime: Some(runtime()) };
        store.wait(if is_reopened { Op::Reopen } else { Op::Make });
        store
    }

    /// Waits for the async client, if it is what does this.
    fn wait(&self, op: Op) {
        let is_one = self.op == op || self.op == Op::All && ![Op::Make, Op::Reopen, Op::Drop].contains(&op);
        if is_one && self.how != How::RuntimeDropped {
            wait(self.how, self.makers.as_ref());
        }
    }
}

/// What the async client does.
async fn client() {
    tokio::task::yield_now().await;
}

fn wait(how: How, makers: Option<&Handle>) {
    match how {
        How::BlockOn | How::RuntimeDropped => runtime().block_on(client()),
        How::InPlace => match Handle::try_current() {
            Ok(handle) => tokio::task::block_in_place(|| handle.block_on(client())),
            Err(_) => runtime().block_on(client()),
        },
        How::OnCallers => by_task(Handle::try_current().ok().as_ref(), client()),
        How::OnMakers => by_task(makers, client()),
        How::OwnThread => {
            let (done, is_done) = mpsc::channel();
            thread::spawn(move || {
                runtime().block_on(client());
                done.send(())
            });
            is_done.recv().unwrap();
        }
    }
}

fn by_task(on: Option<&Handle>, client: impl Future<Output = ()> + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let task = async move {
        client.await;
        let _ = done.send(());
    };
    match on {
        Some(handle) => drop(handle.spawn(task)),
        None => drop(thread::spawn(move || runtime().block_on(task))),
    }
    // Longer than any test, and not for ever: the thread is left behind.
    is_done.recv_timeout(Duration::from_secs(60)).expect("the task is done");
}

impl Drop for Async {
    fn drop(&mut self) {
        self.wait(Op::Drop);
        let Some(runtime) = self.runtime.take() else { return };
        match self.how {
            How::RuntimeDropped => drop(runtime),
            _ => runtime.shutdown_background(),
        }
    }
}

impl fmt::Debug for Async {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async").field("op", &self.op).field("how", &self.how).finish_non_exhaustive()
    }
}

impl KeyValueStore for Async {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.wait(Op::Read);
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.wait(Op::Write);
        self.inner.write(key, value, ttl)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.wait(Op::Create);
        self.inner.write_if_absent(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.wait(Op::Remove);
        self.inner.remove(key)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.wait(Op::Exists);
        self.inner.exists(key)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.wait(Op::Expiry);
        self.inner.expiry(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.wait(Op::SetExpiry);
        self.inner.set_expiry(key, ttl)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.wait(Op::List);
        Ok(Keys::new(self.inner.list(prefix)?.inspect(|_| self.wait(Op::NextKey))))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.wait(Op::ListPrefixes);
        self.inner.list_prefixes(delimiter, prefix)
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        self.wait(Op::ReadMany);
        self.inner.read_many(keys)
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        self.wait(Op::ReadEach);
        self.inner.read_each(keys)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        self.wait(Op::WriteMany);
        self.inner.write_many(entries)
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        self.wait(Op::RemoveMany);
        self.inner.remove_many(keys)
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.wait(Op::Copy);
        self.inner.copy_entry(from, to)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.wait(Op::Rename);
        self.inner.rename_entry(from, to)
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        self.wait(Op::ReadStream);
        let how = (self.op == Op::Stream).then_some(self.how);
        Ok(self.inner.read(key)?.map(|value| ValueReader::new(Stream(Cursor::new(value), how))))
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.wait(Op::WriteStream);
        self.inner.write_stream(key, reader, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.inner.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.inner.write_if_absent_versioned(key, value, ttl)
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.inner.write_if_version(key, value, ttl, version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.inner.remove_if_version(key, version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.inner.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.inner.add(key, by, ttl)
    }
}

/// A reader that waits for each piece, if it is what does.
struct Stream(Cursor<Bytes>, Option<How>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(how) = self.1 {
            wait(how, None);
        }
        self.0.read(buffer)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn suite(op: Op, how: How) -> Suite {
    let open = move || -> std::result::Result<Fixture, BoxError> {
        let inner = Right::new(Config::new());
        let (clock, reopened) = (inner.config.clock.clone(), inner.clone());
        let handle = |inner: &Right| Async::new(inner.clone(), op, how, false);
        let fixture = Fixture::new(handle(&inner)).second_handle(handle(&inner));
        let fixture = fixture.clock(move |by| clock.advance(by));
        Ok(fixture.reopen(move || Ok(Async::new(reopened.clone(), op, how, true))))
    };
    Suite::new(format!("{how:?}/{op:?}"), open).hangs_after(HANGS_AFTER)
}

pub(crate) fn trials() -> Vec<Trial> {
    let ops = [
        (Op::Read, "the store panicked in get("),
        (Op::Write, "the store panicked in put("),
        (Op::Create, "the store panicked in create("),
        (Op::Remove, "the store panicked in delete("),
        (Op::Exists, "the store panicked in contains("),
        (Op::Expiry, "the store panicked in ttl("),
        (Op::SetExpiry, "the store panicked in touch("),
        (Op::List, "the store panicked in keys("),
        (Op::NextKey, "the store panicked in the next keys of a listing"),
        (Op::ListPrefixes, "the store panicked in prefixes("),
        (Op::ReadMany, "the store panicked in get_many("),
        (Op::ReadEach, "the store panicked in get_each("),
        (Op::WriteMany, "the store panicked in put_many("),
        (Op::RemoveMany, "the store panicked in delete_many("),
        (Op::Copy, "the store panicked in copy("),
        (Op::Rename, "the store panicked in rename("),
        (Op::ReadStream, "the store panicked in open("),
        (Op::Stream, "the store panicked in reading from a stream"),
        (Op::WriteStream, "the store panicked in put_from("),
        (Op::Make, "the store panicked in making the store"),
        (Op::Reopen, "the store panicked in closing the store and opening it again"),
        (Op::Drop, "the store panicked in dropping the store"),
    ];
    let wrong = |op: Op, how: How, says: &'static [&'static str]| {
        Trial::test(format!("runtimes/{how:?}/{op:?}"), move || reject(op, how, says))
    };
    let mut trials = Vec::from(ops.map(|(op, says)| {
        Trial::test(format!("runtimes/BlockOn/{op:?}"), move || {
            reject(
                op,
                How::BlockOn,
                &[says, ", inside `block_on` of a current-thread runtime of tokio\nexpected: no panic (E4)\n"],
            )
        })
    }));
    trials.push(wrong(Op::All, How::BlockOn, &["the store panicked in get(", "start a runtime from within a runtime"]));
    trials.push(wrong(Op::All, How::InPlace, &["the store panicked in get(", "inside `block_on` of a current-thread"]));
    trials.push(wrong(Op::All, How::OnCallers, &["get(", "inside `block_on` of a current-thread", "it hangs"]));
    trials.push(wrong(Op::All, How::OnMakers, &["inside `block_on` of a current-thread", "it hangs"]));
    trials.push(wrong(Op::List, How::OnCallers, &["keys(", "inside `block_on` of a current-thread", "it hangs"]));
    trials.push(wrong(Op::All, How::RuntimeDropped, &["in dropping the store, inside `block_on` of a current-thread"]));
    trials.push(Trial::test("runtimes/right", || {
        let report = suite(Op::All, How::OwnThread).run_matching(RUNTIMES);
        let ran = report.results.iter().all(|result| result.verdict == Verdict::Passed);
        if ran && report.passed() { Ok(()) } else { Err(report.to_string().into()) }
    }));
    trials
}

/// The check rejects the store, as one that breaks E4, with all of these words.
fn reject(op: Op, how: How, says: &[&str]) -> std::result::Result<(), Failed> {
    let report = suite(op, how).run_matching(RUNTIMES);
    let told = report.failures().any(|failure| {
        let broken = failure.failure.as_ref().map(|failure| failure.broken.concat());
        let Verdict::Failed(message) = &failure.verdict else { return false };
        broken.as_deref() == Some("E4") && says.iter().all(|says| message.contains(says))
    });
    if told { Ok(()) } else { Err(report.to_string().into()) }
}
