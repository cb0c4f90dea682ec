//! Entries that an operation has to leave as they are.

use kv_core::{Capability, KeyValueStoreExt, Remaining};

use crate::running::{Context, Expiry, Outcome, expect, expect_that};

/// An ordinary entry that an operation must not change.
pub(crate) const BYSTANDER: (&str, &str) = ("bystander", "unharmed");

/// An entry, with a TTL if the store has them, that a refused operation has to leave as it is.
pub(crate) struct OldEntry<'k> {
    key: &'k str,
    expiry: Option<Expiry>,
}

impl<'k> OldEntry<'k> {
    pub(crate) fn put(context: &Context<'_>, key: &'k str) -> Outcome<Self> {
        if context.has(Capability::Ttls) {
            return Ok(Self { key, expiry: Some(context.put_long(key, "old")?) });
        }
        context.store().put(key, "old")?;
        Ok(Self { key, expiry: None })
    }

    #[track_caller]
    pub(crate) fn expect_unchanged(&self, context: &Context<'_>, after: &str) -> Outcome {
        let Self { key, expiry } = self;
        let is_there = || expect(format_args!("get({key:?}) {after}"), context.store().get(key), Some("old".into()));
        match expiry {
            Some(expiry) => context.while_live(*expiry, is_there)?,
            None => is_there()?,
        }
        match expiry {
            Some(expiry) if context.has(Capability::TtlReading) => expect_remaining(context, after, key, *expiry),
            _ => Ok(()),
        }
    }
}

/// Checks that the remaining TTL is possible for this expiry.
#[track_caller]
pub(crate) fn expect_remaining(context: &Context<'_>, what: &str, key: &str, expiry: Expiry) -> Outcome {
    let resolution = context.capabilities().ttl_resolution();
    let (got, before, after) = context.time.span(|| context.store().ttl(key));
    let got = got?;
    let least = expiry.earliest.saturating_sub(after + resolution);
    let most = expiry.latest.saturating_sub(before) + resolution;
    let holds = match got {
        Some(Remaining::For(left)) => least <= left && left <= most,
        Some(Remaining::Forever) => false,
        None => after >= expiry.earliest,
    };
    expect_that(format_args!("ttl({key:?}) {what}"), holds, &format!("Some(For({least:?} to {most:?}))"), got)
}
