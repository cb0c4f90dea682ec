//! Section 9, E3: a server repeats parts of a request.
//!
//! These need a store behind a [proxy](crate::proxy), which answers in the server's place: see
//! [`Suite::with_faults`](crate::Suite::with_faults).

use kv_core::{Error, KeyValueStore, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::faults::ProxiedStore;
use crate::proxy::{Behaviour, Direction};
use crate::running::leaks::{expect_none, told_by};
use crate::running::{NotPassed, expect_that};

checks![e3_a_value_that_a_server_repeats_is_not_shown];

/// A value every part of which can be recognised.
const SECRET: &str = "Qv7#kPz2!mXw9$Lr";

type Write = (&'static str, fn(&dyn KeyValueStore, &str) -> Result<(), Error>);

/// The operations that send a value.
const WRITES: [Write; 6] = [
    ("put", |store, key| store.put(key, SECRET)),
    ("put with a TTL", |store, key| store.put_with_ttl(key, SECRET, ttl(store))),
    ("put_many", |store, key| store.put_many([(key, SECRET)])),
    ("put_many of two", |store, key| store.put_many([(key, SECRET), ("another", SECRET)])),
    ("create", |store, key| store.create(key, SECRET).map(drop)),
    ("put_from", |store, key| store.put_from(key, SECRET.as_bytes())),
];

/// A TTL, if the store has TTLs.
fn ttl(store: &dyn KeyValueStore) -> Ttl {
    let has = store.capabilities().supports(kv_core::Capability::Ttls);
    let longest = store.capabilities().longest_ttl();
    if has { Ttl::After(std::time::Duration::from_secs(3600).min(longest)) } else { Ttl::Forever }
}

/// Writes a value in every way, and has each refused by a reply that repeats it, as servers do with commands that they do not know. Neither the
/// error nor its causes may show any part of it.
pub fn e3_a_value_that_a_server_repeats_is_not_shown() -> Check {
    about(&["E3", "E4"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let Some(repeated) = &context.fixture().repeated else {
            let reason =
                "the fixture of `with_faults` does not say how its server repeats a request (`Fixture::repeated`)";
            return Err(NotPassed::Ignored(reason.into()));
        };
        for (what, write) in WRITES {
            let key = format!("{}k", proxied.fresh_prefix());
            for reply in repeated(&key, SECRET) {
                proxied.works_again("before a server repeats what it was sent")?;
                let shown = String::from_utf8_lossy(&reply).trim_end().to_owned();
                let before = proxied.proxy.bytes(Direction::Replies);
                proxied.proxy.set(Behaviour::replace(reply));
                let (result, _) = proxied.timed(|| write(proxied.store, &key));
                // A batch may wait for the replies to its other commands.
                proxied.heal_without_what_was_held()?;
                let Err(error) = result else {
                    let is_asked = proxied.proxy.bytes(Direction::Replies) > before;
                    let got = if is_asked { "success" } else { "success, and the server was not asked" };
                    expect_that(format_args!("{what}, answered by {shown}"), false, "an error", got)?;
                    continue;
                };
                let what = format!("the error of {what} that was answered by {shown}");
                expect_none(&what, &told_by(&error), SECRET.as_bytes())?;
            }
        }
        Ok(())
    })
}
