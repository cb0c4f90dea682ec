//! Performs the calls of a sequence on a store, and checks whether each answer is possible.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use kv_core::{Capability, Error, KeyValueStoreExt};

use super::calls::{ABSENT_COUNTER, Call, Life};
use super::entries::{Effect, Entries, Held, Span, Written};
use super::keys::{Key, Size, key_of};
use crate::faults::errors::{check_error, check_transient};
use crate::faults::proxied::ProxiedStore;
use crate::faults::timing::{MARGIN, judge_undisturbed};
use crate::faults::values::{parse, value};
use crate::history::counters::number;
use crate::running::{Context, NotPassed, Outcome, expect_that, show_error};

/// How much longer a call may take for each of its keys on a slow machine.
const FOR_EACH_KEY: Duration = Duration::from_micros(500);

/// Which TTLs are looked at of a batch: those at the ends of likely chunks, and a few others.
fn is_looked_at(n: usize) -> bool {
    n.is_multiple_of(97) || [1, 99, 100, 101, 499, 500, 511, 512, 999, 1000, 1001, 1023, 1024, 2999].contains(&n)
}

/// How far apart the numbers are that are written: no sequence counts from one to the next.
const COUNTED: u64 = 1000;

/// Performs calls: see the [module](self).
pub(crate) struct Player<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) proxied: &'a ProxiedStore<'a>,
    pub(super) entries: Entries,
    writes: u64,
    /// How many connections may have been cut while they were idle and not used since: a write finds that out.
    stale: usize,
    /// Since when nothing is in the way.
    healed: Instant,
    /// Whether a reply was garbled, or is to be: what answers a new connection so is not known to be a server.
    pub(super) is_garbled: bool,
}

impl<'a> Player<'a> {
    pub(crate) fn new(context: &'a Context<'a>, proxied: &'a ProxiedStore<'a>) -> Self {
        let entries = Entries::new(proxied.fresh_prefix(), context.capabilities().ttl_resolution());
        Self { context, proxied, entries, writes: 0, stale: 0, healed: Instant::now(), is_garbled: false }
    }

    /// Idle connections are cut from now on.
    pub(crate) fn cuts_idle(&mut self) {
        self.stale += self.proxied.proxy.open();
    }

    /// Nothing is in the way from now on.
    pub(crate) fn is_healed(&mut self) {
        self.healed = Instant::now();
    }

    pub(super) fn name(&self, key: Key) -> String {
        key.name(&self.entries.prefix)
    }

    /// The number of the next write.
    pub(super) fn next_write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// A value of this write, and what is there once it has been written.
    pub(super) fn value(&self, key: Key, write: u64, size: Size) -> (Written, String) {
        if matches!(key, Key::Counter(_)) {
            let number = write * COUNTED;
            return (Written::Number(number), number.to_string());
        }
        let filling = size.filling(self.context, write);
        (Written::Value { key, write, filling }, value(&self.name(key), write, filling))
    }

    /// What a write of this value with this TTL does.
    pub(super) fn put(&self, written: Written, life: Life, span: Span) -> Effect {
        match life.time(self.context) {
            Some(Duration::ZERO) => Effect::Remove,
            time => Effect::Put(Held { written, expires: self.entries.expires(time, span) }),
        }
    }

    /// Does something that has to end within its limit (N1), and tells when it began and ended.
    pub(super) fn timed<T>(
        &self,
        call: &Call,
        run: impl FnOnce() -> Result<T, Error>,
    ) -> Outcome<(Result<T, Error>, Span)> {
        let count = u32::try_from(call.count()).unwrap_or(u32::MAX);
        // Of a store that reads all at once and then one by one, twice the limit.
        let times = if matches!(call, Call::GetEach(_)) { 2 } else { 1 };
        let limit = self.proxied.limit * times + FOR_EACH_KEY * count;
        let before = self.entries.now();
        let (result, took) = self.proxied.timed_for(limit, run);
        let span = Span { before, after: self.entries.now() };
        let error = result.as_ref().err().map(|error| format!(", {}", show_error(error))).unwrap_or_default();
        let want = format!("at most {limit:?}, its limit, and {MARGIN:?} because machines are busy (N1)");
        let what = format_args!("how long it took: {call:?}{error}");
        expect_that(what, took <= limit + MARGIN, &want, took).map_err(|failed| failed.timed_out_if(true))?;
        Ok((result, span))
    }

    /// An error that a fault may cause: it has to be of the right kind, and to name the key if there is one (E1, E2, E3, E5).
    pub(super) fn check_error(&self, call: &Call, error: &Error, keys: &[Key]) -> Outcome {
        let names = match keys {
            [key] => vec![self.name(*key)],
            [from, to] => vec![self.name(*from), self.name(*to)],
            _ => Vec::new(),
        };
        let names = names.iter().map(String::as_str).collect::<Vec<_>>();
        let check = if self.is_garbled { check_error } else { check_transient };
        check(&format!("{call:?}"), error, self.proxied.store.name(), &names)?;
        let what = format!("the key in the error of {call:?} (E1): {}", show_error(error));
        let is_ours = error.key().is_none_or(|name| keys.is_empty() || key_of(name, &self.entries.prefix).is_some());
        expect_that(what, is_ours, "one of its own, or none", error.key())?;
        let is_unknown = error.outcome_unknown() && !call.writes();
        let what = format!("outcome_unknown() of the error of {call:?} (E5): {}", show_error(error));
        expect_that(what, !is_unknown, "false: it is a read", is_unknown)
    }

    /// Which write of which key a value is: it has to be a whole one.
    pub(super) fn written(&self, of: impl Display, found: Option<&[u8]>) -> Outcome<Option<Written>> {
        let Some(found) = found else { return Ok(None) };
        if let Some(number) = number(found) {
            return Ok(Some(Written::Number(number)));
        }
        let whole = parse(found);
        let Some(whole) = whole else {
            let got = format!("{} bytes: {:?}", found.len(), start(found));
            return Err(impossible(of, "a whole value of this store's keys (N2)", &got));
        };
        let Some(key) = key_of(whole.key, &self.entries.prefix) else {
            let got = format!("write {} of {:?}", whole.write, whole.key);
            return Err(impossible(of, "a value that was written for this key (N2)", &got));
        };
        Ok(Some(Written::Value { key, write: whole.write, filling: whole.filling }))
    }

    /// What a read says is at a key, which has to be possible.
    pub(super) fn found(&mut self, call: &dyn Display, key: Key, found: Option<&[u8]>, span: Span) -> Outcome {
        let of = format!("what is at {:?}, by {call}", self.name(key));
        let written = self.written(&of, found)?;
        let want = self.entries.shown(key);
        if self.entries.observe_value(key, written, span) {
            return Ok(());
        }
        let (clauses, got) = match written {
            None => ("P1, B1, B7", "nothing".to_owned()),
            Some(Written::Value { key: other, write, .. }) if other != key => {
                ("N2, P1", format!("write {write} of {:?}", self.name(other)))
            }
            Some(Written::Value { write, .. }) => ("P1, T2, E5, N5", format!("write {write} of this key")),
            Some(Written::Number(number)) => ("U5, P1, N5, E5", format!("the number {number}")),
        };
        Err(impossible(of, &format!("{want} ({clauses})"), &got))
    }

    /// What an operation says of whether a key is there.
    pub(super) fn is_there(&mut self, call: &Call, key: Key, is_there: bool, answer: bool, span: Span) -> Outcome {
        let want = self.entries.shown(key);
        if self.entries.observe_presence(key, is_there, span) {
            return Ok(());
        }
        let clauses = match call {
            Call::Create(..) | Call::CreateVersioned(..) => "P4, N5, E5",
            Call::Delete(_) | Call::DeleteMany(_) => "D1, B3, N5, E5",
            _ => "P1, T6, N2, E5",
        };
        let of = format!("what {call:?} says of {:?}, where there can be: {want}", self.name(key));
        Err(impossible(of, &format!("{} ({clauses})", !answer), &answer.to_string()))
    }

    /// Performs a call while nothing is in the way: it has to work, as soon as the store no longer leaves its server alone (N6) and has noticed
    /// what was cut (N4).
    pub(crate) fn undisturbed(&mut self, call: &Call, when: &str) -> Outcome {
        loop {
            let begin = Instant::now();
            let Err(error) = self.perform(call)? else { return Ok(()) };
            let took = begin.elapsed();
            let is_known = matches!(error, Error::Unavailable(_)) && !error.outcome_unknown();
            if is_known && begin.saturating_duration_since(self.healed) < self.proxied.retry_after {
                thread::sleep(Duration::from_millis(5));
            } else if error.outcome_unknown() && self.stale > 0 {
                self.stale -= 1;
            } else {
                let what = format!("{call:?}, with nothing in its way{when} (N6, N2)");
                return judge_undisturbed::<(), ()>(what, Err(error), took, ());
            }
        }
    }

    /// Looks at what is at each key, by the handle that no fault affects.
    pub(crate) fn verify(&mut self, when: &str) -> Outcome {
        let direct = self.proxied.direct;
        let keys = self.entries.keys();
        let names = keys.iter().map(|key| self.name(*key)).collect::<Vec<_>>();
        let before = self.entries.now();
        let values = direct.get_many(&names)?;
        let span = Span { before, after: self.entries.now() };
        for (key, value) in keys.iter().zip(&values) {
            self.found(&format_args!("the second handle, {when}"), *key, value.as_deref(), span)?;
        }
        if !self.context.has(Capability::TtlReading) {
            return Ok(());
        }
        for (key, name) in keys.into_iter().zip(names) {
            if matches!(key, Key::Many(n) if !is_looked_at(n)) {
                continue;
            }
            let before = self.entries.now();
            let remaining = direct.ttl(&name)?;
            let span = Span { before, after: self.entries.now() };
            let want = self.entries.shown(key);
            if !self.entries.observe_ttl(key, remaining, span) {
                let of = format!("what remains of the TTL of {name:?}, {when}");
                return Err(impossible(of, &format!("that of {want} (P2, T2, T6)"), &format!("{remaining:?}")));
            }
        }
        Ok(())
    }

    /// When the last of the entries expires that have a TTL of less than a minute: from now on.
    pub(crate) fn short_lives_end_in(&self) -> Duration {
        self.entries.short_lives_end().saturating_sub(self.entries.now())
    }

    /// Puts there, by the handle that no fault affects, what a call is to find: most of its keys, some with a TTL, and not what it creates.
    pub(crate) fn prepare(&mut self, call: &Call) -> Outcome {
        let keys = keys_before(call);
        let direct = self.proxied.direct;
        let is_created = |key: Key| match call {
            Call::Create(of, ..) | Call::CreateVersioned(of, ..) => *of == key,
            Call::Increment(of, _) => *of == key && key == ABSENT_COUNTER,
            _ => false,
        };
        let is_put = |n: usize, key: Key| !matches!(key, Key::Many(_)) || n % 5 != 3;
        let (mut entries, mut removed) = (Vec::new(), Vec::new());
        let write = self.next_write();
        for (n, key) in keys.into_iter().enumerate() {
            if is_created(key) || !is_put(n, key) {
                removed.push(key);
                continue;
            }
            let size = if matches!(key, Key::Large(_)) { Size::Large } else { Size::Small };
            let (written, value) = self.value(key, write, size);
            let life = if n % 3 == 1 { Life::Hours } else { Life::Forever };
            entries.push((key, written, value, life));
        }
        let before = self.entries.now();
        direct.put_many_with_ttl(
            entries.iter().map(|(key, _, value, life)| (self.name(*key), value, life.ttl(self.context))),
        )?;
        let span = Span { before, after: self.entries.now() };
        for (key, written, _, life) in entries {
            let effect = self.put(written, life, span);
            self.entries.did(key, effect);
        }
        let there = removed.into_iter().filter(|key| self.entries.presence(*key, span).1).collect::<Vec<_>>();
        direct.delete_many(there.iter().map(|key| self.name(*key)))?;
        for key in there {
            self.entries.did(key, Effect::Remove);
        }
        Ok(())
    }
}

/// The keys that are to be there before a call, without those that are never written.
fn keys_before(call: &Call) -> BTreeSet<Key> {
    let several: Vec<Key> = match call {
        Call::GetMany(batch) | Call::GetEach(batch) | Call::PutMany(batch, _) | Call::DeleteMany(batch) => batch.keys(),
        Call::Keys(_) | Call::SomeKeys(..) | Call::Prefixes(_) => (0..call.count()).map(Key::Many).collect(),
        Call::Copy(from, to) | Call::Rename(from, to) => vec![*from, *to],
        Call::Get(key)
        | Call::Open(key)
        | Call::GetInto(key, _)
        | Call::Contains(key)
        | Call::Ttl(key)
        | Call::Put(key, ..)
        | Call::PutFrom(key, ..)
        | Call::Create(key, ..)
        | Call::Delete(key)
        | Call::Touch(key, _)
        | Call::GetVersioned(key)
        | Call::CreateVersioned(key, ..)
        | Call::PutIf(key, ..)
        | Call::DeleteIf(key)
        | Call::Take(key)
        | Call::GetAndTouch(key, _)
        | Call::Increment(key, _) => vec![*key],
    };
    several.into_iter().filter(|key| !matches!(key, Key::Absent(_))).collect()
}

/// The beginning of what was found.
fn start(found: &[u8]) -> String {
    String::from_utf8_lossy(found.get(..60).unwrap_or(found)).into_owned()
}

#[track_caller]
pub(super) fn impossible(of: impl Display, want: &str, got: &str) -> NotPassed {
    NotPassed::failed(format_args!("{of}\nexpected: {want}\ngot:      {got}"))
}
