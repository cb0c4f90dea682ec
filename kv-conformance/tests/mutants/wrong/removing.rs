//! Removing wrongly: `delete`, `delete_many`.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use kv_core::{Key, KeyBuf, KeyValueStore, Result};

use super::{Wrong, between, pause};
use crate::faults::Fault;
use crate::right::own;
use crate::wrong::listing::matches_pattern;

impl Wrong {
    pub(super) fn delete(&self, key: Key<'_>) -> Result<bool> {
        let had_expired = self.expired(key).is_some();
        let there = self.inner.exists_whole(key);
        self.forget(key, there, false);
        match self.fault {
            // Not in other checks, which would take long.
            Fault::ListSkipsAfterRemoved if key.contains("/come") => thread::sleep(Duration::from_millis(1)),
            Fault::DeleteRace if there => {
                pause();
                self.inner.remove(key)?;
                return Ok(true);
            }
            Fault::DeleteLater => {
                let (inner, key) = (self.inner.clone(), KeyBuf::from(key));
                thread::spawn(move || {
                    between();
                    inner.remove(key.as_key())
                });
                return Ok(there);
            }
            Fault::DeleteInTwoSteps if there => {
                let removed = self.inner.remove(key)?;
                pause();
                self.inner.remove(key)?;
                return Ok(removed);
            }
            Fault::DeleteByPrefix => {
                let name = own(&key);
                self.inner.lock().retain(|other, _| *other == name || !other.starts_with(&name));
            }
            Fault::DeleteByPattern => {
                let pattern = own(&key);
                let name = pattern.clone();
                self.inner.lock().retain(|other, _| *other == name || !matches_pattern(&pattern, other));
            }
            _ => {}
        }
        let removed = self.inner.remove(key)?;
        Ok(match self.fault {
            Fault::DeleteAlwaysTrue => true,
            Fault::DeleteAlwaysFalse => false,
            Fault::ExpiredDeleted => removed || had_expired,
            Fault::DeadOfManyDeleted if had_expired => {
                let mut state = self.state();
                state.dead_deleted += 1;
                removed || state.dead_deleted > 10
            }
            _ => removed,
        })
    }

    /// Keeps what the faults need to know of a removal.
    fn forget(&self, key: Key<'_>, there: bool, many: bool) {
        let mut state = self.state();
        if !(self.is(Fault::CacheForgetsPutsAlone) && many) {
            state.cache.remove(key.as_str());
        }
        state.links.remove(key.as_str());
        let kept = match self.fault {
            Fault::DeletedListed | Fault::Tombstones | Fault::ContainsDeleted => !many,
            Fault::DeletedManyListed => many,
            _ => false,
        };
        if kept && there {
            state.deleted.insert(key.into());
        }
    }

    pub(super) fn delete_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let there = keys.iter().map(|&key| self.inner.exists_whole(key)).collect::<Vec<_>>();
        let had_expired = keys.iter().map(|&key| self.expired(key).is_some()).collect::<Vec<_>>();
        for (&key, &there) in keys.iter().zip(&there) {
            self.forget(key, there, true);
        }
        let removed = match self.fault {
            Fault::DeleteManyCutAt65536 => {
                let (removed, forgotten) = keys.split_at(keys.len().min(1 << 16));
                let mut removed = self.inner.remove_many(removed)?;
                removed.extend(forgotten.iter().map(|_| true));
                return Ok(removed);
            }
            Fault::DeleteManyRace => {
                pause();
                self.inner.remove_many(keys)?;
                // Of duplicates the first finds it, as far as this call goes.
                let mut first = BTreeSet::new();
                return Ok(keys.iter().zip(there).map(|(key, there)| first.insert(*key) && there).collect());
            }
            _ => self.inner.remove_many(keys)?,
        };
        Ok(match self.fault {
            Fault::DeleteManyOneAnswer => vec![removed.contains(&true); removed.len()],
            Fault::DeleteManyDuplicatesTrue => there,
            Fault::DeleteManyFarDuplicatesTrue => {
                let chunks = keys.chunks(100).zip(there.chunks(100));
                let answers = chunks.flat_map(|(keys, there)| {
                    let mut first = BTreeSet::new();
                    keys.iter().zip(there).map(move |(key, there)| first.insert(*key) && *there)
                });
                answers.collect()
            }
            Fault::DeleteManySorted => {
                let mut sorted = keys.iter().zip(removed).collect::<Vec<_>>();
                sorted.sort_by_key(|(key, _)| **key);
                sorted.into_iter().map(|(_, removed)| removed).collect()
            }
            Fault::ExpiredDeletedMany => {
                removed.iter().zip(had_expired).map(|(removed, had)| *removed || had).collect()
            }
            _ => removed,
        })
    }
}
