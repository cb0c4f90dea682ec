//! Creating wrongly: `create`.

use std::time::Duration;

use kv_core::{Bytes, Capability, Error, Failure, Key, KeyBuf, KeyValueStore, Result, Ttl};

use super::{Way, Wrong, pause};
use crate::faults::Fault;
use crate::right::NAME;

impl Wrong {
    pub(super) fn create(&self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<bool> {
        let over = || self.whole().write(key, value.clone().into(), Ttl::Forever).map(|()| true);
        if let Some(result) = self.opted_out(Capability::Create, over) {
            return result;
        }
        if self.is(Fault::CreateRefusesLongKeys) && key.len() > 235 {
            return Err(Error::Backend(Failure::new(NAME, "the server refused the name of the lock").at(key)));
        }
        if self.is(Fault::CreateLocksBeside) {
            self.lock_beside(key)?;
        }
        if self.is(Fault::OptedOutNamesTtls) {
            let lacking = if matches!(ttl, Ttl::After(_)) { Capability::Ttls } else { Capability::Create };
            return Err(Error::unsupported(NAME, lacking));
        }
        if self.is(Fault::ClaimsCreate) {
            return Err(Error::unsupported(NAME, Capability::Create));
        }
        let value = self.mangle_value(Way::Create, key, value);
        let mut mangled = self.mangle_ttl(Way::Create, key, ttl);
        if self.is(Fault::CreateTtlIgnoredWithout) {
            mangled = Ttl::Forever;
        }
        if let Err(error) = self.check(key, value.len(), mangled) {
            if let (Fault::CreateErrorShowsValue, Error::InvalidTtl { ttl, longest, .. }) = (self.fault, &error) {
                let shown = format!("{NAME}, of {}", String::from_utf8_lossy(&value));
                return Err(Error::invalid_ttl(&shown, key, *ttl, *longest));
            }
            if self.is(Fault::RefusedCreateSaysTrue) && self.inner.exists_whole(key) {
                return Ok(true);
            }
            if self.is(Fault::RefusedCreateStores) {
                self.inner.write_if_absent(key, value.into(), Ttl::Forever)?;
                return Err(error);
            }
            return self.refuse(key, &value, error).map(|()| true);
        }
        self.create_checked(key, value, mangled)
    }

    fn create_checked(&self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<bool> {
        let absent = self.get(key)?.is_none();
        match self.fault {
            Fault::CreateStoresNothing => return Ok(absent),
            Fault::EmptyValueIsAbsent | Fault::CreateRace if absent => {
                pause();
                self.inner.write(key, value.into(), ttl)?;
                return Ok(true);
            }
            Fault::CreateOverExpiredRace if self.expired(key).is_some() => {
                pause();
                self.inner.write(key, value.into(), ttl)?;
                return Ok(true);
            }
            Fault::ExpiredBlocksCreate if self.raw(key).is_some() => return Ok(false),
            Fault::Tombstones if self.state().deleted.contains(key.as_str()) => return Ok(false),
            Fault::CreateZeroDeletes if ttl == Ttl::After(Duration::ZERO) => {
                self.inner.remove(key)?;
                return Ok(absent);
            }
            _ => {}
        }
        let created = self.inner.write_if_absent(key, value.clone().into(), ttl)?;
        if created {
            self.remember(Way::Create, key, ttl, None);
        }
        match self.fault {
            Fault::RefusedCreateSetsTtl if !created => {
                self.inner.set_expiry(key, ttl)?;
            }
            Fault::RefusedCreateSetsValue if !created => self.change(key, |stored| stored.value = value),
            _ => {}
        }
        Ok(created)
    }

    /// Locks a key by an entry of another, and unlocks it again.
    fn lock_beside(&self, key: Key<'_>) -> Result<()> {
        if let Ok(beside) = KeyBuf::new(format!("{key}.lock")) {
            self.inner.write(beside.as_key(), Bytes::new().into(), Ttl::Forever)?;
            self.inner.remove(beside.as_key())?;
        }
        Ok(())
    }
}
