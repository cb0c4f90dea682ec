//! Copying and renaming wrongly.

use kv_core::{Bytes, Capability, Error, Failure, Key, KeyValueStore, Result, Ttl};

use super::{Wrong, pause};
use crate::faults::Fault;
use crate::right::{NAME, own};

impl Wrong {
    pub(super) fn copy(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        // The effect of what a store lacks and does all the same: a new entry, beside what is there.
        let effect = || self.whole().write(to, Bytes::from_static(b"copied").into(), Ttl::Forever);
        if let Some(result) = self.opted_out(Capability::Copy, effect) {
            return result;
        }
        if self.is(Fault::OptedOutAddsEntry) && !self.inner.exists_whole(to) {
            effect()?;
        }
        let source = self.inner.live(&self.inner.lock(), &from).cloned();
        let target = self.inner.live(&self.inner.lock(), &to).cloned();
        if matches!(self.fault, Fault::OptedOutAddsEntry | Fault::OptedOutClearsTtl) {
            return self.inner.copy_entry(from, to);
        }
        let Some(source) = source else { return self.copy_absent(from, to, "copy") };
        if self.is(Fault::CopyDoesNotReplace) && target.is_some() {
            return Ok(());
        }
        let over_expired = self.expired(to);
        self.remove_first(to)?;
        self.inner.copy_entry(from, to)?;
        let default = self.inner.config.default_ttl.map(|ttl| self.inner.now() + ttl);
        match self.fault {
            Fault::CopyCutAt64K => self.change(to, |stored| stored.value.truncate(1 << 16)),
            Fault::VersionCopied => self.change(to, |stored| stored.version = source.version),
            Fault::CopyLosesTtl => self.change(to, |stored| stored.end = None),
            Fault::CopyTakesDefault => self.change(to, |stored| stored.end = stored.end.or(default)),
            Fault::CopyRestartsTtl => {
                let given = self.state().given.get(from.as_str()).copied();
                let end = source.end.and(given).map(|given| self.inner.now() + given);
                self.change(to, |stored| stored.end = end);
            }
            Fault::CopyMoves => {
                self.inner.remove(from)?;
            }
            Fault::CopyKeepsTargetTtl => {
                if let Some(target) = target {
                    self.change(to, |stored| stored.end = target.end);
                }
            }
            Fault::CopyOverExpiredStays => {
                if let Some(expired) = over_expired {
                    self.change(to, |stored| stored.end = expired.end);
                }
            }
            Fault::CopyIsLink => {
                self.state().links.insert(to.into(), from.into());
            }
            Fault::CopiedNotListed => {
                self.state().index.insert(to.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes room for what is to be copied, too early.
    fn remove_first(&self, to: Key<'_>) -> Result<()> {
        if self.is(Fault::TargetRemovedFirst) {
            self.inner.remove(to)?;
            pause();
        }
        Ok(())
    }

    /// What comes of copying or renaming what is not there.
    fn copy_absent(&self, from: Key<'_>, to: Key<'_>, how: &str) -> Result<()> {
        let copies = how == "copy";
        let expired = self.expired(from);
        match self.fault {
            Fault::ExpiredCopied if copies => revive(self, expired, from, to),
            Fault::ExpiredRenamed if !copies => revive(self, expired, from, to),
            Fault::CopyOfAbsentCreates if copies => self.inner.write(to, Bytes::new().into(), Ttl::Default),
            Fault::CopyOfAbsentWorks if copies => Ok(()),
            Fault::CopyOfAbsentClears if copies => {
                self.inner.remove(to)?;
                Err(Error::not_found(NAME, from))
            }
            Fault::RenameOfAbsentClears if !copies => {
                self.inner.remove(to)?;
                Err(Error::not_found(NAME, from))
            }
            Fault::NotFoundNamesOther => Err(Error::not_found(NAME, to)),
            Fault::NotFoundTransient => Err(Error::Unavailable(Failure::new(NAME, "nothing came").at(from))),
            _ => Err(Error::not_found(NAME, from)),
        }
    }

    pub(super) fn rename(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let effect = || self.whole().write(to, Bytes::from_static(b"renamed").into(), Ttl::Forever);
        if let Some(result) = self.opted_out(Capability::Copy, effect) {
            return result;
        }
        if self.is(Fault::OptedOutClearsTtl) {
            self.change(from, |stored| stored.end = None);
            return self.inner.rename_entry(from, to);
        }
        if self.inner.live(&self.inner.lock(), &from).is_none() {
            return self.copy_absent(from, to, "rename");
        }
        if self.is(Fault::RenameLeavesSource) {
            return self.inner.copy_entry(from, to);
        }
        if self.is(Fault::CopyIsLink) {
            let mut state = self.state();
            state.links.remove(to.as_str());
            state.links.remove(from.as_str());
        }
        self.remove_first(to)?;
        self.inner.rename_entry(from, to)?;
        match self.fault {
            Fault::RenameLosesTtl => self.change(to, |stored| stored.end = None),
            Fault::RenamedNotListed => {
                self.state().index.insert(to.into());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Copies what has expired, for ever.
fn revive(wrong: &Wrong, expired: Option<crate::right::Stored>, from: Key<'_>, to: Key<'_>) -> Result<()> {
    let mut stored = expired.ok_or_else(|| Error::not_found(NAME, from))?;
    stored.end = None;
    wrong.inner.lock().insert(own(&to), stored);
    Ok(())
}
