//! Steps that write: what they have to come to, and what is there then.

use std::fmt::Debug;
use std::io::{self, Read};
use std::time::Duration;

use kv_core::{Bytes, Error, KeyBuf, KeyValueStore, KeyValueStoreExt, Ttl, Value};

use super::{Model, Run};
use crate::model::pools::{Content, Expires};
use crate::model::state::{During, Entry, Possible};
use crate::model::step::{Write, text};
use crate::property::values::part_of_pattern;
use crate::running::{Expiry, Outcome, show_error};

/// How many bytes more than the store takes are tried, to learn what it takes for a key.
const BEYOND: u64 = 4096;

/// What a write has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    Yes,
    TooLarge(u64),
    TooLong,
    /// The longest TTL became shorter meanwhile.
    Perhaps,
}

/// A write with what its value and its TTL are in this store.
pub(super) struct Resolved {
    pub(super) key: KeyBuf,
    pub(super) value: Bytes,
    pub(super) ttl: Ttl,
    pub(super) fits: Fits,
    pub(super) is_owned: bool,
    /// The TTL with the default of the store, if it is not for ever.
    pub(super) given: Option<Duration>,
    /// The longest TTL that the store takes.
    pub(super) longest: Duration,
    /// By how much another one may be told.
    pub(super) tolerance: Duration,
    /// What the store calls itself.
    pub(super) store: String,
}

impl Resolved {
    /// The value, handed over or lent.
    pub(super) fn value(&self) -> Value<'_> {
        if self.is_owned { self.value.clone().into() } else { (&*self.value).into() }
    }
}

impl Model<'_> {
    /// Finds out what a write is in this store.
    pub(super) fn resolve(&mut self, run: &Run<'_>, write: &Write) -> Outcome<Resolved> {
        let capabilities = run.store.capabilities();
        let key = write.key.clone();
        let (value, limit) = match (&write.value, capabilities.largest_value()) {
            (Content::Bytes(bytes), _) => (bytes.clone(), None),
            (Content::AtLimit(_), None) => (Bytes::new(), None),
            (Content::AtLimit(more), Some(largest)) => {
                let limit = self.limit(run, &key, largest)?;
                let size = usize::try_from(limit.saturating_add_signed(*more)).unwrap_or_default();
                (part_of_pattern(0, size), Some(limit))
            }
        };
        let longest = capabilities.longest_ttl();
        let ttl = write.expires.ttl(longest);
        let fits = match limit {
            Some(limit) if value.len() as u64 > limit => Fits::TooLarge(limit),
            _ => self.ttl_fits(ttl, longest),
        };
        let (given, store) = (ttl.or_default(self.default_ttl), run.store.name().to_owned());
        Ok(Resolved {
            key,
            value,
            ttl,
            fits,
            is_owned: write.is_owned,
            given,
            longest,
            tolerance: self.tolerance(),
            store,
        })
    }

    /// By how much an error may tell another longest TTL than the store does: it may end at a date, by the clock of each of several servers.
    pub(super) fn tolerance(&self) -> Duration {
        const CLOCKS: Duration = Duration::from_secs(60);
        if self.context.time.is_advanced_by_hand() { Duration::ZERO } else { CLOCKS }
    }

    /// Whether a TTL can be expressed, in a store whose longest one is this, or becomes shorter.
    pub(super) fn ttl_fits(&self, ttl: Ttl, longest: Duration) -> Fits {
        match ttl.or_default(self.default_ttl) {
            Some(ttl) if ttl > longest => Fits::TooLong,
            // A date comes nearer while the operation is under way.
            Some(ttl)
                if !self.context.time.is_advanced_by_hand()
                    && longest < Duration::MAX
                    && longest.saturating_sub(ttl) < Duration::from_secs(1) =>
            {
                Fits::Perhaps
            }
            _ => Fits::Yes,
        }
    }

    /// The largest value that the store takes for this key, which one that is too large for any tells.
    pub(super) fn limit(&mut self, run: &Run<'_>, key: &KeyBuf, largest: u64) -> Outcome<u64> {
        let size = largest.saturating_add(BEYOND);
        let value = part_of_pattern(0, usize::try_from(size).unwrap_or(usize::MAX));
        let (result, before, after) =
            run.handles.time.span(|| run.store.put_with_ttl(key, value.clone(), Ttl::Forever));
        match result {
            Err(Error::ValueTooLarge { limit, size: told, key: named, .. })
                if limit >= largest && limit < size && told == size && named == *key =>
            {
                Ok(limit)
            }
            // It takes more for some keys.
            Ok(()) => {
                let entry = Entry { value, expiry: None };
                self.state.set(key, Possible::entry(Some(entry)), During { before, after });
                Ok(size)
            }
            Err(error) => {
                let want = format!(
                    "put of {size} bytes says ValueTooLarge with the key, this size, and a limit of {largest} bytes or more (V3)"
                );
                let found = self.found(run, &want, &show_error(&error));
                Err(found.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_))))
            }
        }
    }

    /// Writes one entry, in whatever way.
    pub(super) fn put(
        &mut self,
        run: &Run<'_>,
        write: &Resolved,
        put: impl FnOnce(&dyn KeyValueStore, &Resolved) -> Result<(), Error>,
    ) -> Outcome {
        let (result, during) = run.during(|store| put(store, write));
        if self.expect_fits(run, write, result)?.is_some() {
            self.write(write, during);
        }
        Ok(())
    }

    /// A write has worked if it fits, or else was refused with the right error.
    pub(super) fn expect_fits<T: Debug>(
        &self,
        run: &Run<'_>,
        write: &Resolved,
        result: Result<T, Error>,
    ) -> Outcome<Option<T>> {
        match (write.fits, result) {
            (Fits::Yes | Fits::Perhaps, Ok(got)) => Ok(Some(got)),
            (fits, Err(error)) if fits.explains(&error, write) => Ok(None),
            (Fits::TooLarge(limit), got) => {
                let want = format!(
                    "ValueTooLarge for {}, with the limit of {limit} bytes, and nothing changed (V3)",
                    text(&write.key)
                );
                self.unexpected(run, &want, got)
            }
            (Fits::TooLong, got) => {
                let want = format!(
                    "InvalidTtl for {}, with this TTL and the longest, and nothing changed (T4)",
                    text(&write.key)
                );
                self.unexpected(run, &want, got)
            }
            (Fits::Yes | Fits::Perhaps, Err(error)) => self.unexpected::<()>(run, "it works", Err(error)).map(|_| None),
        }
    }

    pub(super) fn put_from_failing(&mut self, run: &Run<'_>, write: &Write, after: usize) -> Outcome {
        let write = self.resolve(run, write)?;
        let part = write.value.slice(..after.min(write.value.len()));
        let reader = Portions { of: &part, portion: 8192, fails: true };
        let (result, _) = run.during(|store| store.put_from_with_ttl(&write.key, reader, write.ttl));
        match result {
            Err(Error::Io { key, .. }) if key == write.key => Ok(()),
            // The TTL may be looked at first.
            Err(error) if write.fits.explains(&error, &write) => Ok(()),
            got => self.unexpected(run, "Io, with the key, and nothing changed (S2)", got).map(drop),
        }
    }

    pub(super) fn put_many(&mut self, run: &Run<'_>, writes: &[Write]) -> Outcome {
        let writes = writes.iter().map(|write| self.resolve(run, write)).collect::<Outcome<Vec<_>>>()?;
        let entries = writes.iter().map(|write| (&write.key, write.value(), write.ttl));
        let (result, during) = run.during(|store| store.put_many_with_ttl(entries));
        let has_misfit = writes.iter().any(|write| !matches!(write.fits, Fits::Yes | Fits::Perhaps));
        match result {
            Ok(()) if has_misfit => {
                self.wrong(run, "an error that names an entry that does not fit (V3, T4)", &"success")
            }
            Ok(()) => {
                for write in &writes {
                    self.write(write, during);
                }
                Ok(())
            }
            Err(error) if writes.iter().any(|write| write.fits.explains(&error, write)) => {
                // Of the others some may have been written (B5).
                for write in writes.iter().filter(|write| matches!(write.fits, Fits::Yes | Fits::Perhaps)) {
                    let old = self.state.at(&write.key);
                    let new = self.written(write, during);
                    self.state.set(&write.key, old.or(new), during);
                    // Whether they hold is not known.
                    self.versions.remove(&write.key);
                }
                Ok(())
            }
            Err(error) => {
                let want =
                    if has_misfit { "an error that names an entry that does not fit (V3, T4)" } else { "it works" };
                self.unexpected::<()>(run, want, Err(error)).map(drop)
            }
        }
    }

    pub(super) fn create(
        &mut self,
        run: &Run<'_>,
        write: &Write,
        create: impl FnOnce(&dyn KeyValueStore, &Resolved) -> Result<bool, Error>,
    ) -> Outcome {
        let write = self.resolve(run, write)?;
        let (result, during) = run.during(|store| create(store, &write));
        // Where there is an entry, what is wrong with the other one need not be looked at.
        let is_live = self.state.at(&write.key).is_live(during) != Some(false);
        if let (Ok(false), true) = (&result, is_live) {
            return self.see(run, &write.key, true, &false, during);
        }
        let Some(created) = self.expect_fits(run, &write, result)? else { return Ok(()) };
        self.see(run, &write.key, !created, &created, during)?;
        if created {
            self.write(&write, during);
        }
        Ok(())
    }

    /// A write of a TTL alone.
    pub(super) fn resolve_ttl(&self, run: &Run<'_>, key: &KeyBuf, expires: Expires) -> Resolved {
        let longest = run.store.capabilities().longest_ttl();
        let ttl = expires.ttl(longest);
        Resolved {
            key: key.clone(),
            value: Bytes::new(),
            ttl,
            fits: self.ttl_fits(ttl, longest),
            is_owned: false,
            given: ttl.or_default(self.default_ttl),
            longest,
            tolerance: self.tolerance(),
            store: run.store.name().to_owned(),
        }
    }

    /// Sets a TTL: what does it says whether there was an entry, and perhaps its value.
    pub(super) fn touch(
        &mut self,
        run: &Run<'_>,
        key: &KeyBuf,
        expires: Expires,
        touch: impl FnOnce(&dyn KeyValueStore, Ttl) -> Result<Option<Option<Bytes>>, Error>,
    ) -> Outcome {
        let write = self.resolve_ttl(run, key, expires);
        let given = write.given;
        let (result, during) = run.during(|store| touch(store, write.ttl));
        // Where there is no entry, the TTL need not be looked at.
        let is_absent = self.state.at(key).is_live(during) != Some(true);
        if let (Ok(None), true) = (&result, is_absent) {
            return self.see(run, key, false, &false, during);
        }
        let Some(touched) = self.expect_fits(run, &write, result)? else { return Ok(()) };
        if let Some(Some(value)) = &touched {
            self.see_value(run, key, Some(value.clone()), during)?;
        }
        self.see(run, key, touched.is_some(), &touched.is_some(), during)?;
        if touched.is_some() {
            let expiry = given.map(|ttl| Expiry::of(ttl, during.before, during.after, self.resolution));
            let touched = |entry: Entry| (given != Some(Duration::ZERO)).then_some(Entry { expiry, ..entry });
            let possible = self.state.at(key).map(touched);
            self.state.set_ttl(key, possible, during);
        }
        Ok(())
    }

    /// What is there when a write has worked.
    pub(super) fn written(&self, write: &Resolved, during: During) -> Possible {
        let ttl = write.ttl.or_default(self.default_ttl);
        let expiry = ttl.map(|ttl| Expiry::of(ttl, during.before, during.after, self.resolution));
        let entry = Entry { value: write.value.clone(), expiry };
        Possible::entry((ttl != Some(Duration::ZERO)).then_some(entry))
    }

    pub(super) fn write(&mut self, write: &Resolved, during: During) {
        let written = self.written(write, during);
        self.state.set(&write.key, written, during);
    }
}

impl Fits {
    /// Whether this error says what does not fit, and says it right.
    pub(super) fn explains(self, error: &Error, write: &Resolved) -> bool {
        if error.store() != Some(&write.store) || error.key() != Some(&write.key) {
            return false;
        }
        match (self, error) {
            // Of a stream, no more need have been read.
            (Self::TooLarge(want), Error::ValueTooLarge { limit, size, .. }) => {
                *limit == want && (want + 1..=write.value.len() as u64).contains(size)
            }
            // Whichever is looked at first.
            (Self::TooLong | Self::Perhaps | Self::TooLarge(_), Error::InvalidTtl { ttl, longest, .. }) => {
                let is_same = write.longest.abs_diff(*longest) <= write.tolerance;
                write.given == Some(*ttl) && longest < ttl && is_same
            }
            _ => false,
        }
    }
}

/// A reader of portions.
pub(super) struct Portions<'a> {
    pub(super) of: &'a [u8],
    pub(super) portion: usize,
    /// Whether it fails at the end.
    pub(super) fails: bool,
}

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fails && self.of.is_empty() && !buffer.is_empty() {
            return Err(io::Error::other("the reader fails"));
        }
        let count = buffer.len().min(self.portion);
        let mut part = self.of.get(..count).unwrap_or(self.of);
        let read = part.read(buffer)?;
        self.of = self.of.get(read..).unwrap_or_default();
        Ok(read)
    }
}
