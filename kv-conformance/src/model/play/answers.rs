//! What the answers of a store show of its keys.

use std::fmt::Debug;

use kv_core::{Bytes, Error, KeyBuf, KeyValueStore, Remaining};

use super::{Model, Run};
use crate::model::state::{During, Entry, Possible};
use crate::model::step::{text, value as shown};
use crate::running::{Expiry, Outcome};

impl Model<'_> {
    pub(super) fn expect_count(&self, run: &Run<'_>, want: usize, got: usize) -> Outcome {
        if want == got { Ok(()) } else { self.wrong(run, &format!("{want} answers"), &got) }
    }

    pub(super) fn see_values(
        &mut self,
        run: &Run<'_>,
        keys: &[KeyBuf],
        got: Vec<Option<Bytes>>,
        during: During,
    ) -> Outcome {
        self.expect_count(run, keys.len(), got.len())?;
        keys.iter().zip(got).try_for_each(|(key, got)| self.see_value(run, key, got, during))
    }

    /// The store has said whether there is an entry.
    pub(super) fn see(
        &mut self,
        run: &Run<'_>,
        key: &KeyBuf,
        is_there: bool,
        got: &dyn Debug,
        during: During,
    ) -> Outcome {
        let left = self.state.at(key).seen(is_there, during);
        self.learn(run, key, left, during, || format!("{got:?}"))
    }

    /// The store has given a value, or none.
    pub(super) fn see_value(&mut self, run: &Run<'_>, key: &KeyBuf, got: Option<Bytes>, during: During) -> Outcome {
        let left = self.state.at(key).seen(got.is_some(), during);
        let left = left.and_then(|left| if let Some(value) = &got { left.holding(value) } else { Some(left) });
        self.learn(run, key, left, during, || got.map_or("None".into(), |value| shown(&value)))
    }

    /// The store has said what is left of a TTL.
    pub(super) fn see_left(&mut self, run: &Run<'_>, key: &KeyBuf, got: Option<Remaining>, during: During) -> Outcome {
        let left = self.state.at(key).seen(got.is_some(), during);
        let left = left.and_then(|left| match got {
            Some(remaining) => left.with_left(remaining, during, self.resolution),
            None => Some(left),
        });
        self.learn(run, key, left, during, || format!("{got:?}"))
    }

    /// An answer of the store leaves this of what is possible, or nothing.
    pub(super) fn learn(
        &mut self,
        run: &Run<'_>,
        key: &KeyBuf,
        left: Option<Possible>,
        during: During,
        got: impl FnOnce() -> String,
    ) -> Outcome {
        if let Some(left) = left {
            self.state.learn(key, left);
            return Ok(());
        }
        let possible = self.state.at(key).described(during, self.resolution);
        self.wrong(run, &format!("at {}: {possible}", text(key)), &got())
    }

    /// The store has said whether there was an entry, and whether it was copied.
    pub(super) fn see_copied(
        &mut self,
        run: &Run<'_>,
        from: &KeyBuf,
        to: &KeyBuf,
        copied: Option<bool>,
        during: During,
    ) -> Outcome {
        let got = if copied.is_some() { "success" } else { "NotFound" };
        self.see(run, from, copied.is_some(), &got, during)?;
        if copied == Some(true) && from != to {
            // A backend may read what remains and write it again, each as exact as it can.
            let took = during.after.saturating_sub(during.before);
            let again = |Expiry { earliest, latest }| Expiry {
                earliest: earliest.saturating_sub(self.resolution),
                latest: latest.saturating_add(self.resolution).saturating_add(took),
            };
            let possible = self.state.at(from).map(|entry| Some(Entry { expiry: entry.expiry.map(again), ..entry }));
            self.state.set(to, possible, during);
        }
        Ok(())
    }
}

/// Whether a copy was made. The value may be too large for the key that it is copied to, if that is longer.
pub(super) fn fits_there(store: &dyn KeyValueStore, to: &KeyBuf, result: Result<(), Error>) -> Result<bool, Error> {
    let largest = store.capabilities().largest_value().unwrap_or(u64::MAX);
    match result {
        Err(Error::ValueTooLarge { key, size, limit, .. }) if key == *to && size > limit && limit >= largest => {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}
