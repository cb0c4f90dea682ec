//! Section 6, B7, where something fails: a failed read is never reported as absent.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults).

use kv_core::{Bytes, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::faults::{MARGIN, ProxiedStore, check_transient, expect_undisturbed, value};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::{NotPassed, expect_eq, expect_that};

checks![b7_a_failed_read_is_never_reported_as_absent];

/// How many keys are asked for: several chunks.
const KEYS: usize = 3000;

/// The fault of the network during the read.
struct Trouble {
    what: String,
    behaviour: Behaviour,
    /// Whether no new connection can be made.
    refuses: bool,
}

/// What happens to a batch whose replies have this many bytes.
fn troubles(bytes: usize) -> Vec<Trouble> {
    let mut all =
        vec![Trouble { what: "while the server is silent".into(), behaviour: Behaviour::Hold, refuses: false }];
    for (part, at) in [("at their beginning", 0), ("in their middle", bytes / 2), ("near their end", bytes / 8 * 7)] {
        let cut = || Behaviour::CutAfter { cut: Cut::Reset, of: Direction::Replies, bytes: at };
        let held = Behaviour::Truncate { of: Direction::Replies, bytes: at };
        all.extend([
            Trouble { what: format!("whose replies are cut {part}"), behaviour: cut(), refuses: false },
            Trouble {
                what: format!("whose replies are cut {part}, and new connections refused"),
                behaviour: cut(),
                refuses: true,
            },
            Trouble { what: format!("whose replies are held back {part}"), behaviour: held, refuses: false },
        ]);
    }
    all
}

/// Reads 3000 keys with `get_each`, some of which are absent and some asked for twice, while the replies are cut or held back at their
/// beginning, in the middle and near the end, and while the server is silent. Each key has to have its value or an error that names it,
/// and must never be reported as absent because no answer came, not even in a later chunk; and many keys must not take the time of many
/// operations. The same of `get_many`, which has all values or fails.
pub fn b7_a_failed_read_is_never_reported_as_absent() -> Check {
    about(&["B7", "B1", "N1", "N3", "N6", "E1", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let prefix = proxied.fresh_prefix();
        let key = |n: usize| format!("{prefix}{n}");
        let is_there = |n: &usize| !n.is_multiple_of(7);
        proxied.direct.put_many((0..KEYS).filter(is_there).map(|n| (key(n), value(&key(n), 0, 20))))?;
        let asked = (0..KEYS).chain(0..10).collect::<Vec<_>>();
        let keys = asked.iter().map(|&n| key(n)).collect::<Vec<_>>();
        let want = asked.iter().map(|n| is_there(n).then(|| Bytes::from(value(&key(*n), 0, 20)))).collect::<Vec<_>>();
        let many = |what: &str| {
            let before = (proxied.proxy.exchanges(), proxied.proxy.bytes(Direction::Replies));
            let read = || proxied.store.get_many(&keys).map(|got| got == want);
            expect_undisturbed(format_args!("whether get_many of {} keys is right{what}", keys.len()), read, true)?;
            Ok::<_, NotPassed>((
                proxied.proxy.exchanges() - before.0,
                proxied.proxy.bytes(Direction::Replies) - before.1,
            ))
        };
        many(", the first time")?;
        let (exchanges, bytes) = many("")?;
        let before = proxied.proxy.exchanges();
        let each = || proxied.store.get_each(&keys).into_iter().collect::<Result<Vec<_>, _>>().map(|got| got == want);
        expect_undisturbed(format_args!("whether get_each of {} keys is right", keys.len()), each, true)?;
        let took = proxied.proxy.exchanges() - before;
        let what = format!("how many requests get_each of {} keys took (N3)", keys.len());
        // There may be one more, if a connection was made.
        expect_that(what, took <= 2 * exchanges + 1, "about as many as get_many", took)?;
        for Trouble { what, behaviour, refuses } in troubles(bytes) {
            let what = format!("get_each of {} keys {what}", keys.len());
            proxied.proxy.set(behaviour);
            if refuses {
                proxied.proxy.refuse();
            }
            // A store that first reads all keys together and then one by one may take twice the limit.
            let limit = 2 * proxied.limit;
            let (outcomes, took) = proxied.timed_for(limit, || proxied.store.get_each(&keys));
            expect_eq(format_args!("the number of outcomes of {what}"), outcomes.len(), keys.len())?;
            for ((key, want), outcome) in keys.iter().zip(&want).zip(&outcomes) {
                match outcome {
                    Ok(got) if got == want => {}
                    Ok(got) => return Err(wrong(&what, key, want.as_ref(), got.as_ref())),
                    Err(error) => {
                        check_transient(&format!("{key:?}, of {what}"), error, proxied.store.name(), &[key])?;
                    }
                }
            }
            let is_in_time = took <= limit + MARGIN;
            let want_time =
                format!("at most twice the limit, {:?}, and {MARGIN:?} because machines are busy (N1)", proxied.limit);
            expect_that(format_args!("how long it took: {what}"), is_in_time, &want_time, took)
                .map_err(|failed| failed.timed_out_if(true))?;
            proxied.heal()?;
            proxied.works_again(format_args!("after {what}"))?;
        }
        for Trouble { what, behaviour, refuses } in troubles(bytes) {
            let what = format!("get_many of {} keys {what}", keys.len());
            proxied.proxy.set(behaviour);
            if refuses {
                proxied.proxy.refuse();
            }
            let (outcome, _) = proxied.timed(|| proxied.store.get_many(&keys));
            match outcome {
                Ok(values) => {
                    expect_eq(format_args!("the number of values of {what} (B1)"), values.len(), keys.len())?;
                    let mut all = keys.iter().zip(&want).zip(&values);
                    if let Some(((key, want), got)) = all.find(|((_, want), got)| want != got) {
                        return Err(wrong(&what, key, want.as_ref(), got.as_ref()).breaking(["B1"]));
                    }
                }
                Err(error) => check_transient(&what, &error, proxied.store.name(), &[])?,
            }
            proxied.heal()?;
            proxied.works_again(format_args!("after {what}"))?;
        }
        Ok(())
    })
}

/// A key that has another value than its own, or none.
fn wrong(what: &str, key: &str, want: Option<&Bytes>, got: Option<&Bytes>) -> NotPassed {
    let want = want.map_or_else(|| "None, or an error".into(), |want| format!("{want:?}, or an error"));
    NotPassed::failed(format_args!("{key:?}, of {what}\nexpected: {want}\ngot:      {got:?}"))
}
