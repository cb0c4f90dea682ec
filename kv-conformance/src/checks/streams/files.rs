//! Section 8: values to writers, and files.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};

use kv_core::KeyValueStoreExt;

use super::{is_io, is_not_found};
use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OPERATIONS, act, acts};
use crate::property::values;
use crate::running::{Context, NotPassed, Outcome, expect, expect_bytes, expect_eq, expect_error};

checks![
    s3_a_value_is_written_to_a_writer,
    s3_everything_works_inside_the_writer,
    s4_files_go_in_and_out,
    s4_what_cannot_be_written_or_read_leaves_everything_as_it_was,
];

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
            expect_bytes(format_args!("what get_into wrote of {size} bytes"), &written, &value)?;
            let file = tempfile::NamedTempFile::new().map_err(NotPassed::failed)?;
            let buffered = io::BufWriter::new(file.reopen().map_err(NotPassed::failed)?);
            store.get_into("k", buffered)?;
            let in_file = fs::read(file.path()).map_err(NotPassed::failed)?;
            expect_bytes("what get_into wrote to a file through a buffer", in_file, value)?;
        }
        let error = expect_error("get_into a writer that fails", store.get_into("k", Full(10)), "Io", is_io)?;
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        expect_eq("the cause of that", cause.as_deref(), Some("the writer's own error"))?;
        let mut written = Vec::new();
        expect_error("get_into of an absent key", store.get_into("absent", &mut written), "NotFound", is_not_found)?;
        expect_eq("what get_into wrote of an absent key", written, Vec::<u8>::new())
    })
}

/// A writer that does something before it takes a byte.
struct Busy<'a> {
    act: &'a dyn Fn() -> Outcome,
    /// What came of it.
    done: &'a RefCell<Option<Outcome>>,
}

impl Write for Busy<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.done.borrow_mut().get_or_insert_with(|| (self.act)());
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a value to a writer that does with the store, before it takes the first byte, everything that the store can do: one thing for
/// each writer. A store that holds a lock while the caller's code runs hangs here.
pub fn s3_everything_works_inside_the_writer() -> Check {
    about(&["S3"]).run(|context| {
        let (store, value) = (context.store(), values::patterned(context.size(100_000)));
        store.put("k", &value)?;
        for (n, what) in context.sample(acts(context), OPERATIONS + 1).into_iter().enumerate() {
            let when = "inside the writer that get_into writes to";
            let (done, act) = (RefCell::new(None), || act(context, store, what, &format!("{n}/"), b"v", when));
            let written = store.get_into("k", Busy { act: &act, done: &done });
            done.into_inner().unwrap_or(Ok(()))?;
            expect(format_args!("get_into a writer that does a {what}"), written, value.len() as u64)?;
        }
        overwritten_inside(context, &value)
    })
}

/// The value that is written may be overwritten meanwhile.
fn overwritten_inside(context: &Context<'_>, value: &[u8]) -> Outcome {
    let store = context.store();
    let done = RefCell::new(None);
    let act = || expect("put of the key whose value is being written by get_into", store.put("k", "new"), ());
    let written = store.get_into("k", Busy { act: &act, done: &done });
    done.into_inner().unwrap_or(Ok(()))?;
    expect("get_into a writer that overwrites the entry", written, value.len() as u64)?;
    expect("get after that", store.get("k"), Some("new".into()))
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
            expect_bytes(format_args!("what get_file wrote of {size} bytes"), written, value)?;
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
