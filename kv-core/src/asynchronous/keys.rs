//! The stream of a listing.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::StoreFuture;
use crate::{KeyBuf, Keys, Result};

/// The keys of a listing, one by one ([L1 to L4](crate::contract#5-listing)): what [`Keys`](crate::Keys) is to blocking code.
///
/// A listing that fails half-way yields one `Err` and ends. One that has ended stays ended.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use kv_memory::{AsyncKeyValueStoreExt, MemoryStore};
///
/// let store = MemoryStore::new();
/// AsyncKeyValueStoreExt::put(&store, "session:42", "ada").await?;
/// let mut keys = AsyncKeyValueStoreExt::keys(&store, "session:")?;
/// while let Some(key) = keys.next().await {
///     assert_eq!(key?, "session:42");
/// }
/// # Ok::<(), kv_memory::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "a listing is lazy: nothing is read until it is polled"]
pub struct KeyStream<'a>(Option<Pin<Box<dyn Stream<Item = Result<KeyBuf>> + Send + 'a>>>);

impl<'a> KeyStream<'a> {
    /// For authors of backends: makes a listing of a stream. The stream need not stop after an error.
    pub fn new(keys: impl Stream<Item = Result<KeyBuf>> + Send + 'a) -> Self {
        Self(Some(Box::pin(keys)))
    }

    /// For authors of backends: a listing of pages, each of which is read when the keys before it have been taken.
    ///
    /// `read` gets `first` for the first page, and for each other page what the one before returned as the place of the next. `None` ends
    /// the listing, and so does an error. An empty page that has a next one is passed over. [`Keys::pages`](crate::Keys::pages) has an
    /// example.
    pub fn pages<P, F>(first: P, read: F) -> Self
    where
        P: Send + 'a,
        F: FnMut(P) -> StoreFuture<'a, Result<(Vec<KeyBuf>, Option<P>)>> + Send + 'a,
    {
        Self::new(Pages { read: Box::new(read), next: Some(first), reading: None, page: VecDeque::new() })
    }

    /// The distinct parts of these keys, up to and including the first delimiter after `begin` ([L6](crate::contract#5-listing)).
    pub(crate) fn parts(self, delimiter: KeyBuf, begin: usize) -> Self {
        Self::new(Parts { keys: self, delimiter, begin, yielded: HashSet::new() })
    }

    /// The next key; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<KeyBuf>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// All keys.
    ///
    /// # Errors
    /// That of the listing.
    pub async fn collect<C: Default + Extend<KeyBuf>>(mut self) -> Result<C> {
        let mut all = C::default();
        while let Some(key) = self.next().await {
            all.extend([key?]);
        }
        Ok(all)
    }
}

/// The listing of a store that never waits, such as one in memory. Now and then it lets other tasks go first.
impl<'a> From<Keys<'a>> for KeyStream<'a> {
    fn from(keys: Keys<'a>) -> Self {
        Self::new(Ready { keys, in_a_row: 0 })
    }
}

struct Ready<'a> {
    keys: Keys<'a>,
    /// How many keys it has yielded since it last let others go first.
    in_a_row: u32,
}

/// How many keys come in a row at most.
const IN_A_ROW: u32 = 256;

impl Stream for Ready<'_> {
    type Item = Result<KeyBuf>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.in_a_row == IN_A_ROW {
            self.in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.in_a_row += 1;
        Poll::Ready(self.keys.next())
    }
}

impl Stream for KeyStream<'_> {
    type Item = Result<KeyBuf>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(keys) = &mut self.0 else { return Poll::Ready(None) };
        let item = ready!(keys.as_mut().poll_next(context));
        if !matches!(item, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(item)
    }

    /// At least as many keys follow as have been read and not been taken.
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.as_ref().map_or((0, Some(0)), Stream::size_hint)
    }
}

impl fmt::Debug for KeyStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStream").field("ended", &self.0.is_none()).finish()
    }
}

struct Parts<'a> {
    keys: KeyStream<'a>,
    delimiter: KeyBuf,
    begin: usize,
    yielded: HashSet<KeyBuf>,
}

impl Stream for Parts<'_> {
    type Item = Result<KeyBuf>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let item = ready!(Pin::new(&mut self.keys).poll_next(context));
            let Some(Ok(key)) = item else { return Poll::Ready(item) };
            let Some(part) = key.part(&self.delimiter, self.begin) else { return Poll::Ready(Some(Ok(key))) };
            let part = part.to_key_buf();
            if self.yielded.insert(part.clone()) {
                return Poll::Ready(Some(Ok(part)));
            }
        }
    }
}

/// A page and the place of the next one.
type Page<P> = Result<(Vec<KeyBuf>, Option<P>)>;

struct Pages<'a, P> {
    read: Box<dyn FnMut(P) -> StoreFuture<'a, Page<P>> + Send + 'a>,
    next: Option<P>,
    reading: Option<StoreFuture<'a, Page<P>>>,
    page: VecDeque<KeyBuf>,
}

/// Nothing in it is pinned but what is in a box already.
impl<P> Unpin for Pages<'_, P> {}

impl<P> Stream for Pages<'_, P> {
    type Item = Result<KeyBuf>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(key) = this.page.pop_front() {
                return Poll::Ready(Some(Ok(key)));
            }
            let reading = match &mut this.reading {
                Some(reading) => reading,
                none => {
                    let Some(next) = this.next.take() else { return Poll::Ready(None) };
                    none.insert((this.read)(next))
                }
            };
            let page = ready!(Pin::new(reading).poll(context));
            this.reading = None;
            match page {
                Ok((keys, next)) => (this.page, this.next) = (keys.into(), next),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.page.len(), None)
    }
}
