//! What each key can hold after some of its writes have failed: value and TTL, which a write replaces together (P2).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kv_core::Remaining;

use super::keys::Key;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// This write of this key. The length is that of its filling.
    Value { key: Key, write: u64, filling: usize },
    /// A number, which does not say whose it is.
    Number(u64),
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
    /// Makes this of an entry that has this value.
    Replace(Written, State),
    /// Adds to a number. A counter that begins with it expires then; without that none begins.
    Add(u32, Option<Expires>),
}

/// When an operation began and ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) before: Duration,
    pub(super) after: Duration,
}

/// What a key can hold, and how it has come to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Branch {
    state: State,
    /// How many increments of unknown outcome have counted: each does so once at most (N5).
    counted: usize,
}

impl Branch {
    fn of(state: State) -> Self {
        Self { state, counted: 0 }
    }
}

/// What a key can hold.
#[derive(Clone, Debug)]
struct Possible {
    branches: Vec<Branch>,
    /// What writes of unknown outcome do if they take effect, which they may at any later time.
    pending: Vec<Effect>,
}

impl Default for Possible {
    fn default() -> Self {
        Self { branches: vec![Branch::of(None)], pending: Vec::new() }
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
        let begun = |by: u32, expires: Option<Expires>| {
            expires.map(|expires| Held { written: Written::Number(by.into()), expires })
        };
        let (one, other) = match (self, state) {
            (Self::Put(held), _) | (Self::Create(held), None) => (Some(held), None),
            (Self::Remove, _) | (Self::Touch(_) | Self::Replace(..), None) => (None, None),
            (Self::Replace(old, new), Some(held)) => (if held.written == old { new } else { Some(held) }, None),
            (Self::Add(by, expires), None) => (begun(by, expires), None),
            (Self::Add(by, expires), Some(old)) => {
                let written = match old.written {
                    Written::Number(number) => Written::Number(number.saturating_add(by.into())),
                    text @ Written::Value { .. } => text,
                };
                // What is there may have expired.
                let other = (old.expires != Expires::Never).then(|| begun(by, expires));
                (Some(Held { written, ..old }), other)
            }
            // What is there may have expired.
            (Self::Create(held), Some(old)) if old.expires != Expires::Never => (Some(old), Some(Some(held))),
            (Self::Create(_), Some(old)) => (Some(old), None),
            (Self::Touch(expires), Some(old)) => (Some(Held { expires, ..old }), None),
        };
        [Some(one), other].into_iter().flatten()
    }

    /// Whether it makes something else of its own result.
    fn counts(self) -> bool {
        matches!(self, Self::Add(..))
    }
}

impl Possible {
    /// Adds what may be there, unless that is known already, with no more increments counted.
    fn add(&mut self, branch: Branch) {
        let is_known = |known: &Branch| known.state == branch.state && known.counted <= branch.counted;
        if !self.branches.iter().any(is_known) {
            self.branches.push(branch);
        }
    }

    fn states(&self) -> impl Iterator<Item = &State> {
        self.branches.iter().map(|branch| &branch.state)
    }

    /// Adds what the writes of unknown outcome may make of it: an increment once at most.
    fn close(&mut self) {
        let increments = self.pending.iter().filter(|effect| effect.counts()).count();
        let mut done = 0;
        while let Some(&Branch { state, counted }) = self.branches.get(done) {
            for effect in self.pending.clone() {
                let counted = counted + usize::from(effect.counts());
                if counted <= increments || !effect.counts() {
                    for state in effect.of(state) {
                        self.add(Branch { state, counted });
                    }
                }
            }
            done += 1;
        }
    }

    /// Leaves these alone, and what the writes of unknown outcome may make of them.
    fn become_one_of(&mut self, branches: impl IntoIterator<Item = Branch>) {
        self.branches.clear();
        for branch in branches {
            self.add(branch);
        }
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

    fn states(&self, key: Key) -> Vec<State> {
        self.possible.get(&key).map_or_else(|| vec![None], |possible| possible.states().copied().collect())
    }

    /// What was done for certain.
    pub(super) fn did(&mut self, key: Key, effect: Effect) {
        let possible = self.possible.entry(key).or_default();
        let after = |branch: &Branch| {
            let counted = branch.counted;
            effect.of(branch.state).map(move |state| Branch { state, counted })
        };
        let branches = possible.branches.iter().flat_map(after).collect::<Vec<_>>();
        possible.become_one_of(branches);
        self.follow_copies();
    }

    /// An increment that was answered: what it was answered for is [known](Self::observe_sum).
    pub(super) fn did_count(&mut self, key: Key, by: u32, expires: Option<Expires>) {
        let possible = self.possible.entry(key).or_default();
        let after = |branch: &Branch| {
            let counted = branch.counted;
            Effect::Add(by, expires).of(branch.state).map(move |state| Branch { state, counted })
        };
        let branches = possible.branches.iter().flat_map(after).collect::<Vec<_>>();
        possible.become_one_of(branches);
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
            Effect::Replace(old, new) => {
                Effect::Replace(old, new.map(|held| Held { expires: endless(held.expires), ..held }))
            }
            Effect::Add(by, expires) => Effect::Add(by, expires.map(endless)),
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
        let live = self.states(from).into_iter().flatten().filter(|held| held.may_be_live(span));
        live.map(|held| Some(Held { expires: wider(held.expires), ..held })).collect()
    }

    pub(super) fn did_copy(&mut self, from: Key, to: Key, span: Span) {
        let states = self.copied(from, span);
        self.possible.entry(to).or_default().become_one_of(states.into_iter().map(Branch::of));
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
                possible.states().flatten().any(|held| state.is_some_and(|state| state.written == held.written))
            };
            let new = states.into_iter().filter(|state| !is_known(state)).collect::<Vec<_>>();
            for state in new {
                possible.add(Branch::of(state));
            }
            possible.close();
        }
    }

    /// Whether a write of unknown outcome may still change this key.
    fn may_change(&self, key: Key) -> bool {
        let is_pending = self.possible.get(&key).is_some_and(|possible| !possible.pending.is_empty());
        is_pending || self.copies.iter().any(|(_, to)| *to == key)
    }

    /// Whether an operation can have found what it says; if so that is what was there, and what writes of unknown outcome may have made of it
    /// since.
    fn observe(&mut self, key: Key, fits: impl Fn(&State) -> Option<State>) -> bool {
        let is_copied = self.copies.iter().any(|(_, to)| *to == key);
        let Some(possible) = self.possible.get_mut(&key) else { return fits(&None).is_some() };
        let found = |branch: &Branch| Some(Branch { state: fits(&branch.state)?, ..*branch });
        let found = possible.branches.iter().filter_map(found).collect::<Vec<_>>();
        if found.is_empty() {
            return false;
        }
        if !is_copied {
            possible.become_one_of(found);
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

    /// What a conditional write or removal that names the version of this value says: whether the entry had it.
    pub(super) fn observe_version(&mut self, key: Key, old: Written, had: bool, span: Span) -> bool {
        // The same value may have been written anew.
        if !had && self.may_change(key) {
            return true;
        }
        self.observe(key, |state| match state {
            Some(held) if had => (held.written == old && held.may_be_live(span)).then_some(*state),
            Some(held) if held.written != old => Some(*state),
            Some(held) => held.may_have_expired(span).then_some(None),
            None => (!had).then_some(None),
        })
    }

    /// What `increment` says: the sum, or that there is no number.
    pub(super) fn observe_sum(&mut self, key: Key, by: u32, sum: Option<u64>, span: Span) -> bool {
        self.observe(key, |state| {
            let is_first = sum == Some(by.into());
            let Some(held) = state else { return is_first.then_some(None) };
            let fits = match (held.written, sum) {
                (Written::Number(number), Some(sum)) => number.checked_add(by.into()) == Some(sum),
                (Written::Value { .. }, None) => true,
                _ => false,
            };
            if fits && held.may_be_live(span) {
                return Some(*state);
            }
            (is_first && held.may_have_expired(span)).then_some(None)
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
        let maybe = states.into_iter().flatten().any(|held| held.may_be_live(span));
        (surely, maybe)
    }

    /// When the last entry has to have expired that has a TTL of less than a minute.
    pub(super) fn short_lives_end(&self) -> Duration {
        let all = self.possible.values().flat_map(Possible::states).flatten();
        let ends = all.filter_map(|held| match held.expires {
            Expires::Within { ttl, latest, .. } if ttl < Duration::from_secs(60) => latest,
            _ => None,
        });
        ends.max().unwrap_or_default()
    }

    /// What a key can hold, in words.
    pub(super) fn shown(&self, key: Key) -> String {
        let states = self.states(key);
        let shown = states.iter().map(|state| match state {
            None => "nothing".to_owned(),
            Some(Held { written, expires }) => {
                let until = match expires {
                    Expires::Never => "for ever".to_owned(),
                    Expires::Within { ttl, latest: None, .. } => format!("for {ttl:?}"),
                    Expires::Within { earliest, .. } => {
                        format!("for {:?} from now", earliest.saturating_sub(self.now()))
                    }
                };
                match written {
                    Written::Value { key, write, .. } => {
                        format!("write {write} of {:?} {until}", key.name(&self.prefix))
                    }
                    Written::Number(number) => format!("the number {number} {until}"),
                }
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
        Held { written: Written::Value { key: KEY, write, filling: 0 }, expires }
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

    fn number(number: u64) -> Held {
        Held { written: Written::Number(number), expires: Expires::Never }
    }

    fn counts(entries: &Entries, number: u64) -> bool {
        entries.clone_for_test().observe_value(KEY, Some(Written::Number(number)), NOW)
    }

    #[test]
    fn an_increment_of_unknown_outcome_counts_once_at_most() {
        let mut entries = entries();
        entries.did(KEY, Effect::Put(number(5)));
        entries.may_do(KEY, Effect::Add(1, Some(Expires::Never)));
        assert!(counts(&entries, 5) && counts(&entries, 6) && !counts(&entries, 7));
        // After the next one that is answered.
        assert!(!entries.clone_for_test().observe_sum(KEY, 1, Some(8), NOW));
        let mut late = entries.clone_for_test();
        assert!(late.observe_sum(KEY, 1, Some(6), NOW));
        late.did_count(KEY, 1, Some(Expires::Never));
        assert!(!counts(&late, 5) && counts(&late, 6) && counts(&late, 7) && !counts(&late, 8));
        assert!(entries.observe_sum(KEY, 1, Some(7), NOW));
        entries.did_count(KEY, 1, Some(Expires::Never));
        assert!(!counts(&entries, 6) && counts(&entries, 7) && !counts(&entries, 8));
        // One that has counted is not undone, and one that has not may count where another value is by then.
        entries.did(KEY, Effect::Put(number(50)));
        assert!(counts(&entries, 50) && !counts(&entries, 51));
        late.did(KEY, Effect::Put(number(50)));
        assert!(counts(&late, 50) && counts(&late, 51) && !counts(&late, 52));
        late.did(KEY, Effect::Remove);
        assert!(holds(&late, None) && counts(&late, 1) && !counts(&late, 2));
    }

    #[test]
    fn an_increment_is_refused_only_where_there_is_no_number() {
        let mut entries = entries();
        assert!(!entries.observe_sum(KEY, 1, None, NOW) && entries.observe_sum(KEY, 1, Some(1), NOW));
        entries.did(KEY, Effect::Put(held(1, None)));
        assert!(entries.observe_sum(KEY, 1, None, NOW) && !entries.observe_sum(KEY, 1, Some(1), NOW));
        entries.did_count(KEY, 1, Some(Expires::Never));
        assert!(holds(&entries, Some(1)));
    }

    #[test]
    fn a_conditional_write_of_unknown_outcome_replaces_only_what_it_names() {
        let mut entries = entries();
        entries.did(KEY, Effect::Put(held(1, None)));
        let (old, new) = (held(1, None), held(2, None));
        assert!(!entries.observe_version(KEY, old.written, false, NOW));
        assert!(entries.observe_version(KEY, old.written, true, NOW));
        entries.may_do(KEY, Effect::Replace(old.written, Some(new)));
        assert!(holds(&entries, Some(1)) && holds(&entries, Some(2)) && !holds(&entries, None));
        let mut then = entries.clone_for_test();
        assert!(then.observe_value(KEY, Some(new.written), NOW));
        assert!(!holds(&then, Some(1)), "what was replaced does not come back");
        entries.did(KEY, Effect::Put(held(3, None)));
        assert!(holds(&entries, Some(3)) && !holds(&entries, Some(2)));
        assert!(!entries.observe_version(KEY, old.written, true, NOW));
    }
}
