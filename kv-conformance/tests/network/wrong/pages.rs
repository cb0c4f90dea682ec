//! Listings that are wrong in a later page.

use std::collections::VecDeque;
use std::iter;

use kv_core::{Bytes, KeyBuf, Keys, Prefix};

use super::Wrong;
use crate::faults::Fault;
use crate::wire::Field;

/// From which page on it is wrong.
const LATER: usize = 2;

impl Wrong {
    /// A listing that ends or goes on wrongly when a later page fails.
    pub(super) fn list_by_pages(&self, prefix: Prefix<'_>) -> Keys<'_> {
        let prefix = prefix.as_str().to_owned();
        let (mut next, mut before): (Field, Bytes) = (Some(Bytes::new()), Bytes::new());
        let (mut page, mut number, mut is_over) = (VecDeque::new(), 0, false);
        Keys::new(iter::from_fn(move || {
            loop {
                if let Some(key) = page.pop_front().flatten().and_then(|name: Bytes| KeyBuf::try_from(&*name).ok()) {
                    return Some(Ok(key));
                }
                if !page.is_empty() {
                    continue;
                }
                let cursor = next.take().filter(|_| !is_over)?;
                match self.client.page(&prefix, &cursor) {
                    Ok((names, then)) => {
                        (page, next, before) = (names.into(), then, cursor);
                        number += 1;
                    }
                    Err(_) if number >= LATER && self.fault == Fault::ListingEndsAtLaterPage => return None,
                    Err(_) if number >= LATER && !is_over && self.fault == Fault::ListingRepeatsPage => {
                        (next, number) = (Some(before.clone()), 0);
                    }
                    Err(error) => {
                        is_over = true;
                        return Some(Err(error));
                    }
                }
            }
        }))
    }
}
