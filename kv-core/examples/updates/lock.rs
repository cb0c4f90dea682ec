//! A lock that expires by itself, and that only its holder renews and releases.

use std::hash::{BuildHasher, RandomState};
use std::process;
use std::time::{Duration, Instant, SystemTime};

use kv_core::{KeyValueStore, KeyValueStoreExt, Result, Ttl, Version};

/// A lock that this process holds until its TTL has passed.
#[derive(Debug)]
pub(crate) struct Lock<'s> {
    store: &'s dyn KeyValueStore,
    key: String,
    token: String,
    version: Version,
    fence: u64,
    ttl: Duration,
    began: Instant,
}

impl<'s> Lock<'s> {
    /// Takes the lock, unless somebody has it. After an error it may be taken until its TTL has passed, and nobody is the holder.
    pub(crate) fn acquire(store: &'s dyn KeyValueStore, name: &str, ttl: Duration) -> Result<Option<Self>> {
        let (key, token) = (format!("lock:{name}"), token());
        let began = Instant::now(); // before the call: the store counts from then on, or from later
        let version = match store.create_versioned(&key, token.as_str(), ttl) {
            // It may have been stored all the same. Then the token is ours.
            Err(error) if error.outcome_unknown() => match store.get_versioned(&key) {
                Ok(Some((holder, version))) if holder == token => Some(version),
                _ => return Err(error),
            },
            result => result?,
        };
        let Some(version) = version else { return Ok(None) };
        let fence = match store.increment(format!("fence:{name}"), 1, Ttl::Forever) {
            Ok(fence) => fence,
            Err(error) => {
                let _ = store.delete_if(&key, &version); // otherwise it expires by itself
                return Err(error);
            }
        };
        let lock = Self { store, key, token, version, fence, ttl, began };
        // If that took longer than the TTL, the next holder may have a smaller number than this one.
        Ok((lock.left() > Duration::ZERO).then_some(lock))
    }

    /// How long the lock is still ours, at least.
    pub(crate) fn left(&self) -> Duration {
        self.ttl.saturating_sub(self.began.elapsed())
    }

    /// The number of this holder. It is greater than those of all holders before.
    pub(crate) fn fence(&self) -> u64 {
        self.fence
    }

    /// Starts the TTL again. `false`: the lock is lost. After an error, [`left`](Self::left) is still right.
    pub(crate) fn renew(&mut self) -> Result<bool> {
        loop {
            let began = Instant::now();
            if let Some(version) = self.store.put_if(&self.key, self.token.as_str(), self.ttl, &self.version)? {
                (self.version, self.began) = (version, began);
                return Ok(true);
            }
            if !self.is_ours()? {
                return Ok(false);
            }
        }
    }

    /// Releases the lock. `false`: it was lost before. After an error it expires by itself.
    pub(crate) fn release(mut self) -> Result<bool> {
        loop {
            if self.store.delete_if(&self.key, &self.version)? {
                return Ok(true);
            }
            if !self.is_ours()? {
                return Ok(false);
            }
        }
    }

    /// Reads the version again: an earlier `renew` whose outcome was unknown may have changed it.
    fn is_ours(&mut self) -> Result<bool> {
        match self.store.get_versioned(&self.key)? {
            Some((holder, version)) if holder == self.token => {
                self.version = version;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A text that no other holder of a lock has.
fn token() -> String {
    format!("{:016x}", RandomState::new().hash_one((process::id(), SystemTime::now())))
}

/// Makes a report, unless somebody else is making it; returns whether it is complete. `save` is the database: it refuses a page with a
/// smaller number than one that it has seen.
pub(crate) fn make_report(
    store: &dyn KeyValueStore,
    pages: impl IntoIterator<Item = String>,
    mut save: impl FnMut(u64, String) -> bool,
) -> Result<bool> {
    let ttl = Duration::from_secs(30);
    let Some(mut lock) = Lock::acquire(store, "report", ttl)? else { return Ok(false) };
    for page in pages {
        if lock.left() < ttl / 2 && !lock.renew()? {
            return Ok(false);
        }
        if !save(lock.fence(), page) {
            return Ok(false);
        }
    }
    if let Err(error) = lock.release() {
        eprintln!("WARN {}", error.report()); // the report is complete, and the lock expires
    }
    Ok(true)
}
