//! The iterator of a listing.

use std::fmt;
use std::iter::FusedIterator;

use crate::{KeyBuf, Result};

/// The keys of a listing, one by one ([L1 to L4](crate::contract#5-listing)).
///
/// Yields each key as `Ok`. A listing that fails half-way yields one `Err` and ends, whatever the backend's iterator would
/// yield after it. An iterator that has ended stays ended. So `collect::<Result<Vec<_>>>()` never takes a truncated listing
/// for a whole one.
///
/// ```
/// use kv_core::{KeyBuf, Keys};
///
/// let keys = Keys::new(["a", "b"].into_iter().map(|key| Ok(key.parse::<KeyBuf>()?)));
/// let keys = keys.collect::<kv_core::Result<Vec<_>>>()?;
/// assert_eq!(keys, ["a", "b"]);
/// # Ok::<(), kv_core::Error>(())
/// ```
#[must_use = "a listing is lazy: nothing is read until it is iterated over"]
pub struct Keys<'a>(Option<Box<dyn Iterator<Item = Result<KeyBuf>> + Send + 'a>>);

impl<'a> Keys<'a> {
    /// For authors of backends: makes a listing of an iterator. The iterator need not stop after an error.
    pub fn new(keys: impl Iterator<Item = Result<KeyBuf>> + Send + 'a) -> Self {
        Self(Some(Box::new(keys)))
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<KeyBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.as_mut()?.next();
        if !matches!(item, Some(Ok(_))) {
            self.0 = None;
        }
        item
    }
}

impl FusedIterator for Keys<'_> {}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("ended", &self.0.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, Error};

    #[test]
    fn a_listing_ends_with_its_first_error() {
        let mut calls = 0;
        let mut keys = Keys::new(std::iter::from_fn(|| {
            calls += 1;
            Some(match calls {
                2 => Err(Error::unsupported("s", Capability::Listing)),
                _ => Ok(crate::key!("k").to_key_buf()),
            })
        }));
        assert!(keys.next().unwrap().is_ok());
        assert!(keys.next().unwrap().is_err());
        assert!(keys.next().is_none());
        assert!(keys.next().is_none());
        drop(keys);
        assert_eq!(calls, 2);
    }
}
