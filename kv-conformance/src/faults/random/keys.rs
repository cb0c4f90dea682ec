//! The keys of a random sequence, and the values that it writes.

use crate::running::Context;

/// A key of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// One of a few, which single operations use.
    Single(usize),
    /// One of many, which batches and listings use, with small values.
    Many(usize),
    /// One whose value is large, so that a batch of them has several MiB.
    Large(usize),
    /// One that holds a number, which increments count on.
    Counter(usize),
    /// One that is never written.
    Absent(usize),
}

impl Key {
    /// Its name, under the prefix of the sequence.
    pub(super) fn name(self, prefix: &str) -> String {
        match self {
            Self::Single(n) => format!("{prefix}single/{n}"),
            Self::Many(n) => format!("{prefix}many/{:03}/{:02}", n / 100, n % 100),
            Self::Large(n) => format!("{prefix}large/{n}"),
            Self::Counter(n) => format!("{prefix}counter/{n}"),
            Self::Absent(n) => format!("{prefix}absent/{n}"),
        }
    }

    /// What increments of it add: of each counter something else.
    pub(super) fn by(self) -> u32 {
        match self {
            Self::Counter(0) => 1,
            Self::Counter(_) => 7,
            _ => 3,
        }
    }
}

/// The size of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Up to 100 bytes.
    Small,
    /// Some pages of memory.
    Medium,
    /// Several pieces of a network, so that there is a middle of its request.
    Large,
    /// More than the buffers between store and server take, in most systems.
    Huge,
}

impl Size {
    /// How long the filling of a value of this size is.
    pub(super) fn filling(self, context: &Context<'_>, write: u64) -> usize {
        // What stands before and after it: the key, the number, and what separates them.
        let at_most = |size: usize| context.size(size + OTHER).saturating_sub(OTHER);
        match self {
            Self::Small => at_most(usize::try_from(write % 100).unwrap_or_default()),
            Self::Medium => at_most(20_000),
            Self::Large => at_most(200_000),
            Self::Huge => at_most(6 << 20),
        }
    }
}

/// How many bytes of a value are not its filling.
const OTHER: usize = 100;

/// The keys of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(super) of: BatchOf,
    pub(super) count: usize,
    /// Whether some keys stand there again, near and far.
    pub(super) has_duplicates: bool,
}

/// Which keys a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchOf {
    Many,
    Large,
    Absent,
    /// A key that was never written after each that may have been.
    Mixed,
}

impl Batch {
    pub(super) fn keys(self) -> Vec<Key> {
        let Self { of, count, has_duplicates } = self;
        let key = |n: usize| match of {
            BatchOf::Many => Key::Many(n),
            BatchOf::Large => Key::Large(n),
            BatchOf::Absent => Key::Absent(n),
            BatchOf::Mixed if n % 2 == 1 => Key::Absent(n),
            BatchOf::Mixed => Key::Many(n / 2),
        };
        let mut keys = Vec::with_capacity(count);
        for n in 0..count {
            keys.push(key(n));
            if has_duplicates && n % 50 == 7 {
                keys.push(key(n));
            }
        }
        if has_duplicates {
            keys.extend((0..count).step_by(9).map(key));
        }
        keys
    }
}

/// The key that has this name.
pub(super) fn key_of(name: &str, prefix: &str) -> Option<Key> {
    let (kind, number) = name.strip_prefix(prefix)?.split_once('/')?;
    let key = match (kind, number.split_once('/')) {
        ("single", None) => Key::Single(number.parse().ok()?),
        ("many", Some((hundreds, number))) => {
            Key::Many(hundreds.parse::<usize>().ok()? * 100 + number.parse::<usize>().ok()?)
        }
        ("large", None) => Key::Large(number.parse().ok()?),
        ("counter", None) => Key::Counter(number.parse().ok()?),
        ("absent", None) => Key::Absent(number.parse().ok()?),
        _ => return None,
    };
    // There is one way to write it.
    Some(key).filter(|key| key.name(prefix) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_name() {
        for key in [Key::Single(3), Key::Many(0), Key::Many(1203), Key::Large(12), Key::Counter(1), Key::Absent(0)] {
            assert_eq!(key_of(&key.name("0001/"), "0001/"), Some(key));
        }
        for name in ["0002/single/1", "0001/single/01", "0001/many/1/1", "0001/", "0001/other/1"] {
            assert_eq!(key_of(name, "0001/"), None);
        }
    }

    #[test]
    fn duplicates_stand_near_and_far() {
        let keys = Batch { of: BatchOf::Many, count: 100, has_duplicates: true }.keys();
        assert_eq!((keys[7], keys[8]), (Key::Many(7), Key::Many(7)));
        assert_eq!(keys.last(), Some(&Key::Many(99)));
        assert!(Batch { of: BatchOf::Mixed, count: 1, has_duplicates: false }.keys() == [Key::Many(0)]);
    }
}
