//! Clients that use a store at the same time while the network and the server fail. Each client knows what its own keys can hold.

use kv_core::{Capability, Error, KeyValueStoreExt, Ttl};

use super::errors::check_error;
use super::possible::Possible;
use super::proxied::ProxiedStore;
use super::values::{Parsed, parse, value};
use crate::running::{Context, NotPassed, Outcome, show_error};

/// How many keys each client has.
const KEYS: usize = 5;

/// The length of the filler in a long value.
const LONG: usize = 20_000;

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    GetAnothers,
    GetMany,
    Put,
    PutLong,
    PutMany,
    Create,
    Delete,
    DeleteMany,
    Contains,
    Ttl,
    Touch,
}

impl Action {
    /// All operations that the store supports. Operations that applications use often are listed several times.
    pub(crate) fn all(context: &Context<'_>) -> Vec<Self> {
        let mut all = vec![Self::Get, Self::Get, Self::Get, Self::GetAnothers, Self::GetMany, Self::Put, Self::Put];
        all.extend([Self::PutLong, Self::PutMany, Self::Delete, Self::DeleteMany]);
        let more = [
            (Capability::Create, Self::Create),
            (Capability::Contains, Self::Contains),
            (Capability::TtlReading, Self::Ttl),
            (Capability::Touch, Self::Touch),
        ];
        all.extend(more.into_iter().filter(|(needs, _)| context.has(*needs)).map(|(_, action)| action));
        all
    }

    fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetAnothers | Self::GetMany | Self::Contains | Self::Ttl)
    }
}

/// One client of a store: see the [module](self).
pub(crate) struct Client<'a> {
    proxied: &'a ProxiedStore<'a>,
    prefix: String,
    number: usize,
    /// How many clients there are.
    of: usize,
    /// Its keys, which no other client writes.
    keys: Vec<(String, Possible)>,
    writes: u64,
    /// How often all keys were read.
    epoch: usize,
    long: usize,
    pub(crate) worked: usize,
    pub(crate) failed: usize,
}

impl<'a> Client<'a> {
    /// Several clients of a store, with keys under this prefix.
    pub(crate) fn several(context: &Context<'_>, proxied: &'a ProxiedStore<'a>, prefix: &str, of: usize) -> Vec<Self> {
        let long = context.size(LONG).saturating_sub(100);
        let key = |client: usize, key: usize| (format!("{prefix}{client}/{key}"), Possible::default());
        let client = |number: usize| Self {
            proxied,
            prefix: prefix.to_owned(),
            number,
            of,
            keys: (0..KEYS).map(|n| key(number, n)).collect(),
            writes: 0,
            epoch: 0,
            long,
            worked: 0,
            failed: 0,
        };
        (0..of).map(client).collect()
    }

    fn value(&self, key: &str, write: u64, is_long: bool) -> String {
        value(key, write, if is_long { self.long } else { usize::try_from(write % 100).unwrap_or_default() })
    }

    /// Checks that a key holds the whole value of a possible write of this key.
    fn check_value(&self, key: &str, possible: &Possible, found: Option<&[u8]>) -> Outcome {
        let write = match found.map(|found| (found, parse(found))) {
            None => None,
            Some((found, None)) => {
                return Err(wrong(key, "a whole value", &format!("half of one, {} bytes", found.len())));
            }
            Some((_, Some(Parsed { key: of, write, .. }))) if of != key => {
                return Err(wrong(key, "a value of this key (N2)", &format!("write {write} of {of:?}")));
            }
            Some((found, Some(Parsed { write, .. }))) => {
                let lengths = [false, true].map(|is_long| self.value(key, write, is_long).len());
                if !lengths.contains(&found.len()) {
                    return Err(wrong(key, "a whole value", &format!("{} bytes of write {write}", found.len())));
                }
                Some(write)
            }
        };
        if possible.allows(write) {
            return Ok(());
        }
        let got = write.map_or("absent".to_owned(), |write| format!("write {write}"));
        if possible.refused.contains(&write) {
            let want = format!("{}: the error of another write said that nothing was written (E5)", possible.shown());
            return Err(wrong(key, &want, &got));
        }
        Err(wrong(key, &possible.shown(), &got))
    }

    /// Runs an operation on one of its keys, and checks that the answer is possible. Returns whether it worked.
    pub(crate) fn perform(&mut self, action: Action, at: usize, random: u64) -> Outcome<Result<(), Error>> {
        let (store, at) = (self.proxied.store, at % KEYS);
        self.writes += 1;
        let (write, epoch) = (self.writes, self.epoch);
        let mut keys = std::mem::take(&mut self.keys);
        let what = format!("{action:?} by thread {} at {:?}", self.number, keys.get(at).map(|(key, _)| key));
        let proxied = self.proxied;
        let outcome = proxied.within(what.clone(), || {
            let Some((key, possible)) = keys.get_mut(at) else { return Ok(Ok(())) };
            let key = key.as_str();
            let told = |possible: &Possible, is_there: bool, told: bool| {
                let can_be = if is_there { possible.may_be_there() } else { possible.allows(None) };
                if can_be { Ok(()) } else { Err(wrong(key, &possible.shown(), &format!("{action:?} says {told}"))) }
            };
            Ok(match action {
                Action::Get => self.check_value(key, possible, store.get(key)?.as_deref()),
                Action::GetAnothers => {
                    let random = usize::try_from(random >> 8).unwrap_or_default();
                    let key = format!("{}{}/{}", self.prefix, random % self.of, random / self.of % KEYS);
                    let found = store.get(&key)?;
                    let of = found.as_deref().map(|found| parse(found).map(|parsed| parsed.key.to_owned()));
                    if of.as_ref().is_none_or(|of| of.as_ref() == Some(&key)) {
                        Ok(())
                    } else {
                        Err(wrong(&key, "a whole value of this key (N2)", &format!("{of:?}")))
                    }
                }
                Action::GetMany => {
                    let values = store.get_many(keys.iter().map(|(key, _)| key))?;
                    let mut values = values.into_iter();
                    keys.iter().try_for_each(|(key, possible)| {
                        self.check_value(key, possible, values.next().flatten().as_deref())
                    })
                }
                Action::Put | Action::PutLong => {
                    let result = store.put(key, self.value(key, write, action == Action::PutLong));
                    possible.wrote(&result, Some(write), epoch);
                    result.map(Ok)?
                }
                Action::PutMany => {
                    let entries = keys.iter().take(at + 1);
                    let result = store.put_many(entries.map(|(key, _)| (key, self.value(key, write, false))));
                    keys.iter_mut()
                        .take(at + 1)
                        .for_each(|(_, possible)| possible.wrote_in_batch(&result, Some(write), epoch));
                    result.map(Ok)?
                }
                Action::Create => {
                    let result = store.create(key, self.value(key, write, false));
                    let can_be = result.as_ref().map_or(Ok(()), |created| told(possible, !created, *created));
                    if !matches!(result, Ok(false)) {
                        possible.wrote(&result, Some(write), epoch);
                    }
                    result.map(|_| can_be)?
                }
                Action::Delete => {
                    let result = store.delete(key);
                    let can_be = result.as_ref().map_or(Ok(()), |deleted| told(possible, *deleted, *deleted));
                    possible.wrote(&result, None, epoch);
                    result.map(|_| can_be)?
                }
                Action::DeleteMany => {
                    let result = store.delete_many(keys.iter().take(at + 1).map(|(key, _)| key));
                    let mut can_be = Ok(());
                    for (n, (key, possible)) in keys.iter_mut().take(at + 1).enumerate() {
                        if let Ok(deleted) = &result
                            && can_be.is_ok()
                        {
                            let deleted = deleted.get(n) == Some(&true);
                            let can_be_so = if deleted { possible.may_be_there() } else { possible.allows(None) };
                            if !can_be_so {
                                can_be = Err(wrong(key, &possible.shown(), &format!("{action:?} says {deleted}")));
                            }
                        }
                        possible.wrote_in_batch(&result, None, epoch);
                    }
                    result.map(|_| can_be)?
                }
                Action::Contains => store.contains(key).map(|is_there| told(possible, is_there, is_there))?,
                Action::Ttl => store.ttl(key).map(|ttl| told(possible, ttl.is_some(), ttl.is_some()))?,
                Action::Touch => store.touch(key, Ttl::Forever).map(|touched| told(possible, touched, touched))?,
            })
        });
        self.keys = keys;
        match outcome? {
            Ok(can_be) => {
                self.worked += 1;
                can_be.map(Ok)
            }
            Err(error) => {
                self.failed += 1;
                check_error(&what, &error, store.name(), &[])?;
                if error.outcome_unknown() && !action.writes() {
                    let got = show_error(&error);
                    return Err(wrong("", "an error that is not of unknown outcome: it is a read (E5)", &got));
                }
                Ok(Err(error))
            }
        }
    }

    /// Notes that the server may have lost everything, or returned to any state that it had saved.
    pub(crate) fn may_have_lost_everything(&mut self) {
        for (_, possible) in &mut self.keys {
            possible.is_rolled_back = true;
        }
    }

    /// Reads all keys, without a fault. From now on a key holds what was read. Writes with an unknown outcome from before the previous
    /// reading can no longer take effect.
    pub(crate) fn settle(&mut self, when: &str) -> Outcome {
        let found = self.proxied.direct.get_many(self.keys.iter().map(|(key, _)| key))?;
        for ((key, possible), found) in self.keys.iter().zip(&found) {
            self.check_value(key, possible, found.as_deref())
                .map_err(|outcome| outcome.map_text(|text| format!("{when}: {text}")))?;
        }
        for ((_, possible), found) in self.keys.iter_mut().zip(found) {
            possible.doubtful.retain(|(_, since)| *since >= self.epoch);
            possible.refused.clear();
            possible.is_rolled_back = false;
            possible.sure = found.as_deref().and_then(parse).map(|parsed| parsed.write);
        }
        self.epoch += 1;
        Ok(())
    }
}

fn wrong(key: &str, want: &str, got: &str) -> NotPassed {
    NotPassed::failed(format_args!(
        "what is at {key:?}, which only one thread writes\nexpected: {want}\ngot:      {got}"
    ))
}
