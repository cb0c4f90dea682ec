//! The failure of a check that hangs, or of one whose listing does not end.

use super::outcome::NotPassed;
use super::watchdog::{Endless, Hang};

/// The clause that says that a listing ends, or can be dropped.
fn clause_of(listing: &str) -> &'static str {
    match listing {
        dropped if dropped.starts_with("dropping ") => "L2",
        parts if parts.contains("prefixes(") => "L6",
        _ => "L1",
    }
}

impl Endless {
    /// The failure of the check. It says more than what the check itself found about the listing.
    pub(crate) fn into_failure(self) -> NotPassed {
        let Self { listing, yielded, written } = self;
        let failed = NotPassed::found(format!(
            "{listing}\nexpected: each key once, and then the end: {written} keys were written at most\n\
             got:      {yielded} keys, and no end. Does its cursor advance?"
        ));
        failed.breaking([clause_of(&listing)])
    }
}

impl Hang {
    /// Whether it is a listing that hangs.
    pub(crate) fn is_of_listing(&self) -> bool {
        self.is_operation && is_listing(&self.what)
    }

    /// Whether it is a batch that was sent to see [how long one takes](super::pace::Pace).
    pub(crate) fn is_of_pace(&self) -> bool {
        self.what.contains(super::pace::KEY)
    }

    /// Whether it is the fixture, not the store.
    pub(crate) fn is_of_fixture(&self) -> bool {
        self.what.starts_with("the fixture, while ")
    }

    /// The failure of a check. `setting` says how to make the limit longer.
    pub(crate) fn into_failure(self, has_faults: bool, setting: &str) -> NotPassed {
        let Self { what, time, is_operation, before, inside, open, others } = &self;
        let (is_of_listing, is_of_fixture) = (self.is_of_listing(), self.is_of_fixture());
        // What hangs itself is not in its own way.
        let while_open = open.as_ref().filter(|open| !what.contains(&***open));
        let (meanwhile, want) = match (inside, while_open) {
            (Some(outer), _) => (
                format!(", while {outer} calls the code that does this"),
                "it returns: nothing is locked while the caller's code runs",
            ),
            (None, Some(open)) if is_listing(open) => {
                (format!(", while this thread has {open} open"), "it returns: a listing holds no lock (L2)")
            }
            (None, Some(open)) => (
                format!(", while this thread has {open} open"),
                "it returns: a reader is independent of the store, and holds no lock (S1)",
            ),
            (None, None) => (
                String::new(),
                match is_operation {
                    true if is_of_fixture => "it returns",
                    true if has_faults => "it ends within its limits (N1)",
                    true => "it returns",
                    false => "it ends",
                },
            ),
        };
        let before = before.as_ref().map(|before| format!(" Before it: {before}.")).unwrap_or_default();
        let others =
            if others.is_empty() { String::new() } else { format!(" Others wait, too: {}.", others.join("; ")) };
        let failed = NotPassed::found(format!(
            "{what}{meanwhile}\nexpected: {want}\n\
             got:      nothing for {time:.0?}: it hangs, and the suite goes on without it.{before}{others}\n          \
             (If the store is just slow: {setting})"
        ));
        if is_of_fixture {
            return failed.beside_the_store();
        }
        if is_of_listing && while_open.is_none() { failed.breaking([clause_of(what)]) } else { failed }
    }
}

fn is_listing(what: &str) -> bool {
    ["keys(", "prefixes("].iter().any(|listing| what.contains(listing))
}
