//! Section 10, N6: faults that are repeated more often than a pool has places.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults).

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::faults::{
    Breaking, ProxiedStore, Stream, caught, check_error, check_transient, expect_undisturbed, in_own_fixtures,
    in_parallel, judge_undisturbed,
};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::{Context, NotPassed, Outcome, expect, expect_that};

checks![n6_after_repeated_faults_everything_works_as_before];

/// How many threads meet a fault at the same time, and how often: together more than a pool has places, several times.
const THREADS: usize = 20;
const ROUNDS: usize = 2;

/// How often a fault is repeated that is met by one operation at a time.
const TIMES: usize = 40;

/// How many keys a batch and a listing have.
const KEYS: usize = 1100;

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NoReply,
    NoReplyInBatch,
    HalfAReply,
    HalfARequest,
    SilentConnection,
    CutConnection,
    Refused,
    Garbled,
    CutReply,
    CutRequest,
    CutBatch,
    CutListing,
    DroppedListing,
    DroppedReader,
    FailingReader,
    PanickingReader,
    FailingWriter,
    PanickingWriter,
}

const ALL: [Fault; 18] = [
    Fault::NoReply,
    Fault::HalfARequest,
    Fault::SilentConnection,
    Fault::HalfAReply,
    Fault::NoReplyInBatch,
    Fault::CutConnection,
    Fault::Refused,
    Fault::Garbled,
    Fault::CutReply,
    Fault::CutRequest,
    Fault::CutBatch,
    Fault::CutListing,
    Fault::DroppedListing,
    Fault::DroppedReader,
    Fault::FailingReader,
    Fault::PanickingReader,
    Fault::FailingWriter,
    Fault::PanickingWriter,
];

/// Repeats each kind of fault more often than a pool has places: operations that get no reply, or half of one, while many others do; requests
/// of which half is read; connections that are silent, cut or refused while they are made; garbled replies; replies, requests, batches and
/// listings that are cut; listings and values that are dropped early; readers and writers that fail or panic in the middle of a value. No connection is
/// cut to make up for it. Then everything has to work again, and as many operations as before have to be possible at the same time.
///
/// Rejects a pool that loses a place with a fault, and a breaker that stays open.
pub fn n6_after_repeated_faults_everything_works_as_before() -> Check {
    about(&["N6", "N2", "L2", "S2", "E1", "E4"]).under_faults().run(|context| {
        ProxiedStore::new(context.fixture())?;
        let faults = ALL.into_iter().filter(|fault| {
            context.has(Capability::Listing) || !matches!(fault, Fault::CutListing | Fault::DroppedListing)
        });
        in_own_fixtures(context, &faults.collect::<Vec<_>>(), |context, proxied, fault| {
            Repeated::new(context, proxied, *fault)?.run()
        })
    })
}

/// A fault that is repeated on a store.
struct Repeated<'a> {
    proxied: &'a ProxiedStore<'a>,
    fault: Fault,
    prefix: String,
    large: Bytes,
    /// So many large values that together they are more than the buffers between store and server take.
    count: usize,
}

/// More bytes than all buffers between store and server take, in most systems.
const TOO_MANY_BYTES: usize = 8 << 20;

/// The size of a large value that is read.
const LARGE: usize = 300_000;

impl<'a> Repeated<'a> {
    fn new(context: &Context<'_>, proxied: &'a ProxiedStore<'a>, fault: Fault) -> Outcome<Self> {
        let prefix = proxied.fresh_prefix();
        let large = Bytes::from(vec![b'v'; context.size(TOO_MANY_BYTES)]);
        let count = TOO_MANY_BYTES.div_ceil(large.len().max(1)).min(32);
        proxied.direct.put(format!("{prefix}large"), vec![b'v'; context.size(LARGE)])?;
        proxied.direct.put_many((0..KEYS).map(|n| (format!("{prefix}{n}"), "v")))?;
        Ok(Self { proxied, fault, prefix, large, count })
    }

    fn key(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.prefix)
    }

    fn run(&self) -> Outcome {
        let Self { proxied, fault, .. } = self;
        proxied.works_again("in the beginning")?;
        let before = most_at_once(proxied, usize::MAX)?;
        for round in 0..ROUNDS {
            match fault {
                Fault::NoReply | Fault::NoReplyInBatch | Fault::HalfAReply | Fault::HalfARequest => self.many_at_once(),
                Fault::SilentConnection => {
                    proxied.proxy.set(Behaviour::Hold);
                    proxied.proxy.cut_now(Cut::Close)?;
                    self.many_at_once()
                }
                _ => self.one_by_one(),
            }?;
            proxied.heal()?;
            let after = format!("after {fault:?}, which was repeated {} times", (round + 1) * THREADS);
            proxied.works_again(&after)?;
            let names = (0..500).map(|n| self.key(format_args!("absent/{n}"))).collect::<Vec<_>>();
            let absent = || proxied.store.get_many(&names).map(|values| values.iter().all(Option::is_none));
            expect_undisturbed(format_args!("whether 500 absent keys are absent (N2), {after}"), absent, true)?;
            if matches!(fault, Fault::FailingReader | Fault::PanickingReader) {
                let keys = (0..TIMES).map(|n| self.key(n)).collect::<Vec<_>>();
                let old = vec![Some(Bytes::from("v")); TIMES];
                let what = format!("the values of keys whose reader failed, so that nothing is stored (S2), {after}");
                expect(what, proxied.direct.get_many(keys), old)?;
            }
        }
        let after = most_at_once(proxied, before)?;
        let what = format!(
            "how many operations were under way at the same time (N6), after {fault:?}, which was repeated {TIMES} times"
        );
        // A machine that does much else may start the threads one after the other.
        expect_that(what, after >= before, &format!("{before}, as before"), after)
            .map_err(|failed| failed.timed_out_if(true))
    }

    /// Lets many threads meet the fault at the same time.
    fn many_at_once(&self) -> Outcome {
        let Self { proxied, fault, .. } = self;
        match fault {
            Fault::NoReply | Fault::NoReplyInBatch => proxied.proxy.set(Behaviour::HoldReplies),
            Fault::HalfAReply => {
                proxied.proxy.set(Behaviour::TruncateEach { of: Direction::Replies, bytes: LARGE / 3 });
            }
            Fault::HalfARequest => {
                proxied.proxy.set(Behaviour::TruncateEach { of: Direction::Requests, bytes: LARGE / 3 });
            }
            _ => {}
        }
        in_parallel(&(0..THREADS).collect::<Vec<_>>(), |number| {
            let (store, what) = (proxied.store, format!("an operation that meets {fault:?}"));
            let key = self.key(number);
            let (result, _) = proxied.timed(|| match fault {
                Fault::NoReplyInBatch if number % 2 == 0 => self.get_many(store),
                Fault::NoReplyInBatch => self.put_many(store),
                Fault::HalfAReply => store.get(self.key("large")).map(drop),
                Fault::HalfARequest if self.count == 1 => store.put(key, &self.large),
                Fault::HalfARequest => {
                    store.put_many((0..self.count).map(|n| (format!("{key}/{n}"), self.large.clone())))
                }
                _ if number % 2 == 0 => store.get(key).map(drop),
                _ => store.put(key, "new"),
            });
            judge(&what, store, result)
        })
    }

    /// Lets one operation after the other meet the fault.
    fn one_by_one(&self) -> Outcome {
        let Self { proxied, fault, .. } = self;
        let (store, proxy) = (proxied.store, proxied.proxy);
        let cut = |of, bytes| Behaviour::CutAfter { cut: Cut::Reset, of, bytes };
        if *fault == Fault::Refused {
            proxy.refuse();
            proxy.cut_now(Cut::Close)?;
        }
        for number in 0..TIMES / ROUNDS {
            let key = self.key(number);
            let what = format!("an operation that meets {fault:?}");
            match fault {
                Fault::CutConnection => {
                    proxy.cut_now(Cut::Close)?;
                    proxy.set(cut(Direction::Replies, 0));
                }
                Fault::Garbled => proxy.set(Behaviour::Garble),
                Fault::CutReply => proxy.set(cut(Direction::Replies, LARGE / 2)),
                Fault::CutRequest => proxy.set(cut(Direction::Requests, LARGE / 2)),
                Fault::CutBatch => proxy.set(cut(Direction::Replies, 20 + number * 300)),
                Fault::CutListing => proxy.set(cut(Direction::Replies, 2000 + number * 300)),
                _ => {}
            }
            let (result, took) = proxied.timed(|| match fault {
                Fault::CutReply => store.get(self.key("large")).map(drop),
                Fault::CutRequest => store.put(key, self.large.slice(..self.large.len().min(LARGE))),
                Fault::CutBatch if number % 3 == 0 => self.put_many(store),
                Fault::CutBatch if number % 3 == 1 => {
                    store.delete_many((0..KEYS).map(|n| self.key(format_args!("other/{n}")))).map(drop)
                }
                Fault::CutBatch => self.get_many(store),
                Fault::CutListing => store.keys(&self.prefix)?.try_for_each(|key| key.map(drop)),
                Fault::DroppedListing => {
                    store.keys(&self.prefix)?.take(1 + number * 20).try_for_each(|key| key.map(drop))
                }
                Fault::DroppedReader => store.open(self.key("large")).map(|mut reader| {
                    // What cannot be read is an error of the stream.
                    let _read = reader.read(&mut [0; 10]);
                }),
                Fault::FailingReader => self.put_from(store, &key, Stream::Fails(50)),
                Fault::PanickingReader => self.put_from(store, &key, Stream::Panics(50)),
                Fault::FailingWriter => self.get_into(store, Stream::Fails(50)),
                Fault::PanickingWriter => self.get_into(store, Stream::Panics(50)),
                _ if number % 2 == 0 => store.get(key).map(drop),
                _ => store.put(key, "new"),
            });
            if *fault == Fault::Garbled {
                // What answers a new connection so is not known to be a server.
                result.or_else(|error| check_error(&what, &error, store.name(), &[]))?;
            } else if fault.is_of_network() {
                judge(&what, store, result)?;
            } else {
                judge_undisturbed(format!("{what}, where nothing is in its way"), without_io(result), took, ())?;
            }
        }
        Ok(())
    }

    fn get_many(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.get_many((0..KEYS).map(|n| self.key(n))).map(drop)
    }

    fn put_many(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put_many((0..KEYS).map(|n| (self.key(n), "v")))
    }

    fn put_from(&self, store: &dyn KeyValueStore, key: &str, from: Stream) -> Result<(), Error> {
        let value = self.large.slice(..self.large.len().min(LARGE * 3));
        caught(|| store.put_from(key, Breaking::of(from, value))).unwrap_or(Ok(()))
    }

    fn get_into(&self, store: &dyn KeyValueStore, to: Stream) -> Result<(), Error> {
        let mut writer = Breaking::after(to, LARGE);
        caught(|| store.get_into(self.key("large"), &mut writer).map(drop)).unwrap_or(Ok(()))
    }
}

impl Fault {
    /// Whether the network does it, not the one who calls the store.
    fn is_of_network(self) -> bool {
        !matches!(
            self,
            Self::DroppedListing
                | Self::DroppedReader
                | Self::FailingReader
                | Self::PanickingReader
                | Self::FailingWriter
                | Self::PanickingWriter
        )
    }
}

/// The reader or the writer has failed, as it had to.
fn without_io(result: Result<(), Error>) -> Result<(), Error> {
    if matches!(result, Err(Error::Io { .. })) { Ok(()) } else { result }
}

/// An operation may work in spite of the fault, or fail as one does that a fault has met.
fn judge(what: &str, store: &dyn KeyValueStore, result: Result<(), Error>) -> Outcome {
    match result {
        Ok(()) | Err(Error::Io { .. }) => Ok(()),
        Err(error) => check_transient(what, &error, store.name(), &[]),
    }
}

/// How often it is looked how many operations are possible at the same time, until they are as many as expected.
const LOOKS: usize = 5;

/// How many connections are in use at the same time while many threads read; it is looked again while they are fewer than expected.
fn most_at_once(proxied: &ProxiedStore<'_>, expected: usize) -> Outcome<usize> {
    let looks = if expected == usize::MAX { 2 } else { LOOKS };
    let mut most = 0;
    for _ in 0..looks {
        if most < expected {
            proxied.proxy.set(Behaviour::Delay(proxied.limit / 50));
            let is_over = AtomicBool::new(false);
            most = most.max(thread::scope(|scope| {
                let seen = scope.spawn(|| {
                    let mut seen = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        seen = seen.max(proxied.proxy.waiting_for_reply());
                        thread::sleep(Duration::from_millis(1));
                    }
                    seen
                });
                let read = in_parallel(&[(); THREADS], |()| {
                    for _ in 0..3 {
                        // It may have waited for the pool for too long.
                        let _failed = proxied.store.get("absent");
                    }
                    Ok(())
                });
                is_over.store(true, Ordering::Relaxed);
                let seen =
                    seen.join().map_err(|_| NotPassed::failed("the thread that looks at the proxy has panicked"));
                read.and(seen)
            })?);
            proxied.heal()?;
        }
    }
    Ok(most)
}
