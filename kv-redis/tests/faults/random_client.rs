//! A client that does operations at random, and checks what it reads.

use super::*;

/// A generator of numbers (splitmix64): the same ones from the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn size(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(super) fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// The number of a write, or that there is no entry.
pub(super) type Write = Option<u64>;

/// What a key of a thread can hold: what the last write that was answered left, or what one has left since the beginning of
/// the round whose outcome is unknown: a network may bring it at any time.
#[derive(Debug, Default)]
pub(super) struct Known {
    sure: Write,
    doubtful: Vec<Write>,
}

impl Known {
    pub(super) fn allows(&self, write: Write) -> bool {
        self.sure == write || self.doubtful.contains(&write)
    }

    pub(super) fn may_be_there(&self) -> bool {
        self.sure.is_some() || self.doubtful.iter().any(Option::is_some)
    }

    pub(super) fn may_be_absent(&self) -> bool {
        self.allows(None)
    }

    pub(super) fn wrote<T>(&mut self, result: &Result<T>, write: Write) {
        match result {
            Ok(_) => self.sure = write,
            Err(error) if error.outcome_unknown() => self.doubtful.push(write),
            Err(_) => {}
        }
    }
}

/// A thread's keys, which nobody else writes.
pub(super) struct Actor<'a> {
    store: &'a RedisStore,
    random: Random,
    pub(super) number: u64,
    /// Of one operation.
    limit: Duration,
    keys: Vec<(String, Known)>,
    writes: u64,
    /// How many operations succeeded, and how many did not.
    pub(super) done: [usize; 2],
}

impl<'a> Actor<'a> {
    pub(super) fn new(store: &'a RedisStore, number: u64, seed: u64, limit: Duration) -> Self {
        let keys = (0..10).map(|key| (format!("{number}/{key}"), Known::default())).collect();
        Self { store, random: Random(seed ^ number.wrapping_mul(77)), number, limit, keys, writes: 0, done: [0, 0] }
    }

    /// A value that says which key and which write it belongs to, and where it ends.
    pub(super) fn value(key: &str, write: u64, is_long: bool) -> Vec<u8> {
        let length = if is_long { 40_000 } else { usize::try_from(write % 200).unwrap() };
        format!("{key}|{write}|{}|end", "x".repeat(length)).into_bytes()
    }

    /// Which write of which key a value is.
    pub(super) fn parse(value: &[u8]) -> (String, u64) {
        let text = String::from_utf8(value.to_vec()).unwrap();
        let parts: Vec<_> = text.split('|').collect();
        let write: u64 = parts[1].parse().unwrap();
        let whole = [false, true].map(|long| Self::value(parts[0], write, long)).contains(&text.clone().into_bytes());
        assert!(whole && parts.len() == 4, "half a value: {text}");
        (parts[0].to_owned(), write)
    }

    pub(super) fn check_value(key: &str, known: &Known, value: Option<&[u8]>) {
        let write = value.map(|value| {
            let (of, write) = Self::parse(value);
            assert_eq!(of, key, "another one's reply");
            write
        });
        assert!(known.allows(write), "{key} is {write:?}, and can be {known:?}");
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_secs(10_000 * (self.number + 1))
    }

    /// Does something, at random, and looks whether it can be so.
    #[allow(clippy::too_many_lines, reason = "one operation after the other")]
    pub(super) fn act(&mut self) {
        let (store, ttl, limit) = (self.store, self.ttl(), self.limit);
        let at = self.random.size(self.keys.len());
        let what = self.random.below(13);
        self.writes += 1;
        let write = self.writes;
        let is_long = self.random.below(20) == 0;
        let (key, known) = &mut self.keys[at];
        let key = key.as_str();
        let begin = Instant::now();
        let result = match what {
            0..=2 => store.get(key).map(|value| Self::check_value(key, known, value.as_deref())),
            3 | 4 => {
                let result = store.put(key, Self::value(key, write, is_long));
                known.wrote(&result, Some(write));
                result
            }
            5 => {
                let could_create = known.may_be_absent();
                let could_fail = known.may_be_there();
                let result = store.create(key, Self::value(key, write, is_long));
                match &result {
                    Ok(false) => assert!(could_fail, "{key} was not created, and was {known:?}"),
                    Ok(true) => {
                        assert!(could_create, "{key} was created, and was {known:?}");
                        known.wrote(&result, Some(write));
                    }
                    Err(_) => known.wrote(&result, Some(write)),
                }
                result.map(drop)
            }
            6 => {
                let (there, absent) = (known.may_be_there(), known.may_be_absent());
                let result = store.delete(key);
                if let Ok(deleted) = result {
                    assert!(if deleted { there } else { absent }, "deleted {key}: {deleted}, and it was {known:?}");
                }
                known.wrote(&result, None);
                result.map(drop)
            }
            7 => store.get_many(self.keys.iter().map(|(key, _)| key)).map(|values| {
                assert_eq!(values.len(), self.keys.len());
                for ((key, known), value) in self.keys.iter().zip(values) {
                    Self::check_value(key, known, value.as_deref());
                }
            }),
            8 => {
                let some = 0..=at;
                let entries = self.keys[some.clone()].iter().map(|(key, _)| (key, Self::value(key, write, false)));
                let result = store.put_many(entries);
                for (_, known) in &mut self.keys[some] {
                    known.wrote(&result, Some(write));
                }
                result
            }
            9 => store.ttl(key).map(|left| match left {
                None => assert!(known.may_be_absent(), "{key} is absent, and can be {known:?}"),
                Some(left) => {
                    assert!(known.may_be_there(), "{key} is there, and can be {known:?}");
                    if let Remaining::For(left) = left {
                        let lost = ttl.checked_sub(left);
                        assert!(
                            lost.is_some_and(|lost| lost < Duration::from_secs(3600)),
                            "another one's TTL: {left:?}"
                        );
                    }
                }
            }),
            10 => store.touch(key, ttl).map(|touched| {
                let can_be = if touched { known.may_be_there() } else { known.may_be_absent() };
                assert!(can_be, "touched {key}: {touched}, and it can be {known:?}");
            }),
            11 => {
                let to = format!("copy/{key}");
                match store.copy(key, &to) {
                    Err(Error::NotFound { .. }) => {
                        assert!(known.may_be_absent(), "{key} is not found, and can be {known:?}");
                        Ok(())
                    }
                    Err(error) => Err(error),
                    Ok(()) => store.get(&to).map(|value| {
                        let (of, of_write) = Self::parse(&value.unwrap());
                        assert!(of == key && of_write <= write, "{to} is the copy of {of}");
                    }),
                }
            }
            _ => {
                let prefix = format!("{}/", self.number);
                let listed = store.keys(&prefix).and_then(Iterator::collect::<Result<BTreeSet<_>>>);
                listed.map(|listed| {
                    for (key, known) in &self.keys {
                        let there = listed.iter().any(|listed| listed.as_str() == key);
                        let can_be = if there { known.may_be_there() } else { known.may_be_absent() };
                        assert!(can_be, "{key} is listed: {there}, and can be {known:?}");
                    }
                    assert!(listed.iter().all(|listed| self.keys.iter().any(|(key, _)| key == listed.as_str())));
                })
            }
        };
        let took = begin.elapsed();
        // A copy is looked at: that is two.
        let limit = if what == 11 { 2 * limit } else { limit };
        assert!(took <= limit + MARGIN, "operation {what} took {took:?}: {result:?}");
        self.done[usize::from(result.is_err())] += 1;
        if let Err(error) = result {
            // Of a reply that was changed while a connection was made, nobody can know that the next will be better.
            if !error.to_string().contains("does not speak the protocol of redis") {
                check(&error, store, "");
            }
            let reads = matches!(what, 0..=2 | 7 | 9 | 12);
            assert!(!(reads && error.outcome_unknown()), "operation {what}: {error:?}");
        }
    }

    /// Looks at what is there, after which nothing is doubtful.
    pub(super) fn settle(&mut self, connection: &mut redis::Connection) {
        for (key, known) in &mut self.keys {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&*key).query(connection).unwrap();
            Self::check_value(key, known, value.as_deref());
            *known = Known { sure: value.map(|value| Self::parse(&value).1), doubtful: Vec::new() };
        }
    }
}
