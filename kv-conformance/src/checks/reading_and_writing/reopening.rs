//! Section 3, P5: what a store that keeps its data keeps when it is closed and opened again.
//!
//! These need a fixture that can close its store and open it again: see [`Fixture::reopen`](crate::Fixture::reopen).

use kv_core::Capability;

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{Given, change, expect_changed};
use crate::running::Time;

checks![p5_writes_and_removals_are_kept_over_reopening, p5_ttls_are_kept_over_reopening];

/// Writes, removes, copies and renames in every way, closes the store and opens it again, twice: everything has to be as it was left. The
/// second time finds a store that keeps only what it wrote itself, and not what it read when it was opened.
pub fn p5_writes_and_removals_are_kept_over_reopening() -> Check {
    about(&["P5"]).run(|context| {
        let mut fixture = context.scope.open()?;
        let want = if fixture.reopen.is_some() { change(context, &*fixture.store)? } else { Vec::new() };
        for time in ["", " twice"] {
            fixture = context.scope.reopen(fixture)?;
            expect_changed(context, &*fixture.store, &want, &format!("the store was reopened{time}"))?;
        }
        Ok(())
    })
}

/// Sets and removes TTLs in every way, closes the store, lets some entries expire meanwhile, and opens it again. Expired entries have to be
/// absent, live ones have to be there with their remaining TTL, and entries without a TTL have to stay for ever.
pub fn p5_ttls_are_kept_over_reopening() -> Check {
    about(&["P5", "T2"]).needs(&[Capability::Ttls]).run(|context| {
        let mut fixture = context.scope.open()?;
        // Time goes on while the store is closed.
        let advance = fixture.advance.take();
        let time = Time::new(advance.as_ref());
        let given = fixture.reopen.is_some().then(|| Given::to(context, &*fixture.store, &time)).transpose()?;
        if let Some(given) = &given {
            time.wait(given.short + context.capabilities().ttl_resolution());
        }
        fixture = context.scope.reopen(fixture)?;
        given.map_or(Ok(()), |given| given.expect(context, &*fixture.store, &time, "the store was reopened"))
    })
}
