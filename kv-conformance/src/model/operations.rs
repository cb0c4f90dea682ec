//! Random operations: the steps of sequences that are run on a store and on its model.

use std::time::Duration;

use Capability::{Contains, Copy, Create, Listing, Touch, TtlReading, Ttls};
use kv_core::{Bytes, Capability, Ttl};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Strategy, Union};

use crate::running::Context;

/// Few keys, so that operations meet: some begin with another one, or differ in case, or look like a pattern.
const KEYS: &[&str] = &["a", "a/b", "a/b/c", "a*", "A", "b"];
const PREFIXES: &[&str] = &["", "a", "a/", "a/b", "a*", "c"];

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Get(&'static str),
    GetInto(&'static str),
    GetMany(Vec<&'static str>),
    GetEach(Vec<&'static str>),
    Put(&'static str, Bytes, Expires),
    PutFrom(&'static str, Bytes, Expires),
    PutMany(Vec<(&'static str, Bytes, Expires)>),
    Create(&'static str, Bytes, Expires),
    Delete(&'static str),
    DeleteMany(Vec<&'static str>),
    Contains(&'static str),
    Ttl(&'static str),
    Touch(&'static str, Expires),
    Copy(&'static str, &'static str),
    Rename(&'static str, &'static str),
    Keys(&'static str),
    Prefixes(&'static str),
    Wait(Wait),
}

impl Operation {
    /// The clauses that a wrong answer may break, but for those of [earlier steps](Self::leaves).
    pub(crate) fn clauses(&self) -> &'static str {
        match self {
            Self::Get(_) => "P1, P2, T2, T5, V1 or K3",
            Self::GetInto(_) => "S3, or P1, P2, T2, T5, V1 or K3",
            Self::GetMany(_) => "B1, or P1, P2, T2, T5, V1 or K3",
            Self::GetEach(_) => "B7, or P1, P2, T2, T5, V1 or K3",
            Self::Put(..) => "P1 or T1",
            Self::PutFrom(..) => "S2",
            Self::PutMany(_) => "B2",
            Self::Create(..) => "P4, T5 or K3",
            Self::Delete(_) => "D1, T5 or K3",
            Self::DeleteMany(_) => "B3, T5 or K3",
            Self::Contains(_) => "T5, P1 or K3",
            Self::Ttl(_) | Self::Touch(..) => "T6, T5, P2 or K3",
            Self::Copy(..) => "C1, C3, C4, T5 or K3",
            Self::Rename(..) => "C2, C3, C4, T5 or K3",
            Self::Keys(_) => "L1, K4, T5 or K3",
            Self::Prefixes(_) => "L6, L1 or T5",
            Self::Wait(_) => "T2",
        }
    }

    /// The clause of which a later step may show that this one has broken it.
    pub(crate) fn leaves(&self) -> Option<&'static str> {
        match self {
            Self::PutFrom(..) => Some("S2"),
            Self::PutMany(_) => Some("B2"),
            Self::Create(..) => Some("P4"),
            Self::Delete(_) => Some("D1"),
            Self::DeleteMany(_) => Some("B3"),
            Self::Touch(..) => Some("T6"),
            Self::Copy(..) => Some("C1"),
            Self::Rename(..) => Some("C2"),
            _ => None,
        }
    }
}

/// When the entry that a step writes expires.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expires {
    Default,
    Forever,
    Zero,
    Short,
    Middle,
    Long,
}

/// How long a step waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// One nanosecond less than the short TTL.
    AlmostShort,
    /// One nanosecond.
    Instant,
    /// The short TTL, and what the store may be late.
    Short,
    /// The middle TTL, and what the store may be late.
    Middle,
}

/// How long the TTLs are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TtlChoices {
    short: Duration,
    pub(crate) resolution: Duration,
    long: Duration,
}

impl TtlChoices {
    pub(crate) fn of(context: &Context<'_>) -> Self {
        let by_hand = context.time.is_advanced_by_hand();
        Self {
            short: if by_hand { Duration::from_secs(1) } else { Duration::from_millis(20) },
            resolution: context.capabilities().ttl_resolution(),
            long: context.long(),
        }
    }

    pub(crate) fn ttl(self, expires: Expires) -> Ttl {
        match expires {
            Expires::Default => Ttl::Default,
            Expires::Forever => Ttl::Forever,
            Expires::Zero => Ttl::After(Duration::ZERO),
            Expires::Short => Ttl::After(self.short),
            Expires::Middle => Ttl::After(self.short * 3),
            Expires::Long => Ttl::After(self.long),
        }
    }

    pub(crate) fn wait(self, wait: Wait) -> Duration {
        let nanosecond = Duration::from_nanos(1);
        match wait {
            Wait::AlmostShort => self.short.saturating_sub(nanosecond),
            Wait::Instant => nanosecond,
            Wait::Short => self.short + self.resolution,
            Wait::Middle => self.short * 3 + self.resolution,
        }
    }
}

/// Random steps, of what the store can do.
pub(crate) fn operations(context: &Context<'_>) -> impl Strategy<Value = Operation> + use<> {
    let largest = context.size(5000);
    let key = || select(KEYS);
    let keys = || vec(select(KEYS), 0..8);
    let value = || {
        Union::new_weighted(vec![(4, vec(any::<u8>(), 0..4).boxed()), (1, vec(any::<u8>(), 0..=largest).boxed())])
            .prop_map(Bytes::from)
    };
    let mut all = vec![Expires::Default, Expires::Forever];
    if context.has(Capability::Ttls) {
        all.extend([Expires::Zero, Expires::Short, Expires::Short, Expires::Middle, Expires::Long]);
    }
    let expires = || select(all.clone());
    let mut choices = vec![
        (4, key().prop_map(Operation::Get).boxed()),
        (1, key().prop_map(Operation::GetInto).boxed()),
        (2, keys().prop_map(Operation::GetMany).boxed()),
        (1, keys().prop_map(Operation::GetEach).boxed()),
        (6, (key(), value(), expires()).prop_map(|(k, v, e)| Operation::Put(k, v, e)).boxed()),
        (1, (key(), value(), expires()).prop_map(|(k, v, e)| Operation::PutFrom(k, v, e)).boxed()),
        (2, vec((key(), value(), expires()), 0..8).prop_map(Operation::PutMany).boxed()),
        (2, key().prop_map(Operation::Delete).boxed()),
        (1, keys().prop_map(Operation::DeleteMany).boxed()),
    ];
    let mut add = |needs: &[Capability], weight: u32, choice: BoxedStrategy<Operation>| {
        if needs.iter().all(|&capability| context.has(capability)) {
            choices.push((weight, choice));
        }
    };
    add(&[Create], 3, (key(), value(), expires()).prop_map(|(k, v, e)| Operation::Create(k, v, e)).boxed());
    add(&[Contains], 1, key().prop_map(Operation::Contains).boxed());
    add(&[TtlReading], 2, key().prop_map(Operation::Ttl).boxed());
    add(&[Touch], 2, (key(), expires()).prop_map(|(k, e)| Operation::Touch(k, e)).boxed());
    add(&[Copy], 2, (key(), key()).prop_map(|(from, to)| Operation::Copy(from, to)).boxed());
    add(&[Copy], 2, (key(), key()).prop_map(|(from, to)| Operation::Rename(from, to)).boxed());
    add(&[Listing], 2, select(PREFIXES).prop_map(Operation::Keys).boxed());
    add(&[Listing], 1, select(PREFIXES).prop_map(Operation::Prefixes).boxed());
    let waits = if context.time.is_advanced_by_hand() { 4 } else { 1 };
    add(
        &[Ttls],
        waits,
        select(vec![Wait::AlmostShort, Wait::Instant, Wait::Short, Wait::Middle]).prop_map(Operation::Wait).boxed(),
    );
    Union::new_weighted(choices)
}
