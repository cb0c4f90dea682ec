//! Recording: a history from a real race, and what is written down where a store fails.

use std::sync::Mutex;
use std::time::Duration;

use kv_conformance::history::{Action, History, Operation, Recorder};
use kv_core::{Bytes, Capabilities, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value, key};
use kv_memory::MemoryStore;

use super::{NOTHING, create, get, held, history};

/// Recorded on 23 November 2026 from three threads, of which the third comes too late, that create, read and delete one key
/// of a `MemoryStore` whose `write_if_absent` was replaced by a `read` and then, if that gave nothing, a `write`: without a
/// pause in between, in the 15th round. Thread, when it began and ended in nanoseconds, what it did.
fn race() -> Vec<(usize, u64, u64, Action)> {
    vec![
        (1, 103_464, 113_068, create("B1", true)),
        (0, 110_910, 131_401, create("A1", true)),
        (1, 113_930, 114_951, get("B1")),
        (1, 115_422, 118_897, Action::Delete(true)),
        (1, 119_768, 125_086, create("B2", true)),
        (1, 125_527, 130_464, get("A1")),
        (1, 131_075, 132_688, Action::Delete(true)),
        (0, 133_864, 134_866, NOTHING),
        (0, 135_296, 136_648, Action::Delete(false)),
        (0, 137_680, 143_599, create("A2", true)),
        (0, 144_370, 145_181, get("A2")),
        (0, 146_263, 150_759, Action::Delete(true)),
        (2, 164_505, 168_030, create("C1", true)),
        (2, 168_751, 169_382, get("C1")),
        (2, 169_793, 171_275, Action::Delete(true)),
        (2, 172_016, 173_518, create("C2", true)),
        (2, 173_849, 174_329, get("C2")),
        (2, 174_830, 175_982, Action::Delete(true)),
    ]
}

#[test]
fn a_real_race_is_cut_to_what_proves_it() {
    let operations = race().into_iter().map(|(thread, began, ended, action)| {
        Operation::new(thread, Duration::from_nanos(began), Some(Duration::from_nanos(ended)), action)
    });
    let contradiction = history(operations).check(&[]).unwrap_err();
    assert_eq!(
        contradiction.to_string(),
        "\
the history of \"k\": no order of these operations explains the answer that is marked
       µs  thread
  at first         it holds nothing
   0 –  9  B       create \"B1\"  true
   7 –     A       create \"A1\"  no answer
  11 – 15  B       delete       true
  16 – 21  B       create \"B2\"  true
  22 – 27  B       get          \"A1\"        ← here it could hold \"B2\"
expected: \"B2\"
got:      \"A1\""
    );
    assert_eq!(contradiction.operation().unwrap().action, get("A1"));
    assert_eq!(contradiction.could_hold(), [held("B2")]);
}

/// A store that fails as it is told to, after it has done what it was asked.
#[derive(Debug)]
struct Failing(MemoryStore, Mutex<Option<Failure>>);

impl Failing {
    fn fail(&self, unknown: bool) {
        let failure = Failure::new("failing", "the connection was lost");
        *self.1.lock().unwrap() = Some(if unknown { failure.with_unknown_outcome() } else { failure });
    }

    fn answer<T>(&self, result: Result<T>) -> Result<T> {
        self.1.lock().unwrap().take().map_or(result, |failure| Err(Error::Unavailable(failure)))
    }
}

impl KeyValueStore for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.answer(self.0.read(key))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.answer(self.0.write(key, value, ttl))
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.answer(self.0.write_if_absent(key, value, ttl))
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.answer(self.0.remove(key))
    }
}

#[test]
fn an_unknown_outcome_may_have_happened_and_another_error_did_not() {
    let (a, b) = (key!("a"), key!("b"));
    let store = Failing(MemoryStore::new(), Mutex::default());
    // What fails is done all the same, each time.
    for (unknown, expected) in [(true, [true, true]), (false, [false, true])] {
        let recorder = Recorder::new();
        let mut thread = recorder.thread(&store);
        store.delete_many([a, b]).unwrap();
        store.fail(unknown);
        thread.put(a, "1".into()).unwrap_err();
        assert_eq!(thread.get(a).unwrap(), held("1"));
        store.fail(unknown);
        thread.delete(a).unwrap_err();
        assert_eq!(thread.get(a).unwrap(), None);
        store.fail(unknown);
        thread.create(a, "2".into()).unwrap_err();
        store.fail(unknown);
        thread.get(a).unwrap_err();
        assert_eq!(thread.get(a).unwrap(), held("2"));
        // Of a batch that failed a part may be done, whatever the error says (B5).
        store.fail(unknown);
        thread.put_many(&[(b, "3".into())]).unwrap_err();
        assert!(thread.contains(b).unwrap());
        store.fail(unknown);
        thread.delete_many(&[b]).unwrap_err();
        assert_eq!(thread.get_many(&[b]).unwrap(), [None]);

        let histories = History::of([thread]);
        let explained = histories.iter().map(|history| (history.key().as_str(), history.check(&[]).is_ok()));
        let [of_a, of_b] = expected;
        assert_eq!(explained.collect::<Vec<_>>(), [("a", of_a), ("b", of_b)], "{histories:?}");
    }
}

#[test]
fn a_thread_has_a_letter_and_values_of_its_own() {
    let (store, recorder) = (MemoryStore::new(), Recorder::new());
    let mut values = (0..30).map(|_| recorder.thread(&store)).map(|mut thread| {
        let first = thread.fresh_value();
        [first, thread.fresh_value()]
    });
    assert_eq!(values.next().unwrap(), ["A1", "A2"]);
    assert_eq!(values.nth(24).unwrap(), ["Z1", "Z2"]);
    assert_eq!(values.next().unwrap(), ["AA1", "AA2"]);
}

#[test]
fn an_operation_ends_after_it_began_and_before_the_next_begins() {
    let (store, recorder) = (MemoryStore::new(), Recorder::new());
    let mut thread = recorder.thread(&store);
    for n in 0..100_u32 {
        thread.put(key!("k"), n.to_string().into()).unwrap();
        assert_eq!(thread.get_many(&[key!("k")]).unwrap(), [Some(n.to_string().into())]);
    }
    let histories = History::of([thread]);
    let operations = histories[0].operations();
    assert_eq!(operations.len(), 200);
    assert!(operations.iter().all(|operation| operation.ended.unwrap() >= operation.began));
    assert!(operations.windows(2).all(|pair| pair[0].ended.unwrap() <= pair[1].began));
}
