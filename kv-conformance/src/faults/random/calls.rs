//! The calls of a random sequence: all that a store can be asked.

use std::fmt;
use std::time::Duration;

use kv_core::{Capability, Ttl};
use proptest::prelude::any;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy, Union};

use super::keys::{Batch, BatchOf, Key, Size};
use crate::history::Weakness;
use crate::running::Context;

/// The TTL that a write names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Default,
    Forever,
    Hour,
    Hours,
    /// It may pass within the sequence.
    Short,
    Zero,
}

impl Life {
    /// The time that it stands for, in a store that takes it; none for ever.
    pub(super) fn time(self, context: &Context<'_>) -> Option<Duration> {
        let at_most = |time: Duration| Some(time.min(context.capabilities().longest_ttl()));
        match self {
            _ if !context.has(Capability::Ttls) => None,
            Self::Default | Self::Forever => None,
            Self::Hour => at_most(Duration::from_secs(3600)),
            Self::Hours => at_most(Duration::from_secs(5 * 3600)),
            Self::Short => at_most(SHORT),
            Self::Zero => Some(Duration::ZERO),
        }
    }

    pub(super) fn ttl(self, context: &Context<'_>) -> Ttl {
        match (self, self.time(context)) {
            (Self::Default, None) => Ttl::Default,
            (_, None) => Ttl::Forever,
            (_, Some(time)) => Ttl::After(time),
        }
    }
}

/// A TTL that may pass within a sequence.
const SHORT: Duration = Duration::from_millis(400);

/// The TTLs of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lives {
    Same(Life),
    /// Each entry has another one than its neighbours.
    Mixed,
}

impl Lives {
    pub(super) fn of(self, n: usize) -> Life {
        match self {
            Self::Same(life) => life,
            Self::Mixed => match (n * 7 + n / 10) % 4 {
                0 => Life::Hour,
                1 => Life::Forever,
                2 => Life::Hours,
                _ => Life::Default,
            },
        }
    }
}

/// Where a value comes from, or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Whole,
    /// It fails after this part of the value, in percent.
    Fails(usize),
    /// It panics then.
    Panics(usize),
}

/// Which keys are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    All,
    Single,
    Many,
    /// The hundred whose names begin like this.
    Hundred(usize),
}

impl Listed {
    pub(super) fn prefix(self, prefix: &str) -> String {
        match self {
            Self::All => prefix.to_owned(),
            Self::Single => format!("{prefix}single/"),
            Self::Many => format!("{prefix}many/"),
            Self::Hundred(n) => format!("{prefix}many/{n:03}"),
        }
    }
}

/// A call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get(Key),
    Open(Key),
    GetInto(Key, Stream),
    Contains(Key),
    Ttl(Key),
    GetMany(Batch),
    GetEach(Batch),
    Keys(Listed),
    /// As many keys of a listing as this, before it is dropped.
    SomeKeys(Listed, usize),
    Prefixes(Listed),
    Put(Key, Size, Life),
    PutFrom(Key, Size, Life, Stream),
    Create(Key, Size, Life),
    PutMany(Batch, Lives),
    Delete(Key),
    DeleteMany(Batch),
    Touch(Key, Life),
    Copy(Key, Key),
    Rename(Key, Key),
    GetVersioned(Key),
    CreateVersioned(Key, Size, Life),
    /// With the version that the second handle reads before.
    PutIf(Key, Size, Life),
    /// Likewise.
    DeleteIf(Key),
    Take(Key),
    GetAndTouch(Key, Life),
    Increment(Key, Life),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(key) => write!(f, "get({key:?})"),
            Self::Open(key) => write!(f, "open({key:?})"),
            Self::GetInto(key, to) => write!(f, "get_into({key:?}, {to:?})"),
            Self::Contains(key) => write!(f, "contains({key:?})"),
            Self::Ttl(key) => write!(f, "ttl({key:?})"),
            Self::GetMany(batch) => write!(f, "get_many({batch:?})"),
            Self::GetEach(batch) => write!(f, "get_each({batch:?})"),
            Self::Keys(listed) => write!(f, "keys({listed:?})"),
            Self::SomeKeys(listed, count) => write!(f, "keys({listed:?}), dropped after {count}"),
            Self::Prefixes(listed) => write!(f, "prefixes(\"/\", {listed:?})"),
            Self::Put(key, size, life) => write!(f, "put({key:?}, {size:?}, {life:?})"),
            Self::PutFrom(key, size, life, from) => write!(f, "put_from({key:?}, {size:?}, {life:?}, {from:?})"),
            Self::Create(key, size, life) => write!(f, "create({key:?}, {size:?}, {life:?})"),
            Self::PutMany(batch, lives) => write!(f, "put_many({batch:?}, {lives:?})"),
            Self::Delete(key) => write!(f, "delete({key:?})"),
            Self::DeleteMany(batch) => write!(f, "delete_many({batch:?})"),
            Self::Touch(key, life) => write!(f, "touch({key:?}, {life:?})"),
            Self::Copy(from, to) => write!(f, "copy({from:?}, {to:?})"),
            Self::Rename(from, to) => write!(f, "rename({from:?}, {to:?})"),
            Self::GetVersioned(key) => write!(f, "get_versioned({key:?})"),
            Self::CreateVersioned(key, size, life) => write!(f, "create_versioned({key:?}, {size:?}, {life:?})"),
            Self::PutIf(key, size, life) => write!(f, "put_if({key:?}, {size:?}, {life:?}) of what is there"),
            Self::DeleteIf(key) => write!(f, "delete_if({key:?}) of what is there"),
            Self::Take(key) => write!(f, "take({key:?})"),
            Self::GetAndTouch(key, life) => write!(f, "get_and_touch({key:?}, {life:?})"),
            Self::Increment(key, life) => write!(f, "increment({key:?}, {}, {life:?})", key.by()),
        }
    }
}

impl Call {
    fn needs(&self) -> &'static [Capability] {
        match self {
            Self::Contains(_) => &[Capability::Contains],
            Self::Ttl(_) => &[Capability::TtlReading],
            Self::Keys(_) | Self::SomeKeys(..) | Self::Prefixes(_) => &[Capability::Listing],
            Self::Create(..) => &[Capability::Create],
            Self::Touch(..) => &[Capability::Touch],
            Self::Copy(..) | Self::Rename(..) => &[Capability::Copy],
            Self::GetVersioned(_) | Self::PutIf(..) | Self::DeleteIf(_) => &[Capability::Versions],
            Self::CreateVersioned(..) => &[Capability::Versions, Capability::Create],
            Self::Take(_) => &[Capability::Take],
            Self::GetAndTouch(..) => &[Capability::TouchingReads],
            Self::Increment(..) => &[Capability::Counters],
            _ => &[],
        }
    }

    /// Whether the store has what it needs.
    fn is_supported(&self, context: &Context<'_>) -> bool {
        self.needs().iter().all(|needs| context.has(*needs))
    }

    pub(super) fn writes(&self) -> bool {
        matches!(
            self,
            Self::Put(..)
                | Self::PutFrom(..)
                | Self::Create(..)
                | Self::PutMany(..)
                | Self::Delete(_)
                | Self::DeleteMany(_)
                | Self::Touch(..)
                | Self::Copy(..)
                | Self::Rename(..)
                | Self::CreateVersioned(..)
                | Self::PutIf(..)
                | Self::DeleteIf(_)
                | Self::Take(_)
                | Self::GetAndTouch(..)
                | Self::Increment(..)
        )
    }

    /// Whether it is sent as it is, in one exchange or one for each chunk: what a write has sent is not sent again. (What is conditional may
    /// begin with a read: if it is sent again, its answer tells, since it finds its own work.)
    pub(super) fn is_sent_once(&self) -> bool {
        let several = matches!(
            self,
            Self::PutFrom(..) | Self::Copy(..) | Self::Rename(..) | Self::PutIf(..) | Self::DeleteIf(_) | Self::Take(_)
        );
        self.writes() && !several
    }

    /// How many keys it has.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::GetMany(batch) | Self::GetEach(batch) | Self::PutMany(batch, _) | Self::DeleteMany(batch) => {
                batch.count
            }
            Self::Keys(Listed::All | Listed::Many) | Self::SomeKeys(..) | Self::Prefixes(_) => LISTED,
            _ => 1,
        }
    }

    /// Whether it has several chunks or pages, as far as can be known.
    pub(super) fn has_several_parts(&self) -> bool {
        match self {
            Self::GetMany(batch) | Self::PutMany(batch, _) if batch.of == BatchOf::Large => true,
            Self::SomeKeys(..) | Self::Prefixes(_) => false,
            _ => self.count() > 1000,
        }
    }
}

/// How many keys are listed.
pub(super) const LISTED: usize = 3000;

fn batch(of: BatchOf, count: usize) -> Batch {
    Batch { of, count, has_duplicates: false }
}

fn with_duplicates(of: BatchOf, count: usize) -> Batch {
    Batch { of, count, has_duplicates: true }
}

/// Every kind of call that the store can be asked, each in every size at which something else may happen.
pub(super) fn kinds(context: &Context<'_>) -> Vec<Call> {
    let (k, l) = (Key::Single(0), Key::Large(0));
    let many = |count| batch(BatchOf::Many, count);
    let large = batch(BatchOf::Large, 24);
    let mut all = vec![
        Call::Get(k),
        Call::Get(l),
        Call::Open(l),
        Call::GetInto(l, Stream::Whole),
        Call::Contains(k),
        Call::Ttl(k),
        Call::GetMany(many(100)),
        Call::GetMany(batch(BatchOf::Mixed, 3000)),
        Call::GetMany(large),
        Call::GetEach(with_duplicates(BatchOf::Mixed, 3000)),
        Call::Keys(Listed::Many),
        Call::Prefixes(Listed::Many),
        Call::SomeKeys(Listed::Many, 1500),
        Call::Put(k, Size::Small, Life::Hour),
        Call::Put(l, Size::Large, Life::Hours),
        Call::Put(k, Size::Huge, Life::Default),
        Call::PutFrom(k, Size::Large, Life::Hour, Stream::Whole),
        Call::Create(Key::Single(3), Size::Small, Life::Hour),
        Call::Create(Key::Single(3), Size::Large, Life::Default),
        Call::PutMany(many(100), Lives::Same(Life::Hour)),
        Call::PutMany(with_duplicates(BatchOf::Many, 3000), Lives::Mixed),
        Call::PutMany(with_duplicates(BatchOf::Large, 24), Lives::Mixed),
        Call::Delete(k),
        Call::DeleteMany(many(100)),
        Call::DeleteMany(with_duplicates(BatchOf::Many, 3000)),
        Call::Touch(k, Life::Hours),
        Call::Copy(k, Key::Single(4)),
        Call::Copy(l, Key::Single(4)),
        Call::Rename(k, Key::Single(4)),
        Call::Rename(l, Key::Single(4)),
        Call::GetVersioned(l),
        Call::CreateVersioned(Key::Single(3), Size::Small, Life::Hour),
        Call::PutIf(k, Size::Small, Life::Hour),
        Call::PutIf(l, Size::Large, Life::Default),
        Call::DeleteIf(k),
        Call::Take(k),
        Call::Take(l),
        Call::GetAndTouch(k, Life::Hours),
        Call::Increment(Key::Counter(0), Life::Default),
        Call::Increment(Key::Counter(1), Life::Hour),
        Call::Increment(ABSENT_COUNTER, Life::Hour),
    ];
    all.retain(|call| call.is_supported(context));
    all
}

/// A counter that is not there before the call that is disturbed.
pub(super) const ABSENT_COUNTER: Key = Key::Counter(2);

/// The calls that write.
pub(crate) fn writes(context: &Context<'_>) -> Vec<Call> {
    let mut all = kinds(context);
    all.retain(Call::writes);
    all
}

/// Calls that give TTLs that pass soon.
pub(crate) fn writes_of_short_lives(context: &Context<'_>) -> Vec<Call> {
    let mut all = vec![
        Call::Put(Key::Single(0), Size::Small, Life::Short),
        Call::PutMany(batch(BatchOf::Many, 3), Lives::Same(Life::Short)),
        Call::Create(Key::Single(1), Size::Small, Life::Short),
        Call::Touch(Key::Single(2), Life::Short),
        Call::Copy(Key::Single(0), Key::Single(3)),
        Call::CreateVersioned(Key::Single(4), Size::Small, Life::Short),
        Call::PutIf(Key::Large(0), Size::Small, Life::Short),
        Call::GetAndTouch(Key::Large(1), Life::Short),
        Call::Increment(ABSENT_COUNTER, Life::Short),
    ];
    all.retain(|call| context.has(Capability::Ttls) && call.is_supported(context));
    all
}

/// The listing of everything.
pub(crate) const LISTING: Call = Call::Keys(Listed::All);

/// Batches of so many keys that there is a second chunk where a chunk has ten thousand.
pub(super) fn longest() -> Vec<Call> {
    let many = with_duplicates(BatchOf::Many, 12_000);
    vec![Call::GetMany(batch(BatchOf::Mixed, 12_000)), Call::PutMany(many, Lives::Mixed), Call::DeleteMany(many)]
}

fn lives(context: &Context<'_>) -> BoxedStrategy<Life> {
    if !context.has(Capability::Ttls) {
        return select(&[Life::Default, Life::Forever][..]).boxed();
    }
    Union::new_weighted(vec![
        (6, select(&[Life::Default, Life::Forever, Life::Hour, Life::Hours][..])),
        (1, select(&[Life::Short, Life::Zero][..])),
    ])
    .boxed()
}

/// Any call, small ones mostly. Batches have up to `most` keys.
pub(crate) fn calls(context: &Context<'_>, most: usize) -> BoxedStrategy<Call> {
    let single = || (0..5_usize).prop_map(Key::Single);
    let counter = || (0..3_usize).prop_map(Key::Counter);
    let has_counters = context.has(Capability::Counters);
    let key = move || {
        let mut keys = vec![(4, single().boxed()), (1, (0..3_usize).prop_map(Key::Large).boxed())];
        keys.extend(has_counters.then(|| (1, counter().boxed())));
        Union::new_weighted(keys)
    };
    let small = move || {
        let mut keys = vec![(3, single().boxed())];
        keys.extend(has_counters.then(|| (1, counter().boxed())));
        Union::new_weighted(keys)
    };
    let size = || Union::new_weighted(vec![(6, Just(Size::Small)), (1, Just(Size::Medium)), (2, Just(Size::Large))]);
    let life = || lives(context);
    let count =
        move || select([1, 3, 100, 500, 1100, 3000].into_iter().filter(|count| *count <= most).collect::<Vec<_>>());
    let batches = move |of: &'static [BatchOf]| {
        let many = (select(of), count(), any::<bool>());
        let many = many.prop_map(|(of, count, has_duplicates)| Batch { of, count, has_duplicates });
        let large = (1..24_usize).prop_map(|count| batch(BatchOf::Large, count));
        Union::new_weighted(vec![(5, many.boxed()), (1, large.boxed())])
    };
    let read = &[BatchOf::Many, BatchOf::Absent, BatchOf::Mixed][..];
    let written = &[BatchOf::Many][..];
    let mixed = life().prop_map(Lives::Same);
    let lives = Union::new_weighted(vec![(1, mixed.boxed()), (2, Just(Lives::Mixed).boxed())]);
    let part = || 1..99_usize;
    let fails = Union::new_weighted(vec![
        (2, Just(Stream::Whole).boxed()),
        (1, part().prop_map(Stream::Fails).boxed()),
        (1, part().prop_map(Stream::Panics).boxed()),
    ]);
    let mut all: Vec<(u32, BoxedStrategy<Call>)> = vec![
        (3, key().prop_map(Call::Get).boxed()),
        (1, key().prop_map(Call::Open).boxed()),
        (1, (key(), fails.clone()).prop_map(|(key, to)| Call::GetInto(key, to)).boxed()),
        (3, batches(read).prop_map(Call::GetMany).boxed()),
        (2, batches(read).prop_map(Call::GetEach).boxed()),
        (3, (key(), size(), life()).prop_map(|(key, size, life)| Call::Put(key, size, life)).boxed()),
        (
            2,
            (key(), size(), life(), fails)
                .prop_map(|(key, size, life, from)| Call::PutFrom(key, size, life, from))
                .boxed(),
        ),
        (2, (batches(written), lives).prop_map(|(batch, lives)| Call::PutMany(batch, lives)).boxed()),
        (2, small().prop_map(Call::Delete).boxed()),
        (2, batches(written).prop_map(Call::DeleteMany).boxed()),
    ];
    if context.has(Capability::Contains) {
        all.push((1, key().prop_map(Call::Contains).boxed()));
    }
    if context.has(Capability::TtlReading) {
        all.push((2, key().prop_map(Call::Ttl).boxed()));
    }
    if context.has(Capability::Create) {
        all.push((2, (key(), size(), life()).prop_map(|(key, size, life)| Call::Create(key, size, life)).boxed()));
    }
    if context.has(Capability::Touch) {
        all.push((2, (key(), life()).prop_map(|(key, life)| Call::Touch(key, life)).boxed()));
    }
    if context.has(Capability::Copy) {
        all.push((1, (key(), single()).prop_map(|(from, to)| Call::Copy(from, to)).boxed()));
        all.push((2, (key(), single()).prop_map(|(from, to)| Call::Rename(from, to)).boxed()));
    }
    if context.has(Capability::Versions) {
        all.push((1, key().prop_map(Call::GetVersioned).boxed()));
        all.push((2, (key(), size(), life()).prop_map(|(key, size, life)| Call::PutIf(key, size, life)).boxed()));
        all.push((1, small().prop_map(Call::DeleteIf).boxed()));
    }
    if context.has(Capability::Versions) && context.has(Capability::Create) {
        let created = (key(), size(), life());
        all.push((1, created.prop_map(|(key, size, life)| Call::CreateVersioned(key, size, life)).boxed()));
    }
    if context.has(Capability::Take) {
        all.push((1, small().prop_map(Call::Take).boxed()));
    }
    if context.has(Capability::TouchingReads) {
        all.push((2, (key(), life()).prop_map(|(key, life)| Call::GetAndTouch(key, life)).boxed()));
    }
    if context.has(Capability::Counters) {
        // Of what a lenient store makes of text, nothing is promised.
        let is_lenient = context.scope.weaknesses.contains_key(&Weakness::LenientCounters);
        let other = if is_lenient { counter().boxed() } else { small().boxed() };
        let any = Union::new_weighted(vec![(3, counter().boxed()), (1, other)]);
        all.push((3, (any, life()).prop_map(|(key, life)| Call::Increment(key, life)).boxed()));
    }
    if context.has(Capability::Listing) {
        let listed = || {
            let hundred = (0..30_usize).prop_map(Listed::Hundred);
            let whole = select(&[Listed::All, Listed::Single, Listed::Many][..]);
            Union::new_weighted(vec![(1, hundred.boxed()), (1, whole.boxed())])
        };
        all.push((2, listed().prop_map(Call::Keys).boxed()));
        all.push((1, (listed(), 0..2000_usize).prop_map(|(listed, count)| Call::SomeKeys(listed, count)).boxed()));
        all.push((1, listed().prop_map(Call::Prefixes).boxed()));
    }
    Union::new_weighted(all).boxed()
}
