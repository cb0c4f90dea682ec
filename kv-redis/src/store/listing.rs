//! Listing keys, page by page.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::vec;

use kv_core::{Error, Failure, Key, KeyBuf, Result};

use crate::protocol::info::RunId;

use super::client::{Client, Target};
use super::now;
use super::scan::{BEGINNING, Fetched, Scan};
use crate::protocol::page::Page;
use crate::protocol::pattern;
#[cfg(feature = "cluster")]
use crate::servers::cluster::assignment::SlotAssignment;

/// The keys with a prefix, page by page.
pub(super) struct Listing<'a> {
    client: &'a Client,
    prefix: String,
    /// The pattern for the server: namespace and prefix, escaped, and a star.
    pattern: Option<Vec<u8>>,
    /// What is left to list, beginning with the current target: a server, or each primary of a cluster.
    targets: VecDeque<Target>,
    /// How the slots were assigned when the listing began; compared at its end.
    #[cfg(feature = "cluster")]
    assignment: Option<SlotAssignment>,
    /// The cursor of the next page of this target; `None` if there is no page left.
    cursor: Option<Vec<u8>>,
    /// The page before it, if the types of its names are not known: the next request asks for them.
    untyped: Option<Page>,
    /// Whether the server is known to have all keys, and not to be one node of a cluster.
    is_whole: bool,
    /// The server process that gave the cursor. In another process the cursor means nothing.
    run_id: Option<RunId>,
    /// A page that was received. Its keys are made while the server works on the next one.
    ahead: Option<Page>,
    seen: Seen,
    /// The error that follows the last page.
    failed: Option<Error>,
}

impl<'a> Listing<'a> {
    pub(super) async fn new(client: &'a Client, prefix: &str) -> Result<Self> {
        let literal = format!("{}{prefix}", client.namespace());
        let pattern = (!literal.is_empty()).then(|| pattern::of_prefix(literal.as_bytes()));
        let targets = client.listing_targets().await?;
        Ok(Self {
            client,
            prefix: prefix.to_owned(),
            pattern,
            #[cfg(feature = "cluster")]
            assignment: targets.assignment,
            cursor: Some(BEGINNING.to_vec()),
            untyped: None,
            is_whole: targets.targets.iter().all(Target::may_move),
            targets: targets.targets,
            run_id: None,
            ahead: None,
            seen: Seen::default(),
            failed: None,
        })
    }

    /// Fetches the next page, and meanwhile makes the keys of the page before it, which it returns. `None` at the end.
    pub(super) async fn next_page(&mut self) -> Result<Option<Vec<KeyBuf>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.targets.is_empty() && self.ahead.is_none() {
            return self.end().await.map(|()| None);
        }
        let ahead = self.ahead.take().unwrap_or_default();
        let (namespace, prefix, seen) = (self.client.namespace().as_bytes(), &self.prefix, &mut self.seen);
        let mut page = Vec::with_capacity(ahead.names().len());
        let mut make_keys = || {
            seen.reserve(ahead.names().len());
            page.extend(ahead.names().filter_map(|name| {
                let key = Key::try_from(name.strip_prefix(namespace)?).ok().filter(|key| key.starts_with(&**prefix))?;
                seen.is_new(key).then(|| key.to_key_buf())
            }));
        };
        let Some(target) = self.targets.front() else {
            make_keys();
            return Ok(Some(page));
        };
        let scan = Scan {
            target,
            cursor: self.cursor.as_deref(),
            pattern: self.pattern.as_deref(),
            count: self.client.page_size(),
            untyped: self.untyped.take(),
        };
        let fetched = scan.fetch(self.client, &mut self.is_whole, Box::new(make_keys)).await;
        // The page before it is complete, so its keys come first.
        self.failed = fetched.and_then(|fetched| self.take(fetched)).err();
        Ok(Some(page))
    }

    /// Takes over what was fetched.
    fn take(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { cursor, strings, untyped, run_id } = fetched;
        if *self.run_id.get_or_insert(run_id) != run_id {
            return Err(self.error("the server was restarted or replaced while it was listed; list again"));
        }
        self.ahead = Some(strings);
        self.untyped = untyped;
        self.cursor = cursor;
        if self.cursor.is_none() && self.untyped.is_none() {
            self.cursor = Some(BEGINNING.to_vec());
            self.run_id = None;
            self.targets.pop_front();
        }
        Ok(())
    }

    /// The end of the listing: checks that it is complete.
    async fn end(&mut self) -> Result<()> {
        #[cfg(feature = "cluster")]
        if let Some(assignment) = self.assignment.take()
            && !self.client.is_unchanged(&assignment).await?
        {
            return Err(self.error("slots of the cluster moved to other nodes while it was listed; list again"));
        }
        Ok(())
    }

    fn error(&self, message: &'static str) -> Error {
        Error::Unavailable(Failure::new(self.client.label(), message))
    }
}

/// The keys of a listing, one by one, for a store whose connections block.
pub(super) struct KeysOfPages<'a> {
    /// `None` if it has ended.
    listing: Option<Listing<'a>>,
    page: vec::IntoIter<KeyBuf>,
}

impl<'a> KeysOfPages<'a> {
    pub(super) fn new(listing: Listing<'a>) -> Self {
        Self { listing: Some(listing), page: Vec::new().into_iter() }
    }
}

impl Iterator for KeysOfPages<'_> {
    type Item = Result<KeyBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            match now(self.listing.as_mut()?.next_page()) {
                Ok(Some(page)) => self.page = page.into_iter(),
                Ok(None) => self.listing = None,
                Err(error) => {
                    self.listing = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The keys that were yielded, as hashes of 128 bits: a server may return a key more than once (L1). Two of a billion keys have the same
/// hash, so that the second is lost, once in 10²⁰ listings.
#[derive(Default)]
struct Seen {
    first: RandomState,
    second: RandomState,
    hashes: HashSet<(u64, u64), BuildHasherDefault<PrecomputedHash>>,
}

impl Seen {
    fn reserve(&mut self, more: usize) {
        self.hashes.reserve(more);
    }

    fn is_new(&mut self, key: Key<'_>) -> bool {
        self.hashes.insert((self.first.hash_one(key), self.second.hash_one(key)))
    }
}

/// The hash of a hash: its first half.
#[derive(Default)]
struct PrecomputedHash(Option<u64>);

impl Hasher for PrecomputedHash {
    fn write_u64(&mut self, number: u64) {
        self.0.get_or_insert(number);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn finish(&self) -> u64 {
        self.0.unwrap_or_default()
    }
}
