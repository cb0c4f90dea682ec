//! Section 8: streams and files.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OldEntry, listed};
use crate::property::values;
use crate::running::{NotPassed, expect, expect_eq, expect_error};

checks![
    s1_an_opened_value_is_read_piece_by_piece_and_anywhere,
    s1_an_opened_value_stays_what_it_was,
    s1_opening_an_absent_key_is_not_found,
    s2_all_that_a_reader_gives_is_stored,
    s2_a_failing_reader_stores_nothing,
    s2_a_failing_reader_leaves_no_key_behind,
    s2_a_reader_may_use_the_store,
    s2_a_reader_that_panics_harms_nothing,
    s3_a_value_is_written_to_a_writer,
    s4_files_go_in_and_out,
    s4_what_cannot_be_written_or_read_leaves_everything_as_it_was,
];

fn is_io(error: &Error) -> bool {
    matches!(error, Error::Io { .. })
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

/// Opens a value and reads it a few bytes at a time, from the end, from the middle, beyond the end.
pub fn s1_an_opened_value_is_read_piece_by_piece_and_anywhere() -> Check {
    about(&["S1", "V1"]).run(|context| {
        let store = context.store();
        let size = context.size(20_000);
        let value = values::patterned(size);
        store.put("k", &value)?;
        let mut reader = store.open("k")?;
        let mut pieces = Vec::<u8>::new();
        let mut piece = [0; 37];
        loop {
            let count = reader.read(&mut piece).map_err(NotPassed::failed)?;
            if count == 0 {
                break;
            }
            pieces.extend(piece.iter().take(count));
        }
        expect_eq("whether the pieces make the value", pieces == value, true)?;
        let length = size as u64;
        let to_start = -i64::try_from(size).map_err(NotPassed::failed)?;
        for (to, want) in [
            (SeekFrom::Start(0), 0),
            (SeekFrom::Start(length - 10), length - 10),
            (SeekFrom::Current(-5), length - 5),
            (SeekFrom::End(to_start), 0),
            (SeekFrom::End(0), length),
            (SeekFrom::Start(length + 10), length + 10),
        ] {
            let from = if matches!(to, SeekFrom::Current(_)) { SeekFrom::End(0) } else { SeekFrom::Start(0) };
            reader.seek(from).map_err(NotPassed::failed)?;
            expect_eq(
                format_args!("the position after seek({to:?})"),
                reader.seek(to).map_err(NotPassed::failed)?,
                want,
            )?;
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map_err(NotPassed::failed)?;
            let from = usize::try_from(want).unwrap_or_default().min(value.len());
            let want = Bytes::copy_from_slice(value.get(from..).unwrap_or_default());
            expect_eq(format_args!("the rest after seek({to:?})"), Bytes::from(rest), want)?;
        }
        let mut reader = store.open("k")?;
        expect_eq("whether a seek before the beginning fails", reader.seek(SeekFrom::Current(-1)).is_err(), true)?;
        store.put("empty", "")?;
        expect_eq(
            "what the reader of an empty value gives",
            io::copy(&mut store.open("empty")?, &mut io::sink()).ok(),
            Some(0),
        )
    })
}

/// Opens a value, reads a part, overwrites and deletes the entry, and reads on: it is the old value still.
pub fn s1_an_opened_value_stays_what_it_was() -> Check {
    about(&["S1", "P3"]).run(|context| {
        let store = context.store();
        let value = values::patterned(context.size(20_000));
        store.put("k", &value)?;
        let mut reader = store.open("k")?;
        let mut first = [0; 100];
        reader.read_exact(&mut first).map_err(NotPassed::failed)?;
        store.put("k", vec![b'!'; value.len()])?;
        store.delete("k")?;
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).map_err(NotPassed::failed)?;
        let read = Bytes::from([&first[..], &rest].concat());
        expect_eq("what was read, in part after the entry was overwritten and deleted", read, Bytes::from(value))
    })
}

/// Opens a key that was never written.
pub fn s1_opening_an_absent_key_is_not_found() -> Check {
    about(&["S1"]).run(|context| {
        let error = expect_error("open of an absent key", context.store().open("absent"), "NotFound", is_not_found)?;
        expect_eq("the key in the error", error.key(), Some("absent"))
    })
}

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

/// A writer that takes some bytes and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the writer's own error"));
        }
        let taken = self.0.min(buffer.len());
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes values to a writer, to a buffered one, to one that fails, and from an absent key, where nothing may be written.
pub fn s3_a_value_is_written_to_a_writer() -> Check {
    about(&["S3", "V1", "E1"]).run(|context| {
        let store = context.store();
        for size in [0, 1, context.size(50_000)] {
            let value = values::patterned(size);
            store.put("k", &value)?;
            let mut written = Vec::new();
            expect(format_args!("get_into of {size} bytes"), store.get_into("k", &mut written), size as u64)?;
            expect_eq("whether that is what was written", written == value, true)?;
            let file = tempfile::NamedTempFile::new().map_err(NotPassed::failed)?;
            let buffered = io::BufWriter::new(file.reopen().map_err(NotPassed::failed)?);
            store.get_into("k", buffered)?;
            let in_file = fs::read(file.path()).map_err(NotPassed::failed)?;
            expect_eq("whether it was flushed through a buffer", in_file == value, true)?;
        }
        let error = expect_error("get_into a writer that fails", store.get_into("k", Full(10)), "Io", is_io)?;
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        expect_eq("the cause of that", cause.as_deref(), Some("the writer's own error"))?;
        let mut written = Vec::new();
        expect_error("get_into of an absent key", store.get_into("absent", &mut written), "NotFound", is_not_found)?;
        expect_eq("what get_into wrote of an absent key", written, Vec::<u8>::new())
    })
}

/// Stores a file, and writes it to a new path and over an old file.
pub fn s4_files_go_in_and_out() -> Check {
    about(&["S4", "V1"]).run(|context| {
        let store = context.store();
        let folder = tempfile::tempdir().map_err(NotPassed::failed)?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for size in [context.size(100_000), 0, 1] {
            let value = values::patterned(size);
            fs::write(&from, &value).map_err(NotPassed::failed)?;
            expect(format_args!("put_file of {size} bytes"), store.put_file("k", &from), ())?;
            expect("get after put_file", store.get("k"), Some(value.clone().into()))?;
            expect("get_file", store.get_file("k", &to), size as u64)?;
            let written = fs::read(&to).map_err(NotPassed::failed)?;
            expect_eq("whether that is what was written", written == value, true)?;
        }
        let left = fs::read_dir(folder.path()).map_err(NotPassed::failed)?.count();
        expect_eq("the number of files in the folder afterwards", left, 2)
    })
}

/// Stores a missing file, and a folder. Writes to a folder, into a missing folder, and from an absent key. Old entries and files have to
/// stay whole, and no new ones may appear.
pub fn s4_what_cannot_be_written_or_read_leaves_everything_as_it_was() -> Check {
    about(&["S4", "E1"]).run(|context| {
        let store = context.store();
        let folder = tempfile::tempdir().map_err(NotPassed::failed)?;
        let old = folder.path().join("old");
        fs::write(&old, "old").map_err(NotPassed::failed)?;
        store.put("k", "old")?;
        for path in [folder.path().join("absent"), folder.path().to_owned()] {
            let what = format!("put_file of {}", path.display());
            let error = expect_error(&what, store.put_file("k", &path), "Io", is_io)?;
            let names_path = error.to_string().contains(&*path.to_string_lossy());
            expect_eq(format_args!("whether the error of {what} names the path"), names_path, true)?;
            expect(format_args!("get after {what}"), store.get("k"), Some("old".into()))?;
        }
        for path in [folder.path().join("absent/file"), folder.path().to_owned()] {
            expect_error(format_args!("get_file to {}", path.display()), store.get_file("k", &path), "Io", is_io)?;
        }
        for path in [&old, &folder.path().join("new")] {
            expect_error("get_file of an absent key", store.get_file("absent", path), "NotFound", is_not_found)?;
        }
        expect_eq("the old file", fs::read(&old).ok(), Some(b"old".to_vec()))?;
        let left = fs::read_dir(folder.path()).map_err(NotPassed::failed)?.count();
        expect_eq("the number of files in the folder afterwards", left, 1)
    })
}
