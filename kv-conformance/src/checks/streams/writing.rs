//! Section 8, S2: a value that is read from a reader.

use std::cell::RefCell;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kv_core::{Capability, KeyValueStore, KeyValueStoreExt};

use super::is_io;
use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OPERATIONS, OldEntry, act, acts, listed};
use crate::property::values;
use crate::running::{Context, NotPassed, Outcome, expect, expect_bytes, expect_eq, expect_error};

checks![
    s2_all_that_a_reader_gives_is_stored,
    s2_a_failing_reader_stores_nothing,
    s2_a_failing_reader_leaves_no_key_behind,
    s2_a_reader_may_use_the_store,
    s2_everything_works_inside_the_reader,
    s2_a_reader_that_panics_harms_nothing,
];

/// A reader that gives its bytes one by one, is interrupted now and then, and may fail at the end.
struct Reluctant<'a> {
    rest: &'a [u8],
    reads: usize,
    fails: bool,
}

impl Read for Reluctant<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.rest.split_first(), buffer.first_mut()) {
            (Some((byte, rest)), Some(place)) => {
                *place = *byte;
                self.rest = rest;
                Ok(1)
            }
            (None, _) if self.fails => Err(io::Error::other("the reader's own error")),
            _ => Ok(0),
        }
    }
}

/// Stores from readers that yield nothing, much, or one byte at a time, with interruptions, which are not errors.
pub fn s2_all_that_a_reader_gives_is_stored() -> Check {
    about(&["S2", "V1"]).run(|context| {
        let store = context.store();
        for size in [0, 1, context.size(5000), context.size(100_000)] {
            let value = values::patterned(size);
            expect(format_args!("put_from of {size} bytes"), store.put_from("k", value.as_slice()), ())?;
            expect(format_args!("get after put_from of {size} bytes"), store.get("k"), Some(value.clone().into()))?;
            let reluctant = Reluctant { rest: &value, reads: 0, fails: false };
            expect("put_from of a reader of one byte at a time", store.put_from("slow", reluctant), ())?;
            expect("get after that", store.get("slow"), Some(value.into()))?;
        }
        Ok(())
    })
}

/// Stores from a reader that fails at its beginning and after some bytes, to an absent and to a present key. The error has to be `Io` with
/// the reader's error as its cause. Nothing may be stored, and an old entry has to stay with its TTL.
pub fn s2_a_failing_reader_stores_nothing() -> Check {
    about(&["S2", "E1", "E2"]).run(|context| {
        let store = context.store();
        let old = OldEntry::put(context, "k")?;
        for size in [0, 1, context.size(3000), context.size(200_000)] {
            let given = values::patterned(size);
            for key in ["k", "absent"] {
                let reader = Reluctant { rest: &given, reads: 0, fails: true };
                let what = format!("put_from({key:?}) of a reader that fails after {size} bytes");
                let error = expect_error(&what, store.put_from(key, reader), "Io", is_io)?;
                expect_eq(format_args!("the key in the error of {what}"), error.key(), Some(key))?;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                expect_eq(
                    format_args!("the cause of the error of {what}"),
                    cause.as_deref(),
                    Some("the reader's own error"),
                )?;
                old.expect_unchanged(context, &format!("after {what}"))?;
                expect(format_args!("get of an absent key after {what}"), store.get("absent"), None)?;
            }
        }
        Ok(())
    })
}

/// Stores from readers that fail after few and after many bytes, and lists: only old keys may be listed.
pub fn s2_a_failing_reader_leaves_no_key_behind() -> Check {
    about(&["S2", "L1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        store.put("k", "old")?;
        for size in [1, context.size(200_000)] {
            let given = values::patterned(size);
            for key in ["k", "absent"] {
                let reader = Reluctant { rest: &given, reads: 0, fails: true };
                expect_error(format_args!("put_from({key:?})"), store.put_from(key, reader), "Io", is_io)?;
                let what = format!("keys(\"\") after put_from({key:?}) of a reader that fails after {size} bytes");
                expect(what, listed(context, ""), vec!["k".to_owned()])?;
            }
        }
        Ok(())
    })
}

/// A reader that reads from the store and writes to it before it yields a byte.
struct StoreUsingReader<'a> {
    store: &'a dyn KeyValueStore,
    left: u8,
}

impl Read for StoreUsingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((place, left)) = buffer.first_mut().zip(self.left.checked_sub(1)) else { return Ok(0) };
        self.left = left;
        let seen = self.store.get("k").map_err(io::Error::other)?;
        self.store.put("seen", seen.unwrap_or_default()).map_err(io::Error::other)?;
        *place = b'0' + left;
        Ok(1)
    }
}

/// Stores from readers that use the store themselves: one of another value, one of the same, one that reads and writes as it goes.
/// A store that holds a lock while the caller's code runs hangs here.
pub fn s2_a_reader_may_use_the_store() -> Check {
    about(&["S2", "P1"]).run(|context| {
        let store = context.store();
        let value = values::patterned(context.size(20_000));
        store.put("from", &value)?;
        for to in ["to", "from"] {
            let what = format!("put_from({to:?}) of what open(\"from\") gives");
            expect(&what, store.put_from(to, store.open("from")?), ())?;
            expect(format_args!("get after {what}"), store.get(to), Some(value.clone().into()))?;
        }
        store.put("k", "old")?;
        let curious = StoreUsingReader { store, left: 3 };
        expect("put_from of a reader that uses the store", store.put_from("k", curious), ())?;
        expect("get after that", store.get("k"), Some("210".into()))?;
        expect("get of what the reader wrote, which is what was there before", store.get("seen"), Some("old".into()))
    })
}

/// A reader that does something before its first byte, in the middle, and before it says that it is at its end.
struct Busy<'a> {
    rest: &'a [u8],
    /// How many bytes are left when something is done.
    moments: Vec<usize>,
    act: &'a dyn Fn(usize) -> Outcome,
    /// What came of it, if something is wrong.
    wrong: &'a RefCell<Option<NotPassed>>,
}

impl Read for Busy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(at) = self.moments.iter().position(|left| self.rest.len() <= *left) {
            self.moments.remove(at);
            if let Err(wrong) = (self.act)(self.moments.len()) {
                self.wrong.borrow_mut().get_or_insert(wrong);
                return Err(io::Error::other("something is wrong inside the reader"));
            }
        }
        let few = buffer.len().min(1000);
        self.rest.read(buffer.get_mut(..few).unwrap_or_default())
    }
}

/// Stores from readers that do with the store everything that it can do: one thing for each reader, before its first byte, in the middle and
/// at its end. A store that holds a lock, or the only connection, while the caller's code runs hangs here.
pub fn s2_everything_works_inside_the_reader() -> Check {
    about(&["S2"]).run(|context| {
        let (store, value) = (context.store(), values::patterned(context.size(100_000)));
        for (n, what) in context.sample(acts(context), 3 * OPERATIONS + 2).into_iter().enumerate() {
            let when = "inside the reader that put_from reads from";
            let act = |at: usize| act(context, store, what, &format!("{n}/{at}/"), b"v", when);
            put_from_busy(context, "k", &value, &act, &format!("a {what}"))?;
        }
        // The key that is being written, in every way.
        let other = |_: usize| -> Outcome {
            expect("put of the key that put_from writes", store.put("same", "inner"), ())?;
            expect("put_from of the key that put_from writes", store.put_from("same", &b"inner too"[..]), ())?;
            expect("get of the key that put_from writes", store.get("same"), Some("inner too".into()))?;
            expect("delete of the key that put_from writes", store.delete("same"), true)
        };
        put_from_busy(context, "same", &value, &other, "a put, a put_from, a get and a delete of the same key")
    })
}

fn put_from_busy(
    context: &Context<'_>,
    key: &str,
    value: &[u8],
    act: &dyn Fn(usize) -> Outcome,
    what: &str,
) -> Outcome {
    let (store, wrong) = (context.store(), RefCell::new(None));
    let moments = vec![value.len(), value.len() / 2, 0];
    let stored = store.put_from(key, Busy { rest: value, moments, act, wrong: &wrong });
    if let Some(wrong) = wrong.into_inner() {
        return Err(wrong);
    }
    expect(format_args!("put_from of a reader that does {what}"), stored, ())?;
    let got = store.get(key)?.unwrap_or_default();
    expect_bytes(format_args!("get after put_from of a reader that does {what}"), got, value)
}

/// A reader that panics, without the message that a panic prints.
struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        resume_unwind(Box::new("the reader's own panic"))
    }
}

/// Stores from readers that panic, as the caller's code may: nothing may be stored, and the store has to work afterwards.
pub fn s2_a_reader_that_panics_harms_nothing() -> Check {
    about(&["S2", "E4"]).run(|context| {
        let store = context.store();
        let old = OldEntry::put(context, "k")?;
        for key in ["k", "absent"] {
            let put = || store.put_from(key, b"a part".chain(Panicking));
            let stored = matches!(catch_unwind(AssertUnwindSafe(put)), Ok(Ok(())));
            expect_eq("whether put_from of a reader that panics says that it stored", stored, false)?;
            old.expect_unchanged(context, "after put_from of a reader that panics")?;
            expect("get of an absent key after put_from of a reader that panics", store.get("absent"), None)?;
        }
        store.put("k", "new")?;
        expect("get after put after all this", store.get("k"), Some("new".into()))?;
        expect("put_from after all this", store.put_from("k", &b"newer"[..]), ())?;
        expect("get after that", store.get("k"), Some("newer".into()))
    })
}
