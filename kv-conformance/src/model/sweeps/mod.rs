//! Sequences that go through the pools: every key, every value and every TTL once, whatever chance does with the rest.

mod staged;

use fastrand::Rng;
use kv_core::{Bytes, Capability, KeyBuf};
use proptest::strategy::{NewTree, Strategy};
use proptest::test_runner::TestRunner;

use crate::model::abilities::Abilities;
use crate::model::coverage::{Class, Dimension};
use crate::model::pools::{Content, Expires, keys, ttls, values};
use crate::model::shrinking::Shrinking;
use crate::model::step::{Handle, Operation, Step, Wait, Write};
use crate::running::part_for_effort;

/// One sequence, which can be made simpler.
#[derive(Clone, Debug)]
pub(crate) struct Fixed(Vec<Step>);

/// How many values or TTLs a sequence has.
const PART: usize = 60;

/// About how many operations a staged sequence has.
const STAGED: usize = 150;

/// The ways to write an entry.
const WAYS: &[&str] = &["put", "put_from", "create", "put_many", "put_file"];

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
    /// All keys at once, each written in one way, and then copied, touched or removed.
    fn keys(&self, random: &mut Rng) -> Vec<Step> {
        let mut all = keys::all(self.abilities.longest_key);
        self.sample(&mut all, random, 4);
        let mut steps = Vec::new();
        for (at, (class, key)) in all.iter().enumerate() {
            let covers = vec![(Dimension::Keys, *class)];
            let value = Content::Bytes(Bytes::from(at.to_string()));
            let expires = if at % 2 == 0 { self.hour() } else { Expires::Forever };
            steps.push(self.write(at, Write { key: key.clone(), value, expires, is_owned: at % 3 == 0 }, covers));
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
        steps
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
        self.sample(&mut all, random, 3 * ways);
        let first = random.usize(..WAYS.len());
        let steps = all.chunks(PART).map(|part| {
            let mut steps = Vec::new();
            for (at, (class, value)) in part.iter().enumerate() {
                for way in first..first + ways {
                    let key = keys::beside(at * WAYS.len() + way);
                    let expires = if way % 2 == 0 { self.hour() } else { Expires::Forever };
                    let write = Write { key: key.clone(), value: value.clone(), expires, is_owned: at % 2 == 0 };
                    steps.push(self.write(way, write, vec![(Dimension::Value, *class)]));
                    steps.push(self.read(way + at, key.clone()));
                    let is_large = matches!(value, Content::Bytes(bytes) if bytes.len() > 250);
                    if is_large || way == first {
                        steps.extend(self.moved(at, &key));
                    }
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
        if self.abilities.has(Capability::Touch) {
            steps.push(self.step(at, "touch", Operation::Touch(key.clone(), self.hour()), Vec::new()));
        }
        let all = [key.clone(), copy, renamed];
        steps.extend(all.iter().enumerate().map(|(way, key)| self.read(at + way, key.clone())));
        if self.abilities.has(Capability::TtlReading) {
            steps.extend(all.iter().map(|key| self.step(at, "ttl", Operation::Ttl(key.clone()), Vec::new())));
        }
        // The copy stays where the next one goes.
        let [key, _, renamed] = all;
        let removed = vec![key.clone(), renamed.clone()];
        steps.push(self.step(at, "delete_many", Operation::DeleteMany(removed), Vec::new()));
        steps.extend([self.read(at, key), self.read(at, renamed)]);
        steps
    }

    /// All TTLs, each given in several ways; where the clock is advanced by hand, until each has passed.
    fn ttls(&self, random: &mut Rng) -> Vec<Vec<Step>> {
        if !self.abilities.has(Capability::Ttls) {
            return Vec::new();
        }
        let mut all = ttls::all(random);
        self.sample(&mut all, random, 12);
        let steps = all.chunks(PART).map(|part| {
            let mut steps = Vec::new();
            for (at, &(class, expires)) in part.iter().enumerate() {
                let covers = || vec![(Dimension::Ttl, class)];
                for way in 0..WAYS.len() {
                    let key = keys::beside(at * 10 + way);
                    let value = Content::Bytes(Bytes::from_static(b"v"));
                    let write = Write { key, value, expires, is_owned: true };
                    steps.push(self.write(way, write, covers()));
                }
                let (key, to) = (keys::beside(at * 10 + 8), keys::beside(at * 10 + 9));
                if self.abilities.has(Capability::Touch) {
                    let value = Content::Bytes(Bytes::from_static(b"v"));
                    let write = Write { key: key.clone(), value, expires: Expires::Forever, is_owned: true };
                    steps.push(self.write(0, write, Vec::new()));
                    steps.push(self.step(at, "touch", Operation::Touch(key, expires), covers()));
                }
                if self.abilities.has(Capability::Copy) {
                    let key = keys::beside(at * 10);
                    let (name, operation) = if at % 2 == 0 {
                        ("copy", Operation::Copy(key, to))
                    } else {
                        ("rename", Operation::Rename(key, to))
                    };
                    steps.push(self.step(at, name, operation, covers()));
                }
            }
            let keys = (0..part.len() * 10).map(keys::beside).collect::<Vec<_>>();
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

    fn write(&self, way: usize, write: Write, covers: Vec<Class>) -> Step {
        let name = WAYS.get(way % WAYS.len()).copied().unwrap_or_default();
        let (name, operation) = match name {
            "create" if self.abilities.has(Capability::Create) => (name, Operation::Create(write)),
            "put_from" => (name, Operation::PutFrom(write, 8192)),
            "put_file" => (name, Operation::PutFile(write)),
            "put_many" => (name, Operation::PutMany(vec![write])),
            _ => ("put", Operation::Put(write)),
        };
        self.step(way, name, operation, covers)
    }

    fn read(&self, way: usize, key: KeyBuf) -> Step {
        let (name, operation) = match way % 6 {
            0 => ("get", Operation::Get(key)),
            1 => ("get_into", Operation::GetInto(key)),
            2 => ("open", Operation::Open(key, Vec::new())),
            3 => ("get_many", Operation::GetMany(vec![key])),
            4 => ("get_each", Operation::GetEach(vec![key.clone(), key])),
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
