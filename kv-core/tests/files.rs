//! `get_file` replaces a file as a whole, whatever the file is.

#![cfg(unix)]

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use kv_core::{Bytes, Capabilities, Error, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value, ValueReader, key};
use kv_memory::MemoryStore;

fn store() -> MemoryStore {
    MemoryStore::from_iter([(key!("k"), "new")])
}

#[test]
fn an_old_file_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(store().get_file("k", &path).unwrap(), 3);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_link_is_followed_and_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "old").unwrap();
    symlink(&target, &link).unwrap();
    store().get_file("k", &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"new");
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    store().get_file("k", "/dev/null").unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_path_without_a_folder_is_one_in_the_working_folder() {
    let name = format!("kv-core-relative-{}", std::process::id());
    let written = store().get_file("k", &name);
    let content = fs::read(&name);
    let _ = fs::remove_file(&name);
    written.unwrap();
    assert_eq!(content.unwrap(), b"new");
}

/// A store whose values break off while they are read.
#[derive(Debug)]
struct Breaking;

struct BreaksOff(usize);

impl io::Read for BreaksOff {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the connection was lost"));
        }
        let count = self.0.min(buffer.len());
        self.0 -= count;
        Ok(count)
    }
}

impl io::Seek for BreaksOff {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

impl KeyValueStore for Breaking {
    fn name(&self) -> &'static str {
        "breaking"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _: Key<'_>) -> Result<bool> {
        Ok(false)
    }

    fn read_stream(&self, _: Key<'_>) -> Result<Option<ValueReader>> {
        Ok(Some(ValueReader::new(BreaksOff(100_000))))
    }
}

#[test]
fn a_value_that_breaks_off_leaves_the_old_file_whole_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let error = Breaking.get_file("k", &path).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let _ = Breaking.get_file("k", folder.path().join("new")).unwrap_err();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
}
