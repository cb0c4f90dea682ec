//! What a thread does in a round.

use std::time::Duration;

use fastrand::Rng;
use kv_core::{Bytes, Capability, Error, Key, KeyBuf, Prefix, Ttl};

use crate::history::{Recording, Weakness};
use crate::running::{Context, NotPassed, Outcome, mismatch};

/// An operation, in one way of calling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    PutFrom,
    PutMany,
    /// A write with a zero TTL.
    PutZero,
    Create,
    Delete,
    DeleteMany,
    Touch,
    /// `touch` with a zero TTL.
    TouchZero,
    Get,
    GetInto,
    Open,
    GetMany,
    GetEach,
    Contains,
    Ttl,
    /// `put_if` with the version that is read just before.
    PutIf,
    /// `delete_if` likewise.
    DeleteIf,
    /// `create_versioned`, and then one of these two with the version that it returned.
    CreateVersioned,
    Take,
    GetAndTouch,
    Increment,
    /// A write of a number.
    PutCounter,
    /// From and to keys of the thread's own.
    PutByCopy,
    PutByRename,
    GetByCopy,
    GetByRename,
    /// From one of the keys to another one.
    Copy,
    Rename,
    Keys,
    /// A write or a touch of the key that lives all the time.
    Stays,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::Put,
        Self::PutFrom,
        Self::PutMany,
        Self::PutZero,
        Self::Create,
        Self::Delete,
        Self::DeleteMany,
        Self::Touch,
        Self::TouchZero,
        Self::Get,
        Self::GetInto,
        Self::Open,
        Self::GetMany,
        Self::GetEach,
        Self::Contains,
        Self::Ttl,
        Self::PutIf,
        Self::DeleteIf,
        Self::CreateVersioned,
        Self::Take,
        Self::GetAndTouch,
        Self::Increment,
        Self::PutCounter,
        Self::PutByCopy,
        Self::PutByRename,
        Self::GetByCopy,
        Self::GetByRename,
        Self::Copy,
        Self::Rename,
        Self::Keys,
        Self::Stays,
    ];

    fn needs(self) -> &'static [Capability] {
        match self {
            Self::Create => &[Capability::Create],
            Self::PutZero => &[Capability::Ttls],
            Self::Touch | Self::TouchZero => &[Capability::Touch],
            Self::Contains => &[Capability::Contains],
            Self::Ttl => &[Capability::TtlReading],
            Self::Keys => &[Capability::Listing],
            Self::PutIf | Self::DeleteIf => &[Capability::Versions],
            Self::CreateVersioned => &[Capability::Versions, Capability::Create],
            Self::Take => &[Capability::Take],
            Self::GetAndTouch => &[Capability::TouchingReads],
            Self::Increment | Self::PutCounter => &[Capability::Counters],
            Self::PutByCopy | Self::PutByRename | Self::GetByCopy | Self::GetByRename | Self::Copy | Self::Rename => {
                &[Capability::Copy]
            }
            _ => &[],
        }
    }

    /// Those of these that the store has, and whose answers say something.
    pub(super) fn of(context: &Context<'_>, kinds: &[Self], weaknesses: &[Weakness]) -> Vec<Self> {
        let says_something =
            |need: &Capability| *need != Capability::Copy || !weaknesses.contains(&Weakness::StaleReads);
        let has = |kind: &&Self| kind.needs().iter().all(|need| context.has(*need) && says_something(need));
        kinds.iter().filter(has).copied().collect()
    }
}

/// One operation of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    kind: Kind,
    /// Which of the keys, and where to for a copy. Batches are on all.
    key: usize,
    other: usize,
    /// Whether a batch names its keys in the opposite order.
    is_reversed: bool,
    size: usize,
    /// Which of the TTLs. A batch has the following ones, too.
    ttl: usize,
    /// What an increment adds.
    by: u32,
    /// How often to let other threads go first.
    yields: usize,
}

impl Step {
    pub(super) fn random(random: &mut Rng, kinds: &[Kind], keys: usize, sizes: &Sizes) -> Self {
        let key = random.usize(..keys);
        Self {
            kind: random.choice(kinds).copied().unwrap_or(Kind::Get),
            key,
            other: (key + random.usize(1..keys.max(2))) % keys,
            is_reversed: random.bool(),
            size: sizes.one(random),
            ttl: random.usize(..64),
            by: random.u32(1..=3),
            yields: random.usize(..8).saturating_sub(5),
        }
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }
}

/// How long the values of a round are: most rounds have short ones, and all are as long as they have to be to be told apart.
#[derive(Clone, Debug)]
pub(super) struct Sizes(Vec<usize>);

impl Sizes {
    /// One round of so many has values of some KiB, and one of twice as many has values above 64 KiB.
    pub(super) fn random(random: &mut Rng, one_of: usize, largest: usize) -> Self {
        let sizes = match random.usize(..2 * one_of) {
            0 => [0, random.usize(1..9_000), random.usize(65_537..70_000), random.usize(65_537..70_000)],
            1 | 2 => [0, random.usize(1..9_000), random.usize(1..9_000), random.usize(1..9_000)],
            _ => [0; 4],
        };
        Self(sizes.map(|size| size.min(largest)).to_vec())
    }

    pub(super) fn one(&self, random: &mut Rng) -> usize {
        random.choice(&self.0).copied().unwrap_or_default()
    }
}

/// The TTLs that entries are given: as different as the store can tell, and longer than the check. Without what the store lacks.
#[derive(Clone, Debug)]
pub(super) struct Ttls {
    given: Vec<Ttl>,
    /// How far `ttl` may be from what was given.
    pub(super) tolerance: Duration,
}

impl Ttls {
    pub(super) fn of(context: &Context<'_>) -> Self {
        const COUNT: u32 = 6;
        let (mut given, capabilities) = (vec![Ttl::Default, Ttl::Forever], context.capabilities());
        let apart = (capabilities.longest_ttl() / (2 * COUNT))
            .min(APART.max(capabilities.ttl_resolution().saturating_mul(FINE)));
        let is_long = context.time.is_advanced_by_hand() || apart >= APART;
        if context.has(Capability::Ttls) && is_long && apart >= capabilities.ttl_resolution().saturating_mul(FINE) {
            given.extend((1..=COUNT).map(|n| Ttl::After(apart * n)));
        }
        Self { given, tolerance: apart / 3 }
    }

    fn nth(&self, n: usize) -> Ttl {
        self.given.get(n % self.given.len().max(1)).copied().unwrap_or_default()
    }

    pub(super) fn random(&self, random: &mut Rng) -> Ttl {
        self.nth(random.usize(..64))
    }
}

/// How far apart TTLs are: no check takes as long.
const APART: Duration = Duration::from_secs(600);

/// Each copy may add the resolution of the store to a TTL: so many times that is between two of them.
const FINE: u32 = 100;

/// What a thread works on in a round.
pub(super) struct Ground<'a> {
    /// The keys that all threads use.
    pub(super) keys: Vec<Key<'a>>,
    /// What they begin with, and no other key does.
    pub(super) prefix: Prefix<'a>,
    /// A key that lives all the time.
    pub(super) stays: Key<'a>,
    /// A key that only this thread uses, to copy to.
    pub(super) own: Key<'a>,
    /// For a step that copies, a key that only this one uses, and what is there.
    pub(super) sources: &'a [Option<(KeyBuf, Bytes, Ttl)>],
    pub(super) ttls: &'a Ttls,
}

impl Step {
    /// Does it.
    pub(super) fn run(&self, nth: usize, recording: &mut Recording<'_>, on: &Ground<'_>) -> Outcome {
        let (Some(&key), Some(&other)) = (on.keys.get(self.key), on.keys.get(self.other)) else { return Ok(()) };
        let ttl = on.ttls.nth(self.ttl);
        match self.kind {
            Kind::Put => {
                let value = self.value(recording);
                recording.put_with_ttl(key, value, ttl)?;
            }
            Kind::PutFrom => {
                let value = self.value(recording);
                recording.put_from_with_ttl(key, value, ttl)?;
            }
            Kind::PutZero => {
                let value = self.value(recording);
                recording.put_with_ttl(key, value, Ttl::After(Duration::ZERO))?;
            }
            Kind::PutMany => {
                let mut nth = self.ttl..;
                let entry = |key| (key, self.value(recording), on.ttls.nth(nth.next().unwrap_or_default()));
                let entries = self.all(on).into_iter().map(entry).collect::<Vec<_>>();
                recording.put_many_with_ttl(&entries)?;
            }
            Kind::Create => {
                let value = self.value(recording);
                recording.create_with_ttl(key, value, ttl).map(drop)?;
            }
            Kind::Delete => recording.delete(key).map(drop)?,
            Kind::DeleteMany => recording.delete_many(&self.all(on)).map(drop)?,
            Kind::Touch => recording.touch(key, ttl).map(drop)?,
            Kind::TouchZero => recording.touch(key, Ttl::After(Duration::ZERO)).map(drop)?,
            Kind::Get => recording.get(key).map(drop)?,
            Kind::GetInto => recording.get_into(key).map(drop)?,
            Kind::Open => recording.open(key).map(drop)?,
            Kind::GetMany => recording.get_many(&self.all(on)).map(drop)?,
            Kind::GetEach => {
                recording.get_each(&self.all(on)).into_iter().collect::<Result<Vec<_>, Error>>().map(drop)?;
            }
            Kind::Contains => recording.contains(key).map(drop)?,
            Kind::Ttl => recording.ttl(key).map(drop)?,
            Kind::PutIf => {
                if let Some(read) = recording.get_versioned(key)? {
                    self.let_others();
                    let value = self.value(recording);
                    recording.put_if(key, &read, value, ttl).map(drop)?;
                }
            }
            Kind::DeleteIf => {
                if let Some(read) = recording.get_versioned(key)? {
                    self.let_others();
                    recording.delete_if(key, &read).map(drop)?;
                }
            }
            Kind::CreateVersioned => {
                let value = self.value(recording);
                if let Some(version) = recording.create_versioned(key, value.clone(), ttl)? {
                    self.let_others();
                    let created = (value, version);
                    if self.is_reversed {
                        recording.delete_if(key, &created).map(drop)?;
                    } else {
                        let value = self.value(recording);
                        recording.put_if(key, &created, value, ttl).map(drop)?;
                    }
                }
            }
            Kind::Take => recording.take(key).map(drop)?,
            Kind::GetAndTouch => recording.get_and_touch(key, ttl).map(drop)?,
            Kind::Increment => recording.increment(key, self.by, ttl).map(drop)?,
            Kind::PutCounter => {
                let counter = recording.fresh_counter();
                recording.put_with_ttl(key, counter, ttl)?;
            }
            Kind::PutByCopy => {
                if let Some(Some((source, value, ttl))) = on.sources.get(nth) {
                    recording.put_by_copy(key, source.as_key(), value.clone(), *ttl)?;
                }
            }
            Kind::PutByRename => {
                if let Some(Some((source, value, ttl))) = on.sources.get(nth) {
                    recording.put_by_rename(key, source.as_key(), value.clone(), *ttl)?;
                }
            }
            Kind::GetByCopy => recording.get_by_copy(key, on.own).map(drop)?,
            Kind::GetByRename => recording.get_by_rename(key, on.own).map(drop)?,
            Kind::Copy if key != other => recording.copy(key, other).map(drop)?,
            Kind::Rename if key != other => recording.rename(key, other).map(drop)?,
            Kind::Copy | Kind::Rename => {}
            Kind::Keys => list(recording, on)?,
            Kind::Stays => {
                let value = self.value(recording);
                recording.put_with_ttl(on.stays, value, ttl)?;
            }
        }
        Ok(())
    }

    /// Lets others go first, between a read and what depends on it.
    fn let_others(&self) {
        (0..self.yields).for_each(|_| std::thread::yield_now());
    }

    pub(super) fn yields(&self) -> usize {
        self.yields
    }

    /// What has to be at a key of its own before it begins: how long a value with which TTL.
    pub(super) fn source(&self, ttls: &Ttls) -> Option<(usize, Ttl)> {
        matches!(self.kind, Kind::PutByCopy | Kind::PutByRename).then(|| (self.size, ttls.nth(self.ttl)))
    }

    fn value(&self, recording: &mut Recording<'_>) -> Bytes {
        recording.fresh_value_of(self.size)
    }

    /// All keys, in the order of this step.
    fn all<'k>(&self, on: &Ground<'k>) -> Vec<Key<'k>> {
        let mut keys = on.keys.clone();
        if self.is_reversed {
            keys.reverse();
        }
        keys
    }
}

/// Lists all keys. The one that stays comes once, and nothing comes that was never there; whether the others may come or not, the search
/// for an order finds out.
fn list(recording: &mut Recording<'_>, on: &Ground<'_>) -> Outcome {
    let among = on.keys.iter().copied().chain([on.stays]).collect::<Vec<_>>();
    let listed = recording.keys(on.prefix, &among)?;
    let broken = |want: &str, got: String| {
        let failed: NotPassed =
            mismatch(format_args!("keys({:?}), while others use the store", on.prefix.as_str()), want, &got);
        Err(failed.breaking(["L1"]))
    };
    let times = listed.iter().filter(|listed| listed.as_str() == on.stays.as_str()).count();
    if times > 1 {
        return broken("each key that is there all the time, once", format!("{:?} {times} times", on.stays.as_str()));
    }
    match listed.iter().find(|listed| among.iter().all(|key| key.as_str() != listed.as_str())) {
        Some(foreign) => broken("keys that were written", format!("{foreign:?}, which never was")),
        None => Ok(()),
    }
}
