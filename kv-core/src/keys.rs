//! The iterator of a listing.

use std::fmt;
use std::iter::{self, FusedIterator};

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

    /// For authors of backends: a listing of pages, each of which is read when the keys before it have been taken.
    ///
    /// `read` gets `first` for the first page, and for each other page what the one before returned as the place of the next: a cursor,
    /// a token, the last key. `None` ends the listing, and so does an error. An empty page that has a next one is passed over.
    ///
    /// ```
    /// use kv_core::{KeyBuf, Keys, Result};
    ///
    /// // A server that lists two names at a time, from a number on.
    /// let names = ["a", "b", "c", "two words", "d"];
    /// let page = move |from: usize| -> Result<(Vec<KeyBuf>, Option<usize>)> {
    ///     let page = names.iter().skip(from).take(2);
    ///     let keys = page.filter_map(|name| KeyBuf::new(name).ok()).collect(); // what is not a key is not ours (L5)
    ///     Ok((keys, (from + 2 < names.len()).then_some(from + 2)))
    /// };
    /// let keys = Keys::pages(0, page).collect::<Result<Vec<_>>>()?;
    /// assert_eq!(keys, ["a", "b", "c", "d"]);
    /// # Ok::<(), kv_core::Error>(())
    /// ```
    pub fn pages<P, I>(first: P, mut read: impl FnMut(P) -> Result<(I, Option<P>)> + Send + 'a) -> Self
    where
        P: Send + 'a,
        I: IntoIterator<Item = KeyBuf>,
        I::IntoIter: Send + 'a,
    {
        let mut next = Some(first);
        let mut page: Option<I::IntoIter> = None;
        Self::new(iter::from_fn(move || {
            loop {
                if let Some(key) = page.as_mut().and_then(Iterator::next) {
                    return Some(Ok(key));
                }
                match read(next.take()?) {
                    Ok((keys, after)) => (page, next) = (Some(keys.into_iter()), after),
                    Err(error) => return Some(Err(error)),
                }
            }
        }))
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
    fn a_page_is_read_when_the_keys_before_it_are_taken() {
        let mut read = Vec::new();
        let key = |text: &str| text.parse::<KeyBuf>().unwrap();
        let keys = Keys::pages(0, |page| {
            read.push(page);
            match page {
                0 => Ok((vec![key("a"), key("b")], Some(1))),
                1 => Ok((vec![], Some(2))),
                2 => Ok((vec![key("c")], Some(3))),
                _ => Err(Error::unsupported("s", Capability::Listing)),
            }
        });
        let listed = keys.map(|key| key.map_or("error".to_owned(), String::from)).collect::<Vec<_>>();
        assert_eq!(listed, ["a", "b", "c", "error"]);
        assert_eq!(read, [0, 1, 2, 3]);

        let mut read = 0;
        let mut keys = Keys::pages((), |()| {
            read += 1;
            Ok((vec![key("a"), key("b")], Some(())))
        });
        assert!(keys.next().is_some() && keys.next().is_some());
        drop(keys);
        assert_eq!(read, 1);
    }

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
