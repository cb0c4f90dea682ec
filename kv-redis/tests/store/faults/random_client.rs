//! A client that runs operations at random, and checks their results.

use super::*;

/// A random number generator (splitmix64). The same seed gives the same numbers.
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

/// The number of the write that a key holds, or `None` if the key is absent.
pub(super) type Written = Option<u64>;

/// What a key can hold: the last write that was answered, or a write of this round whose outcome is unknown, because the network may
/// deliver it at any time.
#[derive(Debug, Default)]
pub(super) struct Possible {
    confirmed: Written,
    unconfirmed: Vec<Written>,
}

impl Possible {
    pub(super) fn allows(&self, write: Written) -> bool {
        self.confirmed == write || self.unconfirmed.contains(&write)
    }

    pub(super) fn may_be_present(&self) -> bool {
        self.confirmed.is_some() || self.unconfirmed.iter().any(Option::is_some)
    }

    pub(super) fn may_be_absent(&self) -> bool {
        self.allows(None)
    }

    pub(super) fn wrote<T>(&mut self, result: &Result<T>, write: Written) {
        match result {
            Ok(_) => self.confirmed = write,
            Err(error) if error.outcome_unknown() => self.unconfirmed.push(write),
            Err(_) => {}
        }
    }
}

/// A client in a thread of its own. No other client writes its keys.
pub(super) struct RandomClient<'a> {
    store: &'a RedisStore,
    random: Random,
    pub(super) number: u64,
    /// The limit of one operation.
    limit: Duration,
    keys: Vec<(String, Possible)>,
    writes: u64,
    /// How many operations succeeded, and how many failed.
    pub(super) done: [usize; 2],
}

impl<'a> RandomClient<'a> {
    pub(super) fn new(store: &'a RedisStore, number: u64, seed: u64, limit: Duration) -> Self {
        let keys = (0..10).map(|key| (format!("{number}/{key}"), Possible::default())).collect();
        Self { store, random: Random(seed ^ number.wrapping_mul(77)), number, limit, keys, writes: 0, done: [0, 0] }
    }

    /// A value that contains its key, the number of its write, and a mark at its end.
    pub(super) fn value(key: &str, write: u64, is_long: bool) -> Vec<u8> {
        let length = if is_long { 40_000 } else { usize::try_from(write % 200).unwrap() };
        format!("{key}|{write}|{}|end", "x".repeat(length)).into_bytes()
    }

    /// The key and the number of the write of a value.
    pub(super) fn parse(value: &[u8]) -> (String, u64) {
        let text = String::from_utf8(value.to_vec()).unwrap();
        let parts: Vec<_> = text.split('|').collect();
        let write: u64 = parts[1].parse().unwrap();
        let whole = [false, true].map(|long| Self::value(parts[0], write, long)).contains(&text.clone().into_bytes());
        assert!(whole && parts.len() == 4, "half a value: {text}");
        (parts[0].to_owned(), write)
    }

    pub(super) fn check_value(key: &str, possible: &Possible, value: Option<&[u8]>) {
        let write = value.map(|value| {
            let (of, write) = Self::parse(value);
            assert_eq!(of, key, "another one's reply");
            write
        });
        assert!(possible.allows(write), "{key} is {write:?}, and can be {possible:?}");
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_secs(10_000 * (self.number + 1))
    }

    /// Runs a random operation, and checks that its result is possible.
    #[allow(clippy::too_many_lines, reason = "one operation after the other")]
    pub(super) fn step(&mut self) {
        let (store, ttl, limit) = (self.store, self.ttl(), self.limit);
        let at = self.random.size(self.keys.len());
        let what = self.random.below(13);
        self.writes += 1;
        let write = self.writes;
        let is_long = self.random.below(20) == 0;
        let (key, possible) = &mut self.keys[at];
        let key = key.as_str();
        let begin = Instant::now();
        let result = match what {
            0..=2 => store.get(key).map(|value| Self::check_value(key, possible, value.as_deref())),
            3 | 4 => {
                let result = store.put(key, Self::value(key, write, is_long));
                possible.wrote(&result, Some(write));
                result
            }
            5 => {
                let could_create = possible.may_be_absent();
                let could_fail = possible.may_be_present();
                let result = store.create(key, Self::value(key, write, is_long));
                match &result {
                    Ok(false) => assert!(could_fail, "{key} was not created, and was {possible:?}"),
                    Ok(true) => {
                        assert!(could_create, "{key} was created, and was {possible:?}");
                        possible.wrote(&result, Some(write));
                    }
                    Err(_) => possible.wrote(&result, Some(write)),
                }
                result.map(drop)
            }
            6 => {
                let (there, absent) = (possible.may_be_present(), possible.may_be_absent());
                let result = store.delete(key);
                if let Ok(deleted) = result {
                    assert!(if deleted { there } else { absent }, "deleted {key}: {deleted}, and it was {possible:?}");
                }
                possible.wrote(&result, None);
                result.map(drop)
            }
            7 => store.get_many(self.keys.iter().map(|(key, _)| key)).map(|values| {
                assert_eq!(values.len(), self.keys.len());
                for ((key, possible), value) in self.keys.iter().zip(values) {
                    Self::check_value(key, possible, value.as_deref());
                }
            }),
            8 => {
                let some = 0..=at;
                let entries = self.keys[some.clone()].iter().map(|(key, _)| (key, Self::value(key, write, false)));
                let result = store.put_many(entries);
                for (_, possible) in &mut self.keys[some] {
                    possible.wrote(&result, Some(write));
                }
                result
            }
            9 => store.ttl(key).map(|left| match left {
                None => assert!(possible.may_be_absent(), "{key} is absent, and can be {possible:?}"),
                Some(left) => {
                    assert!(possible.may_be_present(), "{key} is there, and can be {possible:?}");
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
                let can_be = if touched { possible.may_be_present() } else { possible.may_be_absent() };
                assert!(can_be, "touched {key}: {touched}, and it can be {possible:?}");
            }),
            11 => {
                let to = format!("copy/{key}");
                match store.copy(key, &to) {
                    Err(Error::NotFound { .. }) => {
                        assert!(possible.may_be_absent(), "{key} is not found, and can be {possible:?}");
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
                    for (key, possible) in &self.keys {
                        let there = listed.iter().any(|listed| listed.as_str() == key);
                        let can_be = if there { possible.may_be_present() } else { possible.may_be_absent() };
                        assert!(can_be, "{key} is listed: {there}, and can be {possible:?}");
                    }
                    assert!(listed.iter().all(|listed| self.keys.iter().any(|(key, _)| key == listed.as_str())));
                })
            }
        };
        let took = begin.elapsed();
        // A copy is read, too: these are two operations.
        let limit = if what == 11 { 2 * limit } else { limit };
        assert!(took <= limit + MARGIN, "operation {what} took {took:?}: {result:?}");
        self.done[usize::from(result.is_err())] += 1;
        if let Err(error) = result {
            // After a changed reply to a handshake, nobody can know that the next handshake will be better.
            if !error.to_string().contains("does not speak the protocol of redis") {
                check(&error, store, "");
            }
            let reads = matches!(what, 0..=2 | 7 | 9 | 12);
            assert!(!(reads && error.outcome_unknown()), "operation {what}: {error:?}");
        }
    }

    /// Reads what the server holds. After this, no outcome is unknown.
    pub(super) fn settle(&mut self, connection: &mut redis::Connection) {
        for (key, possible) in &mut self.keys {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&*key).query(connection).unwrap();
            Self::check_value(key, possible, value.as_deref());
            *possible = Possible { confirmed: value.map(|value| Self::parse(&value).1), unconfirmed: Vec::new() };
        }
    }
}
