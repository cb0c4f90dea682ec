//! One of several that use a store at the same time while networks and servers fail, and that know what each of their keys can hold.

use kv_core::{Capability, Error, KeyValueStoreExt, Ttl};

use crate::context::Context;
use crate::failure::{NotPassed, Outcome, show_error};
use crate::rig::{Rig, check_error, parse, value};

/// How many keys each has.
const KEYS: usize = 5;

/// The length of the filling of a long value.
const LONG: usize = 20_000;

/// The number of a write, or that there is no entry.
type Written = Option<u64>;

/// What a key can hold.
#[derive(Debug, Default)]
struct Known {
    /// What the last write that was answered left.
    sure: Written,
    /// What writes may have left whose outcome is unknown, and when: those still under way may do so at any time.
    doubtful: Vec<(Written, usize)>,
    /// Writes since then that have failed, with an error that said so for certain.
    refused: Vec<Written>,
    /// Whether the server may have gone back to any older state, or to none.
    is_rolled_back: bool,
}

impl Known {
    fn allows(&self, write: Written) -> bool {
        self.is_rolled_back || self.sure == write || self.doubtful.iter().any(|(doubtful, _)| *doubtful == write)
    }

    fn may_be_there(&self) -> bool {
        self.is_rolled_back || self.sure.is_some() || self.doubtful.iter().any(|(write, _)| write.is_some())
    }

    fn wrote<T>(&mut self, result: &Result<T, Error>, write: Written, epoch: usize) {
        match result {
            Ok(_) => {
                self.sure = write;
                self.refused.clear();
                self.is_rolled_back = false;
            }
            Err(error) if error.outcome_unknown() => self.doubtful.push((write, epoch)),
            Err(_) => self.refused.push(write),
        }
    }

    /// The same of one write of a batch, of which some may have been done whatever its error says (B5).
    fn wrote_in_batch<T>(&mut self, result: &Result<T, Error>, write: Written, epoch: usize) {
        match result {
            Ok(_) => self.wrote(result, write, epoch),
            Err(_) => self.doubtful.push((write, epoch)),
        }
    }

    fn shown(&self) -> String {
        let shown = |write: Written| write.map_or("absent".to_owned(), |write| format!("write {write}"));
        let mut all = vec![format!("{} (acknowledged)", shown(self.sure))];
        all.extend(self.doubtful.iter().map(|(write, _)| format!("{} (in doubt)", shown(*write))));
        all.dedup();
        all.join(", ")
    }
}

/// What an actor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
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

impl Deed {
    /// All that the store can do, more often what is done more often.
    pub(crate) fn all(context: &Context<'_>) -> Vec<Self> {
        let mut all = vec![Self::Get, Self::Get, Self::Get, Self::GetAnothers, Self::GetMany, Self::Put, Self::Put];
        all.extend([Self::PutLong, Self::PutMany, Self::Delete, Self::DeleteMany]);
        let more = [
            (Capability::Create, Self::Create),
            (Capability::Contains, Self::Contains),
            (Capability::TtlReading, Self::Ttl),
            (Capability::Touch, Self::Touch),
        ];
        all.extend(more.into_iter().filter(|(needs, _)| context.has(*needs)).map(|(_, deed)| deed));
        all
    }

    fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::GetAnothers | Self::GetMany | Self::Contains | Self::Ttl)
    }
}

/// One that uses a store: see the module.
pub(crate) struct Actor<'a> {
    rig: &'a Rig<'a>,
    prefix: String,
    number: usize,
    /// How many there are.
    of: usize,
    /// Its keys, which nobody else writes.
    keys: Vec<(String, Known)>,
    writes: u64,
    /// How often what is there was looked at.
    epoch: usize,
    long: usize,
    pub(crate) worked: usize,
    pub(crate) failed: usize,
}

impl<'a> Actor<'a> {
    /// The actors of a store, with keys under this prefix.
    pub(crate) fn several(context: &Context<'_>, rig: &'a Rig<'a>, prefix: &str, of: usize) -> Vec<Self> {
        let long = context.size(LONG).saturating_sub(100);
        let key = |actor: usize, key: usize| (format!("{prefix}{actor}/{key}"), Known::default());
        let actor = |number: usize| Self {
            rig,
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
        (0..of).map(actor).collect()
    }

    fn value(&self, key: &str, write: u64, is_long: bool) -> String {
        value(key, write, if is_long { self.long } else { usize::try_from(write % 100).unwrap_or_default() })
    }

    /// What a key holds has to be the whole value of a write of this key, and one that it can hold.
    fn check_value(&self, key: &str, known: &Known, found: Option<&[u8]>) -> Outcome {
        let write = match found.map(|found| (found, parse(found))) {
            None => None,
            Some((found, None)) => {
                return Err(wrong(key, "a whole value", &format!("half of one, {} bytes", found.len())));
            }
            Some((_, Some((of, write)))) if of != key => {
                return Err(wrong(key, "a value of this key (N2)", &format!("write {write} of {of:?}")));
            }
            Some((found, Some((_, write)))) => {
                let lengths = [false, true].map(|is_long| self.value(key, write, is_long).len());
                if !lengths.contains(&found.len()) {
                    return Err(wrong(key, "a whole value", &format!("{} bytes of write {write}", found.len())));
                }
                Some(write)
            }
        };
        if known.allows(write) {
            return Ok(());
        }
        let got = write.map_or("absent".to_owned(), |write| format!("write {write}"));
        if known.refused.contains(&write) {
            let want = format!("{}: the error of another write said that nothing was written (E5)", known.shown());
            return Err(wrong(key, &want, &got));
        }
        Err(wrong(key, &known.shown(), &got))
    }

    /// Does something to one of its keys, and looks whether what comes of it can be so. Whether it worked.
    pub(crate) fn act(&mut self, deed: Deed, at: usize, random: u64) -> Outcome<Result<(), Error>> {
        let (store, at) = (self.rig.store, at % KEYS);
        self.writes += 1;
        let (write, epoch) = (self.writes, self.epoch);
        let mut keys = std::mem::take(&mut self.keys);
        let what = format!("{deed:?} by thread {} at {:?}", self.number, keys.get(at).map(|(key, _)| key));
        let rig = self.rig;
        let outcome = rig.within(what.clone(), || {
            let Some((key, known)) = keys.get_mut(at) else { return Ok(Ok(())) };
            let key = key.as_str();
            let told = |known: &Known, is_there: bool, told: bool| {
                let can_be = if is_there { known.may_be_there() } else { known.allows(None) };
                if can_be { Ok(()) } else { Err(wrong(key, &known.shown(), &format!("{deed:?} says {told}"))) }
            };
            Ok(match deed {
                Deed::Get => self.check_value(key, known, store.get(key)?.as_deref()),
                Deed::GetAnothers => {
                    let random = usize::try_from(random >> 8).unwrap_or_default();
                    let key = format!("{}{}/{}", self.prefix, random % self.of, random / self.of % KEYS);
                    let found = store.get(&key)?;
                    let of = found.as_deref().map(|found| parse(found).map(|(of, _)| of.to_owned()));
                    if of.as_ref().is_none_or(|of| of.as_ref() == Some(&key)) {
                        Ok(())
                    } else {
                        Err(wrong(&key, "a whole value of this key (N2)", &format!("{of:?}")))
                    }
                }
                Deed::GetMany => {
                    let values = store.get_many(keys.iter().map(|(key, _)| key))?;
                    let mut values = values.into_iter();
                    keys.iter()
                        .try_for_each(|(key, known)| self.check_value(key, known, values.next().flatten().as_deref()))
                }
                Deed::Put | Deed::PutLong => {
                    let result = store.put(key, self.value(key, write, deed == Deed::PutLong));
                    known.wrote(&result, Some(write), epoch);
                    result.map(Ok)?
                }
                Deed::PutMany => {
                    let entries = keys.iter().take(at + 1);
                    let result = store.put_many(entries.map(|(key, _)| (key, self.value(key, write, false))));
                    keys.iter_mut()
                        .take(at + 1)
                        .for_each(|(_, known)| known.wrote_in_batch(&result, Some(write), epoch));
                    result.map(Ok)?
                }
                Deed::Create => {
                    let result = store.create(key, self.value(key, write, false));
                    let can_be = result.as_ref().map_or(Ok(()), |created| told(known, !created, *created));
                    if !matches!(result, Ok(false)) {
                        known.wrote(&result, Some(write), epoch);
                    }
                    result.map(|_| can_be)?
                }
                Deed::Delete => {
                    let result = store.delete(key);
                    let can_be = result.as_ref().map_or(Ok(()), |deleted| told(known, *deleted, *deleted));
                    known.wrote(&result, None, epoch);
                    result.map(|_| can_be)?
                }
                Deed::DeleteMany => {
                    let result = store.delete_many(keys.iter().take(at + 1).map(|(key, _)| key));
                    let mut can_be = Ok(());
                    for (n, (key, known)) in keys.iter_mut().take(at + 1).enumerate() {
                        if let Ok(deleted) = &result
                            && can_be.is_ok()
                        {
                            let deleted = deleted.get(n) == Some(&true);
                            let possible = if deleted { known.may_be_there() } else { known.allows(None) };
                            if !possible {
                                can_be = Err(wrong(key, &known.shown(), &format!("{deed:?} says {deleted}")));
                            }
                        }
                        known.wrote_in_batch(&result, None, epoch);
                    }
                    result.map(|_| can_be)?
                }
                Deed::Contains => store.contains(key).map(|is_there| told(known, is_there, is_there))?,
                Deed::Ttl => store.ttl(key).map(|ttl| told(known, ttl.is_some(), ttl.is_some()))?,
                Deed::Touch => store.touch(key, Ttl::Forever).map(|touched| told(known, touched, touched))?,
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
                if error.outcome_unknown() && !deed.writes() {
                    let got = show_error(&error);
                    return Err(wrong("", "an error that is not of unknown outcome: it is a read (E5)", &got));
                }
                Ok(Err(error))
            }
        }
    }

    /// The server may have lost what it had, and may have gone back to what it had saved at any time before.
    pub(crate) fn may_have_lost_everything(&mut self) {
        for (_, known) in &mut self.keys {
            known.is_rolled_back = true;
        }
    }

    /// Looks, without any fault, at what is there, which is then what there is. What was in doubt before the last look is so no longer.
    pub(crate) fn settle(&mut self, when: &str) -> Outcome {
        let found = self.rig.direct.get_many(self.keys.iter().map(|(key, _)| key))?;
        for ((key, known), found) in self.keys.iter().zip(&found) {
            self.check_value(key, known, found.as_deref())
                .map_err(|outcome| outcome.map_text(|text| format!("{when}: {text}")))?;
        }
        for ((_, known), found) in self.keys.iter_mut().zip(found) {
            known.doubtful.retain(|(_, since)| *since >= self.epoch);
            known.refused.clear();
            known.is_rolled_back = false;
            known.sure = found.as_deref().and_then(parse).map(|(_, write)| write);
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
