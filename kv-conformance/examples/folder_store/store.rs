//! A whole store: each entry is a file in a folder. It keeps the contract, and opts out of section 12 only.
//!
//! - The name of a file is `=` and the key, with a space in place of each `/`. No two keys share a name if the file system distinguishes
//!   upper and lower case. The longest name has 251 bytes; 255 are allowed. Files with other names do not belong to the store.
//! - A file begins with the time at which the entry expires, in nanoseconds since 1970 by the computer's clock: 8 bytes, little endian.
//!   The value follows. An expired entry keeps its file until its key is written or removed, or a listing meets it.
//! - No file is ever changed. A new one is written, synced, and renamed over the old one, and then the folder is synced. On Linux the
//!   files of a batch are synced by `syncfs`, which also writes what other programs left in that file system.
//! - A change, such as a whole batch, waits for a lock (`flock`) that other processes respect. So does a listing while it collects all keys
//!   in memory, because tmpfs hides files that are replaced while a folder is read. No other reader waits.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kv_core::{
    Bytes, Capabilities, Capability, Error, Failure, Key, KeyBuf, KeyValueStore, Prefix, Remaining, Result, Ttl, Value,
};

/// The expiry of an entry that never expires. Expiry is the time since 1970.
const NEVER: Duration = Duration::from_nanos(u64::MAX);
/// The longest TTL, a hundred years: until the year 2454 such an expiry can be stored.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A store of files in a folder.
#[derive(Debug)]
pub(crate) struct FolderStore {
    folder: PathBuf,
    default_ttl: Option<Duration>,
}

impl FolderStore {
    /// The store in a folder, which has to exist. Any number of stores may be open on the same folder.
    pub(crate) fn open(folder: impl AsRef<Path>, default_ttl: Option<Duration>) -> io::Result<Self> {
        Ok(Self { folder: folder.as_ref().canonicalize()?, default_ttl })
    }

    fn failure(&self, what: &str, key: Option<Key<'_>>, cause: io::Error) -> Failure {
        let failure = Failure::new(self.name(), format!("{what} failed")).caused_by(cause);
        if let Some(key) = key { failure.at(key) } else { failure }
    }

    /// Runs something that changes nothing if it fails.
    fn attempt<T>(&self, what: &str, key: Option<Key<'_>>, run: impl FnOnce() -> io::Result<T>) -> Result<T> {
        run().map_err(|cause| Error::Backend(self.failure(what, key, cause)))
    }

    /// The lock. Dropping the file releases it. Each lock opens the file again, so that threads wait for each other, too.
    fn lock(&self, key: Option<Key<'_>>) -> Result<File> {
        let folder = self.attempt("opening the folder", key, || File::open(&self.folder))?;
        let lock = || rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive);
        self.attempt("locking the folder", key, || Ok(rustix::io::retry_on_intr(lock)?)).map(|()| folder)
    }

    /// Changes files under the lock, and syncs the folder to the disk. If that fails, the outcome is unknown.
    fn change<T>(&self, what: &str, key: Option<Key<'_>>, run: impl FnOnce() -> io::Result<T>) -> Result<T> {
        let folder = self.lock(key)?;
        let done = run().and_then(|done| folder.sync_all().map(|()| done));
        done.map_err(|cause| Error::Backend(self.failure(what, key, cause).with_unknown_outcome()))
    }

    fn path(&self, key: Key<'_>) -> PathBuf {
        self.folder.join(format!("={}", key.replace('/', " ")))
    }

    /// When an entry with this TTL expires, counted from now. With a zero TTL it has already expired, whatever the clock says.
    fn expires_at(&self, key: Key<'_>, ttl: Ttl) -> Result<Duration> {
        match ttl.or_default(self.default_ttl) {
            None => Ok(NEVER),
            Some(Duration::ZERO) => Ok(Duration::ZERO),
            Some(ttl) if ttl > LONGEST => Err(Error::invalid_ttl(self.name(), key, ttl, LONGEST)),
            Some(ttl) => Ok(now().saturating_add(ttl)),
        }
    }

    /// The expiry of a live entry, and its file, positioned at the value.
    fn live(&self, key: Key<'_>) -> io::Result<Option<(Duration, File)>> {
        let mut file = match File::open(self.path(key)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut expiry = [0; 8];
        file.read_exact(&mut expiry)?;
        let expiry = Duration::from_nanos(u64::from_le_bytes(expiry));
        Ok((now() < expiry).then_some((expiry, file)))
    }

    /// A temporary file. It vanishes unless it is put in place.
    fn new_file(&self, expiry: Duration, mut value: impl Read, sync: bool) -> io::Result<tempfile::TempPath> {
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(&self.folder)?;
        file.write_all(&u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX).to_le_bytes())?;
        io::copy(&mut value, file.as_file_mut())?;
        sync.then(|| file.as_file().sync_all()).transpose()?;
        Ok(file.into_temp_path())
    }

    /// Writes a live entry again, to another key or with another expiry. Returns whether there was one.
    fn put_again(&self, from: Key<'_>, to: Key<'_>, new_expiry: Option<Duration>) -> Result<bool> {
        self.change("writing anew", Some(from), || {
            let Some((expiry, value)) = self.live(from)? else { return Ok(false) };
            Ok(self.new_file(new_expiry.unwrap_or(expiry), value, true)?.persist(self.path(to)).map(|()| true)?)
        })
    }

    /// Removes an entry, or only an expired one. Returns whether it was live.
    fn unlink(&self, key: Key<'_>, live_too: bool) -> io::Result<bool> {
        let (live, file) = (self.live(key)?.is_some(), self.path(key));
        let unwanted = file.try_exists()? && (live_too || !live);
        if unwanted { fs::remove_file(file).map(|()| live) } else { Ok(live) }
    }
}

impl KeyValueStore for FolderStore {
    fn name(&self) -> &str {
        self.folder.to_str().unwrap_or("a folder")
    }

    fn capabilities(&self) -> Capabilities {
        use Capability::{Contains, Copy, Create, Listing, Touch, TtlReading, Ttls};
        let all = [Listing, Contains, Create, Ttls, TtlReading, Touch, Copy];
        Capabilities::builder().with_all(&all).longest_ttl(LONGEST).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let Some((_, mut file)) = self.attempt("reading", Some(key), || self.live(key))? else { return Ok(None) };
        let mut value = Vec::new();
        self.attempt("reading", Some(key), || file.read_to_end(&mut value))?;
        Ok(Some(value.into()))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let new = |expiry| self.attempt("writing", Some(key), || self.new_file(expiry, value.as_bytes(), true));
        let file = self.expires_at(key, ttl).and_then(new)?;
        self.change("writing", Some(key), || Ok(file.persist(self.path(key))?))
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let expiry = self.expires_at(key, ttl)?;
        self.change("creating", Some(key), || match self.live(key)? {
            None => Ok(self.new_file(expiry, value.as_bytes(), true)?.persist(self.path(key)).map(|()| true)?),
            Some(_) => Ok(false),
        })
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.change("removing", Some(key), || self.unlink(key, true))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let (now, live) = (now(), self.attempt("reading", Some(key), || self.live(key))?);
        Ok(live.map(
            |(expiry, _)| if expiry == NEVER { Remaining::Forever } else { Remaining::For(expiry.saturating_sub(now)) },
        ))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.put_again(key, key, Some(self.expires_at(key, ttl)?))
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<kv_core::Keys<'_>> {
        let read = || fs::read_dir(&self.folder)?.collect::<io::Result<Vec<_>>>();
        let files = self.lock(None).and_then(|_lock| self.attempt("listing", None, read))?;
        let files = files.iter().filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()));
        let key = |name: &str| KeyBuf::new(name.strip_prefix('=')?.replace(' ', "/")).ok();
        let keys = files.filter_map(|file| key(file.file_name().to_str()?)).filter(|key| key.starts_with(&*prefix));
        let live = |key: KeyBuf| {
            let sweep = || self.change("removing", Some(key.as_key()), || self.unlink(key.as_key(), false));
            Ok((self.expiry(key.as_key())?.is_some() || sweep()?).then_some(key))
        };
        Ok(kv_core::Keys::new(keys.collect::<Vec<_>>().into_iter().filter_map(move |key| live(key).transpose())))
    }

    #[cfg(target_os = "linux")] // Other systems use the default, which writes one entry after the other.
    fn write_many(&self, entries: Vec<kv_core::Entry<'_>>) -> Result<()> {
        let mut files = Vec::with_capacity(entries.len());
        for kv_core::Entry { key, value, ttl, .. } in &entries {
            let expiry = self.expires_at(*key, *ttl)?;
            let new_file = || Ok((self.new_file(expiry, value.as_bytes(), false)?, self.path(*key)));
            files.push(self.attempt("writing", Some(*key), new_file)?);
        }
        self.attempt("syncing", None, || Ok(rustix::fs::syncfs(File::open(&self.folder)?)?))?;
        self.change("writing", None, || files.into_iter().try_for_each(|(file, path)| Ok(file.persist(path)?)))
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        self.change("removing", None, || keys.iter().map(|&key| self.unlink(key, true)).collect())
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        if self.put_again(from, to, None)? { Ok(()) } else { Err(Error::not_found(self.name(), from)) }
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.change("renaming", Some(from), || match self.live(from)? {
            Some(_) => fs::rename(self.path(from), self.path(to)).map(Ok),
            None => Ok(Err(Error::not_found(self.name(), from))),
        })?
    }
}

/// The computer's time, since 1970.
fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
