//! Section 9, as far as errors can be provoked without a fault of the network.

use std::error::Error as StdError;
use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::running::leaks::repeated;
use crate::running::{Context, expect, expect_eq, expect_that, kind_of};

checks![e1_an_error_names_its_key_and_its_store, e4_odd_input_does_not_panic,];

/// Errors of every kind that can be provoked without a fault.
fn provoked(context: &Context<'_>, key: &str, value: &str) -> Vec<Error> {
    let store = context.store();
    let mut results = vec![
        store.open(key).map(drop),
        store.get_into(key, std::io::sink()).map(drop),
        store.put_file(key, "/nonexistent/file"),
        store.put_from(key, Failing(value.as_bytes())),
        store.put_with_ttl(key, value, Duration::MAX),
        store.put_many_with_ttl([(key, value, Duration::MAX)]),
        store.create_with_ttl(key, value, Duration::MAX).map(drop),
        store.touch(key, Duration::MAX).map(drop),
        store.copy(key, "other"),
        store.rename(key, "other"),
    ];
    if let Some(limit) = context.capabilities().largest_value().filter(|limit| *limit <= 1 << 30) {
        // If the limit depends on the key, it is that of the longest key. A value that is larger by the length of a key is too large for
        // every key.
        let length = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1 + 250);
        results.push(store.put(key, repeated(value.as_bytes(), length)));
    }
    results.into_iter().filter_map(Result::err).collect()
}

/// Yields its bytes and then fails.
struct Failing<'a>(&'a [u8]);

impl std::io::Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(std::io::Error::other("gone")),
            other => other,
        }
    }
}

/// Provokes errors, and checks each: it has to name its key, or the unsupported operation, and its store, if it comes from one. It must not
/// repeat its cause. And it must say that trying again does not help, because nothing was sent.
pub fn e1_an_error_names_its_key_and_its_store() -> Check {
    about(&["E1", "E2", "E5"]).run(|context| {
        let key = "the-key-concerned";
        let name = context.store().name();
        expect_that("name()", !name.is_empty(), "a text that tells the store from others", format!("{name:?}"))?;
        let errors = provoked(context, key, "v");
        expect_that("the errors provoked", errors.len() >= 4, "at least 4", errors.len())?;
        for error in errors {
            let shown = error.to_string();
            let kind = kind_of(&error);
            let lacking = matches!(error, Error::Unsupported { .. });
            expect_that(
                format_args!("the message of {kind}"),
                lacking || shown.contains(key),
                "it names the key",
                &shown,
            )?;
            let io = matches!(error, Error::Io { .. });
            expect_that(
                format_args!("the message of {kind}"),
                io || shown.contains(name),
                "it names the store",
                &shown,
            )?;
            expect_eq(format_args!("store() of {kind}"), error.store(), (!io).then_some(name))?;
            let repeated = error.source().is_some_and(|cause| shown.contains(&cause.to_string()));
            expect_eq(format_args!("whether the message of {kind} repeats its cause: {shown}"), repeated, false)?;
            expect_eq(format_args!("is_transient of {shown}"), error.is_transient(), false)?;
            expect_eq(format_args!("outcome_unknown of {shown}"), error.outcome_unknown(), false)?;
        }
        Ok(())
    })
}

/// Calls every operation with the longest and the shortest inputs, with absent keys, and with numbers that overflow. The result does not
/// matter, but there has to be one.
pub fn e4_odd_input_does_not_panic() -> Check {
    about(&["E4"]).run(|context| {
        let store = context.store();
        let longest = context.long_key("~");
        let count = context.keys(100, 24, 0);
        for ttl in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
            for key in ["!", longest.as_str()] {
                // Other checks check the results. This one checks that the operations return.
                let _ = store.put_with_ttl(key, "", ttl);
                let _ = store.put_many_with_ttl([(key, "", Ttl::After(ttl)), (key, "", Ttl::Default)]);
                let _ = store.create_with_ttl(key, "", ttl);
                let _ = store.touch(key, ttl);
                let _ = store.touch("absent", ttl);
                let _ = store.ttl(key);
                let _ = store.copy(key, "!copy");
                let _ = store.rename("!copy", key);
                let _ = store.get_many(vec![key; count]);
                let _ = store.get_each(vec![key; count]);
                let _ = store.delete_many(vec![key; count]);
            }
        }
        if context.has(Capability::Listing) {
            for prefix in ["", "~", &longest, &"~".repeat(1000)] {
                let _ = store.keys(prefix).map(Iterator::count);
                let _ = store.prefixes(longest.as_str(), prefix).map(Iterator::count);
                let _ = store.prefixes("~", prefix).map(Iterator::count);
            }
        }
        expect("put after odd input", store.put("k", "v"), ())?;
        expect("get after odd input", store.get("k"), Some("v".into()))
    })
}
