//! Sequences that stage what chance seldom brings together: the last moments of a TTL, handles in turn, what changes while a listing is open,
//! entries that are refused, and batches of particular sizes.

use std::time::Duration;

use kv_core::{Bytes, Capability, KeyBuf};

use super::Sweep;
use crate::model::coverage::Dimension;
use crate::model::pools::{Content, Expires, keys};
use crate::model::step::{Handle, Operation, Step, Wait, Which, Write};

/// Sizes at which something that is counted, or sent in portions, may change.
const SIZES: &[usize] = &[
    10, 16, 32, 50, 64, 99, 100, 101, 127, 128, 129, 200, 250, 255, 256, 257, 499, 500, 501, 511, 512, 513, 999, 1000,
    1001, 1023, 1024, 1025, 1500,
];

/// How many keys there are while a listing is open.
const LISTED: usize = 400;

impl Sweep<'_> {
    /// Each operation that leaves an entry as it is, just before it expires, and each that writes, just after it has.
    pub(super) fn last_moments(&self) -> Vec<Vec<Step>> {
        if !self.abilities.has(Capability::Ttls) || !self.abilities.is_in_process() {
            return Vec::new();
        }
        let hour = Duration::from_secs(3600);
        let looking = (0..READS + 8).map(|read| {
            let key = keys::beside(read);
            let other = keys::beside(91);
            let mut steps =
                vec![self.put(0, &key, "old", Expires::After(hour)), self.put(0, &other, "other", Expires::Forever)];
            // The version of another entry, which matches nothing here.
            steps.extend(Some(self.read(VERSIONED, other)).filter(|step| self.can(step)));
            for wait in
                [Wait::For(Duration::from_millis(3_598_500)), Wait::For(Duration::from_secs(1)), Wait::BeforeNext]
            {
                steps.push(self.waiting(wait));
                steps.extend(self.leaves_alone(read, &key));
            }
            steps.extend([self.waiting(Wait::AfterNext), self.read(read, key.clone()), self.read(read + 1, key)]);
            steps
        });
        let writing = (0..WRITES).map(|way| {
            let key = keys::beside(100 + way);
            let mut steps = Vec::new();
            for expires in [Expires::Default, Expires::Forever, Expires::After(hour * 2)] {
                steps.push(self.put(0, &key, "old", Expires::After(hour)));
                steps.push(self.waiting(Wait::AfterNext));
                steps.extend(self.writes(way, &key, expires));
                steps.extend(self.looks(std::iter::once(&key)));
                steps.push(self.waiting(Wait::For(hour + Duration::from_secs(1))));
                steps.extend(self.looks(std::iter::once(&key)));
            }
            steps
        });
        looking.chain(writing).collect()
    }

    /// What one handle writes the other reads, in every way, over and over.
    pub(super) fn in_turn(&self) -> Vec<Vec<Step>> {
        let sequence = |read: usize| {
            let mut steps = Vec::new();
            for way in 0..WRITES {
                let key = keys::beside(way);
                for (round, size) in [3, 5000, 70_000, 4].into_iter().enumerate() {
                    let size = size.min(self.abilities.size);
                    let value = Content::Bytes(crate::property::values::part_of_pattern(round * 10 + way, size));
                    let at = round + 1;
                    steps.extend(
                        self.writes_value(way, &key, &value, Expires::Forever).map(|step| self.through(at, step)),
                    );
                    steps.push(self.through(at + 1, self.read(read, key.clone())));
                    steps.push(self.through(at, self.read(read, key.clone())));
                }
                steps.push(self.through(0, self.step(0, "delete", Operation::Delete(key.clone()), Vec::new())));
                steps.push(self.through(1, self.read(read, key)));
            }
            steps
        };
        (0..READS).map(sequence).collect()
    }

    /// Entries that are overwritten, given other TTLs, renamed and removed in each way while a listing is open.
    pub(super) fn while_listing(&self) -> Vec<Vec<Step>> {
        let count = LISTED.min(self.abilities.most);
        if !self.abilities.has(Capability::Listing) || count < 20 {
            return Vec::new();
        }
        let key = |at: usize| keys::beside(at * 7919 % count);
        let sequence = |way: usize| {
            let expires =
                |at: usize| if at.is_multiple_of(3) { Expires::Forever } else { self.days(1 + at as u64 % 20) };
            let entries = (0..count).map(|at| entry(&keys::beside(at), "v", expires(at)));
            let others = (0..20).map(|at| entry(&keys::beside(count + at), "other", Expires::Forever));
            let all = entries.chain(others).collect::<Vec<_>>();
            let mut steps =
                vec![self.step(0, "put_many", Operation::PutMany(all), vec![(Dimension::Size, "hundreds")])];
            for (round, taken) in [1, count / 3, 100].into_iter().enumerate() {
                let changed = (0..20).flat_map(|at| {
                    let (at, key) = (at + round * 20, key(at + round * 31));
                    match way {
                        0..WRITES => self.writes(way, &key, expires(at + 1)).collect(),
                        _ if way == WRITES => {
                            self.touched(0, &key, self.days(40 - at as u64 % 30), Vec::new()).into_iter().collect()
                        }
                        _ if way == WRITES + 1 => {
                            self.touched(at, &key, self.days(1), Vec::new()).into_iter().collect()
                        }
                        _ if way == WRITES + 2 && at % 2 == 1 => {
                            vec![self.step(at, "take", Operation::Take(key), Vec::new())]
                        }
                        _ if way == WRITES + 2 => vec![self.step(at, "delete", Operation::Delete(key), Vec::new())],
                        _ => {
                            // Onto an entry that is there, and away from one.
                            let other = keys::beside(count + at % 20);
                            let operation = if way == WRITES + 3 {
                                Operation::Rename(other, key)
                            } else {
                                Operation::Rename(key, other)
                            };
                            vec![self.step(at, "rename", operation, Vec::new())]
                        }
                    }
                });
                let steps_in = changed.filter(|step| self.can(step)).collect();
                let listing =
                    Operation::WhileListing { prefix: String::new(), taken, steps: steps_in, to_the_end: true };
                steps.push(self.step(round, "while a listing is open", listing, Vec::new()));
            }
            steps
        };
        (0..WRITES + 5).map(sequence).collect()
    }

    /// Entries with a TTL that is too long, and values that are too large, where there is an entry and where there is none.
    pub(super) fn refused(&self) -> Vec<Vec<Step>> {
        let sizes = [1, 5000, 70_000, 200_000].map(|size: usize| {
            Content::Bytes(crate::property::values::part_of_pattern(size % 100, size.min(self.abilities.size)))
        });
        let too_large = self.abilities.largest.map(|_| Content::AtLimit(1));
        let mut steps = Vec::new();
        for (at, value) in sizes.into_iter().chain(too_large).enumerate() {
            for expires in [
                Expires::BeyondLongest(Duration::from_secs(1)),
                Expires::BeyondLongest(Duration::MAX),
                Expires::Forever,
            ] {
                if expires != Expires::Forever && !self.abilities.has(Capability::Ttls) {
                    continue;
                }
                for way in 0..WRITES {
                    for (key, is_there) in
                        [(keys::beside(at * 10 + way), true), (keys::beside(1000 + at * 10 + way), false)]
                    {
                        if is_there {
                            steps.push(self.put(way, &key, "old", self.hour()));
                        }
                        steps.extend(self.writes_value(way, &key, &value, expires));
                        steps.extend(self.looks(std::iter::once(&key)));
                    }
                }
            }
        }
        vec![steps]
    }

    /// Batches of particular sizes, each entry with another value and another TTL, and duplicates at both ends.
    pub(super) fn sizes(&self) -> Vec<Vec<Step>> {
        let most = if self.abilities.is_in_process() { self.abilities.most } else { self.abilities.most.min(520) };
        let sequence = |&count: &usize| {
            let keys = (0..count).map(keys::beside).collect::<Vec<_>>();
            let expires = |at: usize| if at % 5 == 4 { Expires::Default } else { self.days(1 + at as u64 % 7) };
            let mut entries =
                keys.iter().enumerate().map(|(at, key)| entry(key, &at.to_string(), expires(at))).collect::<Vec<_>>();
            // The last of the same key wins.
            let again = |at: usize| keys.get(at).map(|key| entry(key, "again", expires(at + 3)));
            entries.extend([again(0), again(count / 2)].into_iter().flatten());
            entries.drain(..2.min(entries.len() - 2));
            let size = || vec![(Dimension::Size, "hundreds")];
            let mut steps = vec![self.step(count, "put_many", Operation::PutMany(entries), size())];
            steps.push(self.step(0, "get_many", Operation::GetMany(keys.clone()), size()));
            steps.push(self.step(1, "get_each", Operation::GetEach(keys.clone()), size()));
            if self.abilities.has(Capability::TtlReading) {
                let each = keys
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| count - at < 12 || at % 37 == 0 || (at % 100).abs_diff(50) > 48);
                steps.extend(each.map(|(at, key)| self.step(at, "ttl", Operation::Ttl(key.clone()), Vec::new())));
            }
            if self.abilities.has(Capability::Listing) {
                steps.push(self.step(0, "keys", Operation::Keys(String::new()), Vec::new()));
                // Each key is a part of its own.
                let delimiter = KeyBuf::new("9").unwrap_or_else(|_| kv_core::key!("9").into());
                steps.push(self.step(1, "prefixes", Operation::Prefixes(delimiter, String::new()), Vec::new()));
                steps.push(self.step(
                    1,
                    "prefixes",
                    Operation::Prefixes(kv_core::key!("~").into(), "beside/".into()),
                    Vec::new(),
                ));
            }
            let half = keys.iter().step_by(2).chain(keys.first()).chain(keys.last()).cloned().collect();
            steps.push(self.step(1, "delete_many", Operation::DeleteMany(half), size()));
            steps.push(self.step(0, "get_many", Operation::GetMany(keys), size()));
            steps
        };
        SIZES.iter().filter(|&&size| size <= most).map(sequence).collect()
    }

    /// A read, or another operation that leaves an entry as it is.
    fn leaves_alone(&self, way: usize, key: &KeyBuf) -> Option<Step> {
        let step = match way.checked_sub(READS) {
            None => self.read(way, key.clone()),
            Some(0) => self.step(0, "contains", Operation::Contains(key.clone()), Vec::new()),
            Some(1) => self.step(0, "create", Operation::Create(entry(key, "new", Expires::Forever)), Vec::new()),
            Some(2) => self.step(0, "copy", Operation::Copy(key.clone(), keys::beside(90)), Vec::new()),
            Some(3) => {
                let write = entry(key, "new", Expires::Forever);
                self.step(0, "create_versioned", Operation::CreateVersioned(write), Vec::new())
            }
            Some(4) => {
                let write = entry(key, "new", Expires::Forever);
                self.step(0, "put_if", Operation::PutIf(write, Which::Foreign), Vec::new())
            }
            Some(5) => self.step(0, "delete_if", Operation::DeleteIf(key.clone(), Which::Foreign), Vec::new()),
            // It is not a counter.
            Some(6) => self.step(0, "increment", Operation::Increment(key.clone(), 1, Expires::Forever), Vec::new()),
            Some(_) => self.step(0, "ttl", Operation::Ttl(key.clone()), Vec::new()),
        };
        Some(step).filter(|step| self.can(step))
    }

    fn writes(&self, way: usize, key: &KeyBuf, expires: Expires) -> std::vec::IntoIter<Step> {
        self.writes_value(way, key, &Content::Bytes(Bytes::from_static(b"new")), expires)
    }

    /// A write in one of the ways: the last two are a copy and a rename of an entry of its own.
    fn writes_value(&self, way: usize, key: &KeyBuf, value: &Content, expires: Expires) -> std::vec::IntoIter<Step> {
        let write =
            |key: &KeyBuf| Write { key: key.clone(), value: value.clone(), expires, is_owned: way.is_multiple_of(2) };
        let steps = match way.checked_sub(super::WAYS.len()) {
            None => self.write(way, write(key), Vec::new()),
            Some(other) => {
                let from = keys::beside(80_000 + other);
                let operation = if other == 0 {
                    Operation::Copy(from.clone(), key.clone())
                } else {
                    Operation::Rename(from.clone(), key.clone())
                };
                let name = if other == 0 { "copy" } else { "rename" };
                let written = self.write(0, write(&from), Vec::new());
                written.into_iter().chain([self.step(way, name, operation, Vec::new())]).collect()
            }
        };
        steps.into_iter().filter(|step| self.can(step)).collect::<Vec<_>>().into_iter()
    }

    fn put(&self, at: usize, key: &KeyBuf, value: &str, expires: Expires) -> Step {
        self.step(at, "put", Operation::Put(entry(key, value, expires)), Vec::new())
    }

    fn waiting(&self, wait: Wait) -> Step {
        self.step(0, "wait", Operation::Wait(wait), Vec::new())
    }

    /// The same step through the first handle or the second, in turn.
    fn through(&self, at: usize, step: Step) -> Step {
        let is_second = self.abilities.has_second_handle && at % 2 == 1;
        Step { handle: if is_second { Handle::Second } else { Handle::First }, ..step }
    }

    fn days(&self, days: u64) -> Expires {
        if self.abilities.has(Capability::Ttls) {
            Expires::UpToLongest(Duration::from_secs(days * 86_400))
        } else {
            Expires::Forever
        }
    }

    /// Whether the store can do what a step does.
    fn can(&self, step: &Step) -> bool {
        let needs: &[Capability] = match &step.operation {
            Operation::Create(_) => &[Capability::Create],
            Operation::Contains(_) => &[Capability::Contains],
            Operation::Copy(..) | Operation::Rename(..) => &[Capability::Copy],
            Operation::Touch(..) => &[Capability::Touch],
            Operation::Ttl(_) => &[Capability::TtlReading],
            Operation::Keys(_) | Operation::Prefixes(..) => &[Capability::Listing],
            Operation::GetVersioned(_) | Operation::PutIf(..) | Operation::DeleteIf(..) => &[Capability::Versions],
            Operation::CreateVersioned(_) => &[Capability::Versions, Capability::Create],
            Operation::Take(_) => &[Capability::Take],
            Operation::GetAndTouch(..) => &[Capability::TouchingReads],
            Operation::Increment(..) => &[Capability::Counters],
            _ => &[],
        };
        needs.iter().all(|&needs| self.abilities.has(needs))
    }
}

/// How many ways there are to read an entry, and to write one.
pub(super) const READS: usize = 7;
const WRITES: usize = super::WAYS.len() + 2;

/// The way to read an entry with its version.
const VERSIONED: usize = 5;

fn entry(key: &KeyBuf, value: &str, expires: Expires) -> Write {
    Write { key: key.clone(), value: Content::Bytes(Bytes::copy_from_slice(value.as_bytes())), expires, is_owned: true }
}
