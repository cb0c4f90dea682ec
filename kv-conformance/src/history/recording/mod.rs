//! What one thread does to a store, and what it says.

mod reads;
mod transfers;
mod updates;
mod writes;

use std::time::{Duration, Instant};

use kv_core::{Bytes, Key, KeyBuf, KeyValueStore, Result, Ttl};

use super::operation::{Action, Operation, letters};

/// What one thread does to a store, and what it says.
///
/// Each method does what that of [`KeyValueStoreExt`](kv_core::KeyValueStoreExt) does, and gives the same result where it does not say
/// otherwise. An operation that failed is written down as follows: if the error says that the [outcome is
/// unknown](kv_core::Error::outcome_unknown), as one that may take effect at any time or never, and so is every entry of a batch that
/// failed, of which a part may have been done (clause B5); else as nothing, since it changed nothing. So a recording can be made in
/// the middle of faults too.
///
/// Operations of a batch count each for itself, and as long as the batch: a batch is not atomic. A batch may name each key once.
#[derive(Debug)]
pub struct Recording<'s> {
    store: &'s dyn KeyValueStore,
    start: Instant,
    thread: usize,
    values: usize,
    default_ttl: Ttl,
    pub(super) ttl_tolerance: Duration,
    pub(super) operations: Vec<Recorded>,
}

/// An operation, and where it was.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) key: KeyBuf,
    pub(super) operation: Operation,
    /// What was copied to the key, if that is not known.
    pub(super) from: Option<KeyBuf>,
}

/// When an operation began and ended.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: Duration,
    ended: Duration,
}

impl<'s> Recording<'s> {
    pub(super) fn new(
        store: &'s dyn KeyValueStore,
        start: Instant,
        thread: usize,
        default_ttl: Ttl,
        ttl_tolerance: Duration,
    ) -> Self {
        Self { store, start, thread, values: 0, default_ttl, ttl_tolerance, operations: Vec::new() }
    }

    /// A value that no other thread of the same recorder has: the letter of this one, and a number.
    pub fn fresh_value(&mut self) -> Bytes {
        self.fresh_value_of(0)
    }

    /// A value as [`fresh_value`](Self::fresh_value) gives it, over and over, of this size or just as long as it has to be. Of a
    /// mixture of two values each piece so tells where it is from.
    ///
    /// ```
    /// use kv_conformance::history::Recorder;
    /// use kv_memory::MemoryStore;
    ///
    /// let store = MemoryStore::new();
    /// let mut thread = Recorder::new().thread(&store);
    /// assert_eq!(thread.fresh_value(), "A1");
    /// assert_eq!(thread.fresh_value_of(10), "A2 A2 A2 A");
    /// ```
    pub fn fresh_value_of(&mut self, size: usize) -> Bytes {
        self.values += 1;
        let label = format!("{}{}", letters(self.thread), self.values);
        if size <= label.len() {
            return label.into();
        }
        let mut value = (label + " ").into_bytes();
        value = value.repeat(size.div_ceil(value.len()));
        value.truncate(size);
        value.into()
    }

    /// A number for a counter. No other thread of the same recorder has it, or reaches it by a few increments.
    ///
    /// ```
    /// use kv_conformance::history::Recorder;
    /// use kv_core::{Ttl, key};
    /// use kv_memory::MemoryStore;
    ///
    /// let store = MemoryStore::new();
    /// let mut thread = Recorder::new().thread(&store);
    /// let counter = thread.fresh_counter();
    /// assert_eq!(counter, "1000");
    /// thread.put(key!("visits"), counter)?;
    /// assert_eq!(thread.increment(key!("visits"), 2, Ttl::Forever)?, Some(1002));
    /// # Ok::<(), kv_core::Error>(())
    /// ```
    pub fn fresh_counter(&mut self) -> Bytes {
        const THREADS: usize = 100;
        const INCREMENTS: usize = 1000;
        let number = self.values * THREADS + self.thread + 1;
        self.values += 1;
        (number * INCREMENTS).to_string().into()
    }

    /// Does something, and tells when it began and ended: nothing else is done in between.
    fn time<T>(&self, action: impl FnOnce(&dyn KeyValueStore) -> T) -> (T, Span) {
        let began = self.start.elapsed();
        let result = action(self.store);
        (result, Span { began, ended: self.start.elapsed() })
    }

    /// Writes down what was done, and what came of it.
    fn push(&mut self, key: Key<'_>, call: &'static str, span: Span, action: Action) {
        self.push_as(key, call, span.began, Some(span.ended), action);
    }

    /// Writes down what may take effect at any time, or never.
    fn push_unanswered(&mut self, key: Key<'_>, call: &'static str, span: Span, action: Action) {
        self.push_as(key, call, span.began, None, action);
    }

    fn push_as(&mut self, key: Key<'_>, call: &'static str, began: Duration, ended: Option<Duration>, action: Action) {
        let operation = Operation::new(self.thread, began, ended, action).called(call);
        self.operations.push(Recorded { key: key.into(), operation, from: None });
    }

    /// Writes down a write of one entry. `action` says what it was if the answer is this one; of one whose outcome is unknown the
    /// answer counts for nothing.
    fn wrote<T: Copy + Default>(
        &mut self,
        key: Key<'_>,
        call: &'static str,
        (result, span): (Result<T>, Span),
        action: impl Fn(T) -> Action,
    ) -> Result<T> {
        match &result {
            Ok(answer) => self.push(key, call, span, action(*answer)),
            Err(error) if error.outcome_unknown() => self.push_unanswered(key, call, span, action(T::default())),
            Err(_) => {}
        }
        result
    }

    /// The TTL that an entry has after a write with this one, as far as that is known.
    fn given(&self, ttl: Ttl) -> Ttl {
        if ttl == Ttl::Default { self.default_ttl } else { ttl }
    }
}
