//! Feeds any bytes to the store as a server's replies: when it connects, or in reply to an operation. The store's result has to
//! match [`protocol`]. Nothing panics, each call ends within its limits, and a connection with other bytes is not used again
//! (N2), and the next operation gets its own reply.
//!
//! Of the input, the first byte is what is asked, the second how the server behaves. In the rest some bytes stand for what
//! cannot be known before: see `Server::fill_in`.

#![no_main]

use std::error::Error as _;
use std::time::{Duration, Instant};

use kv_core::{Error, KeyValueStoreExt, Remaining};
use kv_memcache::MemcacheStore;
use libfuzzer_sys::fuzz_target;
use protocol::Greeting;
use server::{PASSWORD, SECOND, Script, Server, USER};

mod protocol;
mod server;

/// How long a server that says nothing more is waited for. As short as a store takes.
const SHORT: Duration = Duration::from_millis(10);

/// How long anything else may take, on a machine that does other things, too.
const LONG: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_hours(24);

/// What an operation gave that went well, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Values(Vec<Option<Vec<u8>>>),
    WasThere(Vec<bool>),
    SecondsLeft(Option<i64>),
}

/// What is asked of the store about the keys `first` and `other`.
fn ask(store: &MemcacheStore, kind: u8) -> Result<Outcome, Error> {
    let values = |values: Vec<Option<kv_core::Bytes>>| values.into_iter().map(|value| value.map(Into::into)).collect();
    Ok(match kind % 8 {
        0 => Outcome::Values(values(vec![store.get("first")?])),
        1 => Outcome::Values(values(store.get_many(["first", "other"])?)),
        // So long that it is sent as a time of the server's clock.
        2 => Outcome::WasThere(vec![store.put_with_ttl("first", "a value", 40 * DAY).map(|()| true)?]),
        3 => Outcome::WasThere(vec![store.create("first", "a value")?]),
        4 => Outcome::WasThere(vec![store.delete("first")?]),
        5 => Outcome::WasThere(vec![store.contains("first")?]),
        6 => Outcome::SecondsLeft(store.ttl("first")?.map(|left| match left {
            Remaining::For(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Remaining::Forever => -1,
        })),
        _ => Outcome::WasThere(store.delete_many(["first", "other"])?),
    })
}

/// That an error says something, and nothing of the password, whatever the server has repeated of it.
fn judge(error: &Error, has_password: bool) {
    let mut texts = vec![format!("{error} {error:?} {error:#?}")];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(format!("{error} {error:?}"));
        cause = error.source();
    }
    for text in texts {
        assert!(text.len() > 10 && text.len() < 2000, "{text}");
        assert!(!has_password || !text.contains(PASSWORD), "{text}");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
    }
    let is_of_store = matches!(error, Error::Backend(_) | Error::Unavailable(_) | Error::Timeout(_));
    // By a clock that is near its end.
    assert!(is_of_store || matches!(error, Error::InvalidTtl { .. }), "{error:?}");
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, behaviour, bytes) = input;
    // More than that may come in more than one piece, and then what is behind the replies may come too late to be seen.
    let script = Script::new(kind, behaviour, bytes.get(..4096).unwrap_or(bytes));
    let server = Server::get();
    server.begin(script.clone());
    let has_password = script.has_password;
    let limit = if script.closes { LONG } else { SHORT };
    let builder = MemcacheStore::builder()
        .url(server.url())
        .contains(true)
        .connect_timeout(if script.is_greeting { limit } else { LONG })
        .response_timeout(if script.is_greeting { LONG } else { limit });
    let builder = if has_password { builder.credentials(USER, PASSWORD) } else { builder };
    let store = builder.build().expect("settings that are of use");

    let begin = Instant::now();
    let outcome = ask(&store, kind);
    assert!(begin.elapsed() < LONG, "{outcome:?} after {:?}", begin.elapsed());
    if let Err(error) = &outcome {
        judge(error, has_password);
    }
    let told = server.told();
    let expected = match protocol::greeting(&told.sent, has_password) {
        Greeting::Odd if script.is_greeting => return,
        // Then the operation is answered as it should be.
        greeting if script.is_greeting => (greeting == Greeting::Good).then(|| protocol::answered(kind)),
        _ => protocol::outcome(kind, &told.sent, &told.tags),
    };
    match (&outcome, &expected) {
        (Ok(outcome), Some(expected)) => assert_eq!(outcome, expected, "{told:?}"),
        (Ok(outcome), None) => panic!("{outcome:?} of {told:?}"),
        // A server that waits may seem to have been too slow, on a machine that is.
        (Err(Error::Timeout(_)), _) if !script.closes => {}
        (Err(error), Some(expected)) => panic!("{error:?} and not {expected:?} of {told:?}"),
        (Err(_), None) => {}
    }

    // The next one gets its own reply, and not on a connection that is in doubt.
    if !script.is_greeting {
        let second = loop {
            match store.get("second") {
                Err(Error::Timeout(_)) if !script.closes => {}
                other => break other.expect("a server that is as it should be"),
            }
        };
        assert_eq!(second.as_deref(), Some(SECOND.as_bytes()));
        let told = server.told();
        assert!(outcome.is_ok() || !told.second_came_on_first, "{outcome:?}, and it was used again: {told:?}");
    }
});
