//! Histories: what several threads did to a key at the same time, and whether any order of it explains what they saw.
//!
//! A store is **linearizable** if each operation takes effect at one moment between its call and its return: then there is
//! one order of all operations, true to the clock, in which a plain map would have answered the same. That is what clauses
//! P1 to P4, D1 and T6 come to where several threads use a store at once. A history is linearizable if that of each key by itself
//! is (Herlihy and Wing, [*Linearizability: A Correctness Condition for Concurrent Objects*][hw], 1990), so each key is
//! checked by itself.
//!
//! A [`Recorder`] gives each thread a [`Recording`], which passes operations on to a store and writes down when they began, when
//! they returned and what the store said; [`History::of`] makes histories of that, one for each key; [`History::check`] looks
//! for an order. If there is none it gives a [`Contradiction`]: the least part of the history that proves it, for a person to
//! read.
//!
//! ```
//! use kv_conformance::history::{History, Recorder};
//! use kv_core::key;
//! use kv_memory::MemoryStore;
//!
//! let (store, recorder) = (MemoryStore::new(), Recorder::new());
//! let recordings = std::thread::scope(|scope| {
//!     let threads = [(); 4].map(|()| {
//!         let mut thread = recorder.thread(&store);
//!         scope.spawn(move || {
//!             for _ in 0..5 {
//!                 let value = thread.fresh_value();
//!                 thread.put(key!("k"), value)?;
//!                 thread.delete(key!("k"))?;
//!                 thread.get(key!("k"))?;
//!             }
//!             Ok::<_, kv_core::Error>(thread)
//!         })
//!     });
//!     threads.map(|thread| thread.join().unwrap())
//! });
//! let recordings = recordings.into_iter().collect::<Result<Vec<_>, _>>()?;
//! for history in History::of(recordings) {
//!     history.check(&[]).unwrap_or_else(|contradiction| panic!("{contradiction}"));
//! }
//! # Ok::<(), kv_core::Error>(())
//! ```
//!
//! # What is recorded of which operation
//!
//! | operations | as |
//! |---|---|
//! | `put`, `put_from`, `put_many`, all with or without a TTL; a `copy` or `rename` of what is known | [`Put`](Action::Put) |
//! | `create`, `create_versioned` | [`Create`](Action::Create) |
//! | `delete`, `delete_many` | [`Delete`](Action::Delete) |
//! | `touch` | [`Touch`](Action::Touch) |
//! | `put_if` | [`PutIf`](Action::PutIf) |
//! | `delete_if` | [`DeleteIf`](Action::DeleteIf) |
//! | `take` | [`Take`](Action::Take) |
//! | `get_and_touch` | [`GetAndTouch`](Action::GetAndTouch) |
//! | `increment` | [`Increment`](Action::Increment) |
//! | `get`, `get_into`, `get_many`, `get_each`, `get_versioned`, `open` with all of the reading; a `copy` whose result is read | [`Get`](Action::Get) |
//! | `contains`; for each key that a listing may have, whether it was listed | [`Contains`](Action::Contains) |
//! | `ttl` | [`Ttl`](Action::Ttl) |
//! | a `copy` or `rename` of what is not known, to this key | [`CopiedHere`](Action::CopiedHere) |
//! | a `rename` of this key to another one | [`RenamedAway`](Action::RenamedAway) |
//!
//! A key holds a value with a TTL. What `ttl` tells has to be of a TTL that the entry was given: a store that mixes the value of one
//! write with the TTL of another is found where the TTLs of writes differ. Entries are taken not to expire during a
//! recording.
//!
//! A store that promises less says so with a [`Weakness`].
//!
//! [hw]: https://doi.org/10.1145/78969.78972

mod contradiction;
mod copied;
pub(crate) mod counters;
mod operation;
mod reads;
mod recorder;
mod recording;
mod search;
mod shown;
mod step;
mod ttls;
mod weakness;

use std::time::Duration;

use kv_core::{KeyBuf, Ttl};

pub use contradiction::Contradiction;
pub use operation::{Action, Held, Operation};
pub use recorder::Recorder;
pub use recording::Recording;
pub use weakness::Weakness;

use search::Search;

/// What a key may hold before the first operation of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Start {
    /// A value, or nothing.
    pub held: Held,
    /// The TTL of the entry, if it is known.
    pub ttl: Option<Ttl>,
}

/// With a TTL that is not known.
impl From<Held> for Start {
    fn from(held: Held) -> Self {
        Self { held, ttl: None }
    }
}

/// What was done to one key, in the order of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    key: KeyBuf,
    /// What the key may hold before the first operation.
    at_first: Vec<Start>,
    operations: Vec<Operation>,
    ttl_tolerance: Duration,
}

impl History {
    /// A history of a key that holds nothing before the first operation. The operations may come in any order.
    pub fn new(key: KeyBuf, operations: impl IntoIterator<Item = Operation>) -> Self {
        let mut operations = operations.into_iter().collect::<Vec<_>>();
        operations.sort_by_key(|operation| operation.began);
        Self { key, at_first: vec![Start::default()], operations, ttl_tolerance: Duration::ZERO }
    }

    /// The histories of all keys that were used, in the order of the keys.
    pub fn of<'s>(recordings: impl IntoIterator<Item = Recording<'s>>) -> Vec<Self> {
        copied::histories(recordings)
    }

    /// The same history of a key that held one of these before, it is not known which.
    #[must_use]
    pub fn starting_with(mut self, at_first: impl IntoIterator<Item = impl Into<Start>>) -> Self {
        self.at_first = at_first.into_iter().map(Into::into).collect();
        self
    }

    /// The same of a store whose TTLs are told with this error, up or down. Without, they are exact.
    #[must_use]
    pub fn ttl_tolerance(mut self, tolerance: Duration) -> Self {
        self.ttl_tolerance = tolerance;
        self
    }

    /// The key.
    pub fn key(&self) -> &KeyBuf {
        &self.key
    }

    /// What the key may hold before the first operation.
    pub fn at_first(&self) -> &[Start] {
        &self.at_first
    }

    /// The operations, in the order of the calls.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Looks for an order of the operations that explains all answers, in a store that has these weaknesses.
    ///
    /// The search is exact. Its time grows with the length of the history, and exponentially with the number of writes that run at the same
    /// time. For about ten threads on a key it is short.
    ///
    /// # Errors
    /// There is no such order. The error has the smallest part of the history that proves it.
    pub fn check(&self, weaknesses: &[Weakness]) -> Result<(), Box<Contradiction>> {
        if !weaknesses.contains(&Weakness::StaleReads) {
            return self.check_order(weaknesses);
        }
        if let Some(contradiction) = self.impossible_read(weaknesses) {
            return Err(Box::new(contradiction));
        }
        let writes = self.operations.iter().filter(|operation| !operation.action.is_read());
        Self { operations: writes.cloned().collect(), ..self.clone() }.check_order(weaknesses)
    }

    fn check_order(&self, weaknesses: &[Weakness]) -> Result<(), Box<Contradiction>> {
        match Search::of(self, weaknesses).fails_at {
            None => Ok(()),
            Some(at) => Err(Box::new(Contradiction::new(self, at, weaknesses))),
        }
    }
}
