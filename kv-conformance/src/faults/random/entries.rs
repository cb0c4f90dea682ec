//! What each key can hold after some of its writes have failed: value and TTL, which a write replaces together (P2).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kv_core::Remaining;

use super::keys::Key;

/// Which write of which key a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) key: Key,
    pub(super) write: u64,
    /// The length of its filling.
    pub(super) filling: usize,
}

/// When an entry expires. Times count from the beginning of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    Never,
    Within {
        ttl: Duration,
        earliest: Duration,
        /// None while the write that gave the TTL may still be under way.
        latest: Option<Duration>,
    },
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) written: Written,
    pub(super) expires: Expires,
}

/// What is at a key.
type State = Option<Held>;

/// What an operation does to a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Put(Held),
    Remove,
    Create(Held),
    Touch(Expires),
}

/// When an operation began and ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) before: Duration,
    pub(super) after: Duration,
}

/// What a key can hold.
#[derive(Clone, Debug)]
struct Possible {
    states: Vec<State>,
    /// What writes of unknown outcome do if they take effect, which they may at any later time.
    pending: Vec<Effect>,
}

impl Default for Possible {
    fn default() -> Self {
        Self { states: vec![None], pending: Vec::new() }
    }
}

impl Held {
    fn may_be_live(&self, span: Span) -> bool {
        match self.expires {
            Expires::Within { latest: Some(latest), .. } => span.before < latest,
            _ => true,
        }
    }

    fn may_have_expired(&self, span: Span) -> bool {
        matches!(self.expires, Expires::Within { earliest, .. } if span.after >= earliest)
    }
}

impl Effect {
    /// What may be there afterwards.
    fn of(self, state: State) -> impl Iterator<Item = State> {
        let (one, other) = match (self, state) {
            (Self::Put(held), _) | (Self::Create(held), None) => (Some(held), None),
            (Self::Remove, _) | (Self::Touch(_), None) => (None, None),
            // What is there may have expired.
            (Self::Create(held), Some(old)) if old.expires != Expires::Never => (Some(old), Some(Some(held))),
            (Self::Create(_), Some(old)) => (Some(old), None),
            (Self::Touch(expires), Some(old)) => (Some(Held { expires, ..old }), None),
        };
        [Some(one), other].into_iter().flatten()
    }
}

impl Possible {
    fn add(&mut self, state: State) -> bool {
        let is_new = !self.states.contains(&state);
        if is_new {
            self.states.push(state);
        }
        is_new
    }

    /// Adds what the writes of unknown outcome may make of it.
    fn close(&mut self) {
        let mut done = 0;
        while let Some(&state) = self.states.get(done) {
            for effect in self.pending.clone() {
                for state in effect.of(state) {
                    self.add(state);
                }
            }
            done += 1;
        }
    }

    /// Leaves these states alone, and what the writes of unknown outcome may make of them.
    fn become_one_of(&mut self, states: Vec<State>) {
        self.states = states;
        self.close();
    }
}

/// What each key of a sequence can hold.
pub(super) struct Entries {
    pub(super) prefix: String,
    started: Instant,
    resolution: Duration,
    possible: BTreeMap<Key, Possible>,
    /// Copies of unknown outcome: from and to.
    copies: Vec<(Key, Key)>,
}

impl Entries {
    pub(super) fn new(prefix: String, resolution: Duration) -> Self {
        Self { prefix, started: Instant::now(), resolution, possible: BTreeMap::new(), copies: Vec::new() }
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The keys that may have been written.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.possible.keys().copied().collect()
    }

    /// When an entry expires that is given this TTL.
    pub(super) fn expires(&self, ttl: Option<Duration>, span: Span) -> Expires {
        ttl.map_or(Expires::Never, |ttl| Expires::Within {
            ttl,
            earliest: span.before.saturating_add(ttl),
            latest: Some(span.after.saturating_add(ttl).saturating_add(self.resolution)),
        })
    }

    fn states(&self, key: Key) -> &[State] {
        self.possible.get(&key).map_or(&[None], |possible| &possible.states)
    }

    /// What was done for certain.
    pub(super) fn did(&mut self, key: Key, effect: Effect) {
        let possible = self.possible.entry(key).or_default();
        let states = possible.states.iter().flat_map(|state| effect.of(*state)).collect::<Vec<_>>();
        let mut one_each = Vec::with_capacity(1);
        for state in states {
            if !one_each.contains(&state) {
                one_each.push(state);
            }
        }
        possible.become_one_of(one_each);
        self.follow_copies();
    }

    /// What may have been done, or may be done later, or never.
    pub(super) fn may_do(&mut self, key: Key, effect: Effect) {
        let endless = |expires| match expires {
            Expires::Within { ttl, earliest, .. } => Expires::Within { ttl, earliest, latest: None },
            Expires::Never => Expires::Never,
        };
        let effect = match effect {
            Effect::Put(held) => Effect::Put(Held { expires: endless(held.expires), ..held }),
            Effect::Create(held) => Effect::Create(Held { expires: endless(held.expires), ..held }),
            Effect::Touch(expires) => Effect::Touch(endless(expires)),
            Effect::Remove => Effect::Remove,
        };
        let possible = self.possible.entry(key).or_default();
        possible.pending.push(effect);
        possible.close();
        self.follow_copies();
    }

    /// What a copy of what is there can be: its TTL is the same, give or take the resolution.
    fn copied(&self, from: Key, span: Span) -> Vec<State> {
        let resolution = self.resolution;
        let wider = |expires| match expires {
            Expires::Within { ttl, earliest, latest } => Expires::Within {
                ttl: ttl.saturating_add(resolution),
                earliest: earliest.saturating_sub(resolution),
                latest: latest.map(|latest| latest.saturating_add(resolution)),
            },
            Expires::Never => Expires::Never,
        };
        let live = self.states(from).iter().flatten().filter(|held| held.may_be_live(span));
        live.map(|held| Some(Held { expires: wider(held.expires), ..*held })).collect()
    }

    pub(super) fn did_copy(&mut self, from: Key, to: Key, span: Span) {
        let states = self.copied(from, span);
        self.possible.entry(to).or_default().become_one_of(states);
        self.follow_copies();
    }

    pub(super) fn may_copy(&mut self, from: Key, to: Key) {
        self.copies.push((from, to));
        self.follow_copies();
    }

    /// Adds what copies of unknown outcome may have made of what is there.
    fn follow_copies(&mut self) {
        let always = Span { before: Duration::ZERO, after: Duration::MAX };
        for (from, to) in self.copies.clone() {
            let states = self.copied(from, always);
            let possible = self.possible.entry(to).or_default();
            // So that two keys that are copied to each other come to an end.
            let is_known = |state: &State| {
                possible.states.iter().flatten().any(|held| state.is_some_and(|state| state.written == held.written))
            };
            let new = states.into_iter().filter(|state| !is_known(state)).collect::<Vec<_>>();
            for state in new {
                possible.add(state);
            }
            possible.close();
        }
    }

    /// Whether an operation can have found what it says; if so that is what is there, unless a write may still be under way.
    fn observe(&mut self, key: Key, fits: impl Fn(&State) -> Option<State>) -> bool {
        let found = self.states(key).iter().filter_map(fits).collect::<Vec<_>>();
        if found.is_empty() {
            return false;
        }
        if let Some(possible) = self.possible.get_mut(&key)
            && possible.pending.is_empty()
            && !self.copies.iter().any(|(_, to)| *to == key)
        {
            possible.states = found;
            possible.states.dedup();
        }
        true
    }

    pub(super) fn observe_value(&mut self, key: Key, value: Option<Written>, span: Span) -> bool {
        self.observe(key, |state| match (state, value) {
            (None, None) => Some(None),
            (Some(held), None) => held.may_have_expired(span).then_some(None),
            (Some(held), Some(value)) => (held.written == value && held.may_be_live(span)).then_some(*state),
            (None, Some(_)) => None,
        })
    }

    pub(super) fn observe_presence(&mut self, key: Key, is_there: bool, span: Span) -> bool {
        self.observe(key, |state| match state {
            None => (!is_there).then_some(None),
            Some(held) if is_there => held.may_be_live(span).then_some(*state),
            Some(held) => held.may_have_expired(span).then_some(None),
        })
    }

    pub(super) fn observe_ttl(&mut self, key: Key, remaining: Option<Remaining>, span: Span) -> bool {
        let resolution = self.resolution;
        self.observe(key, |state| match (state, remaining) {
            (None, None) => Some(None),
            (Some(held), None) => held.may_have_expired(span).then_some(None),
            (Some(held), Some(remaining)) => {
                let fits = match (held.expires, remaining) {
                    (Expires::Never, remaining) => remaining == Remaining::Forever,
                    (Expires::Within { .. }, Remaining::Forever) => false,
                    (Expires::Within { ttl, earliest, latest }, Remaining::For(left)) => {
                        let least = earliest.saturating_sub(span.after.saturating_add(resolution));
                        let most = latest.map_or(ttl, |latest| latest.saturating_sub(span.before));
                        least <= left && left <= most.saturating_add(resolution)
                    }
                };
                (fits && held.may_be_live(span)).then_some(*state)
            }
            (None, Some(_)) => None,
        })
    }

    /// Whether a key was there all the time, and whether it may have been there at some time.
    pub(super) fn presence(&self, key: Key, span: Span) -> (bool, bool) {
        let states = self.states(key);
        let surely = states.iter().all(|state| state.is_some_and(|held| !held.may_have_expired(span)));
        let maybe = states.iter().flatten().any(|held| held.may_be_live(span));
        (surely, maybe)
    }

    /// When the last entry has to have expired that has a TTL of less than a minute.
    pub(super) fn short_lives_end(&self) -> Duration {
        let all = self.possible.values().flat_map(|possible| &possible.states).flatten();
        let ends = all.filter_map(|held| match held.expires {
            Expires::Within { ttl, latest, .. } if ttl < Duration::from_secs(60) => latest,
            _ => None,
        });
        ends.max().unwrap_or_default()
    }

    /// What a key can hold, in words.
    pub(super) fn shown(&self, key: Key) -> String {
        let shown = self.states(key).iter().map(|state| match state {
            None => "nothing".to_owned(),
            Some(Held { written, expires }) => {
                let until = match expires {
                    Expires::Never => "for ever".to_owned(),
                    Expires::Within { ttl, latest: None, .. } => format!("for {ttl:?}"),
                    Expires::Within { earliest, .. } => {
                        format!("for {:?} from now", earliest.saturating_sub(self.now()))
                    }
                };
                format!("write {} of {:?} {until}", written.write, written.key.name(&self.prefix))
            }
        });
        let shown = shown.collect::<Vec<_>>();
        let few = shown.iter().take(6).cloned().collect::<Vec<_>>().join(", or ");
        if shown.len() > 6 { format!("{few}, or {} others", shown.len() - 6) } else { few }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Single(0);
    const NOW: Span = Span { before: Duration::from_secs(1), after: Duration::from_secs(1) };

    fn entries() -> Entries {
        Entries::new("0000/".into(), Duration::ZERO)
    }

    fn held(write: u64, ttl: Option<u64>) -> Held {
        let expires = entries().expires(ttl.map(Duration::from_secs), NOW);
        Held { written: Written { key: KEY, write, filling: 0 }, expires }
    }

    fn holds(entries: &Entries, write: Option<u64>) -> bool {
        entries.clone_for_test().observe_value(KEY, write.map(|write| held(write, None).written), NOW)
    }

    impl Entries {
        fn clone_for_test(&self) -> Self {
            Self { possible: self.possible.clone(), copies: self.copies.clone(), ..entries() }
        }
    }

    #[test]
    fn a_write_of_unknown_outcome_may_take_effect_at_any_later_time() {
        let mut entries = entries();
        entries.did(KEY, Effect::Put(held(1, None)));
        assert!(holds(&entries, Some(1)) && !holds(&entries, None));
        entries.may_do(KEY, Effect::Put(held(2, None)));
        assert!(holds(&entries, Some(1)) && holds(&entries, Some(2)) && !holds(&entries, None));
        entries.did(KEY, Effect::Remove);
        assert!(!holds(&entries, Some(1)) && holds(&entries, Some(2)) && holds(&entries, None));
    }

    #[test]
    fn value_and_ttl_belong_together() {
        let mut entries = entries();
        entries.did(KEY, Effect::Put(held(1, Some(10))));
        let remaining = |seconds| Some(Remaining::For(Duration::from_secs(seconds)));
        assert!(!entries.observe_ttl(KEY, Some(Remaining::Forever), NOW));
        assert!(!entries.observe_ttl(KEY, remaining(11), NOW) && !entries.observe_ttl(KEY, remaining(9), NOW));
        assert!(entries.observe_ttl(KEY, remaining(10), NOW));
        entries.did(KEY, Effect::Touch(Expires::Never));
        assert!(entries.observe_ttl(KEY, Some(Remaining::Forever), NOW) && !entries.observe_ttl(KEY, None, NOW));
    }

    #[test]
    fn an_entry_is_there_until_it_expires() {
        let mut entries = entries();
        entries.did(KEY, Effect::Put(held(1, Some(1))));
        let at = |seconds| Span { before: Duration::from_secs(seconds), after: Duration::from_secs(seconds) };
        assert_eq!(entries.presence(KEY, at(1)), (true, true));
        assert_eq!(entries.presence(KEY, at(2)), (false, false));
        assert!(entries.observe_presence(KEY, false, at(2)) && !entries.observe_presence(KEY, true, at(2)));
    }

    #[test]
    fn a_copy_of_unknown_outcome_follows_its_original() {
        let (mut entries, to) = (entries(), Key::Single(1));
        entries.may_copy(KEY, to);
        entries.did(KEY, Effect::Put(held(1, None)));
        assert_eq!(entries.presence(to, NOW), (false, true));
        entries.did_copy(KEY, to, NOW);
        assert_eq!(entries.presence(to, NOW), (true, true));
    }
}
