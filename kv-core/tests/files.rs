//! `get_file` replaces a file as a whole, for every kind of file.

#![cfg(unix)]

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::sync::Mutex;

use kv_core::{
    Bytes, Capabilities, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value, ValueReader, key,
};
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
fn a_link_to_nothing_is_followed_too() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    symlink("target", &link).unwrap();
    store().get_file("k", &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"new");
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    store().get_file("k", &path).unwrap();
    store().get_file("k", &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    store().get_file("k", "/dev/null").unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_path_without_a_folder_is_in_the_working_folder() {
    let name = format!("kv-core-relative-{}", std::process::id());
    let written = store().get_file("k", &name);
    let content = fs::read(&name);
    let _ = fs::remove_file(&name);
    written.unwrap();
    assert_eq!(content.unwrap(), b"new");
}

/// A stream that fails after so many bytes.
struct FailsAfter(usize);

impl io::Read for FailsAfter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the connection was lost"));
        }
        let count = self.0.min(buffer.len());
        self.0 -= count;
        Ok(count)
    }
}

impl io::Seek for FailsAfter {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

/// A store that returns one stream.
#[derive(Debug)]
struct Streaming(Mutex<Option<ValueReader>>);

fn streaming(stream: impl io::Read + io::Seek + Send + 'static) -> Streaming {
    Streaming(Mutex::new(Some(ValueReader::new(stream))))
}

impl KeyValueStore for Streaming {
    fn name(&self) -> &'static str {
        "far"
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
        Ok(self.0.lock().ok().and_then(|mut reader| reader.take()))
    }
}

#[test]
fn a_value_that_fails_half_way_leaves_the_old_file_whole_and_no_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let error = streaming(FailsAfter(100_000)).get_file("k", &path).unwrap_err();
    // It is the store's stream that failed, not the caller's file.
    assert!(matches!(error, Error::Backend(_)) && error.store() == Some("far"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let _ = streaming(FailsAfter(100_000)).get_file("k", folder.path().join("new")).unwrap_err();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
}

#[test]
fn a_stream_passes_on_the_backend_s_own_error() {
    #[derive(Debug)]
    struct Lost;

    impl io::Read for Lost {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::Unavailable(Failure::new("far", "the connection was lost"))))
        }
    }

    impl io::Seek for Lost {
        fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }

    let error = streaming(Lost).get_into("k", Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.is_transient(), "{error}");
}
