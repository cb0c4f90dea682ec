//! Random sequences of steps: those come first that try what was not tried yet.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::SeekFrom;
use std::time::Duration;

use Capability::{Contains, Copy, Counters, Create, Listing, Take, Touch, TouchingReads, TtlReading, Ttls, Versions};
use fastrand::Rng;
use kv_core::{Capability, KeyBuf};
use proptest::prelude::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::abilities::{Abilities, Waiting};
use super::coverage::{Class, Coverage, Dimension};
use super::pools::{Content, Expires, keys, ttls, values};
use super::shrinking::Shrinking;
use super::step::{Handle, Operation, Reading, Step, Wait, Which, Write};

/// How many steps are made for each that is taken: the one that tries most that was not tried yet.
const CANDIDATES: usize = 4;

/// The operations, with their weights and what they need.
const OPERATIONS: &[(&str, u32, &[Capability])] = &[
    ("get", 8, &[]),
    ("get_into", 2, &[]),
    ("get_file", 1, &[]),
    ("open", 3, &[]),
    ("get_many", 5, &[]),
    ("get_each", 3, &[]),
    ("contains", 3, &[Contains]),
    ("ttl", 6, &[TtlReading]),
    ("keys", 4, &[Listing]),
    ("prefixes", 3, &[Listing]),
    ("put", 10, &[]),
    ("put_from", 5, &[]),
    ("put_from that fails", 2, &[]),
    ("put_file", 1, &[]),
    ("put_many", 6, &[]),
    ("create", 7, &[Create]),
    ("delete", 5, &[]),
    ("delete_many", 3, &[]),
    ("touch", 7, &[Touch]),
    ("get_versioned", 3, &[Versions]),
    ("create_versioned", 4, &[Versions, Create]),
    ("put_if", 7, &[Versions]),
    ("delete_if", 3, &[Versions]),
    ("take", 4, &[Take]),
    ("get_and_touch", 5, &[TouchingReads]),
    ("increment", 6, &[Counters]),
    ("copy", 6, &[Copy]),
    ("rename", 6, &[Copy]),
    ("while a listing is open", 3, &[Listing]),
    ("while a reader is open", 2, &[]),
];

/// How many more keys there are mostly.
const FEW: usize = 12;

/// How many keys a batch has.
const SIZES: &[&str] = &["none", "one", "a few", "hundreds"];

/// Random sequences for a store.
pub(crate) struct Sequences<'a> {
    abilities: Abilities,
    /// What the sequences so far try.
    planned: &'a RefCell<Coverage>,
    /// How many steps a sequence has at most.
    longest: usize,
}

/// What the steps of a sequence choose from.
struct Choices<'a> {
    sequences: &'a Sequences<'a>,
    /// The keys, each with its class.
    keys: Vec<(KeyBuf, &'static str)>,
    /// More keys, for batches.
    more: Vec<KeyBuf>,
}

impl<'a> Sequences<'a> {
    pub(crate) fn new(abilities: Abilities, planned: &'a RefCell<Coverage>, longest: usize) -> Self {
        Self { abilities, planned, longest }
    }

    fn make(&self, random: &mut Rng) -> Vec<Step> {
        let classes = random.usize(1..=3);
        let keys = (0..classes).flat_map(|_| {
            let class = one_of(random, keys::CLASSES);
            keys::keys(class, self.abilities.longest_key, random).into_iter().map(move |key| (key, class))
        });
        let mut keys = keys.collect::<Vec<_>>();
        keys.sort_unstable();
        keys.dedup_by(|one, other| one.0 == other.0);
        let more = if random.usize(..8) == 0 { random.usize(FEW..=self.abilities.most.max(FEW)) } else { FEW };
        let choices = Choices { sequences: self, keys, more: (0..more).map(self::more).collect() };
        let count = random.usize(1..=self.longest);
        let mut steps = Vec::with_capacity(count + 1);
        // Entries that listings and batches come upon.
        if more > FEW {
            steps.push(choices.chosen(&["put_many"], &["hundreds"], random, 0));
        }
        let names = self.names();
        steps.extend((0..count).map(|_| choices.chosen(&names, SIZES, random, 0)));
        steps
    }

    /// The names of the operations, each as often as it weighs.
    fn names(&self) -> Vec<&'static str> {
        let can = |needs: &[Capability]| needs.iter().all(|&capability| self.abilities.has(capability));
        let operations = OPERATIONS.iter().filter(|(_, _, needs)| can(needs));
        let mut names = operations.flat_map(|(name, weight, _)| (0..*weight).map(move |_| *name)).collect::<Vec<_>>();
        let waits = match self.abilities.waiting {
            _ if !self.abilities.has(Ttls) => 0,
            Waiting::ByHand => 12,
            Waiting::Short => 3,
            Waiting::Long => 1,
        };
        names.extend((0..waits).map(|_| "wait"));
        if self.abilities.can_reopen {
            names.extend(["reopen", "reopen"]);
        }
        names
    }
}

impl Choices<'_> {
    /// Of several steps with one of these operations the one that tries most that was not tried yet.
    fn chosen(&self, names: &[&'static str], sizes: &[&'static str], random: &mut Rng, depth: usize) -> Step {
        let mut best = self.step(names, sizes, random, depth);
        for _ in 1..CANDIDATES {
            let other = self.step(names, sizes, random, depth);
            let planned = self.sequences.planned.borrow();
            if planned.new_pairs(&other.covers) > planned.new_pairs(&best.covers) {
                best = other;
            }
        }
        self.sequences.planned.borrow_mut().add(&best);
        best
    }

    fn step(&self, names: &[&'static str], sizes: &[&'static str], random: &mut Rng, depth: usize) -> Step {
        let name = one_of(random, names);
        let handle =
            if self.sequences.abilities.has_second_handle && random.bool() { Handle::Second } else { Handle::First };
        let mut covers = vec![(Dimension::Operation, name)];
        if !matches!(name, "wait" | "reopen") {
            covers.push((Dimension::Handle, if handle == Handle::First { "first" } else { "second" }));
        }
        let operation = self.operation(name, sizes, random, &mut covers, depth);
        covers.sort_unstable();
        Step { handle, operation, covers }
    }

    fn operation(
        &self,
        name: &str,
        sizes: &[&'static str],
        random: &mut Rng,
        covers: &mut Vec<Class>,
        depth: usize,
    ) -> Operation {
        match name {
            "get" => Operation::Get(self.key(random, covers)),
            "get_into" => Operation::GetInto(self.key(random, covers)),
            "get_file" => Operation::GetFile(self.key(random, covers)),
            "open" => {
                Operation::Open(self.key(random, covers), (0..random.usize(..6)).map(|_| reading(random)).collect())
            }
            "get_many" => Operation::GetMany(self.batch(sizes, random, covers)),
            "get_each" => Operation::GetEach(self.batch(sizes, random, covers)),
            "contains" => Operation::Contains(self.key(random, covers)),
            "ttl" => Operation::Ttl(self.key(random, covers)),
            "keys" => Operation::Keys(self.prefix(random)),
            "prefixes" => Operation::Prefixes(delimiter(random), self.prefix(random)),
            "put" => Operation::Put(self.write(random, covers)),
            "put_from" => {
                Operation::PutFrom(self.write(random, covers), random.choice([1 << 20, 8192, 1000, 7]).unwrap_or(1))
            }
            "put_from that fails" => {
                let write = self.write(random, covers);
                let length = if let Content::Bytes(bytes) = &write.value { bytes.len() } else { 100 };
                Operation::PutFromFailing(write, random.usize(..=length))
            }
            "put_file" => Operation::PutFile(self.write(random, covers)),
            "put_many" => {
                let keys = self.batch(sizes, random, covers);
                let many = keys.len() > 20;
                let mut in_all = BTreeSet::new();
                let write = |key| {
                    let mut covers = Vec::new();
                    let is_small = many && random.usize(..100) > 0;
                    let class = if is_small { "a few bytes" } else { self.value_class(random) };
                    covers.push((Dimension::Value, class));
                    let expires = self.expires(random, &mut covers);
                    in_all.extend(covers);
                    Write { key, value: self.value(class, random), expires, is_owned: random.bool() }
                };
                let writes = keys.into_iter().map(write).collect();
                covers.extend(in_all);
                Operation::PutMany(writes)
            }
            "create" => Operation::Create(self.write(random, covers)),
            "delete" => Operation::Delete(self.key(random, covers)),
            "delete_many" => Operation::DeleteMany(self.batch(sizes, random, covers)),
            "touch" => Operation::Touch(self.key(random, covers), self.expires(random, covers)),
            "get_versioned" => Operation::GetVersioned(self.key(random, covers)),
            "create_versioned" => Operation::CreateVersioned(self.write(random, covers)),
            "put_if" => Operation::PutIf(self.write(random, covers), which(random)),
            "delete_if" => Operation::DeleteIf(self.key(random, covers), which(random)),
            "take" => Operation::Take(self.key(random, covers)),
            "get_and_touch" => Operation::GetAndTouch(self.key(random, covers), self.expires(random, covers)),
            "increment" => {
                let by = random.choice([0, 1, 1, 9, 1000, u32::MAX]).unwrap_or(1);
                Operation::Increment(self.key(random, covers), by, self.expires(random, covers))
            }
            "copy" => Operation::Copy(self.key(random, covers), self.key(random, covers)),
            "rename" => Operation::Rename(self.key(random, covers), self.key(random, covers)),
            "while a listing is open" => {
                let taken = random.usize(..if self.more.len() > FEW { 200 } else { 4 });
                let count = random.usize(1..if self.more.len() > FEW { 20 } else { 4 });
                let steps = self.nested(count, random, depth);
                Operation::WhileListing { prefix: self.prefix(random), taken, steps, to_the_end: random.usize(..4) > 0 }
            }
            "while a reader is open" => {
                let count = random.usize(1..4);
                let steps = self.nested(count, random, depth);
                Operation::WhileReading { key: self.key(random, covers), read: random.usize(..100), steps }
            }
            "reopen" => Operation::Reopen,
            _ => Operation::Wait(wait(random)),
        }
    }

    /// Steps in another one.
    fn nested(&self, count: usize, random: &mut Rng, depth: usize) -> Vec<Step> {
        let mut names = self.sequences.names();
        names.retain(|name| *name != "reopen" && (depth == 0 || !name.starts_with("while")));
        (0..count).map(|_| self.chosen(&names, &["none", "one", "a few"], random, depth + 1)).collect()
    }

    fn key(&self, random: &mut Rng, covers: &mut Vec<Class>) -> KeyBuf {
        // Of thousands of keys some have to be used, too.
        if self.more.len() > FEW && random.bool() {
            return self.more.get(random.usize(..self.more.len())).cloned().unwrap_or_else(|| more(0));
        }
        match random.choice(&self.keys) {
            Some((key, class)) => {
                covers.push((Dimension::Keys, class));
                key.clone()
            }
            None => more(0),
        }
    }

    fn batch(&self, sizes: &[&'static str], random: &mut Rng, covers: &mut Vec<Class>) -> Vec<KeyBuf> {
        let size = one_of(random, sizes);
        let size = if size == "hundreds" && self.more.len() <= FEW { "a few" } else { size };
        covers.push((Dimension::Size, size));
        let count = match size {
            "none" => 0,
            "one" => 1,
            "a few" => random.usize(2..9),
            _ => {
                // All of them, in some order, with duplicates far apart.
                let mut keys = self.more.clone();
                keys.extend(self.keys.iter().map(|(key, _)| key.clone()));
                if random.bool() {
                    random.shuffle(&mut keys);
                }
                for _ in 0..random.usize(..5) {
                    let again = keys.get(random.usize(..keys.len())).cloned();
                    keys.extend(again);
                }
                return keys;
            }
        };
        (0..count).map(|_| self.key(random, covers)).collect()
    }

    fn write(&self, random: &mut Rng, covers: &mut Vec<Class>) -> Write {
        let key = self.key(random, covers);
        let class = self.value_class(random);
        covers.push((Dimension::Value, class));
        let expires = self.expires(random, covers);
        Write { key, value: self.value(class, random), expires, is_owned: random.bool() }
    }

    fn value_class(&self, random: &mut Rng) -> &'static str {
        loop {
            let class = one_of(random, values::CLASSES);
            let is_rare = match class {
                "at the limit" if self.sequences.abilities.largest.is_none() => continue,
                "at the limit" | "about 1 MiB" => 6,
                "about 2¹⁶ bytes" => 2,
                _ => 1,
            };
            if random.usize(..is_rare) == 0 {
                return class;
            }
        }
    }

    fn value(&self, class: &'static str, random: &mut Rng) -> Content {
        match values::value(class, random) {
            Content::Bytes(bytes) => Content::Bytes(bytes.slice(..bytes.len().min(self.sequences.abilities.size))),
            at_limit @ Content::AtLimit(_) => at_limit,
        }
    }

    fn expires(&self, random: &mut Rng, covers: &mut Vec<Class>) -> Expires {
        let classes =
            if self.sequences.abilities.has(Ttls) { ttls::CLASSES } else { ttls::CLASSES.get(..2).unwrap_or_default() };
        // Half of all entries live for ever or until the default, so that there is something.
        let classes = if random.bool() { classes } else { classes.get(..2).unwrap_or_default() };
        let class = one_of(random, classes);
        covers.push((Dimension::Ttl, class));
        ttls::expires(class, random)
    }

    /// The beginning of a key, or something else.
    fn prefix(&self, random: &mut Rng) -> String {
        let key = self.key(random, &mut Vec::new());
        match random.usize(..6) {
            0 | 1 => String::new(),
            2 => "more/".into(),
            3 => random
                .choice(["*", "a", "?", "[a]", "a/", "^", "\\", "%", "_", "absent", "/"])
                .unwrap_or_default()
                .into(),
            _ => key.get(..random.usize(..=key.len())).unwrap_or_default().into(),
        }
    }
}

fn delimiter(random: &mut Rng) -> KeyBuf {
    const DELIMITERS: &[&str] = &["/", ":", "a", "//", ".", "*", "k", "more/0"];
    KeyBuf::new(one_of(random, DELIMITERS)).unwrap_or_else(|_| more(0))
}

fn which(random: &mut Rng) -> Which {
    match random.usize(..6) {
        0..=2 => Which::Current,
        3 => Which::Earlier(0),
        4 => Which::Earlier(random.usize(1..4)),
        _ => Which::Foreign,
    }
}

fn wait(random: &mut Rng) -> Wait {
    match random.usize(..8) {
        0 | 1 => Wait::BeforeNext,
        2 => Wait::UntilNext,
        3 | 4 => Wait::AfterNext,
        5 => Wait::AfterAll,
        6 => Wait::For(Duration::from_nanos(1)),
        _ => Wait::For(random.choice([1_000_000, 1_000_000_000]).map_or(Duration::ZERO, Duration::from_nanos)),
    }
}

fn reading(random: &mut Rng) -> Reading {
    let near = |random: &mut Rng| random.i64(-20..300);
    let far = |random: &mut Rng| random.choice([0, -1, 1, 65_535, 65_536, i64::MAX, i64::MIN]).unwrap_or_default();
    let offset = if random.usize(..4) == 0 { far(random) } else { near(random) };
    match random.usize(..6) {
        0..=2 => Reading::Read(random.choice([0, 1, 7, 64, 8192, 70_000]).unwrap_or_default()),
        3 => Reading::Seek(SeekFrom::Start(offset.unsigned_abs())),
        4 => Reading::Seek(SeekFrom::Current(offset)),
        _ => Reading::Seek(SeekFrom::End(offset)),
    }
}

/// A key for batches.
fn more(number: usize) -> KeyBuf {
    KeyBuf::new(format!("more/{number:04}")).unwrap_or_else(|_| kv_core::key!("more").into())
}

fn one_of(random: &mut Rng, of: &[&'static str]) -> &'static str {
    of.get(random.usize(..of.len())).copied().unwrap_or_default()
}

impl Strategy for Sequences<'_> {
    type Tree = Shrinking;
    type Value = Vec<Step>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut random = Rng::with_seed(any::<u64>().new_tree(runner)?.current());
        Ok(Shrinking::new(self.make(&mut random)))
    }
}

impl std::fmt::Debug for Sequences<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequences").finish_non_exhaustive()
    }
}
