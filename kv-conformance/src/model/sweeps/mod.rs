//! Sequences that go through the pools: every key, every value and every TTL once, whatever chance does with the rest.

mod staged;

use fastrand::Rng;
use kv_core::{Bytes, Capability, KeyBuf};
use proptest::strategy::{NewTree, Strategy};
use proptest::test_runner::TestRunner;

use crate::history::counters::{number, text};
use crate::model::abilities::Abilities;
use crate::model::coverage::{Class, Dimension};
use crate::model::pools::{Content, Expires, keys, ttls, values};
use crate::model::shrinking::Shrinking;
use crate::model::step::{Handle, Operation, Step, Wait, Which, Write};
use crate::running::part_for_effort;

/// One sequence, which can be made simpler.
#[derive(Clone, Debug)]
pub(crate) struct Fixed(Vec<Step>);

/// How many values or TTLs a sequence has. The time for TTLs grows with the square: all are looked at each time that one has passed.
const PART: usize = 60;
const PART_OF_TTLS: usize = 40;

/// For how many ways of writing it a large value is also copied, renamed, touched and removed.
const MOVED: usize = 5;

/// How many operations of section 12 change what is there.
const UPDATES: usize = 5;

/// About how many operations a staged sequence has.
const STAGED: usize = 150;

/// The ways to write an entry. One by `increment` is [besides](Sweep::counted), since it writes numbers alone.
const WAYS: &[&str] = &["put", "put_from", "create", "put_many", "put_file", "create_versioned", "put_if"];

/// How many keys a TTL has: one for each way to write it, and for what else gives a TTL.
const KEYS_OF_TTL: usize = WAYS.len() + 3;

/// The sequences for a store. Of one that is slow, only a part.
pub(crate) fn sweeps(abilities: &Abilities, random: &mut Rng) -> Vec<Fixed> {
    let sweep = Sweep { abilities };
    let mut all = vec![sweep.keys(random), sweep.keys_of_one_length(random)];
    all.extend(sweep.values(random));
    all.extend(sweep.ttls(random));
    let mut staged =
        [sweep.last_moments(), sweep.in_turn(), sweep.while_listing(), sweep.refused(), sweep.sizes()].concat();
    let most = (abilities.operations / STAGED).min(part_for_effort(staged.len()));
    random.shuffle(&mut staged);
    staged.truncate(most.max(1));
    all.extend(staged);
    all.into_iter().map(Fixed).collect()
}

struct Sweep<'a> {
    abilities: &'a Abilities,
}

impl Sweep<'_> {
    /// All keys at once, each written in one way, then copied, touched or removed, and then changed by the operations of section 12: by all of
    /// them where they cost next to nothing.
    fn keys(&self, random: &mut Rng) -> Vec<Step> {
        let mut all = keys::all(self.abilities.longest_key);
        self.sample(&mut all, random, 6);
        let mut steps = Vec::new();
        for (at, (class, key)) in all.iter().enumerate() {
            let covers = vec![(Dimension::Keys, *class)];
            let value = Content::Bytes(Bytes::from(at.to_string()));
            let expires = if at % 2 == 0 { self.hour() } else { Expires::Forever };
            let write = Write { key: key.clone(), value, expires, is_owned: at % 3 == 0 };
            let is_counted = at % (WAYS.len() + 1) == WAYS.len();
            let counted = is_counted.then(|| self.counted(at, &write, &covers)).flatten();
            steps.extend(counted.unwrap_or_else(|| self.write(at, write, covers)));
        }
        steps.extend(self.looks(all.iter().map(|(_, key)| key)));
        for (at, (class, key)) in all.iter().enumerate() {
            let to = keys::beside(at);
            let (name, operation) = match at % 5 {
                0 if self.abilities.has(Capability::Touch) => ("touch", Operation::Touch(key.clone(), self.hour())),
                1 if self.abilities.has(Capability::Copy) => ("copy", Operation::Copy(key.clone(), to)),
                2 if self.abilities.has(Capability::Copy) => ("rename", Operation::Rename(key.clone(), to)),
                3 if self.abilities.has(Capability::Contains) => ("contains", Operation::Contains(key.clone())),
                _ => ("delete", Operation::Delete(key.clone())),
            };
            steps.push(self.step(at, name, operation, vec![(Dimension::Keys, *class)]));
        }
        steps.extend(self.looks(all.iter().map(|(_, key)| key)));
        for round in 0..if self.abilities.is_in_process() { UPDATES } else { 1 } {
            for (at, (class, key)) in all.iter().enumerate() {
                steps.extend(self.updated(at / 5 + round, key, vec![(Dimension::Keys, *class)]));
            }
        }
        steps.extend(self.looks(all.iter().map(|(_, key)| key)));
        steps
    }

    /// An operation of section 12 on what is there, if the store has it.
    fn updated(&self, at: usize, key: &KeyBuf, covers: Vec<Class>) -> Option<Step> {
        let value = Content::Bytes(Bytes::from_static(b"5"));
        let write = Write { key: key.clone(), value, expires: Expires::Forever, is_owned: true };
        let (needs, name, operation) = match at % UPDATES {
            0 => (Capability::Versions, "put_if", Operation::PutIf(write, Which::Current)),
            1 => (Capability::Versions, "delete_if", Operation::DeleteIf(key.clone(), Which::Current)),
            2 => (Capability::Take, "take", Operation::Take(key.clone())),
            3 => (Capability::TouchingReads, "get_and_touch", Operation::GetAndTouch(key.clone(), self.hour())),
            _ => (Capability::Counters, "increment", Operation::Increment(key.clone(), 3, self.hour())),
        };
        self.abilities.has(needs).then(|| self.step(at, name, operation, covers))
    }

    /// Keys of one length that differ in one byte, at each place.
    fn keys_of_one_length(&self, random: &mut Rng) -> Vec<Step> {
        let longest = self.abilities.longest_key;
        let length = random.choice([33, 65, 100, longest, longest]).unwrap_or(longest).min(longest);
        let mut all = keys::that_differ_at_each_place(length);
        self.sample(&mut all, random, 2);
        let write = |(at, key): (usize, &KeyBuf)| Write {
            key: key.clone(),
            value: Content::Bytes(Bytes::from(at.to_string())),
            expires: Expires::Forever,
            is_owned: false,
        };
        let writes = all.iter().enumerate().map(write).collect::<Vec<_>>();
        let covers = vec![(Dimension::Keys, "differ in one byte"), (Dimension::Size, "hundreds")];
        let mut steps = vec![self.step(0, "put_many", Operation::PutMany(writes), covers)];
        steps.extend(self.looks(all.iter()));
        steps
    }

    /// All values, each written and read in several ways, and copied or renamed.
    fn values(&self, random: &mut Rng) -> Vec<Vec<Step>> {
        let mut all = values::all();
        all.retain(|(_, value)| match value {
            Content::Bytes(bytes) => bytes.len() <= self.abilities.size,
            Content::AtLimit(_) => self.abilities.largest.is_some(),
        });
        let ways = if self.abilities.is_in_process() { WAYS.len() } else { 2 };
        self.sample(&mut all, random, 4 * ways);
        let first = random.usize(..WAYS.len());
        let steps = all.chunks(PART).map(|part| {
            let mut steps = Vec::new();
            for (at, (class, value)) in part.iter().enumerate() {
                for way in first..first + ways {
                    let key = keys::beside(at * WAYS.len() + way);
                    let expires = if way % 2 == 0 { self.hour() } else { Expires::Forever };
                    let write = Write { key: key.clone(), value: value.clone(), expires, is_owned: at % 2 == 0 };
                    steps.extend(self.write(way, write, vec![(Dimension::Value, *class)]));
                    steps.push(self.read(way + at, key.clone()));
                    let is_large = matches!(value, Content::Bytes(bytes) if bytes.len() > 250);
                    // Of a large value for most ways, so that it takes no longer than the rest.
                    if is_large && way < first + MOVED || way == first {
                        steps.extend(self.moved(at, &key));
                    }
                }
                let key = keys::beside(10_000 + at);
                let write = Write { key: key.clone(), value: value.clone(), expires: self.hour(), is_owned: true };
                if let Some(counted) = self.counted(at, &write, &[(Dimension::Value, *class)]) {
                    steps.extend(counted.into_iter().chain([self.read(at, key)]));
                }
            }
            steps
        });
        steps.collect()
    }

    /// An entry that is copied, renamed, touched and removed: where other entries were before, of other sizes.
    fn moved(&self, at: usize, key: &KeyBuf) -> Vec<Step> {
        let (copy, renamed) = (keys::beside(20_000 + at % 2), keys::beside(20_002 + at % 2));
        let mut steps = Vec::new();
        if self.abilities.has(Capability::Copy) {
            steps.push(self.step(at, "copy", Operation::Copy(key.clone(), copy.clone()), Vec::new()));
            steps.push(self.step(at, "rename", Operation::Rename(key.clone(), renamed.clone()), Vec::new()));
        }
        steps.extend(self.touched(at, key, self.hour(), Vec::new()));
        let all = [key.clone(), copy, renamed];
        steps.extend(all.iter().enumerate().map(|(way, key)| self.read(at + way, key.clone())));
        if self.abilities.has(Capability::TtlReading) {
            steps.extend(all.iter().map(|key| self.step(at, "ttl", Operation::Ttl(key.clone()), Vec::new())));
        }
        // The copy stays where the next one goes.
        let [key, _, renamed] = all;
        let (removed, taken) = if at.is_multiple_of(3) && self.abilities.has(Capability::Take) {
            (vec![renamed.clone()], Some(key.clone()))
        } else {
            (vec![key.clone(), renamed.clone()], None)
        };
        steps.extend(taken.map(|key| self.step(at, "take", Operation::Take(key), Vec::new())));
        steps.push(self.step(at, "delete_many", Operation::DeleteMany(removed), Vec::new()));
        steps.extend([self.read(at, key), self.read(at, renamed)]);
        steps
    }

    /// All TTLs, each given in several ways; where the clock is advanced by hand, until each has passed.
    fn ttls(&self, random: &mut Rng) -> Vec<Vec<Step>> {
        if !self.abilities.has(Capability::Ttls) {
            return Vec::new();
        }
        let (mut all, parity) = (ttls::all(random), random.usize(..2));
        self.sample(&mut all, random, 16);
        let steps = all.chunks(PART_OF_TTLS).map(|part| {
            let mut steps = Vec::new();
            for (at, &(class, expires)) in part.iter().enumerate() {
                let covers = || vec![(Dimension::Ttl, class)];
                let key = |number: usize| keys::beside(at * KEYS_OF_TTL + number);
                let write = |number: usize, value: &'static [u8], expires| {
                    let value = Content::Bytes(Bytes::from_static(value));
                    Write { key: key(number), value, expires, is_owned: true }
                };
                for way in 0..WAYS.len() {
                    steps.extend(self.write(way, write(way, b"v", expires), covers()));
                }
                let counted = self.counted(at, &write(WAYS.len(), b"7", expires), &covers());
                steps.extend(counted.into_iter().flatten());
                let (touched, to) = (WAYS.len() + 1, key(WAYS.len() + 2));
                steps.extend(self.write(0, write(touched, b"v", Expires::Forever), Vec::new()));
                steps.extend(self.touched(at + parity, &key(touched), expires, covers()));
                if self.abilities.has(Capability::Copy) {
                    let key = key(0);
                    let (name, operation) = if at % 2 == 0 {
                        ("copy", Operation::Copy(key, to))
                    } else {
                        ("rename", Operation::Rename(key, to))
                    };
                    steps.push(self.step(at, name, operation, covers()));
                }
            }
            let keys = (0..part.len() * KEYS_OF_TTL).map(keys::beside).collect::<Vec<_>>();
            let waits = if self.abilities.is_in_process() { part.len() + 5 } else { 0 };
            for at in 0..=waits {
                steps.extend(self.looks(keys.iter()));
                if at < waits {
                    let wait =
                        [Wait::BeforeNext, Wait::AfterNext, Wait::UntilNext, Wait::AfterNext].get(at % 4).copied();
                    steps.push(self.step(0, "wait", Operation::Wait(wait.unwrap_or(Wait::AfterNext)), Vec::new()));
                }
            }
            steps
        });
        steps.collect()
    }

    /// Reads all these keys, and asks for some of the TTLs.
    fn looks<'k>(&self, keys: impl Iterator<Item = &'k KeyBuf> + Clone) -> Vec<Step> {
        let all = keys.clone().cloned().collect::<Vec<_>>();
        let covers = vec![(Dimension::Size, if all.len() > 20 { "hundreds" } else { "a few" })];
        let mut steps = vec![self.step(all.len(), "get_many", Operation::GetMany(all), covers)];
        if self.abilities.has(Capability::TtlReading) {
            steps.extend(keys.step_by(7).map(|key| self.step(0, "ttl", Operation::Ttl(key.clone()), Vec::new())));
        }
        if self.abilities.has(Capability::Listing) {
            steps.push(self.step(1, "keys", Operation::Keys(String::new()), Vec::new()));
        }
        steps
    }

    /// A write in one of the ways. One that names a version needs an entry that has one.
    fn write(&self, way: usize, write: Write, covers: Vec<Class>) -> Vec<Step> {
        let name = WAYS.get(way % WAYS.len()).copied().unwrap_or_default();
        let [creates, has_versions] = [Capability::Create, Capability::Versions].map(|of| self.abilities.has(of));
        let (name, operation) = match name {
            "create" if creates => (name, Operation::Create(write)),
            "create_versioned" if creates && has_versions => (name, Operation::CreateVersioned(write)),
            "put_if" if has_versions => {
                let value = Content::Bytes(Bytes::from_static(b"before"));
                let before = Write { value, expires: self.hour(), ..write.clone() };
                let before = self.step(way, "put", Operation::Put(before), Vec::new());
                return vec![before, self.step(way, name, Operation::PutIf(write, Which::Current), covers)];
            }
            "put_from" => (name, Operation::PutFrom(write, 8192)),
            "put_file" => (name, Operation::PutFile(write)),
            "put_many" => (name, Operation::PutMany(vec![write])),
            _ => ("put", Operation::Put(write)),
        };
        vec![self.step(way, name, operation, covers)]
    }

    /// A write by `increment`, if the value is a counter: of an absent counter that begins with it, or of one that is there, which keeps its
    /// TTL.
    fn counted(&self, at: usize, write: &Write, covers: &[Class]) -> Option<Vec<Step>> {
        let Content::Bytes(value) = &write.value else { return None };
        let sum = number(value).filter(|_| self.abilities.has(Capability::Counters))?;
        let increment = |by, expires| {
            self.step(at, "increment", Operation::Increment(write.key.clone(), by, expires), covers.to_vec())
        };
        match (u32::try_from(sum), sum.checked_sub(1)) {
            (Ok(by), _) if at.is_multiple_of(2) || by == 0 => Some(vec![increment(by, write.expires)]),
            (_, Some(one_less)) => {
                let before = Write { value: Content::Bytes(text(one_less)), ..write.clone() };
                Some(vec![self.step(at, "put", Operation::Put(before), Vec::new()), increment(1, self.hour())])
            }
            _ => None,
        }
    }

    /// A new TTL for what is there, in one of the two ways, if the store has one.
    fn touched(&self, at: usize, key: &KeyBuf, expires: Expires, covers: Vec<Class>) -> Option<Step> {
        let reads = self.abilities.has(Capability::TouchingReads);
        if reads && (at % 2 == 1 || !self.abilities.has(Capability::Touch)) {
            return Some(self.step(at, "get_and_touch", Operation::GetAndTouch(key.clone(), expires), covers));
        }
        let touch = || self.step(at, "touch", Operation::Touch(key.clone(), expires), covers);
        self.abilities.has(Capability::Touch).then(touch)
    }

    fn read(&self, way: usize, key: KeyBuf) -> Step {
        let (name, operation) = match way % staged::READS {
            0 => ("get", Operation::Get(key)),
            1 => ("get_into", Operation::GetInto(key)),
            2 => ("open", Operation::Open(key, Vec::new())),
            3 => ("get_many", Operation::GetMany(vec![key])),
            4 => ("get_each", Operation::GetEach(vec![key.clone(), key])),
            5 if self.abilities.has(Capability::Versions) => ("get_versioned", Operation::GetVersioned(key)),
            _ => ("get_file", Operation::GetFile(key)),
        };
        self.step(way, name, operation, Vec::new())
    }

    fn step(&self, at: usize, name: &'static str, operation: Operation, mut covers: Vec<Class>) -> Step {
        let is_second = self.abilities.has_second_handle && at % 2 == 1;
        covers.push((Dimension::Operation, name));
        covers.push((Dimension::Handle, if is_second { "second" } else { "first" }));
        covers.sort_unstable();
        Step { handle: if is_second { Handle::Second } else { Handle::First }, operation, covers }
    }

    /// A TTL that does not pass.
    fn hour(&self) -> Expires {
        if self.abilities.has(Capability::Ttls) {
            Expires::BeforeLongest(std::time::Duration::from_nanos(1))
        } else {
            Expires::Forever
        }
    }

    /// As many as are tried in the time there is, of which each takes so many operations.
    fn sample<T>(&self, all: &mut Vec<T>, random: &mut Rng, operations: usize) {
        let most = (self.abilities.operations / operations).min(part_for_effort(all.len()));
        if all.len() > most {
            random.shuffle(all);
            all.truncate(most.max(1));
        }
    }
}

impl Strategy for Fixed {
    type Tree = Shrinking;
    type Value = Vec<Step>;

    fn new_tree(&self, _: &mut TestRunner) -> NewTree<Self> {
        Ok(Shrinking::new(self.0.clone()))
    }
}
